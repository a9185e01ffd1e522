//! Virtual servers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::address::{self, Address};
use super::binding::Binding;
use super::change::{Change, Touched};
use super::clients::Clients;
use super::record::{Record, record};
use super::{ANY_PORT, Config, indices};
use crate::command::schema::{self, Verb};
use crate::command::value::mask_length;
use crate::command::words::{AddressType, ConnFailover, LbMethod, Mode, Persistence, Protocol, VserverResponse};
use crate::command::{Command, CommandError, code};

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
    /// Whether clients with the same address and port are told apart by where they are.
    pub l2_conn: bool,
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
    /// Which clients stay with the service that they had before.
    pub persistence: Persistence,
    /// Minutes without a connection after which a client may get another service.
    pub session_minutes: u32,
    /// Clients whose IPv4 addresses are equal under it stay together.
    pub session_mask: Ipv4Addr,
    /// Clients whose IPv6 addresses have so many bits in common stay together.
    pub session_bits: u8,
    /// The virtual server whose services take the clients while none of its own is up.
    pub backup: Option<String>,
    /// Further addresses that it serves.
    pub ipset: Option<String>,
    /// Whether its connections are cut off when it goes down.
    pub down_state_flush: bool,
    /// Its index in the data plane, never given to another while the process lives.
    pub index: u32,
    /// Connections that one source may have open; zero for any number.
    pub connections_per_source: u32,
    /// Connections that one source may open in a second; zero for any number.
    pub rate_per_source: u32,
    /// What of an IPv4 address names a source.
    pub source_mask: Ipv4Addr,
    /// How many bits of an IPv6 address name a source.
    pub v6_source_length: u8,
    pub(super) bindings: Vec<Binding>,
    /// The same for each further address.
    pub(super) more: BTreeMap<IpAddr, u32>,
    pub(super) clients: Clients,
}

record!(Vserver: schema::lb::VSERVER, {
    "name" => name,
    "serviceType" => protocol,
    "IPAddress" => ip,
    "port" => port,
    "lbMethod" => method,
    "m" => mode,
    "l2Conn" => l2_conn,
    "state" => enabled,
    "sessionless" => sessionless,
    "connFailover" => conn_failover,
    "cltTimeout" => client_timeout,
    "flowLog" => flow_log,
    "icmpVsrResponse" => icmp_response,
    "persistenceType" => persistence,
    "timeout" => session_minutes,
    "persistMask" => session_mask,
    "v6persistmasklen" => session_bits,
    "backupVServer" => backup,
    "ipset" => ipset,
    "downStateFlush" => down_state_flush,
    "maxConnPerSource" => connections_per_source,
    "maxRatePerSource" => rate_per_source,
    "sourceMask" => source_mask,
    "v6SourceMaskLen" => v6_source_length,
} own { index, bindings, more, clients });

/// Name of an attribute.
const BACKUP: &str = "backupVServer";

/// A virtual server that is down is served by its backup, or by that one's.
pub const BACKUP_LEVELS: usize = 2;

impl Vserver {
    /// Returns the idle time after which a connection is forgotten: as given, or that of its type.
    pub fn idle_timeout(&self) -> Duration {
        self.client_timeout.unwrap_or(self.protocol.layer4().idle)
    }

    /// Returns whether the connections of each source are limited.
    pub fn limits_sources(&self) -> bool {
        self.connections_per_source != 0 || self.rate_per_source != 0
    }

    /// Returns how many bits of a client's address name its source.
    pub fn source_length(&self) -> u8 {
        if self.ip.is_ipv4() { mask_length(self.source_mask).unwrap_or(32) } else { self.v6_source_length }
    }

    /// Returns its bindings, ordered by the name of the service.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    /// Refuses what it cannot be by itself, whatever is bound to it.
    fn check(&self) -> Result<(), CommandError> {
        let name = &self.name;
        let why = if (self.sessionless || self.is_any_address()) && self.limits_sources() {
            let stateless = if self.sessionless { "-sessionless ENABLED" } else { "of any address (*)" };
            format!(
                "virtual server {name} is {stateless}: who keeps no connections cannot count them; leave -maxConnPerSource and \
                 -maxRatePerSource at 0, or set -sessionless DISABLED"
            )
        } else if self.sessionless && self.l2_conn {
            format!(
                "virtual server {name} is -sessionless ENABLED: who keeps no connections cannot tell clients apart by more than address and \
                 port; use -l2Conn OFF, or -sessionless DISABLED"
            )
        } else if self.l2_conn && self.mode != Mode::Ip {
            format!(
                "virtual server {name} is -m {}: its services answer clients past this node, and see them by address and port alone; use \
                 -l2Conn OFF, or -m IP with services that are -usip NO",
                self.mode
            )
        } else if self.sessionless && self.conn_failover == ConnFailover::Stateful {
            let why = "it has no connections that could be mirrored, and needs none: both nodes choose alike; use -connFailover DISABLED or STATELESS";
            let why = format!("Operation not permitted: virtual server {name} is -sessionless ENABLED: {why}");
            return Err(CommandError::new(code::SESSIONLESS, why));
        } else {
            return Ok(());
        };
        Err(CommandError::refused(why))
    }

    /// Returns the time without a connection after which a client may get another service.
    pub fn session_timeout(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.session_minutes))
    }

    /// Returns how many bits of an address say that two clients belong together.
    pub fn session_bits(&self) -> u32 {
        if self.ip.is_ipv4() { self.session_mask.to_bits().count_ones() } else { self.session_bits.into() }
    }

    /// Returns each address that it serves, with its index in the data plane there.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, u32)> {
        std::iter::once((self.ip, self.index)).chain(self.more.iter().map(|(&ip, &index)| (ip, index)))
    }

    /// Returns what its index at an address is remembered by across restarts: the same name alone is not the same virtual server.
    fn identity(&self, ip: IpAddr) -> String {
        format!("{} {} {ip} {}", self.name, self.protocol, self.port)
    }

    /// Returns the command that makes it, but for its backup: that may not be there yet.
    pub(super) fn add_command(&self) -> Option<Command> {
        let mut command = self.command(Verb::Add)?;
        command.args.retain(|arg| arg.attribute.name != BACKUP);
        Some(command)
    }

    /// Returns the command that gives it its backup.
    pub(super) fn backup_command(&self) -> Option<Command> {
        let mut command = self.command(Verb::Set)?;
        command.args.retain(|arg| ["name", BACKUP].contains(&arg.attribute.name));
        command.has(BACKUP).then_some(command)
    }

    pub(super) fn binding_commands(&self) -> Vec<Command> {
        self.bindings.iter().filter_map(Binding::bind_command).chain(self.client_commands()).collect()
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
                if let Some(user) = self.vservers.values().find(|other| other.backup.as_ref() == Some(&name)) {
                    let user = &user.name;
                    return Err(CommandError::refused(format!(
                        "virtual server {name} is the backup of {user}; unset lb vserver {user} -backupVServer first"
                    )));
                }
                for (ip, _) in known.addresses() {
                    self.indices.release(indices::Kind::Vserver, &known.identity(ip));
                }
                self.vservers.remove(&name);
                self.rm_implicit_address(ip);
                change.add(Touched::Address(ip));
                return Ok(change);
            }
            Verb::Enable => Vserver { enabled: true, ..known.clone() },
            Verb::Disable => Vserver { enabled: false, ..known.clone() },
            _ => known.updated(command),
        };
        self.check_vserver(&next)?;
        let next = self.with_addresses(next)?;
        for (ip, _) in next.addresses() {
            change.add(Touched::Address(ip));
        }
        self.vservers.insert(name, next);
        self.check_backups()?;
        Ok(change)
    }

    fn add_vserver(&mut self, mut vserver: Vserver) -> Result<(), CommandError> {
        let ip = vserver.ip;
        if self.vservers.contains_key(&vserver.name) {
            return Err(CommandError::exists("name", &vserver.name, "set lb vserver changes it, rm lb vserver removes it"));
        }
        self.check_vserver(&vserver)?;
        self.check_free(&vserver, ip)?;
        if !vserver.is_any_address() {
            self.take_vip(ip)?;
        }
        vserver.index = self.indices.allot(indices::Kind::Vserver, &vserver.identity(ip));
        let vserver = self.with_addresses(vserver)?;
        self.vservers.insert(vserver.name.clone(), vserver);
        self.check_backups()
    }

    /// Makes `ip` a VIP, if it is none yet and may be one.
    fn take_vip(&mut self, ip: IpAddr) -> Result<(), CommandError> {
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
            Some(AddressType::Snip) => Err(CommandError::exists("IPAddress", ip, "it is a SNIP; a virtual server needs a VIP")),
            Some(AddressType::Vip) => Ok(()),
            None => {
                self.addresses.insert(ip, Address::of_vserver(ip));
                Ok(())
            }
        }
    }

    /// Refuses what a virtual server cannot be by itself, or with the services bound to it.
    fn check_vserver(&self, vserver: &Vserver) -> Result<(), CommandError> {
        vserver.check_type()?;
        vserver.check()?;
        let name = &vserver.name;
        if vserver.sessionless || vserver.is_any_address() {
            let needs = match vserver.method {
                LbMethod::RoundRobin | LbMethod::LeastConnection => Some(format!("-lbMethod {}", vserver.method)),
                _ if vserver.persistence != Persistence::None => Some(format!("-persistenceType {}", vserver.persistence)),
                _ if vserver.mode == Mode::Ip && vserver.ipset.is_some() => Some("-ipset with -m IP".to_owned()),
                _ => None,
            };
            if let Some(needs) = needs {
                let stateless = if vserver.sessionless { "-sessionless ENABLED" } else { "of any address (*)" };
                return Err(CommandError::refused(format!(
                    "virtual server {name} is {stateless}, and {needs} needs a table of connections: use a method that follows from the \
                     packet alone (SRCIPSRCPORTHASH, SOURCEIPHASH, DESTINATIONIPHASH, SRCIPDESTIPHASH) without persistence, or -sessionless DISABLED"
                )));
            }
        }
        self.bound(vserver).try_for_each(|(service, _)| {
            super::binding::check(vserver, service)?;
            self.check_answers(vserver, service)
        })
    }

    /// Gives a virtual server a place in the data plane for each address of its set, and takes those of others.
    pub(super) fn with_addresses(&mut self, mut vserver: Vserver) -> Result<Vserver, CommandError> {
        let wanted: Vec<IpAddr> = match &vserver.ipset {
            None => Vec::new(),
            Some(name) => {
                let set = self.ipsets.get(name).ok_or_else(|| super::ipset::no_such_set("ipset", name))?;
                set.members.iter().copied().filter(|&ip| ip != vserver.ip).collect()
            }
        };
        for &ip in &wanted {
            if ip.is_ipv4() != vserver.ip.is_ipv4() {
                return Err(CommandError::refused(format!(
                    "{ip} is not of the family of virtual server {} ({}): give it a virtual server of its own",
                    vserver.name, vserver.ip
                )));
            }
            self.check_free(&vserver, ip)?;
        }
        for ip in vserver.more.keys().copied().filter(|ip| !wanted.contains(ip)).collect::<Vec<_>>() {
            vserver.more.remove(&ip);
            self.indices.release(indices::Kind::Vserver, &vserver.identity(ip));
        }
        for ip in wanted {
            if !vserver.more.contains_key(&ip) {
                let index = self.indices.allot(indices::Kind::Vserver, &vserver.identity(ip));
                vserver.more.insert(ip, index);
            }
        }
        Ok(vserver)
    }

    /// Refuses an address at which another virtual server has the same port.
    fn check_free(&self, vserver: &Vserver, ip: IpAddr) -> Result<(), CommandError> {
        let there = |other: &&Vserver| {
            other.name != vserver.name && other.shares_port(vserver) && other.addresses().any(|at| at.0 == ip)
        };
        let Some(other) = self.vservers.values().find(there) else { return Ok(()) };
        let port = if other.port == ANY_PORT { "any port".to_owned() } else { format!("port {}", other.port) };
        let data = if other.protocol == Protocol::Ftp { ", and ports for its data connections," } else { "" };
        let how = format!("virtual server {} serves {} {port}{data} there", other.name, other.protocol);
        Err(CommandError::exists("IPAddress", ip, how))
    }

    /// Returns the virtual servers that stand in for one, the first one first.
    pub fn backups<'a>(&'a self, vserver: &'a Vserver) -> impl Iterator<Item = &'a Vserver> {
        let next = |vserver: &&'a Vserver| self.vservers.get(vserver.backup.as_ref()?);
        std::iter::successors(next(&vserver), move |vserver| next(vserver)).take(BACKUP_LEVELS)
    }

    /// Refuses backups that are not there, stand in for themselves, or could not serve the clients of whom they stand in for.
    pub(super) fn check_backups(&self) -> Result<(), CommandError> {
        for vserver in self.vservers.values() {
            let name = &vserver.name;
            let Some(backup) = &vserver.backup else { continue };
            if !self.vservers.contains_key(backup) {
                return Err(no_such_vserver(BACKUP, backup));
            }
            let chain = std::iter::successors(Some(vserver), |vserver| self.vservers.get(vserver.backup.as_ref()?)).skip(1);
            if chain.take(self.vservers.len()).any(|stand_in| stand_in.name == *name) {
                return Err(CommandError::refused(format!(
                    "virtual server {name} would be its own backup, by way of {backup}"
                )));
            }
            for stand_in in self.backups(vserver) {
                let (v, b) = (vserver.protocol, stand_in.protocol);
                if v != b {
                    let backup = &stand_in.name;
                    return Err(CommandError::refused(format!(
                        "virtual server {name} is {v} and its backup {backup} is {b}; both must be the same"
                    )));
                }
                self.bound(stand_in).try_for_each(|(service, _)| super::binding::check(vserver, service))?;
            }
        }
        Ok(())
    }

    fn rm_implicit_address(&mut self, ip: IpAddr) {
        let in_use = self.vservers.values().any(|vserver| vserver.ip == ip) || self.ipset_with(ip).is_some();
        if !in_use && self.addresses.get(&ip).is_some_and(|address| address.implicit) {
            self.addresses.remove(&ip);
        }
    }
}

pub(super) fn no_such_vserver(argument: &str, name: &str) -> CommandError {
    CommandError::missing(argument, name, "show lb vserver lists the virtual servers")
}
