//! The pair's floating addresses: VIPs and SNIPs, IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr};

use super::change::{Change, Touched};
use super::record::Record;
use super::{Config, VridKey};
use crate::command::error::code;
use crate::command::schema::{self, Entity, Verb};
use crate::command::value::{Field, Value};
use crate::command::words::{AddressType, IcmpResponse, NeighbourResponse};
use crate::command::{Command, CommandError};

/// `add ns ip` and `add ns ip6`: one record for both families.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// What it is for.
    pub kind: AddressType,
    /// Whether ARP requests (IPv4) or neighbour solicitations (IPv6) for it are answered.
    pub arp: bool,
    /// Whether echo requests to it are answered.
    pub icmp: bool,
    /// Whether it is in use.
    pub enabled: bool,
    /// Which of its virtual servers have to be up for echo requests to be answered.
    pub icmp_response: IcmpResponse,
    /// The same for ARP requests or neighbour solicitations.
    pub neighbour_response: NeighbourResponse,
    /// Number of the virtual router whose legs it lives on, if it names one.
    pub vrid: Option<u8>,
    /// Made by `add lb vserver`, and gone with the last virtual server on it.
    pub implicit: bool,
}

/// Two entities share this record, so it is tied to the table by hand.
impl Record for Address {
    fn from_command(command: &Command) -> Self {
        let (ip, prefix_len) = ip_and_length(command);
        let [answers, response] = neighbour_words(ip);
        Self {
            ip,
            prefix_len,
            kind: command.read("type"),
            arp: command.read(answers),
            icmp: command.read("icmp"),
            enabled: command.read("state"),
            icmp_response: command.read("icmpResponse"),
            neighbour_response: command.read(response),
            vrid: command.read(vrid_word(ip)),
            implicit: false,
        }
    }

    fn updated(&self, command: &Command) -> Self {
        let [answers, response] = neighbour_words(self.ip);
        let after = |name: &str| self.value_after(command, name);
        Self {
            arp: bool::from_value(after(answers)),
            icmp: bool::from_value(after("icmp")),
            enabled: bool::from_value(after("state")),
            icmp_response: Field::from_value(after("icmpResponse")),
            neighbour_response: Field::from_value(after(response)),
            vrid: Field::from_value(after(vrid_word(self.ip))),
            ..self.clone()
        }
    }

    fn entity(&self) -> &'static Entity {
        if self.ip.is_ipv4() { &schema::ns::IP } else { &schema::ns::IP6 }
    }

    fn value(&self, attribute: &str) -> Option<Value> {
        match (attribute, self.ip) {
            ("IPAddress", IpAddr::V4(_)) => self.ip.to_value(),
            ("netmask", IpAddr::V4(_)) => mask(self.prefix_len).to_value(),
            ("IPv6Address", IpAddr::V6(ip)) => Some(Value::Prefix(ip, self.prefix_len)),
            ("type", _) => self.kind.to_value(),
            ("arp" | "nd", _) => self.arp.to_value(),
            ("icmp", _) => self.icmp.to_value(),
            ("icmpResponse", _) => self.icmp_response.to_value(),
            ("arpResponse" | "ndResponse", _) => self.neighbour_response.to_value(),
            ("state", _) => self.enabled.to_value(),
            ("vrID" | "vrID6", _) => self.vrid.to_value(),
            _ => None,
        }
    }
}

impl Address {
    /// Returns the virtual router whose legs it lives on, if it names one.
    pub fn vrid_key(&self) -> Option<VridKey> {
        self.vrid.map(|id| VridKey { v6: self.ip.is_ipv6(), id })
    }

    /// Whether `ip` lies in its subnet; one that is a subnet of its own has no neighbours.
    pub fn subnet_has(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => (own.to_bits() ^ ip.to_bits()) & mask(self.prefix_len).to_bits() == 0,
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_len.min(128))).unwrap_or(0);
                (own.to_bits() ^ ip.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// Returns the VIP that a virtual server brings with it.
    pub(super) fn of_vserver(ip: IpAddr) -> Self {
        let prefix_len = if ip.is_ipv4() { 32 } else { 128 };
        Self {
            ip,
            prefix_len,
            kind: AddressType::Vip,
            arp: true,
            icmp: true,
            enabled: true,
            icmp_response: IcmpResponse::None,
            neighbour_response: NeighbourResponse::None,
            vrid: None,
            implicit: true,
        }
    }
}

/// Returns the IPv4 mask of that length.
pub(crate) fn mask(prefix_len: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0))
}

fn vrid_word(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "vrID" } else { "vrID6" }
}

/// Attributes about its link-layer address: whether questions are answered at all, and when.
fn neighbour_words(ip: IpAddr) -> [&'static str; 2] {
    if ip.is_ipv4() { ["arp", "arpResponse"] } else { ["nd", "ndResponse"] }
}

fn ip_and_length(command: &Command) -> (IpAddr, u8) {
    match command.arg("IPv6Address").and_then(|arg| arg.value.as_ref()) {
        Some(Value::Prefix(ip, length)) => (IpAddr::V6(*ip), *length),
        _ => {
            let mask: Option<Ipv4Addr> = command.read("netmask");
            let length = mask.map_or(32, |mask| mask.to_bits().leading_ones());
            (command.read("IPAddress"), u8::try_from(length).unwrap_or(32))
        }
    }
}

/// Refuses an address that no host can have.
pub(super) fn check_host(argument: &str, ip: IpAddr) -> Result<(), CommandError> {
    let why = match ip {
        _ if ip.is_unspecified() => "it is no address of a host",
        _ if ip.is_loopback() => "a loopback address is known on one host only",
        _ if ip.is_multicast() => "a multicast address belongs to no host",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "a broadcast address belongs to no host",
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => "write an IPv4 address as such",
        IpAddr::V6(ip) if ip.is_unicast_link_local() => "a link-local address is unique on one link only",
        _ => return Ok(()),
    };
    Err(CommandError::value(code::BAD_VALUE, argument, &ip.to_string(), why))
}

impl Config {
    pub(super) fn apply_address(&mut self, command: &Command) -> Result<Change, CommandError> {
        let (ip, _) = ip_and_length(command);
        if command.verb == Verb::Add {
            self.add_address(Address::from_command(command))?;
            self.check_vrid_of(self.addresses.get(&ip).and_then(Address::vrid_key))?;
            return Ok(Change::of(Touched::Address(ip)));
        }
        let Some(known) = self.addresses.get_mut(&ip) else {
            return Err(CommandError::missing(command.entity.attributes[0].name, ip, "show ns ip lists the addresses"));
        };
        match command.verb {
            Verb::Rm => self.rm_address(ip)?,
            Verb::Enable => known.enabled = true,
            Verb::Disable => known.enabled = false,
            // A setting of its own makes an implicit VIP an explicit one: it has to be saved.
            _ => *known = Address { implicit: false, ..known.updated(command) },
        }
        if let Some(known) = self.addresses.get_mut(&ip) {
            known.implicit = known.implicit && known.enabled;
        }
        self.check_vrid_of(self.addresses.get(&ip).and_then(Address::vrid_key))?;
        Ok(Change::of(Touched::Address(ip)))
    }

    /// Adds an address; an implicit VIP becomes an explicit one.
    fn add_address(&mut self, address: Address) -> Result<(), CommandError> {
        let ip = address.ip;
        let argument = address.entity().attributes[0].name;
        check_host(argument, ip)?;
        self.check_is_no_node(argument, ip)?;
        if let Some(service) = self.services.values().find(|service| service.ip == ip) {
            return Err(CommandError::exists(
                argument,
                ip,
                format!("service {} has it: a backend and the pair cannot share an address", service.name),
            ));
        }
        match self.addresses.get(&ip) {
            Some(known) if known.implicit && address.kind == AddressType::Vip => {}
            Some(known) if known.implicit => {
                let why = format!(
                    "it is the VIP of a virtual server; add it with -type VIP, or rm the virtual server ({})",
                    self.vservers_on(ip)
                );
                return Err(CommandError::exists(argument, ip, why));
            }
            Some(known) => {
                return Err(CommandError::exists(
                    argument,
                    ip,
                    format!("it is a {}; set ns ip changes it, rm ns ip removes it", known.kind),
                ));
            }
            None => {}
        }
        self.addresses.insert(ip, address);
        Ok(())
    }

    fn rm_address(&mut self, ip: IpAddr) -> Result<(), CommandError> {
        if let Some(set) = self.ipset_with(ip) {
            let set = &set.name;
            return Err(CommandError::refused(format!("{ip} is in the set of addresses {set}; unbind ipset {set} {ip} first")));
        }
        let users = self.vservers_on(ip);
        if !users.is_empty() {
            return Err(CommandError::refused(format!("{ip} is the VIP of {users}; rm lb vserver first")));
        }
        self.addresses.remove(&ip);
        Ok(())
    }

    /// Refuses an address that is the NSIP of one of the nodes.
    pub(super) fn check_is_no_node(&self, argument: &str, ip: IpAddr) -> Result<(), CommandError> {
        let owner = match ip {
            IpAddr::V4(ip) if self.node.ip == Some(ip) => "this node's NSIP",
            IpAddr::V4(ip) if self.peer.as_ref().is_some_and(|peer| peer.ip == ip) => "the peer's NSIP",
            _ => return Ok(()),
        };
        Err(CommandError::exists(argument, ip, format!("it is {owner}, which does not float; use an address of its own")))
    }

    fn vservers_on(&self, ip: IpAddr) -> String {
        self.vservers
            .values()
            .filter(|vserver| vserver.ip == ip)
            .map(|vserver| vserver.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}
