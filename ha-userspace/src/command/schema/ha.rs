//! The pair: this node's part in it, the peer, forced failover, the daemon.

use std::time::Duration;

use super::attribute::{flag, key, optional_key, position};
use super::{Attribute, Entity, Kind, Refused, Scope, Style, Verb};
use crate::command::error::code;
use crate::command::span::Unit;
use crate::command::value::NONE;
use crate::command::words::HaStatus;

const fn interval(unit: Unit, min_ms: u64) -> Kind {
    Kind::Span { unit, min: Duration::from_millis(min_ms), max: Duration::from_secs(60) }
}

const SWITCH: Kind = Kind::Switch(Style::Enabled);

/// `set|unset|show ha node`: this node.
pub static NODE: Entity = Entity {
    group: "ha",
    word: "node",
    noun: "node",
    rest: "hanode",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show],
    scope: Scope::Pair,
    attributes: &[
        optional_key("id", "id", Kind::Number { min: 0, max: 64 })
            .code(code::BAD_NODE_ID)
            .help("0 is this node, the only one whose settings can be changed here"),
        flag("haStatus", "hastatus", Kind::Word(HaStatus::WORDS))
            .or("ENABLED")
            .of_the_node()
            .help("whether this node takes part in elections, stays in a role, or is out"),
        flag("haSync", "hasync", SWITCH).or("ENABLED").of_the_node().help("take over the configuration of the Primary"),
        flag("haProp", "haprop", SWITCH).or("ENABLED").of_the_node().help("run this node's commands on the peer too"),
        flag("helloInterval", "hellointerval", interval(Unit::Millis, 1))
            .or("200")
            .help("time between two heartbeats on one link"),
        flag("deadInterval", "deadinterval", interval(Unit::Seconds, 3))
            .or("3")
            .help("silence after which the peer is dead, at least three helloIntervals"),
        flag("controllerDeadInterval", "controllerdeadinterval", interval(Unit::Seconds, 100))
            .or("3")
            .help("time after which a live node whose daemon hangs is taken over"),
        flag("failSafe", "failsafe", Kind::Switch(Style::On))
            .or("OFF")
            .of_the_node()
            .help("keep a Primary even if both nodes are unhealthy"),
        flag("witness", "witness", Kind::Endpoint { words: &[NONE], port: ha_common::witness::PORT })
            .or(NONE)
            .help("a third host (understudy witness) that says which node may serve when neither hears the other"),
        flag("witnessPassword", "witnesspassword", Kind::Secret)
            .of_the_node()
            .help("a password of the witness's key file; the same on both nodes"),
    ],
};

/// `add|rm ha node`: the peer.
pub static PEER: Entity = Entity {
    group: "ha",
    word: "node",
    noun: "peer node",
    rest: "hanode",
    verbs: &[Verb::Add, Verb::Rm],
    scope: Scope::Node,
    attributes: &[
        key("id", "id", Kind::Number { min: 1, max: 64 })
            .code(code::BAD_NODE_ID)
            .help("a number for the peer, valid on this node only"),
        position("IPAddress", "ipaddress", Kind::Ipv4).code(code::PEER_ADDRESS).help("the peer's NSIP"),
        INC,
    ],
};

const INC: Attribute =
    flag("inc", "inc", SWITCH).or("DISABLED").fixed().help("nodes in different subnets").refusing(&[Refused {
        words: &["ENABLED", "ENABLE"],
        why: "nodes in different subnets are not supported yet; put both NSIPs into one subnet and leave -inc out",
    }]);

/// `force ha failover`.
pub static FAILOVER: Entity = Entity {
    group: "ha",
    word: "failover",
    noun: "failover",
    rest: "hafailover",
    verbs: &[Verb::Force],
    scope: Scope::Node,
    attributes: &[flag("force", "force", Kind::Present).fixed().help("even if a warning speaks against it")],
};

/// `stop`: the daemon itself.
pub static DAEMON: Entity = Entity {
    group: "",
    word: "",
    noun: "daemon",
    rest: "daemon",
    verbs: &[Verb::Stop],
    scope: Scope::Node,
    attributes: &[flag("force", "force", Kind::Present).fixed().help("even if no peer is fit to take over")],
};
