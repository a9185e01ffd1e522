//! `show ipset`.

use serde_json::{Value, json};

use super::Shown;
use crate::command::{Command, CommandError};
use crate::config::{Config, IpSet};

pub fn show(command: &Command, config: &Config) -> Shown {
    let wanted: Option<String> = command.read("name");
    let sets: Vec<&IpSet> = config.ipsets().filter(|set| wanted.as_ref().is_none_or(|name| *name == set.name)).collect();
    if let (Some(name), true) = (wanted, sets.is_empty()) {
        return Err(CommandError::missing("name", name, "show ipset lists the sets of addresses"));
    }
    let line = |(at, set): (usize, &&IpSet)| {
        let members: String = set.members.iter().map(|ip| format!("\tIPAddress: {ip}\n")).collect();
        format!("{})\tName: {}\n{members}", at + 1, set.name)
    };
    let row = |set: &&IpSet| {
        let members: Vec<Value> = set.members.iter().map(|ip| json!({"name": set.name, "ipaddress": ip})).collect();
        json!({"name": set.name, "ipset_nsip_binding": members})
    };
    Ok((sets.iter().enumerate().map(line).collect(), sets.iter().map(row).collect::<Vec<Value>>().into()))
}
