//! `show vrid`, `show vrid6`, `show L2Param`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::Shown;
use super::text::{enabled, mac, names};
use crate::command::runtime::{MasterState, Runtime};
use crate::command::schema::network;
use crate::command::span::{self, Unit};
use crate::command::{Command, CommandError};
use crate::config::{Address, Config, Record, Vrid};

pub fn vrids(command: &Command, config: &Config, runtime: &impl Runtime) -> Shown {
    let v6 = command.entity == &network::VRID6;
    let wanted: Option<u8> = command.read("id");
    let chosen = |vrid: &&Vrid| vrid.key.v6 == v6 && wanted.is_none_or(|id| id == vrid.key.id);
    let vrids: Vec<&Vrid> = config.vrids().filter(chosen).collect();
    if let (Some(id), true) = (wanted, vrids.is_empty()) {
        return Err(CommandError::missing("id", id, format!("show {} lists the VRIDs", command.entity.word)));
    }
    let serves = runtime.ha_status(config).local.master == MasterState::Primary;
    let state = if serves { "Master" } else { "Backup" };
    let homes = runtime.homes(config);
    let vrids: Vec<(&Vrid, Vec<String>)> = vrids.into_iter().map(|vrid| (vrid, addresses(vrid, config, &homes))).collect();
    let text = vrids.iter().enumerate().map(|(at, (vrid, addresses))| block(at + 1, vrid, addresses, state)).collect();
    Ok((text, vrids.iter().map(|(vrid, addresses)| row(vrid, addresses, state)).collect()))
}

fn block(number: usize, vrid: &Vrid, addresses: &[String], state: &str) -> String {
    let interfaces: Vec<String> = vrid.interfaces.iter().cloned().collect();
    let delay = vrid
        .preemption_delay
        .map_or(String::new(), |delay| format!("  Preemption delay: {}", span::label(delay, Unit::Seconds)));
    format!(
        "{number})\tVRID: {}  VMAC: {}  State: {state}  Type: STATIC\n\tPriority: {}  Preemption: {}{delay}  Sharing: {}  Tracking: {}\n\
         \tInterfaces: {}\n\tIPAddress: {}\n",
        vrid.key.id,
        mac(vrid.key.mac()),
        vrid.priority,
        enabled(vrid.preemption),
        enabled(vrid.sharing),
        vrid.tracking,
        names(&interfaces),
        names(addresses),
    )
}

fn row(vrid: &Vrid, addresses: &[String], state: &str) -> Value {
    let mut row = Value::Object(vrid.json());
    row["type"] = "STATIC".into();
    row["state"] = state.into();
    row["vmac"] = mac(vrid.key.mac()).into();
    row["ifaces"] = json!(vrid.interfaces);
    row["ipaddress"] = json!(addresses);
    row
}

/// Addresses that are announced at its MAC address: those that name it, and those that live on an interface that it is bound to.
fn addresses(vrid: &Vrid, config: &Config, homes: &BTreeMap<IpAddr, Vec<String>>) -> Vec<String> {
    let is_bound = |leg: &String| vrid.interfaces.contains(leg);
    let lives_there = |ip: &IpAddr| homes.get(ip).is_some_and(|legs| legs.iter().any(is_bound));
    let is_its = |address: &&Address| {
        address.vrid_key() == Some(vrid.key) || address.ip.is_ipv6() == vrid.key.v6 && lives_there(&address.ip)
    };
    config.addresses().filter(is_its).map(|address| address.ip.to_string()).collect()
}

pub fn l2_param(config: &Config) -> Shown {
    let param = config.l2_param();
    let text = format!(
        "\tGARP on interfaces with a VRID: {}\n\tGARP reply: {}\n\tReset interfaces on failover: {}\n",
        enabled(param.garp_on_vrid),
        enabled(param.garp_reply),
        enabled(param.reset)
    );
    Ok((text, Value::Object(param.json())))
}
