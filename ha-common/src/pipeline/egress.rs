//! May the host's own stack send this? Not from a floating address or a virtual MAC that this node does not serve.
//!
//! A daemon that hangs, or a socket bound to a floating address, goes on speaking after the role has gone to the peer: only here
//! can that be stopped. Frames that [`super::process`] sends do not come by here; it judges them on ingress.

use crate::abi::{Address, AddressKey, Ip, Reason};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::arp::{self, Arp};
use crate::wire::eth::{self, ether_type};
use crate::wire::icmp::{self, Advertisement, Neighbour};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

use super::parse::{self, Frame};
use super::verdict::end;
use super::{Verdict, gate, virtual_mac};

/// How much of a frame the guard reads: link layer with tag, IPv6, neighbour discovery with its first option.
pub const EGRESS_HEADERS: usize = eth::LEN + crate::wire::vlan::LEN + ipv6::LEN + size_of::<Advertisement>();

/// Where a frame leaves.
#[derive(Clone, Copy, Debug)]
pub struct Egress {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN tag that the device puts in front, 0 for none.
    pub vlan: u32,
}

/// Decides about a frame that the host's stack sends, and gives it the virtual MAC if it speaks for a floating address that has one.
#[inline(always)]
pub fn egress<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, egress: Egress) -> Verdict {
    end(judge(packet, tables, egress))
}

#[inline(always)]
fn judge<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, egress: Egress) -> Result<Verdict, Verdict> {
    const UNREADABLE: Verdict = Verdict::pass(Reason::Unreadable);
    const CUT: Verdict = Verdict::drop(Reason::Truncated);
    let frame = parse::frame(packet)?;
    // The pair's own; other virtual routers on this host are their own business.
    let source = eth::source(frame.macs);
    if eth::is_virtual(source)
        && tables.interface(egress.ifindex).is_some_and(|here| here.has_virtual(source))
        && !serves(tables, virtual_mac::GROUP as u32)
    {
        return Err(Verdict::drop(Reason::EgressVmac));
    }
    let domain = if frame.domain() != 0 { frame.domain() } else { egress.vlan };
    let floats = match frame.ether_type {
        ether_type::IPV4 => {
            let source = packet.load::<Ipv4>(frame.l3()).ok_or(UNREADABLE)?.source;
            let floats = guard(tables, Ip::v4(source), domain, Reason::EgressAddress)?;
            if floats && let Some(here) = tables.interface(egress.ifindex).filter(|here| here.v4_mac != here.mac) {
                virtual_mac::speak_v4(packet, here).ok_or(CUT)?;
            }
            floats
        }
        ether_type::IPV6 => {
            let header = packet.load::<Ipv6>(frame.l3()).ok_or(UNREADABLE)?;
            let discovery = discovery(packet, &frame, &header);
            let advertised = match discovery {
                Some(message) if message.icmp.kind == icmp::ADVERTISEMENT => {
                    guard(tables, Ip(message.target), domain, Reason::EgressNeighbour)?
                }
                _ => false,
            };
            let floats = guard(tables, Ip(header.source), domain, Reason::EgressAddress)?;
            if (floats || advertised)
                && let Some(here) = tables.interface(egress.ifindex).filter(|here| here.v6_mac != here.mac)
            {
                // What lies behind the packet's end is no option of it, and not under its checksum.
                let whole = usize::from(header.payload_length.get()) >= size_of::<Advertisement>();
                virtual_mac::speak_v6(packet, &frame, here, discovery.is_some() && whole).ok_or(CUT)?;
            }
            floats
        }
        ether_type::ARP => {
            let sender = packet.load::<Arp>(frame.l3()).ok_or(UNREADABLE)?.sender;
            let floats = guard(tables, Ip::v4(arp::word(sender)), domain, Reason::EgressNeighbour)?;
            if floats && let Some(here) = tables.interface(egress.ifindex).filter(|here| here.v4_mac != here.mac) {
                virtual_mac::speak_arp(packet, &frame, here).ok_or(CUT)?;
            }
            floats
        }
        _ => false,
    };
    Ok(Verdict::pass(if floats { Reason::EgressServing } else { Reason::EgressPass }))
}

/// The neighbour solicitation or advertisement in an IPv6 packet.
#[inline(always)]
fn discovery<P: PacketMut>(packet: &P, frame: &Frame, header: &Ipv6) -> Option<Neighbour> {
    const ICMP_V6: u8 = 58;
    if header.next_header != ICMP_V6 {
        return None;
    }
    let neighbour = packet.load::<Neighbour>(frame.l3() + ipv6::LEN)?;
    matches!(neighbour.icmp.kind, icmp::SOLICITATION | icmp::ADVERTISEMENT).then_some(neighbour)
}

/// Refuses, for `reason`, what speaks for a floating address that is not served here; whether `addr` floats.
#[inline(always)]
fn guard<T: Tables>(tables: &T, addr: Ip, domain: u32, reason: Reason) -> Result<bool, Verdict> {
    match gate::floating(tables, &AddressKey { addr, domain }) {
        None => Ok(false),
        Some(&Address { group, .. }) if serves(tables, group) => Ok(true),
        Some(_) => Err(Verdict::drop(reason)),
    }
}

#[inline(always)]
fn serves<T: Tables>(tables: &T, group: u32) -> bool {
    match (tables.node(), tables.fence()) {
        (Some(node), Some(fence)) => fence.serves(node, group as usize),
        _ => false,
    }
}
