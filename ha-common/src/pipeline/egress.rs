//! May the host's own stack send this? Not from a floating address or a virtual MAC that this node does not serve.
//!
//! A daemon that hangs, or a socket bound to a floating address, goes on speaking after the role has gone to the peer: only here
//! can that be stopped. Frames that [`super::process`] sends do not come by here; it judges them on ingress.

use crate::abi::{Address, AddressKey, Ip, Reason};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::arp::{self, Arp};
use crate::wire::eth::{self, ether_type};
use crate::wire::icmp::{self, Neighbour};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

use super::parse::{self, Frame};
use super::verdict::end;
use super::{Verdict, gate};

/// How much of a frame the guard reads: link layer with tag, IPv6, neighbour discovery.
pub const EGRESS_HEADERS: usize = eth::LEN + crate::wire::vlan::LEN + ipv6::LEN + size_of::<Neighbour>();

/// Where a frame leaves.
#[derive(Clone, Copy, Debug)]
pub struct Egress {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN tag that the device puts in front, 0 for none.
    pub vlan: u32,
}

/// The first group: whose virtual MAC addresses these are is not told apart yet.
const VMAC_GROUP: u32 = 0;

/// Decides about a frame that the host's stack sends.
#[inline(always)]
pub fn egress<P: PacketMut, T: Tables>(packet: &P, tables: &T, egress: Egress) -> Verdict {
    end(judge(packet, tables, egress))
}

#[inline(always)]
fn judge<P: PacketMut, T: Tables>(packet: &P, tables: &T, egress: Egress) -> Result<Verdict, Verdict> {
    const UNREADABLE: Verdict = Verdict::pass(Reason::Unreadable);
    let frame = parse::frame(packet)?;
    if is_virtual(eth::source(frame.macs)) && !serves(tables, VMAC_GROUP) {
        return Err(Verdict::drop(Reason::EgressVmac));
    }
    let domain = if frame.domain() != 0 { frame.domain() } else { egress.vlan };
    let (source, reason) = match frame.ether_type {
        ether_type::IPV4 => (Ip::v4(packet.load::<Ipv4>(frame.l3()).ok_or(UNREADABLE)?.source), Reason::EgressAddress),
        ether_type::IPV6 => {
            let header = packet.load::<Ipv6>(frame.l3()).ok_or(UNREADABLE)?;
            if let Some(target) = advertised(packet, &frame, &header) {
                guard(tables, target, domain, Reason::EgressNeighbour)?;
            }
            (Ip(header.source), Reason::EgressAddress)
        }
        ether_type::ARP => {
            let sender = packet.load::<Arp>(frame.l3()).ok_or(UNREADABLE)?.sender;
            (Ip::v4(arp::word(sender)), Reason::EgressNeighbour)
        }
        _ => return Ok(Verdict::pass(Reason::EgressPass)),
    };
    let floats = guard(tables, source, domain, reason)?;
    Ok(Verdict::pass(if floats { Reason::EgressServing } else { Reason::EgressPass }))
}

/// The address that a neighbour advertisement is about.
#[inline(always)]
fn advertised<P: PacketMut>(packet: &P, frame: &Frame, header: &Ipv6) -> Option<Ip> {
    const ICMP_V6: u8 = 58;
    if header.next_header != ICMP_V6 {
        return None;
    }
    let neighbour = packet.load::<Neighbour>(frame.l3() + ipv6::LEN)?;
    (neighbour.icmp.kind == icmp::ADVERTISEMENT).then_some(Ip(neighbour.target))
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

/// Whether `mac` is one of those that VRRP gives to virtual routers (RFC 9568, 7.3).
#[inline(always)]
fn is_virtual(mac: [u8; 6]) -> bool {
    let [a, b, c, d, e, _] = mac;
    [a, b, c, d] == [0, 0, 0x5e, 0] && (e == 1 || e == 2)
}
