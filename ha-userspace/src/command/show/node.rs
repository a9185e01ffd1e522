//! `show ns …`: the node itself, its RPC nodes and addresses, its limits.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Shown;
use super::text::{enabled, enabled_column, on};
use crate::command::schema::ns;
use crate::command::{Command, CommandError};
use crate::config::{Address, Config, Record, RpcNode};

pub fn rpc_nodes(command: &Command, config: &Config) -> Shown {
    let wanted: Option<IpAddr> = command.read("IPAddress");
    let nodes: Vec<&RpcNode> = config.rpc_nodes().filter(|node| wanted.is_none_or(|ip| ip == node.ip)).collect();
    if let (Some(ip), true) = (wanted, nodes.is_empty()) {
        return Err(CommandError::missing("IPAddress", ip, "show ns rpcNode lists the RPC nodes"));
    }
    let line = |(at, node): (usize, &&RpcNode)| {
        let digest = node.password.as_ref().map_or("not set", |password| password.digest());
        let source = node.source.map_or("*".to_owned(), |ip| ip.to_string());
        format!("{})\tIPAddress: {}\tPassword: {digest}\tSrcIP: {source}\tSecure: {}\n", at + 1, node.ip, on(node.secure))
    };
    let text = nodes.iter().enumerate().map(line).collect();
    Ok((text, nodes.iter().map(|node| Value::Object(node.json())).collect()))
}

pub fn addresses(command: &Command, config: &Config) -> Shown {
    let is_v4 = command.entity == &ns::IP;
    let wanted = match command.args.iter().find_map(|arg| arg.value.as_ref()) {
        Some(crate::command::value::Value::Ip(ip)) => Some(*ip),
        Some(crate::command::value::Value::Prefix(ip, _)) => Some(IpAddr::V6(*ip)),
        _ => None,
    };
    let shown = |ip: IpAddr| ip.is_ipv4() == is_v4 && wanted.is_none_or(|wanted| wanted == ip);
    let node = config.node();
    let own = node.ip.zip(node.netmask).filter(|(ip, _)| shown(IpAddr::V4(*ip)));
    let addresses: Vec<&Address> = config.addresses().filter(|address| shown(address.ip)).collect();
    if let (Some(ip), None, true) = (wanted, own, addresses.is_empty()) {
        return Err(CommandError::missing(command.entity.attributes[0].name, ip, "show ns ip lists the addresses"));
    }
    let neighbour = if is_v4 { "Arp" } else { "ND" };
    let columns = |number: &str, ip: &str, kind: &str, mode: &str, rest: [&str; 4]| {
        let [arp, icmp, vserver, state] = rest;
        format!("{number}\t{ip:<40}{kind:<14}{mode:<10}{arp:<10}{icmp:<10}{vserver:<10}{state}\n")
    };
    let mut lines = vec![columns("", "Ipaddress", "Type", "Mode", [neighbour, "Icmp", "Vserver", "State"])];
    lines.push(columns("", "---------", "----", "----", ["---", "----", "-------", "-----"]));
    let mut rows = Vec::new();
    if let Some((ip, netmask)) = own {
        lines.push(columns("1)", &ip.to_string(), "NetScaler IP", "Active", ["Enabled", "Enabled", "NA", "Enabled"]));
        rows.push(json!({"ipaddress": ip, "netmask": netmask, "type": "NSIP", "arp": "ENABLED", "icmp": "ENABLED", "state": "ENABLED"}));
    }
    for address in addresses {
        let serves = config.vservers().any(|vserver| vserver.addresses().any(|(ip, _)| ip == address.ip));
        let text = match address.ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("{ip}/{}", address.prefix_len),
        };
        let column = [
            enabled_column(address.arp),
            enabled_column(address.icmp),
            if serves { "Enabled" } else { "NA" },
            enabled_column(address.enabled),
        ];
        lines.push(columns(&format!("{})", rows.len() + 1), &text, address.kind.word(), "Active", column));
        if wanted.is_some() {
            lines.push(format!(
                "\tICMP response: {}\t{neighbour} response: {}\n",
                address.icmp_response, address.neighbour_response
            ));
        }
        rows.push(Value::Object(address.json()));
    }
    Ok((lines.concat(), Value::Array(rows)))
}

pub fn node_config(config: &Config, is_saved: bool) -> Shown {
    let node = config.node();
    let system = if config.peer().is_some() { "HA" } else { "Standalone" };
    let address = node.ip.zip(node.netmask).map_or("not set".to_owned(), |(ip, mask)| format!("{ip}  (mask: {mask})"));
    let changed = if is_saved { "FALSE" } else { "TRUE" };
    let identity = format!("{:016x}", config.identity());
    let text = format!(
        "\tNetScaler IP: {address}\n\tNode: {system}\n\tConfiguration identity of the pair: {identity}\n\tConfig Changed since last Saved Config: {changed}\n"
    );
    let mut row = json!({"systemtype": system, "identity": identity, "configchanged": !is_saved});
    if let Value::Object(row) = &mut row {
        row.extend(node.json());
    }
    Ok((text, row))
}

pub fn rate_control(config: &Config) -> Shown {
    let control = config.rate_control();
    let threshold = |allowed: u32, what: &str| match allowed {
        0 => "none".to_owned(),
        allowed => format!("{allowed} {what} per 10 ms"),
    };
    let icmp = threshold(control.icmp_threshold, "messages");
    let resets = threshold(control.reset_threshold, "resets");
    Ok((format!("\tICMP threshold: {icmp}\n\tTCP reset threshold: {resets}\n"), Value::Object(control.json())))
}

pub fn tcp_param(config: &Config) -> Shown {
    let param = config.tcp_param();
    Ok((format!("\tDown state RST: {}\n", enabled(param.down_state_reset)), Value::Object(param.json())))
}

pub fn surge_protection(config: &Config) -> Shown {
    let surge = config.surge();
    let (threshold, throttle) = (surge.threshold(), surge.throttle.word());
    let mut row = surge.json();
    row.insert("basethreshold".into(), threshold.into());
    Ok((format!("\tBase Threshold: {threshold}\tThrottle: {throttle}\n"), Value::Object(row)))
}

pub fn host_name(config: &Config) -> Shown {
    let name = config.node().host_name.as_deref();
    let text = name.map_or("\tHostname: not set\n".to_owned(), |name| format!("1)\tHostname: {name}\n"));
    Ok((text, json!([{"hostname": name}])))
}

pub fn version() -> Shown {
    let version = env!("CARGO_PKG_VERSION");
    Ok((format!("\tUnderstudy {version}\n"), json!({"version": format!("Understudy {version}")})))
}
