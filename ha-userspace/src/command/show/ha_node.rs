//! `show ha node`: the public block of both nodes, then what the links and the last transitions say.

use serde_json::{Value, json};

use super::Shown;
use super::text::{days_colon, enabled, millis, moment, names, on};
use crate::command::runtime::{LinkStatus, NodeStatus, PairStatus, Transition};
use crate::command::span::{self, Unit};
use crate::command::{Command, CommandError};

pub fn show(command: &Command, status: &PairStatus) -> Shown {
    let wanted: Option<u8> = command.read("id");
    let nodes: Vec<&NodeStatus> =
        [&status.local].into_iter().chain(&status.peer).filter(|node| wanted.is_none_or(|id| id == node.id)).collect();
    if let (Some(id), true) = (wanted, nodes.is_empty()) {
        return Err(CommandError::missing("id", id, "show ha node lists the nodes"));
    }
    let mut text: String = nodes.iter().enumerate().map(|(at, node)| block(at + 1, node)).collect();
    if wanted.unwrap_or(0) == 0 {
        text += &format!("Local node information:\n\tCritical Interfaces: {}\n", names(&status.local.monitored_interfaces));
        text += &links(&status.links);
        text += &transitions(&status.transitions);
    }
    let local = |node: &&NodeStatus| node.id == 0;
    let rows = nodes.iter().map(|node| node_json(node, local(node).then_some(status))).collect();
    Ok((text, Value::Array(rows)))
}

fn block(number: usize, node: &NodeStatus) -> String {
    let ip = node.ip.map_or("not set".to_owned(), |ip| ip.to_string());
    let name = node.name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
    let mut text = format!("{number})\tNode ID:      {}\n\tIP:\t{ip}{name}\n", node.id);
    let mut line = |label: &str, value: &str| text += &format!("\t{label} {value}\n");
    line("Node State:", node.state.word());
    line("Master State:", node.master.word());
    line("Fail-Safe Mode:", node.fail_safe.map_or("UNKNOWN", on));
    line("INC State:", "DISABLED");
    line("Sync State:", node.sync.word());
    line("Propagation:", node.propagation.map_or("UNKNOWN", enabled));
    line("Enabled Interfaces :", &names(&node.enabled_interfaces));
    line("Disabled Interfaces :", &names(&node.disabled_interfaces));
    line("HA MON ON Interfaces :", &names(&node.monitored_interfaces));
    line("Interfaces on which heartbeats are not seen :", &names(&node.silent_interfaces));
    line("Interfaces causing Partial Failure:", &names(&node.failed_interfaces));
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
    text
}

fn links(links: &[LinkStatus]) -> String {
    if links.is_empty() {
        return String::new();
    }
    let line = |link: &LinkStatus| {
        let heard = if link.heard { "heard" } else { "SILENT" };
        let last = link.last_heard.map_or("never".to_owned(), |time| format!("{} ago", millis(time)));
        let rtt = link.rtt.map_or("unknown".to_owned(), millis);
        format!(
            "\t{}: {heard}, last answer {last}, round trip {rtt}, lost {} of {} ({:.2} %)\n",
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

fn node_json(node: &NodeStatus, local: Option<&PairStatus>) -> Value {
    let mut row = json!({
        "id": node.id,
        "ipaddress": node.ip,
        "name": node.name,
        "hastatus": node.state,
        "state": node.master,
        "failsafe": node.fail_safe.map_or("UNKNOWN", on),
        "inc": "DISABLED",
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
    if let Some(status) = local {
        add("links", Some(status.links.iter().map(link_json).collect()));
        add("transitions", Some(status.transitions.iter().map(transition_json).collect()));
    }
    row
}

fn link_json(link: &LinkStatus) -> Value {
    let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    json!({
        "interface": link.interface,
        "heard": link.heard,
        "last_heard_us": link.last_heard.map(micros),
        "rtt_us": link.rtt.map(micros),
        "sent": link.sent,
        "lost": link.lost,
    })
}

fn transition_json(step: &Transition) -> Value {
    json!({"when": moment(step.when), "from": step.from, "to": step.to, "cause": step.cause, "evidence": step.evidence})
}
