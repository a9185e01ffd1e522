//! Services: the backends.

use std::net::IpAddr;
use std::time::Duration;

use super::change::{Change, Touched};
use super::record::{Record, record};
use super::{ANY_PORT, Config, address, binding, indices};
use crate::command::schema::{self, Verb};
use crate::command::words::Protocol;
use crate::command::{Command, CommandError};

/// `add service`.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The backend's address.
    pub ip: IpAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// The backend's port.
    pub port: u16,
    /// Whether the backend sees the client's address.
    pub use_source_ip: bool,
    /// Whether the client's port is translated (always false for now).
    pub use_proxy_port: bool,
    /// Whether new connections wait while it has many.
    pub surge_protected: bool,
    /// Whether it is probed; otherwise it counts as up.
    pub health_monitor: bool,
    /// Idle time after which a connection with it is forgotten, if it has one of its own.
    pub server_timeout: Option<Duration>,
    /// Whether connections with it are cut off when it goes down.
    pub down_state_flush: bool,
    /// Whether packets are sent to it although its monitor says that it is down.
    pub access_down: bool,
    /// Whether it is in use.
    pub enabled: bool,
    /// Connections that it takes at once; zero: any number.
    pub max_clients: u32,
    /// How it was taken out of use, if its connections may go on for a while.
    pub drain: Option<Drain>,
    /// Its backend index in the data plane, never given to another while the process lives.
    pub index: u32,
}

record!(Service: schema::lb::SERVICE, {
    "name" => name,
    "IP" => ip,
    "serviceType" => protocol,
    "port" => port,
    "usip" => use_source_ip,
    "useproxyport" => use_proxy_port,
    "sp" => surge_protected,
    "healthMonitor" => health_monitor,
    "svrTimeout" => server_timeout,
    "downStateFlush" => down_state_flush,
    "accessDown" => access_down,
    "state" => enabled,
    "maxClient" => max_clients,
} own { drain, index });

/// How long the connections of a service that is taken out of use may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// So long at most; none: until the last one has ended.
    pub delay: Option<Duration>,
    /// No longer than until the last one has ended.
    pub graceful: bool,
}

impl Service {
    /// Returns whether it is probed while it is in use; otherwise it counts as up.
    pub fn is_probed(&self) -> bool {
        self.health_monitor && self.protocol != Protocol::Any && self.protocol.meets_tcp() && self.port != ANY_PORT
    }

    fn identity(&self) -> String {
        format!("{} {} {} {}", self.name, self.protocol, self.ip, self.port)
    }
}

impl Config {
    pub(super) fn apply_service(&mut self, command: &Command) -> Result<Change, CommandError> {
        let name: String = command.read("name");
        let change = Change::of(Touched::Service(name.clone()));
        if command.verb == Verb::Add {
            self.add_service(Service::from_command(command))?;
            return Ok(change);
        }
        let Some(known) = self.services.get(&name) else { return Err(no_such_service("name", &name)) };
        let users = || self.vservers.values().filter(|vserver| vserver.bindings().any(|binding| binding.service == name));
        let next = match command.verb {
            Verb::Rm => {
                let users: Vec<&str> = users().map(|vserver| vserver.name.as_str()).collect();
                if !users.is_empty() {
                    return Err(CommandError::refused(format!(
                        "service {name} is bound to {}; unbind lb vserver first",
                        users.join(", ")
                    )));
                }
                self.indices.release(indices::Kind::Service, &known.identity());
                self.services.remove(&name);
                return Ok(change);
            }
            Verb::Enable => Service { enabled: true, drain: None, ..known.clone() },
            Verb::Disable => Service { enabled: false, drain: self.drain(known, command)?, ..known.clone() },
            _ => known.updated(command),
        };
        for vserver in users() {
            binding::check(vserver, &next)?;
        }
        self.services.insert(name, next);
        self.check_backups()?;
        Ok(change)
    }

    /// How `command` takes a service out of use. One that is out of use already has nothing to drain.
    fn drain(&self, known: &Service, command: &Command) -> Result<Option<Drain>, CommandError> {
        let delay = command.has("delay").then(|| command.read("delay"));
        let drain = Drain { delay, graceful: command.read("graceFul") };
        let uncounted =
            |vserver: &&super::Vserver| vserver.sessionless && vserver.bindings().any(|binding| binding.service == known.name);
        match (drain.delay, drain.graceful) {
            (None, true) if let Some(vserver) = self.vservers.values().find(uncounted) => Err(CommandError::refused(format!(
                "nobody counts the connections of virtual server {}, which is -sessionless ENABLED: give the service {} a delay",
                vserver.name, known.name
            ))),
            (None | Some(Duration::ZERO), false) => Ok(None),
            _ if !known.enabled && known.drain.is_none() => Ok(None),
            _ => Ok(Some(drain)),
        }
    }

    fn add_service(&mut self, mut service: Service) -> Result<(), CommandError> {
        let (ip, port, protocol) = (service.ip, service.port, service.protocol);
        protocol.check_port(port)?;
        if self.services.contains_key(&service.name) {
            return Err(CommandError::exists("name", &service.name, "set service changes it, rm service removes it"));
        }
        let is_same = |other: &&Service| (other.ip, other.port) == (ip, port) && other.protocol.meets(protocol);
        if let Some(other) = self.services.values().find(is_same) {
            let port = if port == ANY_PORT { "any port".to_owned() } else { format!("port {port}") };
            let how = format!("service {} is {} {port} there; bind that one", other.name, other.protocol);
            return Err(CommandError::exists("IP", ip, how));
        }
        address::check_host("IP", ip)?;
        self.check_is_no_node("IP", ip)?;
        if let Some(address) = self.addresses.get(&ip) {
            return Err(CommandError::exists(
                "IP",
                ip,
                format!("it is a {} of the pair: packets for it would come back here", address.kind),
            ));
        }
        service.index = self.indices.allot(indices::Kind::Service, &service.identity());
        self.services.insert(service.name.clone(), service);
        Ok(())
    }
}

pub(super) fn no_such_service(argument: &str, name: &str) -> CommandError {
    CommandError::missing(argument, name, "show service lists the services")
}
