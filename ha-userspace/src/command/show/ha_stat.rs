//! `stat ha node`: this node's counters.

use serde_json::json;

use super::Shown;
use super::text::{moment, yes};
use crate::command::runtime::{LinkStatus, MasterState, NodeState, PairStatus};
use crate::command::{Command, CommandError};
use crate::config::Config;

pub fn show(command: &Command, config: &Config, status: &PairStatus) -> Shown {
    if let Some(id @ 1..) = command.read::<Option<u8>>("id") {
        return Err(CommandError::refused(format!("node {id} is not this node (0); its counters are on that node itself")));
    }
    let node = &status.local;
    let master = match (node.master, node.state) {
        (MasterState::Secondary, NodeState::StaySecondary) => "STAYSECONDARY".to_owned(),
        (master, _) => master.word().to_ascii_uppercase(),
    };
    let last = status.transitions.last().map_or("never".to_owned(), |step| moment(step.when));
    let paired = config.peer().is_some();
    let (received, sent) = (status.own.received, status.own.sent);
    let [received_rate, sent_rate] = status.own.rates;
    let lines = [
        ("High Availability", yes(paired).to_owned()),
        ("System state", node.state.stat_word().to_owned()),
        ("Master state", master.clone()),
        ("Last Transition time", last.clone()),
        ("Heartbeats received", counted(received, received_rate)),
        ("Heartbeats sent", counted(sent, sent_rate)),
        // Nothing is propagated or synchronised that could fail.
        ("Propagation timeouts", "0".to_owned()),
        ("Sync failure", "0".to_owned()),
    ];
    let mut text = lines
        .iter()
        .fold("High Availability(HA)\n".to_owned(), |text, (label, value)| text + &format!("\t{label:<24}{value}\n"));
    let mut row = json!({
        "hacurstatus": yes(paired),
        "hacurstate": node.state.stat_word(),
        "hacurmasterstate": master,
        "transtime": last,
        "hatotpktrx": received,
        "hatotpkttx": sent,
        "hapktrxrate": received_rate,
        "hapkttxrate": sent_rate,
        "haerrproptimeout": 0,
        "haerrsyncfailure": 0,
    });
    if command.has("detail") {
        text += &status.links.iter().map(link).collect::<String>();
        row["curflips"] = status.own.flips.into();
        let links = status.links.iter().map(|link| json!({"interface": link.interface, "counts": link.counts}));
        row["links"] = links.collect();
    }
    Ok((text, json!([row])))
}

/// A count and what it grows by.
fn counted(count: u64, rate: f64) -> String {
    format!("{count:<12}{rate:.1}/s")
}

fn link(link: &LinkStatus) -> String {
    let counts = &link.counts;
    let lines = [
        ("Requests sent", counts.requests_sent),
        ("Answers received", counts.answers),
        ("Requests received", counts.requests),
        ("Under an unknown key", counts.unknown_keys),
        ("With a wrong tag", counts.bad_tags),
        ("No news", counts.stale),
        ("Own, looped back", counts.looped),
        ("Own address, elsewhere", counts.duplicates),
        ("Own MAC, of the peer", counts.twins),
    ];
    lines
        .iter()
        .fold(format!("Heartbeat link {}\n", link.interface), |text, (label, count)| text + &format!("\t{label:<24}{count}\n"))
}
