//! The running configuration, as the data plane sees it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ha_common::abi::{
    Address, AddressKey, Backend, Interface, Ip, NextHop, PrefixKey, SOURCE_WINDOW, ServiceKey, Snip, SourceLimits,
    address_flags, backend_flags, hash_kind, interface_flags, mode, prefix_action, vrid_flags, vserver_flags,
};
use ha_common::health::{Settings, Verdict};
use ha_common::maglev::Member;
use ha_common::wire::{Be16, eth};

use super::ageing::Timeouts;
use super::desired::{Desired, DesiredVserver};
use super::plan::Present;
use super::ports::SourcePorts;
use super::response::{self, Standing};
use super::sessions::{SessionRule, SessionRules};
use crate::command::words::{AddressType, LbMethod, Mode, Persistence, Protocol, VserverResponse};
use crate::config::{ANY_PORT, Binding, Config, Service, Vserver};
use crate::health::Target;
use crate::net::address::LocalAddress;
use crate::net::link::{self, Link};
use crate::net::neighbour::{self, NextHops};

/// What the maps shall hold for `config`, given the interfaces that are there (members of bonds and VLANs among them), the host's `own` addresses,
/// the verdicts on services by name, the next hops that are known, the ports that this node may give out, and the services out of use whose
/// connections go on.
///
/// Legs and heartbeat links are numbered in the order of their names, so that nodes with equal names agree.
#[must_use]
pub fn project(
    config: &Config,
    links: &[Link],
    own: &[LocalAddress],
    verdicts: &HashMap<String, Verdict>,
    next_hops: &NextHops,
    ports: SourcePorts,
    leaving: &BTreeSet<String>,
) -> Desired {
    let mut desired = Desired::default();
    put_interfaces(&mut desired, config, links);
    for local in own {
        let device = links.iter().find(|link| link.ifindex == local.ifindex);
        let key = AddressKey { addr: local.address.into(), domain: device.map_or(0, |device| device.place().1.into()) };
        desired.addresses.insert(key, Address { flags: address_flags::HOST, group: 0 });
    }
    for vrid in config.vrids().filter(|vrid| !vrid.interfaces.is_empty()) {
        let family = if vrid.key.v6 { vrid_flags::V6 } else { vrid_flags::V4 };
        *desired.vrids.entry(vrid.key.id.into()).or_default() |= family;
    }
    for service in config.services() {
        desired.backends.insert(service.index, backend(config, service, links, verdicts, next_hops, leaving));
        desired.sources.insert(service.index, sources(config, service, ports));
    }
    let served = served(config);
    let standings = standings(config, &desired);
    let of_any_port: HashSet<IpAddr> = config
        .vservers()
        .filter(|vserver| vserver.takes_any_port())
        .flat_map(|vserver| vserver.addresses().map(|(ip, _)| ip))
        .collect();
    for address in config.addresses() {
        let key = AddressKey { addr: address.ip.into(), domain: config.domain_of(address.ip).into() };
        let vservers = standings.get(&address.ip).map_or(&[][..], Vec::as_slice);
        let any = if of_any_port.contains(&address.ip) { address_flags::ANY_PORT } else { 0 };
        let flags = any | address_bits(address, &served, vservers);
        desired.addresses.insert(key, Address { flags, group: 0 });
    }
    for vserver in config.vservers() {
        for (ip, index) in vserver.addresses() {
            let made = desired_vserver(config, vserver, ip, &desired);
            desired.vservers.insert(index, made);
            desired.prefixes.extend(prefixes(vserver, index));
        }
    }
    desired.mark_shared();
    desired
}

/// Addresses whose next hops [`project`] needs.
#[must_use]
pub fn wanted_next_hops(config: &Config) -> BTreeSet<IpAddr> {
    config.services().map(|service| service.ip).collect()
}

/// What the monitors shall watch. Services that are not among them count as up: UDP says nothing to a stranger, and whoever
/// switches a monitor off means it.
#[must_use]
pub fn targets(config: &Config, leaving: &BTreeSet<String>) -> HashMap<String, Target> {
    let watched = config.services().filter(|service| is_watched(service, leaving));
    watched.map(|service| (service.name.clone(), target(service))).collect()
}

/// The verdict on a service that `present`, left by the daemon before, tells: a restart is no reason to doubt it.
#[must_use]
pub fn inherited_verdict(config: &Config, present: &Present, service: &str) -> Verdict {
    let known = config.service(service).and_then(|service| {
        let backend = present.backends.get(&service.index)?;
        ((backend.addr, backend.port) == (service.ip.into(), backend_port(service))).then_some(backend)
    });
    match known {
        None => Verdict::Unknown,
        Some(backend) if backend.flags & backend_flags::UP != 0 => Verdict::Up,
        Some(_) => Verdict::Down,
    }
}

/// The next hops of `config`'s services that `present`, left by the daemon before, tells: until they are found anew.
#[must_use]
pub fn inherited_next_hops(config: &Config, links: &[Link], present: &Present) -> NextHops {
    let known = config.services().filter_map(|service| {
        let backend = present.backends.get(&service.index)?;
        let hop = &backend.next_hop;
        let same = backend.addr == service.ip.into() && !hop.is_unknown();
        let device = link::at(links, hop.ifindex, hop.vlan as u16).filter(|_| same)?;
        Some((service.ip, neighbour::NextHop { ifindex: device.ifindex, mac: eth::destination(hop.macs) }))
    });
    known.collect()
}

/// Idle time after which flows are forgotten.
#[must_use]
pub fn idle_timeouts(config: &Config) -> Arc<Timeouts> {
    let vservers = config.vservers().flat_map(|vserver| vserver.addresses().map(|(_, index)| (index, vserver.idle_timeout())));
    let services = config.services().filter_map(|service| Some((service.index, service.server_timeout?)));
    Arc::new(Timeouts { vservers: vservers.collect(), services: services.collect() })
}

/// What makes a session of a flow, by index of its vserver.
#[must_use]
pub fn session_rules(config: &Config) -> SessionRules {
    let rules = |vserver: &Vserver, ip: IpAddr| {
        let bits = vserver.session_bits() + if ip.is_ipv4() { 96 } else { 0 };
        let [by_source, by_destination] = session_parts(vserver);
        let mask = Ip::mask(bits);
        SessionRule {
            sessions: vserver.index,
            destination: if by_destination { Ip::from(ip).masked(&mask) } else { Ip::default() },
            source_mask: if by_source { mask } else { Ip::default() },
            timeout: vserver.session_timeout(),
        }
    };
    let persistent = config.vservers().filter(|vserver| vserver.persistence != Persistence::None);
    persistent.flat_map(|vserver| vserver.addresses().map(move |(ip, index)| (index, rules(vserver, ip)))).collect()
}

/// Whether the client's address says which service it had, and whether the one that it speaks to does.
fn session_parts(vserver: &Vserver) -> [bool; 2] {
    match vserver.persistence {
        Persistence::None => [false, false],
        Persistence::SourceIp => [true, false],
        Persistence::DestIp => [false, true],
        Persistence::SrcIpDestIp => [true, true],
    }
}

fn put_interfaces(desired: &mut Desired, config: &Config, links: &[Link]) {
    let find = |name: &str| links.iter().find(|link| link.name == name);
    for (number, leg) in config.legs().enumerate().take(desired.legs.len()) {
        if let Some(link) = find(&leg.name) {
            let interface = desired.interfaces.entry(link.ifindex).or_insert_with(|| interface(link));
            [interface.v4_mac, interface.v6_mac] = floating_macs(config, link);
            interface.flags |= interface_flags::LEG;
            interface.leg = number as u32;
            desired.legs[number] = link.ifindex;
        }
    }
    for (number, heartbeat) in config.ha_links().enumerate().take(desired.links.len()) {
        if let Some(link) = find(&heartbeat.name) {
            let interface = desired.interfaces.entry(link.ifindex).or_insert_with(|| interface(link));
            let strays = if heartbeat.monitor { 0 } else { interface_flags::STRAYS };
            interface.flags |= interface_flags::HEARTBEAT | strays;
            interface.link = number as u32;
            desired.links[number] = link.ifindex;
        }
    }
    // A bond runs its program on each of its members, and the kernel names the member as where a frame came in.
    for link in links {
        if let Some(&bond) = link.bond.as_ref().and_then(|bond| desired.interfaces.get(bond)) {
            desired.interfaces.entry(link.ifindex).or_insert(bond);
        }
    }
    // The routing table leads to VLANs by interfaces of their own; their frames come and go on the leg.
    for link in links {
        if let Some((vlan, &leg)) = link.vlan.and_then(|vlan| Some((vlan, desired.interfaces.get(&vlan.on)?))) {
            let leg = Interface { vlan: vlan.id.into(), ..leg };
            desired.interfaces.entry(link.ifindex).or_insert(leg);
        }
    }
}

fn interface(link: &Link) -> Interface {
    let mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
    Interface { ifindex: link.ifindex, mac: link.mac, mtu, v4_mac: link.mac, v6_mac: link.mac, ..Interface::default() }
}

/// The MAC addresses of floating IPv4 and IPv6 addresses on a leg.
fn floating_macs(config: &Config, link: &Link) -> [[u8; 6]; 2] {
    [false, true].map(|v6| config.vrid_on(&link.name, v6).map_or(link.mac, |vrid| vrid.mac()))
}

/// The VIPs that vservers use.
#[must_use]
pub fn served(config: &Config) -> HashSet<IpAddr> {
    config.vservers().flat_map(|vserver| vserver.addresses().map(|(ip, _)| ip)).collect()
}

/// Whether the host's own stack takes what comes to a floating address and no vserver takes: a SNIP, because the host itself
/// speaks to backends from it, or a VIP that is not among those `served` by vservers, because then a daemon of the host does.
#[must_use]
pub fn is_local(address: &crate::config::Address, served: &HashSet<IpAddr>) -> bool {
    match address.kind {
        AddressType::Snip => true,
        AddressType::Vip => !served.contains(&address.ip),
    }
}

/// The virtual servers of each VIP: one is up while a service bound to it, or to its backup, takes packets of newcomers.
fn standings(config: &Config, desired: &Desired) -> HashMap<IpAddr, Vec<Standing>> {
    let mut standings: HashMap<IpAddr, Vec<Standing>> = HashMap::new();
    for vserver in config.vservers() {
        let up = vserver.enabled && (is_up(config, vserver, desired) || stand_in(config, vserver, desired).is_some());
        let active = vserver.icmp_response == VserverResponse::Active;
        for (ip, _) in vserver.addresses() {
            standings.entry(ip).or_default().push(Standing { up, active });
        }
    }
    standings
}

/// Whether a service bound to it takes packets of newcomers.
fn is_up(config: &Config, vserver: &Vserver, desired: &Desired) -> bool {
    config.bound(vserver).any(|(service, _)| desired.takes_newcomers(service.index))
}

/// The virtual server that stands in for one that is down.
fn stand_in<'c>(config: &'c Config, vserver: &'c Vserver, desired: &Desired) -> Option<&'c Vserver> {
    let down = !is_up(config, vserver, desired);
    config.backups(vserver).find(|backup| down && backup.enabled && is_up(config, backup, desired))
}

/// A disabled address stays known, so that the host's stack does not answer for it, and is silent.
fn address_bits(address: &crate::config::Address, served: &HashSet<IpAddr>, vservers: &[Standing]) -> u32 {
    let kind = match address.kind {
        AddressType::Vip => address_flags::VIP,
        AddressType::Snip => address_flags::SNIP,
    };
    let bit = |set: bool, bit: u32| if set && address.enabled { bit } else { 0 };
    kind | bit(is_local(address, served), address_flags::LOCAL)
        | bit(address.arp && response::tells_neighbours(address.neighbour_response, vservers), address_flags::ARP)
        | bit(address.icmp && response::echoes(address.icmp_response, vservers), address_flags::ICMP)
}

fn backend(
    config: &Config,
    service: &Service,
    links: &[Link],
    verdicts: &HashMap<String, Verdict>,
    next_hops: &NextHops,
    leaving: &BTreeSet<String>,
) -> Backend {
    let verdict = verdicts.get(&service.name).copied().unwrap_or_default();
    let usable = verdict.is_usable() || service.access_down;
    let up = in_use(service, leaving) && (!is_watched(service, leaving) || usable);
    let leaving = !service.enabled;
    let when_down = if service.down_state_flush { backend_flags::CUTS_OFF } else { backend_flags::KEEPS };
    let next_hop = next_hops.get(&service.ip).and_then(|hop| {
        let device = links.iter().find(|link| link.ifindex == hop.ifindex)?;
        let (ifindex, vlan) = device.place();
        let leg = links.iter().find(|link| link.ifindex == ifindex)?;
        let [v4_mac, v6_mac] = floating_macs(config, leg);
        let mac = if service.ip.is_ipv4() { v4_mac } else { v6_mac };
        Some((NextHop::new(hop.mac, mac, ifindex, vlan.into()), u16::try_from(device.mtu).unwrap_or(u16::MAX)))
    });
    // Answers are known by their VLAN even before the way there is.
    let unknown = || (NextHop { vlan: config.domain_of(service.ip).into(), ..NextHop::default() }, 0);
    let (next_hop, mtu) = next_hop.unwrap_or_else(unknown);
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    Backend {
        flags: bit(up, backend_flags::UP)
            | bit(!service.use_source_ip, backend_flags::SNAT)
            | bit(up && leaving, backend_flags::LEAVING)
            | when_down,
        flows_max: service.max_clients,
        mtu,
        addr: service.ip.into(),
        port: backend_port(service),
        next_hop,
        ..Backend::default()
    }
}

/// The port that packets to a service get; zero: they keep theirs. FTP's data connections do, and so does its control connection, which has the same
/// on both sides.
fn backend_port(service: &Service) -> Be16 {
    Be16::new(if service.protocol == Protocol::Ftp { ANY_PORT } else { service.port })
}

/// What this node speaks to a service from: the SNIPs in its subnet, or else all of its family.
fn sources(config: &Config, service: &Service, ports: SourcePorts) -> Vec<Snip> {
    let family: Vec<&crate::config::Address> = config
        .addresses()
        .filter(|address| address.kind == AddressType::Snip && address.enabled && address.ip.is_ipv4() == service.ip.is_ipv4())
        .collect();
    let near: Vec<_> = family.iter().copied().filter(|address| address.subnet_has(service.ip)).collect();
    let chosen = if near.is_empty() { family } else { near };
    let snip = |address: &crate::config::Address| Snip {
        addr: address.ip.into(),
        first_port: ports.first,
        ports: ports.count,
        reserved: 0,
    };
    chosen.into_iter().map(snip).collect()
}

/// A virtual server at one of its addresses.
fn desired_vserver(config: &Config, vserver: &Vserver, ip: IpAddr, desired: &Desired) -> DesiredVserver {
    let address_enabled = vserver.is_any_address() || config.address(ip).is_some_and(|address| address.enabled);
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    let when_down = if vserver.down_state_flush { vserver_flags::CUTS_OFF } else { vserver_flags::KEEPS };
    let serving = stand_in(config, vserver, desired).unwrap_or(vserver);
    let others = std::iter::once(vserver).chain(config.backups(vserver)).filter(|other| other.name != serving.name);
    let [by_source, by_destination] = session_parts(vserver);
    let session_bits = vserver.session_bits() + if vserver.ip.is_ipv4() { 96 } else { 0 };
    let mut keys = keys(config, vserver, ip);
    DesiredVserver {
        key: keys.remove(0),
        more: keys,
        limits: source_limits(vserver),
        flags: guard_flags(vserver)
            | bit(!vserver.enabled || !address_enabled, vserver_flags::DOWN)
            | bit(vserver.sessionless || vserver.is_any_address(), vserver_flags::HASH_ONLY)
            | bit(vserver.flow_log, vserver_flags::LOGGED)
            | bit(vserver.takes_any_port(), vserver_flags::ANY_PORT)
            | bit(vserver.protocol == Protocol::Ftp, vserver_flags::FTP)
            | bit(vserver.is_any_address(), vserver_flags::ANY_ADDRESS)
            | bit(vserver.method == LbMethod::RoundRobin, vserver_flags::IN_TURN)
            | bit(vserver.method == LbMethod::LeastConnection, vserver_flags::LEAST)
            | bit(by_source, vserver_flags::PERSIST_SOURCE)
            | bit(by_destination, vserver_flags::PERSIST_DESTINATION)
            | bit(vserver.l2_conn, vserver_flags::L2_CONN)
            // An address that is out of use says nothing to anybody.
            | bit(address_enabled, when_down)
            | bit(address_enabled && config.tcp_param().down_state_reset, vserver_flags::RESETS),
        mode: match vserver.mode {
            Mode::Ip => mode::NAT,
            Mode::Mac => mode::MAC,
            Mode::IpTunnel => mode::TUNNEL,
        },
        hash: match vserver.method {
            // Data connections of FTP come from other ports, and have to come to the same service.
            LbMethod::SrcIpSrcPortHash if vserver.protocol == Protocol::Ftp => hash_kind::SOURCE,
            LbMethod::SrcIpSrcPortHash | LbMethod::RoundRobin | LbMethod::LeastConnection => hash_kind::SOURCE_PORT,
            LbMethod::SourceIpHash => hash_kind::SOURCE,
            LbMethod::DestinationIpHash => hash_kind::DESTINATION,
            LbMethod::SrcIpDestIpHash => hash_kind::SOURCE_DESTINATION,
        },
        session_mask: if by_source || by_destination { Ip::mask(session_bits) } else { Ip::default() },
        sessions: vserver.index,
        members: members(config, vserver, serving),
        others: others.flat_map(|other| members(config, vserver, other)).collect(),
    }
}

/// Where a virtual server is found at one of its addresses. What it is found by first is what it is known as: any port, if that is among them.
fn keys(config: &Config, vserver: &Vserver, ip: IpAddr) -> Vec<ServiceKey> {
    let (addr, domain) = (ip.into(), config.domain_of(ip).into());
    let transports = vserver.protocol.layer4().transports;
    let of_port = |port: u16| {
        transports.iter().map(move |&transport| ServiceKey { addr, domain, port: Be16::new(port), protocol: transport.into() })
    };
    let mut keys: Vec<ServiceKey> = vserver.ports().flat_map(of_port).collect();
    keys.sort_by_key(|key| key.port);
    keys
}

/// The services of `serving`, which stands in for `vserver` or is it.
fn members(config: &Config, vserver: &Vserver, serving: &Vserver) -> Vec<Member> {
    let member = |(service, binding): (&Service, &Binding)| Member {
        addr: service.ip.into(),
        port: Be16::new(vserver.answered_from(service)),
        protocol: vserver.protocol.layer4().transports[0],
        weight: binding.weight,
        backend: service.index,
    };
    config.bound(serving).map(member).collect()
}

/// Whether a virtual server asks its newcomers something, and what.
fn guard_flags(vserver: &Vserver) -> u32 {
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    bit(!vserver.clients().is_empty(), vserver_flags::LISTED)
        | bit(vserver.clients().values().any(|allowed| *allowed), vserver_flags::ALLOW_LISTED)
        | bit(vserver.limits_sources(), vserver_flags::LIMITED)
}

fn source_limits(vserver: &Vserver) -> SourceLimits {
    if !vserver.limits_sources() {
        return SourceLimits::default();
    }
    SourceLimits {
        mask: PrefixKey::mask(vserver.ip.is_ipv4(), vserver.source_length()),
        open_max: vserver.connections_per_source,
        cost: SOURCE_WINDOW.checked_div(vserver.rate_per_source.into()).map_or(0, |cost| cost as u32),
    }
}

/// The clients that a virtual server lets in or keeps out.
fn prefixes(vserver: &Vserver, index: u32) -> impl Iterator<Item = (PrefixKey, u32)> {
    vserver.clients().iter().map(move |(network, allowed)| {
        let action = if *allowed { prefix_action::ALLOW } else { prefix_action::DENY };
        (PrefixKey::network(index, network.address.into(), network.length), action)
    })
}

/// Whether it has connections: those that it gets, or those that go on while it leaves.
fn in_use(service: &Service, leaving: &BTreeSet<String>) -> bool {
    service.enabled || leaving.contains(&service.name)
}

/// Only a connection that is accepted says that a service is there; datagrams say nothing to a stranger, and any port is none to ask.
fn is_watched(service: &Service, leaving: &BTreeSet<String>) -> bool {
    in_use(service, leaving) && service.is_probed()
}

fn target(service: &Service) -> Target {
    Target { address: (service.ip, service.port).into(), settings: Settings::default() }
}

#[cfg(test)]
mod tests;
