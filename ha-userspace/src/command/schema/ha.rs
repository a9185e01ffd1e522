//! The pair: this node's part in it, the peer, forced failover, the daemon.

use std::time::Duration;

use super::attribute::{flag, key, named_key, optional_key, position, view};
use super::{Entity, Kind, Scope, Style, Verb};
use crate::command::error::code;
use crate::command::span::Unit;
use crate::command::value::{LOCAL, NONE};
use crate::command::words::HaStatus;

const fn interval(unit: Unit, min_ms: u64) -> Kind {
    Kind::Span { unit, min: Duration::from_millis(min_ms), max: Duration::from_secs(60) }
}

const SWITCH: Kind = Kind::Switch(Style::Enabled);

const fn seconds(min_ms: u64, max_s: u64) -> Kind {
    Kind::Span { unit: Unit::Seconds, min: Duration::from_millis(min_ms), max: Duration::from_secs(max_s) }
}

/// `set|unset|show|stat ha node`: this node.
pub static NODE: Entity = Entity {
    group: "ha",
    word: "node",
    noun: "node",
    rest: "hanode",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show, Verb::Stat],
    scope: Scope::Pair,
    attributes: &[
        optional_key("id", "id", Kind::Number { min: 0, max: 64 })
            .code(code::BAD_NODE_ID)
            .help("0 is this node, the only one whose settings can be changed here"),
        view("view", "view", Kind::Word(&["summary"])).help("one line for each node"),
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
        flag("maxFlips", "maxflips", Kind::Number { min: 0, max: 1_000_000 })
            .or("0")
            .of_the_node()
            .help("failovers for route monitors after which the Primary stays, whatever they say; 0 for no limit"),
        flag("maxFlipTime", "maxfliptime", seconds(0, 31_536_000))
            .or("0")
            .of_the_node()
            .help("time from the first of them after which the same holds; 0 for no limit"),
        flag("syncvlan", "syncvlan", Kind::Number { min: 1, max: 4_094 })
            .of_the_node()
            .help("VLAN for synchronisation and mirroring; heartbeats use every HA link all the same"),
        flag("syncStatusStrictMode", "syncstatusstrictmode", SWITCH)
            .or("DISABLED")
            .of_the_node()
            .help("whether a synchronisation of which a command failed counts as failed"),
        flag("isolationHold", "isolationhold", interval(Unit::Seconds, 3))
            .help("silence on every leg of clients after which this node is isolated; if not set, the deadInterval, but at least 100 ms"),
        flag("routeHold", "routehold", seconds(0, 3_600))
            .or("180")
            .help("how long route monitors are not judged after a start, a failover or a new one (not with nodes in different subnets)"),
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
        flag("inc", "inc", SWITCH)
            .or("DISABLED")
            .fixed()
            .help("nodes in different subnets: HA links lead through routers, and each node's network settings are its own"),
    ],
};

/// `bind|unbind ha node`: routes without which this node is not well.
pub static ROUTE_MONITOR: Entity = Entity {
    group: "ha",
    word: "node",
    noun: "route monitor",
    rest: "hanode_routemonitor_binding",
    verbs: &[Verb::Bind, Verb::Unbind],
    scope: Scope::Pair,
    attributes: &[
        optional_key("id", "id", Kind::Number { min: 0, max: 64 })
            .code(code::BAD_NODE_ID)
            .help("0 is this node, the only one whose monitors can be changed here"),
        named_key("routeMonitor", "routemonitor", Kind::Route)
            .help("the main routing table must have a route to exactly this network; * is a default route"),
    ],
};

/// `set|unset|show ha hook`: who is told of transitions and alarms.
pub static HOOK: Entity = Entity {
    group: "ha",
    word: "hook",
    noun: "hook",
    rest: "hahook",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show],
    scope: Scope::Node,
    attributes: &[
        flag("syslog", "syslog", Kind::Endpoint { words: &[LOCAL, NONE], port: 514 })
            .or(NONE)
            .help("RFC 5424 lines to a server by UDP, or to the host's own syslog"),
        flag("program", "program", Kind::Path).help("is started for each event, with JSON on its standard input"),
        flag("webhook", "webhook", Kind::Url).help("the same JSON is posted there"),
        flag("timeout", "timeout", interval(Unit::Seconds, 100))
            .or("10")
            .help("how long one delivery may take; a program is killed then"),
    ],
};

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
