//! `show ha node`: the public block of both nodes, then what the links and the last transitions say.

use std::time::Duration;

use ha_common::ha::event::Testimony;
use ha_common::ha::machine::Judged;
use serde_json::{Value, json};

use super::Shown;
use super::text::{NOT_JUDGED, days_colon, enabled, millis, moment, names, on};
use crate::command::runtime::{LinkStatus, NodeState, NodeStatus, OwnStatus, PairStatus, Transition};
use crate::command::span::{self, Unit};
use crate::command::value::Route;
use crate::command::{Command, CommandError};
use crate::config::{Config, HaNode};

pub fn show(command: &Command, config: &Config, status: &PairStatus) -> Shown {
    let wanted: Option<u8> = command.read("id");
    let nodes: Vec<&NodeStatus> =
        [&status.local].into_iter().chain(&status.peer).filter(|node| wanted.is_none_or(|id| id == node.id)).collect();
    if let (Some(id), true) = (wanted, nodes.is_empty()) {
        return Err(CommandError::missing("id", id, "show ha node lists the nodes"));
    }
    if command.has("view") {
        return Ok((summary(&nodes), nodes.iter().map(|node| summary_json(node)).collect()));
    }
    let mut text: String = nodes.iter().enumerate().map(|(at, node)| block(at + 1, node)).collect();
    if wanted.unwrap_or(0) == 0 {
        text += &local(config.ha(), &status.own);
        text += &links(&status.links);
        text += &transitions(&status.transitions);
    }
    let row = |node: &&NodeStatus| match node.id {
        0 => own_json(node_json(node), config.ha(), status),
        _ => node_json(node),
    };
    Ok((text, nodes.iter().map(row).collect()))
}

fn block(number: usize, node: &NodeStatus) -> String {
    let ip = node.ip.map_or("not set".to_owned(), |ip| ip.to_string());
    let name = node.name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
    let mut text = format!("{number})\tNode ID:      {}\n\tIP:\t{ip}{name}\n", node.id);
    let mut line = |label: &str, value: &str| text += &format!("\t{label} {value}\n");
    let known = |list: &Option<Vec<String>>| match list {
        Some(list) => names(list),
        None if node.id == 0 => NOT_JUDGED.to_owned(),
        None => NodeState::Unknown.word().to_owned(),
    };
    line("Node State:", node.state.word());
    line("Master State:", node.master.word());
    line("Fail-Safe Mode:", node.fail_safe.map_or("UNKNOWN", on));
    line("INC State:", node.inc.map_or("UNKNOWN", enabled));
    line("Sync State:", node.sync.word());
    line("Propagation:", node.propagation.map_or("UNKNOWN", enabled));
    line("Enabled Interfaces :", &known(&node.enabled_interfaces));
    line("Disabled Interfaces :", &known(&node.disabled_interfaces));
    line("HA MON ON Interfaces :", &known(&node.monitored_interfaces));
    line("Interfaces on which heartbeats are not seen :", &known(&node.silent_interfaces));
    line("Interfaces causing Partial Failure:", &known(&node.failed_interfaces));
    line("SSL Card Status:", "NOT PRESENT");
    if let Some(hello) = node.hello_interval {
        line("Hello Interval:", &span::label(hello, Unit::Millis));
    }
    if let Some(dead) = node.dead_interval {
        line("Dead Interval:", &span::label(dead, Unit::Seconds));
    }
    if let Some(time) = node.in_master_state_for {
        line("Node in this Master State for:", &format!("{} (days:hrs:min:sec)", days_colon(time)));
    }
    if let Some(release) = &node.release {
        line("Release:", release);
    }
    text
}

fn summary(nodes: &[&NodeStatus]) -> String {
    let columns = |number: &str, id: &str, ip: &str, name: &str, states: [&str; 3]| {
        let [state, master, sync] = states;
        format!("{number}\t{id:<9}{ip:<18}{name:<20}{state:<16}{master:<16}{sync}\n")
    };
    let head = columns("", "Node ID", "IP", "Name", ["Node State", "Master State", "Sync State"]);
    nodes.iter().enumerate().fold(head, |text, (at, node)| {
        let ip = node.ip.map_or("not set".to_owned(), |ip| ip.to_string());
        let name = node.name.as_deref().unwrap_or("-");
        let states = [node.state.word(), node.master.word(), node.sync.word()];
        text + &columns(&format!("{})", at + 1), &node.id.to_string(), &ip, name, states)
    })
}

fn summary_json(node: &NodeStatus) -> Value {
    json!({"id": node.id, "ipaddress": node.ip, "name": node.name, "hastatus": node.state, "state": node.master, "hasync": node.sync})
}

/// What only this node knows. A route's state is what the routing table says, whether or not it is judged at present.
fn local(ha: &HaNode, own: &OwnStatus) -> String {
    let critical = if own.unjudged { NOT_JUDGED.to_owned() } else { names(&own.critical_interfaces) };
    let mut text = format!("Local node information:\n\tCritical Interfaces: {critical}\n");
    let mut line = |label: &str, value: &str| text += &format!("\t{label} {value}\n");
    if !own.failed_sets.is_empty() {
        line("Failover Interface Sets causing Partial Failure:", &names(&own.failed_sets));
    }
    if own.routes.is_empty() {
        line("Route Monitors:", "None");
    }
    for (route, present) in &own.routes {
        line(&format!("Route Monitor: {route}"), &format!("State: {}", route_state(*present).unwrap_or(NOT_JUDGED)));
    }
    line("Max Flips:", &ha.max_flips.to_string());
    line("Max Flip Time:", &span::label(ha.max_flip_time, Unit::Seconds));
    line("Sync VLAN:", &ha.sync_vlan.map_or("None".to_owned(), |vlan| vlan.to_string()));
    line("Sync Status Strict Mode:", enabled(ha.sync_strict));
    line("Current Flips:", &own.flips.to_string());
    line("Completed Flip Time:", &format!("{} secs", own.flip_time.unwrap_or_default().as_secs()));
    line("Controller Dead Interval:", &span::label(ha.controller_dead_interval, Unit::Seconds));
    let hold = ha.isolation_hold();
    line("Isolation Hold:", &span::label(hold, Unit::Seconds));
    line("Route Hold:", &format!("{}{}", span::label(ha.route_hold, Unit::Seconds), judged(own)));
    line("Witness:", &witness(ha, own));
    if let Some(left) = own.preference_left {
        line("Preferred Primary:", &format!("takes the role back when it has been well for another {}", seconds(left)));
    }
    line(
        "Clients' networks:",
        &match own.silence {
            None => "nobody to probe".to_owned(),
            Some(silence) if silence >= hold => format!("SILENT for {}", millis(silence)),
            Some(silence) => format!("heard {} ago", millis(silence)),
        },
    );
    text
}

fn seconds(span: Duration) -> String {
    format!("{:.1} secs", span.as_secs_f64())
}

fn route_state(present: Option<bool>) -> Option<&'static str> {
    present.map(|present| if present { "UP" } else { "DOWN" })
}

/// When monitored routes count, if there are any and they do not now.
fn judged(own: &OwnStatus) -> String {
    match own.routes_judged {
        _ if own.routes.is_empty() => String::new(),
        Judged::Now => String::new(),
        Judged::In(left) => format!(" (route monitors are judged in {})", seconds(left)),
        Judged::Elsewhere => " (route monitors are judged on the Primary)".to_owned(),
    }
}

fn witness(ha: &HaNode, own: &OwnStatus) -> String {
    ha.witness.map_or("None".to_owned(), |server| format!("{server}, {}", witness_state(own.witness)))
}

fn witness_state(said: Option<Testimony>) -> &'static str {
    match said {
        None => "not asked yet",
        Some(Testimony::Noted) => "answers",
        Some(Testimony::Silent) => "SILENT",
        Some(Testimony::Granted) => "this node may serve alone",
        Some(Testimony::Refused) => {
            "REFUSED: the peer may serve alone; if it is lost for good, set ha node -witness NONE lets this node serve"
        }
    }
}

fn links(links: &[LinkStatus]) -> String {
    if links.is_empty() {
        return String::new();
    }
    let line = |link: &LinkStatus| {
        let heard = if link.heard { "heard" } else { "SILENT" };
        let peer = match link.peer_hears {
            Some(true) => "heard by the peer",
            Some(false) => "NOT HEARD BY THE PEER",
            None => "the peer has not spoken",
        };
        let last = link.last_heard.map_or("never".to_owned(), |time| format!("{} ago", millis(time)));
        let rtt = link.rtt.map_or("unknown".to_owned(), millis);
        format!(
            "\t{}: {heard}, {peer}, last answer {last}, round trip {rtt}, lost {} of the last {} ({:.2} %)\n",
            link.interface,
            link.lost,
            link.sent,
            loss_percent(link)
        )
    };
    links.iter().fold("Heartbeat links:\n".to_owned(), |text, link| text + &line(link))
}

fn loss_percent(link: &LinkStatus) -> f64 {
    if link.sent == 0 { 0.0 } else { link.lost as f64 * 100.0 / link.sent as f64 }
}

fn transitions(transitions: &[Transition]) -> String {
    if transitions.is_empty() {
        return String::new();
    }
    let line = |step: &Transition| {
        format!("\t{} {} -> {}: {} ({})\n", moment(step.when), step.from, step.to, step.cause, step.evidence)
    };
    transitions.iter().rev().fold("Last transitions, newest first:\n".to_owned(), |text, step| text + &line(step))
}

fn node_json(node: &NodeStatus) -> Value {
    let mut row = json!({
        "id": node.id,
        "ipaddress": node.ip,
        "name": node.name,
        "hastatus": node.state,
        "state": node.master,
        "failsafe": node.fail_safe.map_or("UNKNOWN", on),
        "inc": node.inc.map_or("UNKNOWN", enabled),
        "release": node.release,
        "hasync": node.sync,
        "haprop": node.propagation.map_or("UNKNOWN", enabled),
        "enaifaces": node.enabled_interfaces,
        "disifaces": node.disabled_interfaces,
        "hamonifaces": node.monitored_interfaces,
        "haheartbeatifaces": node.heartbeat_off_interfaces,
        "ifaces": node.silent_interfaces,
        "pfifaces": node.failed_interfaces,
        "ssl2": "NOT PRESENT",
    });
    let mut add = |key: &str, value: Option<Value>| value.map(|value| row[key] = value);
    add("hellointerval", node.hello_interval.map(|span| span::json(span, Unit::Millis)));
    add("deadinterval", node.dead_interval.map(|span| span::json(span, Unit::Seconds)));
    add("masterstatetime", node.in_master_state_for.map(|span| span.as_secs().into()));
    row
}

fn own_json(mut row: Value, ha: &HaNode, status: &PairStatus) -> Value {
    let route = |(route, present): &(Route, Option<bool>)| json!({"routemonitor": route.to_string(), "routemonitorstate": route_state(*present).unwrap_or("UNKNOWN")});
    let own = &status.own;
    let more = json!({
        "ci": own.critical_interfaces,
        "failedfis": own.failed_sets,
        "routemonitors": own.routes.iter().map(route).collect::<Vec<Value>>(),
        "maxflips": ha.max_flips,
        "maxfliptime": span::json(ha.max_flip_time, Unit::Seconds),
        "curflips": own.flips,
        "completedfliptime": own.flip_time.unwrap_or_default().as_secs(),
        "controllerdeadinterval": span::json(ha.controller_dead_interval, Unit::Seconds),
        "isolationhold": span::json(ha.isolation_hold(), Unit::Seconds),
        "routehold": span::json(ha.route_hold, Unit::Seconds),
        "routesjudgedin_s": match own.routes_judged {
            Judged::Now => Some(0.0),
            Judged::In(left) => Some(left.as_secs_f64()),
            Judged::Elsewhere => None,
        },
        "preferenceleft_s": own.preference_left.map(|left| left.as_secs_f64()),
        "witness": ha.witness.map(|server| server.to_string()),
        "witnessstate": ha.witness.map(|_| witness_state(own.witness)),
        "judged": !own.unjudged,
        "syncvlan": ha.sync_vlan,
        "syncstatusstrictmode": enabled(ha.sync_strict),
        "silence_us": own.silence.map(|span| u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
        "links": status.links.iter().map(link_json).collect::<Vec<Value>>(),
        "transitions": status.transitions.iter().map(transition_json).collect::<Vec<Value>>(),
    });
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}

fn link_json(link: &LinkStatus) -> Value {
    let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    json!({
        "interface": link.interface,
        "heard": link.heard,
        "peer_hears": link.peer_hears,
        "last_heard_us": link.last_heard.map(micros),
        "rtt_us": link.rtt.map(micros),
        "sent": link.sent,
        "lost": link.lost,
    })
}

fn transition_json(step: &Transition) -> Value {
    json!({"when": moment(step.when), "from": step.from, "to": step.to, "cause": step.cause, "evidence": step.evidence})
}
