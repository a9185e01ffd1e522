//! The segment: virtual MAC addresses, and how addresses are announced.

use std::time::Duration;

use super::attribute::{flag, key, optional_key};
use super::{Attribute, Entity, Kind, Refused, Scope, Style, Verb};
use crate::command::span::Unit;
use crate::command::words::Tracking;

const SWITCH: Kind = Kind::Switch(Style::Enabled);
/// What a VRID may be (RFC 9568, 5.2.3).
const ID: Kind = Kind::Number { min: 1, max: 255 };

const ONE_PRIMARY: &str = "one node of the pair serves every address, and which one its election says; leave it out";
const NO_TRACKING: &str =
    "what a node's fitness depends on is said by set interface -haMonitor; it does not change priorities; leave it out";

static VRID_ATTRIBUTES: [Attribute; 8] = [
    key("id", "id", ID).help("the virtual router's number: the last byte of its MAC address"),
    flag("priority", "priority", Kind::Number { min: 0, max: 255 })
        .or("255")
        .help("kept and shown; which node serves is the pair's election"),
    flag("preemption", "preemption", SWITCH)
        .or("ENABLED")
        .help("kept and shown; a preferred node is made by set ha node -haStatus STAYPRIMARY"),
    flag("sharing", "sharing", SWITCH)
        .or("DISABLED")
        .refusing(&[Refused { words: &["ENABLED", "ENABLE"], why: ONE_PRIMARY }])
        .help("whether both nodes serve"),
    flag("tracking", "tracking", Kind::Word(Tracking::WORDS))
        .or("NONE")
        .refusing(&[Refused { words: &["ONE", "ALL", "PROGRESSIVE"], why: NO_TRACKING }])
        .help("what lowers the priority"),
    flag("trackifNumPriority", "trackifnumpriority", Kind::Number { min: 1, max: 255 })
        .fixed()
        .refusing(&[Refused { words: &[], why: NO_TRACKING }])
        .help("not available"),
    flag(
        "preemptiondelaytimer",
        "preemptiondelaytimer",
        Kind::Span { unit: Unit::Seconds, min: Duration::from_secs(1), max: Duration::from_secs(36_000) },
    )
    .help("kept and shown, as -preemption"),
    flag("ownerNode", "ownernode", Kind::Number { min: 0, max: 31 })
        .fixed()
        .refusing(&[Refused { words: &[], why: ONE_PRIMARY }])
        .help("not available"),
];

static BINDING_ATTRIBUTES: [Attribute; 3] = [
    key("id", "id", ID).help("the virtual router"),
    flag("ifnum", "ifnum", Kind::Interfaces)
        .fixed()
        .help("legs on which floating addresses have its MAC address; on both nodes"),
    flag("trackifNum", "trackifnum", Kind::Interfaces)
        .fixed()
        .refusing(&[Refused { words: &[], why: NO_TRACKING }])
        .help("not available"),
];

static REMOVAL_ATTRIBUTES: [Attribute; 2] = [
    optional_key("id", "id", ID).help("the virtual router"),
    flag("all", "all", Kind::Present).fixed().help("every one of this family"),
];

const fn router(word: &'static str, noun: &'static str, rest: &'static str) -> Entity {
    let verbs = &[Verb::Add, Verb::Set, Verb::Unset, Verb::Show];
    Entity { group: "", word, noun, rest, verbs, scope: Scope::Pair, attributes: &VRID_ATTRIBUTES }
}

const fn binding(word: &'static str, noun: &'static str, rest: &'static str) -> Entity {
    let verbs = &[Verb::Bind, Verb::Unbind];
    Entity { group: "", word, noun, rest, verbs, scope: Scope::Node, attributes: &BINDING_ATTRIBUTES }
}

const fn removal(word: &'static str, noun: &'static str, rest: &'static str) -> Entity {
    Entity { group: "", word, noun, rest, verbs: &[Verb::Rm], scope: Scope::Pair, attributes: &REMOVAL_ATTRIBUTES }
}

/// `add|set|unset|show vrid`: a virtual MAC address for floating IPv4 addresses.
pub static VRID: Entity = router("vrid", "VRID", "vrid");
/// `add|set|unset|show vrid6`: the same for IPv6.
pub static VRID6: Entity = router("vrid6", "VRID", "vrid6");
/// `bind|unbind vrid`: where it is used, on this node.
pub static BINDING: Entity = binding("vrid", "binding", "vrid_interface_binding");
/// `bind|unbind vrid6`.
pub static BINDING6: Entity = binding("vrid6", "binding", "vrid6_interface_binding");
/// `rm vrid (<id> | -all)`.
pub static REMOVAL: Entity = removal("vrid", "VRID", "vrid");
/// `rm vrid6 (<id> | -all)`.
pub static REMOVAL6: Entity = removal("vrid6", "VRID", "vrid6");

/// `set|unset|show L2Param`.
pub static L2_PARAM: Entity = Entity {
    group: "",
    word: "L2Param",
    noun: "layer 2 parameters",
    rest: "l2param",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show],
    scope: Scope::Pair,
    attributes: &[
        flag("garpOnVridIntf", "garponvridintf", SWITCH)
            .or("ENABLED")
            .help("announce each address on interfaces with a VRID, too, after the frame that moves their virtual MAC"),
        flag("garpReply", "garpreply", SWITCH).or("DISABLED").help("announce by ARP replies instead of requests"),
        flag("rstIntfOnHaFo", "rstintfonhafo", SWITCH)
            .or("DISABLED")
            .refusing(&[Refused {
                words: &["ENABLED", "ENABLE"],
                why: "interfaces are not reset on a failover: announcements move addresses, and the old node carries what still reaches it",
            }])
            .help("reset interfaces on a failover"),
    ],
};

/// `send arp`: announce now.
pub static ARP: Entity = Entity {
    group: "",
    word: "arp",
    noun: "announcement",
    rest: "arp",
    verbs: &[Verb::Send],
    scope: Scope::Node,
    attributes: &[
        flag("IPAddress", "ipaddress", Kind::Ip).fixed().help("the address to announce"),
        flag("all", "all", Kind::Present).fixed().help("every address that this node serves, and its own (NSIP)"),
    ],
};
