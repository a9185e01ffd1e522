//! `show vrid`, `show vrid6`, `show L2Param`.

use serde_json::{Value, json};

use super::Shown;
use super::text::{enabled, mac, names};
use crate::command::runtime::{MasterState, Runtime};
use crate::command::schema::network;
use crate::command::span::{self, Unit};
use crate::command::{Command, CommandError};
use crate::config::{Config, Record, Vrid};

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
    let text = vrids.iter().enumerate().map(|(at, vrid)| block(at + 1, vrid, config, state)).collect();
    Ok((text, vrids.iter().map(|vrid| row(vrid, config, state)).collect()))
}

fn block(number: usize, vrid: &Vrid, config: &Config, state: &str) -> String {
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
        names(&addresses(vrid, config)),
    )
}

fn row(vrid: &Vrid, config: &Config, state: &str) -> Value {
    let mut row = Value::Object(vrid.json());
    row["type"] = "STATIC".into();
    row["state"] = state.into();
    row["vmac"] = mac(vrid.key.mac()).into();
    row["ifaces"] = json!(vrid.interfaces);
    row["ipaddress"] = json!(addresses(vrid, config));
    row
}

/// Addresses that name it. The others float with it where it is bound.
fn addresses(vrid: &Vrid, config: &Config) -> Vec<String> {
    let named = config.addresses().filter(|address| address.vrid_key() == Some(vrid.key));
    named.map(|address| address.ip.to_string()).collect()
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
