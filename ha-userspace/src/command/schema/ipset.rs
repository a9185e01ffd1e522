//! Sets of addresses that one virtual server serves.

use super::attribute::{flag, key};
use super::{Entity, Kind, Scope, Verb};

/// `add|rm|show ipset`.
pub static IPSET: Entity = Entity {
    group: "",
    word: "ipset",
    noun: "set of addresses",
    rest: "ipset",
    verbs: &[Verb::Add, Verb::Rm, Verb::Show],
    scope: Scope::Pair,
    attributes: &[
        key("name", "name", Kind::Name).help("the set's name; add lb vserver … -ipset serves its addresses as well"),
        flag("td", "td", Kind::Number { min: 0, max: 0 }).or("0").help("traffic domain: there is only the default one"),
    ],
};

/// `bind|unbind ipset`.
pub static BINDING: Entity = Entity {
    group: "",
    word: "ipset",
    noun: "binding of a set of addresses",
    rest: "ipset_nsip_binding",
    verbs: &[Verb::Bind, Verb::Unbind],
    scope: Scope::Pair,
    attributes: &[key("name", "name", Kind::Name).help("the set"), key("IPAddress", "ipaddress", Kind::Ips).help("VIPs")],
};
