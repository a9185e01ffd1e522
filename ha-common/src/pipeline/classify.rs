//! Whose is it?

use crate::abi::{Address, Owner, Reason, ServiceKey};
use crate::tables::Tables;
use crate::wire::icmp;

use super::parse::{Fault, Frame, Packet, Transport};
use super::{Arrival, Verdict, gate};

/// What of this pair a packet concerns.
pub enum Concern<'t> {
    /// For a vserver: its index.
    Vserver(u32),
    /// From a backend.
    Owner(&'t Owner),
    /// For a floating address, and no vserver of it.
    Address(&'t Address),
    /// Asks for somebody's MAC address.
    Solicitation,
    /// Nothing.
    Nobody,
}

/// Finds out what `ip` concerns. The commonest comes first: a client's packet costs one look-up here, a backend's two.
#[inline(always)]
pub fn concern<'t, T: Tables>(tables: &'t T, frame: &Frame, ip: &Packet) -> Concern<'t> {
    let domain = frame.domain;
    if matches!(ip.transport, Transport::Tcp | Transport::Udp) {
        let protocol = u16::from(ip.protocol);
        let there = ServiceKey { addr: ip.destination, domain, port: ip.destination_port, protocol };
        if let Some(index) = tables.vserver_index(&there) {
            return Concern::Vserver(index);
        }
        let here = ServiceKey { addr: ip.source, domain, port: ip.source_port, protocol };
        if let Some(owner) = tables.owner(&here) {
            return Concern::Owner(owner);
        }
    } else if ip.v6 && ip.transport == Transport::Icmp && ip.icmp.0 == icmp::SOLICITATION {
        return Concern::Solicitation;
    }
    match gate::floating(tables, ip.destination, domain) {
        Some(address) => Concern::Address(address),
        None => Concern::Nobody,
    }
}

/// Judges a packet that cannot be read to its end: dropped if it is for a floating address, else the host's.
#[inline(always)]
pub fn faulty<T: Tables>(tables: &T, arrival: Arrival, frame: &Frame, fault: &Option<Fault>) -> Verdict {
    let Some(fault) = fault else {
        return Verdict::pass(Reason::Unreadable);
    };
    let Some(address) = gate::floating(tables, fault.destination, frame.domain) else {
        return Verdict::pass(Reason::NotOurs);
    };
    match gate::enter(tables, arrival, address.group) {
        Ok(()) => Verdict::drop(fault.reason),
        Err(verdict) => verdict,
    }
}
