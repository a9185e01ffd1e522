//! `show vlan`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Shown;
use crate::command::value::Route;
use crate::command::{Command, CommandError};
use crate::config::{Config, Record, Vlan};

pub fn vlans(command: &Command, config: &Config) -> Shown {
    let wanted = command.arg("id").map(|_| command.read::<u16>("id"));
    let found: Vec<&Vlan> = config.vlans().filter(|vlan| wanted.is_none_or(|id| id == vlan.id)).collect();
    if let (Some(id), true) = (wanted, found.is_empty()) {
        return Err(CommandError::missing("id", id, "show vlan lists the VLANs"));
    }
    let text = found.iter().enumerate().map(|(at, vlan)| block(at + 1, vlan, config)).collect();
    Ok((text, found.into_iter().map(|vlan| row(vlan, config)).collect()))
}

fn block(number: usize, vlan: &Vlan, config: &Config) -> String {
    let mark = if vlan.tagged { "(T)" } else { "" };
    let interfaces: Vec<String> = vlan.interfaces.iter().map(|name| format!("{name}{mark}")).collect();
    let mut text = format!(
        "{number})\tVLAN ID: {}\tVLAN Alias Name: {}\n\tInterfaces : {}\n\tIPs :\n",
        vlan.id,
        vlan.alias.as_deref().unwrap_or_default(),
        interfaces.join(" ")
    );
    for subnet in &vlan.subnets {
        let _ = match subnet {
            Route::To(ip, length) if ip.is_ipv4() => {
                writeln!(text, "\t     {ip}\tMask: {}", crate::config::mask(*length))
            }
            subnet => writeln!(text, "\t     {subnet}"),
        };
    }
    let addresses = addresses(vlan, config);
    if !addresses.is_empty() {
        let _ = writeln!(text, "\tFloating addresses : {}", addresses.join(" "));
    }
    text
}

/// Floating addresses that live in it.
fn addresses(vlan: &Vlan, config: &Config) -> Vec<String> {
    let is_its = |ip| config.vlan_of(ip).is_some_and(|home| home.id == vlan.id);
    config.addresses().filter(|address| is_its(address.ip)).map(|address| address.ip.to_string()).collect()
}

fn row(vlan: &Vlan, config: &Config) -> Value {
    let mut row = Value::Object(vlan.json());
    let interface = |name: &String| json!({ "id": vlan.id, "ifnum": name, "tagged": vlan.tagged });
    row["vlan_interface_binding"] = vlan.interfaces.iter().map(interface).collect();
    let subnet = |subnet: &Route| match subnet {
        Route::To(ip, length) if ip.is_ipv4() => {
            json!({ "id": vlan.id, "ipaddress": ip, "netmask": crate::config::mask(*length) })
        }
        subnet => json!({ "id": vlan.id, "ipaddress": subnet.to_string() }),
    };
    row["vlan_nsip_binding"] = vlan.subnets.iter().map(subnet).collect();
    row["addresses"] = json!(addresses(vlan, config));
    row
}
