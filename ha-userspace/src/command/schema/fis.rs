//! Failover interface sets, and the interfaces that are in none.

use super::attribute::key;
use super::{Entity, Kind, Scope, Verb};

/// `add|rm|show fis`: interfaces of which one suffices.
pub static FIS: Entity = Entity {
    group: "",
    word: "fis",
    noun: "failover interface set",
    rest: "fis",
    verbs: &[Verb::Add, Verb::Rm, Verb::Show],
    scope: Scope::Node,
    attributes: &[key("name", "name", Kind::Name).help("the set's name; the set fails only when all of its interfaces do")],
};

/// `bind|unbind fis`.
pub static BINDING: Entity = Entity {
    group: "",
    word: "fis",
    noun: "binding of a failover interface set",
    rest: "fis_interface_binding",
    verbs: &[Verb::Bind, Verb::Unbind],
    scope: Scope::Node,
    attributes: &[
        key("name", "name", Kind::Name).help("the set"),
        key("ifnum", "ifnum", Kind::Interfaces).help("interfaces; each is in one set at most"),
    ],
};

/// `show ci`: the critical interfaces.
pub static CRITICAL: Entity = Entity {
    group: "",
    word: "ci",
    noun: "critical interface",
    rest: "ci",
    verbs: &[Verb::Show],
    scope: Scope::Node,
    attributes: &[],
};
