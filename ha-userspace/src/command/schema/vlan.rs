//! VLANs: which legs carry one, with or without a tag, and which subnets live in it.

use super::attribute::{flag, key};
use super::{Entity, Kind, Scope, Verb};

/// What a VLAN may be: 1 is every leg's untagged one, which need not be made; the others are IEEE 802.1Q, 9.6.
const ID: Kind = Kind::Number { min: 2, max: 4094 };

/// `add|set|unset|rm|show vlan`.
pub static VLAN: Entity = Entity {
    group: "",
    word: "vlan",
    noun: "VLAN",
    rest: "vlan",
    verbs: &[Verb::Add, Verb::Set, Verb::Unset, Verb::Rm, Verb::Show],
    scope: Scope::Pair,
    attributes: &[
        key("id", "id", ID).help("its number: what its tag says"),
        flag("aliasName", "aliasname", Kind::Name).help("what people call it"),
    ],
};

/// `bind|unbind vlan`.
pub static BINDING: Entity = Entity {
    group: "",
    word: "vlan",
    noun: "binding",
    rest: "vlan_binding",
    verbs: &[Verb::Bind, Verb::Unbind],
    scope: Scope::Pair,
    attributes: &[
        key("id", "id", ID).help("the VLAN"),
        flag("ifnum", "ifnum", Kind::Interfaces).fixed().of_the_node().help("legs that carry it; on both nodes"),
        flag("tagged", "tagged", Kind::Present).fixed().of_the_node().help("its frames have a tag on those legs"),
        flag("IPAddress", "ipaddress", Kind::Network)
            .fixed()
            .help("an address and mask of a subnet that lives in it: floating addresses of that subnet are answered and announced there"),
    ],
};
