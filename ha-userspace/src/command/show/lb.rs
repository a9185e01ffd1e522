//! `show lb vserver` and `show service`.

use serde_json::{Value, json};

use super::Shown;
use super::text::{days_long, enabled, on, socket, yes};
use crate::command::runtime::{Health, Runtime, ServiceLoad, ServiceState};
use crate::command::words::{ConnFailover, Persistence};
use crate::command::{Command, CommandError};
use crate::config::{Binding, Config, Network, Record, Service, Vserver};

/// A service with its binding and its state.
type Bound<'a> = (&'a Service, &'a Binding, ServiceState);

pub fn vservers(command: &Command, config: &Config, runtime: &impl Runtime) -> Shown {
    let wanted: Option<String> = command.read("name");
    let found: Vec<&Vserver> =
        config.vservers().filter(|vserver| wanted.as_ref().is_none_or(|name| *name == vserver.name)).collect();
    if let (Some(name), true) = (&wanted, found.is_empty()) {
        return Err(CommandError::missing("name", name, "show lb vserver lists the virtual servers"));
    }
    let (mut text, mut rows) = (String::new(), Vec::new());
    for (at, vserver) in found.iter().enumerate() {
        let bound: Vec<Bound<'_>> =
            config.bound(vserver).map(|(service, binding)| (service, binding, state(service, runtime))).collect();
        text += &block(at + 1, vserver, &bound, effective(config, vserver, &bound, runtime));
        if wanted.is_some() {
            text += &members(&bound);
            text += &clients(vserver);
        }
        rows.push(row(vserver, &bound, effective(config, vserver, &bound, runtime)));
    }
    Ok((text, Value::Array(rows)))
}

/// What the monitor says, unless the operator has the last word.
fn state(service: &Service, runtime: &impl Runtime) -> ServiceState {
    let state = runtime.service_state(&service.name);
    let health = match service.enabled {
        true if state.health == Health::Unknown && !service.is_probed() => Health::Up,
        true => state.health,
        false if runtime.service_load(service).leaving => Health::GoingOutOfService,
        false => Health::OutOfService,
    };
    ServiceState { health, ..state }
}

/// A virtual server is up as long as one bound service is.
fn health(vserver: &Vserver, bound: &[Bound<'_>]) -> Health {
    match vserver.enabled {
        false => Health::OutOfService,
        true if active(bound) > 0 => Health::Up,
        true => Health::Down,
    }
}

/// The same, or that of its backup while it is down.
fn effective(config: &Config, vserver: &Vserver, bound: &[Bound<'_>], runtime: &impl Runtime) -> Health {
    let own = health(vserver, bound);
    let is_up = |backup: &Vserver| {
        backup.enabled && config.bound(backup).any(|(service, _)| state(service, runtime).health == Health::Up)
    };
    if own == Health::Down && config.backups(vserver).any(is_up) { Health::Up } else { own }
}

fn active(bound: &[Bound<'_>]) -> usize {
    bound.iter().filter(|(service, _, state)| takes_packets(service, state.health)).count()
}

/// Whether packets go to a service that is so.
fn takes_packets(service: &Service, health: Health) -> bool {
    health == Health::Up || service.access_down && health == Health::Down
}

fn block(number: usize, vserver: &Vserver, bound: &[Bound<'_>], effective: Health) -> String {
    let (name, protocol) = (&vserver.name, vserver.protocol);
    let mut text = format!("{number})\t{name} ({}) - {protocol}\tType: ADDRESS\n", socket(vserver.ip, vserver.port));
    let mut line = |label: &str, value: &str| text += &format!("\t{label} {value}\n");
    let state = health(vserver, bound).word();
    line("State:", state);
    line("Effective State:", effective.word());
    line("Client Idle Timeout:", &format!("{} sec", vserver.idle_timeout().as_secs_f64()));
    line("Down state flush:", enabled(vserver.down_state_flush));
    line("No. of Bound Services : ", &format!("{} (Total)\t {} (Active)", bound.len(), active(bound)));
    line("Configured Method:", vserver.method.word());
    line("Mode:", vserver.mode.word());
    match vserver.persistence {
        Persistence::None => line("Persistence:", "NONE"),
        kind => {
            let minutes = vserver.session_minutes;
            line("Persistence:", &format!("{kind}\tPersistence Timeout: {minutes} min\tMask: {} bits", vserver.session_bits()));
        }
    }
    if let Some(backup) = &vserver.backup {
        line("Backup:", backup);
    }
    if let Some(set) = &vserver.ipset {
        line("IPSet:", set);
    }
    line("L2Conn:", on(vserver.l2_conn));
    line("Sessionless:", enabled(vserver.sessionless));
    line("Connection Failover:", conn_failover(vserver));
    line("Flow log:", enabled(vserver.flow_log));
    line("IcmpResponse:", vserver.icmp_response.word());
    if vserver.limits_sources() {
        line("Limits per source:", &source_limits(vserver));
    }
    text
}

/// What one source may do.
fn source_limits(vserver: &Vserver) -> String {
    let any = |number: u32| if number == 0 { "any number of".to_owned() } else { number.to_string() };
    let (open, rate) = (any(vserver.connections_per_source), any(vserver.rate_per_source));
    format!("{open} connections open, {rate} new ones per second; a source is a /{}", vserver.source_length())
}

/// Whom it lets in.
fn clients(vserver: &Vserver) -> String {
    let word = |allowed: bool| if allowed { "ALLOW" } else { "DENY" };
    let line = |(network, allowed): (&Network, &bool)| format!("\tClients of {network}: {}\n", word(*allowed));
    let mut text: String = vserver.clients().iter().map(line).collect();
    if vserver.clients().values().any(|allowed| *allowed) {
        text += "\tAll other clients: DENY\n";
    }
    text
}

/// The stored wish, and that nothing is mirrored where the wish is that it were.
fn conn_failover(vserver: &Vserver) -> &'static str {
    match vserver.conn_failover {
        ConnFailover::Disabled => "DISABLED",
        ConnFailover::Stateless => "STATELESS",
        ConnFailover::Stateful => "STATEFUL (stored; connections are not mirrored)",
    }
}

fn members(bound: &[Bound<'_>]) -> String {
    let line = |(at, (service, binding, state)): (usize, &Bound<'_>)| {
        let (name, protocol, health) = (&service.name, service.protocol, state.health);
        format!(
            "{}) {name} ({}) - {protocol} State: {health}\tWeight: {}\n",
            at + 1,
            socket(service.ip, service.port),
            binding.weight
        )
    };
    bound.iter().enumerate().map(line).collect()
}

fn row(vserver: &Vserver, bound: &[Bound<'_>], effective: Health) -> Value {
    let state = health(vserver, bound);
    let mut row = Value::Object(vserver.json());
    row["clttimeout"] = crate::command::span::json(vserver.idle_timeout(), crate::command::span::Unit::Seconds);
    row["curstate"] = json!(state);
    row["effectivestate"] = json!(effective);
    row["totalservices"] = bound.len().into();
    row["activeservices"] = active(bound).into();
    let member = |(service, binding, state): &Bound<'_>| {
        let mut row = Value::Object(binding.json());
        row["ipv46"] = json!(service.ip);
        row["port"] = service.port.into();
        row["curstate"] = json!(state.health);
        row
    };
    let client = |(network, allowed): (&Network, &bool)| json!({"prefix": network.to_string(), "action": if *allowed { "ALLOW" } else { "DENY" }});
    row["lbvserver_client_binding"] = vserver.clients().iter().map(client).collect();
    row["lbvserver_service_binding"] = bound.iter().map(member).collect();
    row
}

pub fn services(command: &Command, config: &Config, runtime: &impl Runtime) -> Shown {
    let wanted: Option<String> = command.read("name");
    let found: Vec<&Service> =
        config.services().filter(|service| wanted.as_ref().is_none_or(|name| *name == service.name)).collect();
    if let (Some(name), true) = (&wanted, found.is_empty()) {
        return Err(CommandError::missing("name", name, "show service lists the services"));
    }
    let states: Vec<ServiceState> = found.iter().map(|service| state(service, runtime)).collect();
    let text = found
        .iter()
        .zip(&states)
        .enumerate()
        .map(|(at, (service, state))| service_block(at + 1, service, state, &runtime.service_load(service)))
        .collect();
    let row = |(service, state): (&&Service, &ServiceState)| service_row(service, state, &runtime.service_load(service));
    Ok((text, found.iter().zip(&states).map(row).collect()))
}

fn service_block(number: usize, service: &Service, state: &ServiceState, load: &ServiceLoad) -> String {
    let (name, protocol) = (&service.name, service.protocol);
    let mut text = format!("{number})\t{name} ({}) - {protocol}\n", socket(service.ip, service.port));
    let mut line = |label: &str, value: &str| text += &format!("\t{label} {value}\n");
    line("State:", state.health.word());
    if let Some(since) = state.since {
        line("Time since last state change:", &days_long(since));
    }
    if load.leaving {
        let left = load.left.map_or("when the last connection ends".to_owned(), |left| format!("in {} secs", left.as_secs()));
        line("Out of service:", &left);
    }
    let most = if service.max_clients == 0 { "no limit".to_owned() } else { format!("Max Conn: {}", service.max_clients) };
    line("Connections:", &format!("{}\tPeak: {}\t{most}", load.open, load.peak));
    line("Use Source IP:", yes(service.use_source_ip));
    line("Use Proxy Port:", yes(service.use_proxy_port));
    line("Access Down Service:", yes(service.access_down));
    line("Down state flush:", enabled(service.down_state_flush));
    if let Some(timeout) = service.server_timeout {
        line("Server Idle Timeout:", &format!("{} sec", timeout.as_secs_f64()));
    }
    line("Surge protection:", if service.surge_protected { "ON" } else { "OFF" });
    line("Health monitoring:", yes(service.health_monitor));
    if service.health_monitor {
        line("Probes:", &format!("{}\tFailed [Total: {}]", state.probes, state.failed));
        line("Last response:", state.last_response.as_deref().unwrap_or("none yet"));
    }
    text
}

fn service_row(service: &Service, state: &ServiceState, load: &ServiceLoad) -> Value {
    let mut row = Value::Object(service.json());
    row["svrstate"] = json!(state.health);
    row["cursrvrconnections"] = load.open.into();
    row["peakconnections"] = load.peak.into();
    row["outofserviceinsec"] = json!(load.left.map(|left| left.as_secs()));
    row["probes"] = state.probes.into();
    row["failedprobes"] = state.failed.into();
    row["lastresponse"] = json!(state.last_response);
    row["statechangetimesec"] = json!(state.since.map(|since| since.as_secs()));
    row
}
