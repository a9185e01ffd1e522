//! `stat ha node`: this node's counters.

use serde_json::json;

use super::Shown;
use super::text::{moment, yes};
use crate::command::runtime::{MasterState, NodeState, PairStatus};
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
    let lines = [
        ("High Availability", yes(paired).to_owned()),
        ("System state", node.state.stat_word().to_owned()),
        ("Master state", master.clone()),
        ("Last Transition time", last.clone()),
        ("Heartbeats received", received.to_string()),
        ("Heartbeats sent", sent.to_string()),
        // Nothing is propagated or synchronised that could fail.
        ("Propagation timeouts", "0".to_owned()),
        ("Sync failure", "0".to_owned()),
    ];
    let text = lines
        .iter()
        .fold("High Availability(HA)\n".to_owned(), |text, (label, value)| text + &format!("\t{label:<24}{value}\n"));
    let row = json!({
        "hacurstatus": yes(paired),
        "hacurstate": node.state.stat_word(),
        "hacurmasterstate": master,
        "transtime": last,
        "hatotpktrx": received,
        "hatotpkttx": sent,
        "haerrproptimeout": 0,
        "haerrsyncfailure": 0,
    });
    Ok((text, json!([row])))
}
