//! Virtual servers.

use std::net::IpAddr;
use std::time::Duration;

use super::address::{self, Address};
use super::binding::Binding;
use super::change::{Change, Touched};
use super::record::{Record, record};
use super::{Config, indices};
use crate::command::schema::{self, Verb};
use crate::command::words::{AddressType, ConnFailover, LbMethod, Mode, Protocol, VserverResponse};
use crate::command::{Command, CommandError};

/// `add lb vserver`, with the services bound to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Vserver {
    /// Its name.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its VIP.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// How a service is chosen.
    pub method: LbMethod,
    /// How packets are redirected.
    pub mode: Mode,
    /// Whether it is in use.
    pub enabled: bool,
    /// Whether every packet is placed by hash, without a table of connections.
    pub sessionless: bool,
    /// Whether connections are mirrored.
    pub conn_failover: ConnFailover,
    /// Idle time after which a connection is forgotten, if given; [`Vserver::idle_timeout`] knows the default.
    pub client_timeout: Option<Duration>,
    /// Whether opening and closing of connections are reported.
    pub flow_log: bool,
    /// Whether its state counts for echo requests, where the VIP leaves that to it.
    pub icmp_response: VserverResponse,
    /// Its index in the data plane, never given to another while the process lives.
    pub index: u32,
    pub(super) bindings: Vec<Binding>,
}

record!(Vserver: schema::lb::VSERVER, {
    "name" => name,
    "serviceType" => protocol,
    "IPAddress" => ip,
    "port" => port,
    "lbMethod" => method,
    "m" => mode,
    "state" => enabled,
    "sessionless" => sessionless,
    "connFailover" => conn_failover,
    "cltTimeout" => client_timeout,
    "flowLog" => flow_log,
    "icmpVsrResponse" => icmp_response,
} own { index, bindings });

impl Vserver {
    /// Returns the idle time after which a connection is forgotten: as given, or 9000 s for TCP and 120 s for UDP.
    pub fn idle_timeout(&self) -> Duration {
        self.client_timeout.unwrap_or(match self.protocol {
            Protocol::Tcp => Duration::from_secs(9_000),
            Protocol::Udp => Duration::from_secs(120),
        })
    }

    /// Returns its bindings, ordered by the name of the service.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    /// Returns what its index is remembered by across restarts: the same name alone is not the same virtual server.
    fn identity(&self) -> String {
        format!("{} {} {} {}", self.name, self.protocol, self.ip, self.port)
    }

    pub(super) fn binding_commands(&self) -> Vec<Command> {
        self.bindings.iter().filter_map(|binding| binding.command(Verb::Bind)).collect()
    }
}

impl Config {
    pub(super) fn apply_vserver(&mut self, command: &Command) -> Result<Change, CommandError> {
        let name: String = command.read("name");
        let mut change = Change::of(Touched::Vserver(name.clone()));
        if command.verb == Verb::Add {
            change.add(Touched::Address(command.read("IPAddress")));
            self.add_vserver(Vserver::from_command(command))?;
            return Ok(change);
        }
        let Some(known) = self.vservers.get(&name) else { return Err(no_such_vserver("name", &name)) };
        let next = match command.verb {
            Verb::Rm => {
                let ip = known.ip;
                self.indices.release(indices::Kind::Vserver, &known.identity());
                self.vservers.remove(&name);
                self.rm_implicit_address(ip);
                change.add(Touched::Address(ip));
                return Ok(change);
            }
            Verb::Enable => Vserver { enabled: true, ..known.clone() },
            Verb::Disable => Vserver { enabled: false, ..known.clone() },
            _ => known.updated(command),
        };
        for (service, _) in self.bound(&next) {
            super::binding::check(&next, service)?;
        }
        self.vservers.insert(name, next);
        Ok(change)
    }

    fn add_vserver(&mut self, mut vserver: Vserver) -> Result<(), CommandError> {
        let (ip, port, protocol) = (vserver.ip, vserver.port, vserver.protocol);
        if self.vservers.contains_key(&vserver.name) {
            return Err(CommandError::exists("name", &vserver.name, "set lb vserver changes it, rm lb vserver removes it"));
        }
        if let Some(other) = self.vservers.values().find(|other| (other.ip, other.port, other.protocol) == (ip, port, protocol))
        {
            return Err(CommandError::exists(
                "IPAddress",
                ip,
                format!("virtual server {} serves {protocol} port {port} there", other.name),
            ));
        }
        address::check_host("IPAddress", ip)?;
        self.check_is_no_node("IPAddress", ip)?;
        if let Some(service) = self.services.values().find(|service| service.ip == ip) {
            return Err(CommandError::exists(
                "IPAddress",
                ip,
                format!("service {} has it: a backend and a VIP cannot share an address", service.name),
            ));
        }
        match self.addresses.get(&ip).map(|address| address.kind) {
            Some(AddressType::Snip) => {
                return Err(CommandError::exists("IPAddress", ip, "it is a SNIP; a virtual server needs a VIP"));
            }
            Some(AddressType::Vip) => {}
            None => {
                self.addresses.insert(ip, Address::of_vserver(ip));
            }
        }
        vserver.index = self.indices.allot(indices::Kind::Vserver, &vserver.identity());
        self.vservers.insert(vserver.name.clone(), vserver);
        Ok(())
    }

    fn rm_implicit_address(&mut self, ip: IpAddr) {
        let in_use = self.vservers.values().any(|vserver| vserver.ip == ip);
        if !in_use && self.addresses.get(&ip).is_some_and(|address| address.implicit) {
            self.addresses.remove(&ip);
        }
    }
}

pub(super) fn no_such_vserver(argument: &str, name: &str) -> CommandError {
    CommandError::missing(argument, name, "show lb vserver lists the virtual servers")
}
