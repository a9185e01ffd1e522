//! `show fis` and `show ci`: which interfaces make this node unhealthy together, and which alone.

use serde_json::{Value, json};

use super::Shown;
use super::text::{NOT_JUDGED, names};
use crate::command::runtime::OwnStatus;
use crate::command::{Command, CommandError};
use crate::config::{Config, Fis};

pub fn sets(command: &Command, config: &Config, own: &OwnStatus) -> Shown {
    let wanted: Option<String> = command.read("name");
    let sets: Vec<&Fis> = config.sets().filter(|set| wanted.as_ref().is_none_or(|name| *name == set.name)).collect();
    if let (Some(name), true) = (wanted, sets.is_empty()) {
        return Err(CommandError::missing("name", name, "show fis lists the failover interface sets"));
    }
    let state = |set: &Fis| match own.failed_sets.contains(&set.name) {
        _ if own.unjudged => NOT_JUDGED,
        true => "DOWN",
        false => "UP",
    };
    let line = |(at, set): (usize, &&Fis)| {
        format!("{})\tFIS: {}\tState: {}\n\tInterfaces: {}\n", at + 1, set.name, state(set), names(&set.members))
    };
    let row = |set: &&Fis| json!({"name": set.name, "ifaces": set.members, "state": state(set)});
    Ok((sets.iter().enumerate().map(line).collect(), sets.iter().map(row).collect::<Vec<Value>>().into()))
}

pub fn critical(own: &OwnStatus) -> Shown {
    let critical = if own.unjudged { NOT_JUDGED.to_owned() } else { names(&own.critical_interfaces) };
    let text = format!("\tCritical Interfaces: {critical}\n");
    let rows: Vec<Value> = own.critical_interfaces.iter().map(|name| json!({"ifaces": name})).collect();
    Ok((text, rows.into()))
}
