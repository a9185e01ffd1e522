//! What happens to this packet, and why?
//!
//! ```text
//!            parse ──▶ classify ──▶ gate ──▶ select ──▶ rewrite ──▶ Verdict
//! what is it?    whose is it?   do we serve?  which     how must    what becomes of it,
//!                                             backend?  it look?    and for which Reason
//! ```
//!
//! [`process`] is called for every received frame, by XDP and by host tests alike; [`egress`] for every frame that the host's own
//! stack sends. Neither allocates, loops without a bound or reads a clock except through [`Tables`]. Whoever calls them counts the
//! packet, once, under the verdict's [`Reason`].

mod classify;
mod echo;
mod egress;
mod flow;
mod gate;
mod hash;
pub mod heartbeat;
mod neighbour;
mod parse;
mod placement;
mod returning;
mod rewrite;
mod select;
mod stray;
mod verdict;

pub use egress::{EGRESS_HEADERS, Egress, egress};
pub use hash::{client_hash, rehash};
pub use verdict::{Action, Verdict};

use crate::abi::{Reason, interface_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::{eth::ether_type, heartbeat as beat, stray as wire_stray, udp};

use classify::Concern;
use parse::{Frame, Packet, Transport};

/// Where a frame came in.
#[derive(Clone, Copy, Debug)]
pub struct Ingress {
    /// Interface index.
    pub ifindex: u32,
}

/// Where a packet came in, and how.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// Interface whose packet it is: a leg.
    ifindex: u32,
    /// HA link that it was carried over, as a stray of the peer; 0 when it came by itself.
    carried_over: u32,
}

impl Arrival {
    #[inline(always)]
    fn is_carried(&self) -> bool {
        self.carried_over != 0
    }
}

/// What a story ends with.
enum End {
    /// The packet leaves.
    Leaves(Verdict),
    /// It was a stray; the packet inside of it begins a story of its own.
    Unpacked(Arrival),
}

/// Decides about a received frame, and makes it look as it must to leave.
#[inline(always)]
pub fn process<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, ingress: Ingress) -> Verdict {
    let mut arrival = Arrival { ifindex: ingress.ifindex, carried_over: 0 };
    // One turn for the frame, and one for a frame inside of it: a stray within a stray is not unpacked.
    for _ in 0..2 {
        let verdict = match story(packet, tables, arrival) {
            Ok(End::Unpacked(inner)) => {
                arrival = inner;
                continue;
            }
            Ok(End::Leaves(verdict)) | Err(verdict) => verdict,
        };
        return if arrival.is_carried() {
            stray::deliver(packet, tables, arrival, verdict)
        } else if verdict.reason == Reason::NotServing {
            stray::carry(packet, tables, arrival)
        } else {
            verdict
        };
    }
    Verdict::drop(Reason::StrayMalformed)
}

/// A packet's whole story.
#[inline(always)]
fn story<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, arrival: Arrival) -> Result<End, Verdict> {
    let frame = parse::frame(packet)?;
    match frame.ether_type {
        ether_type::IPV4 | ether_type::IPV6 => {}
        ether_type::ARP => return neighbour::arp(packet, tables, arrival, &frame).map(End::Leaves),
        _ => return Err(Verdict::pass(Reason::NotIp)),
    }
    let ip = match parse::packet(packet, &frame) {
        Ok(ip) => ip,
        Err(fault) => return Err(classify::faulty(tables, arrival, &frame, &fault)),
    };
    if let Some(end) = between_nodes(packet, tables, arrival, &frame, &ip)? {
        return Ok(end);
    }
    let end = match classify::concern(tables, &frame, &ip) {
        Concern::Vserver(index) => select::forward(packet, tables, arrival, &frame, &ip, index),
        Concern::Owner(owner) => returning::answer(packet, tables, arrival, &frame, &ip, owner),
        Concern::Address(address) => echo::address(packet, tables, arrival, &frame, &ip, address),
        Concern::Solicitation => neighbour::solicitation(packet, tables, arrival, &frame, &ip),
        Concern::Nobody => Err(Verdict::pass(Reason::NotOurs)),
    };
    end.map(End::Leaves)
}

/// What the nodes of the pair say to each other: heartbeats and strays.
#[inline(always)]
fn between_nodes<P: PacketMut, T: Tables>(
    packet: &mut P,
    tables: &T,
    arrival: Arrival,
    frame: &Frame,
    ip: &Packet,
) -> Result<Option<End>, Verdict> {
    let port = ip.destination_port.get();
    let ours = ip.transport == Transport::Udp && (port == beat::PORT || port == wire_stray::PORT) && !ip.v6;
    if !ours || frame.tagged || ip.protocol != udp::PROTOCOL {
        return Ok(None);
    }
    let Some(node) = tables.node().filter(|node| node.nsip == ip.destination.last()) else {
        return Ok(None);
    };
    let Some(interface) = tables.interface(arrival.ifindex).filter(|found| found.flags & interface_flags::HEARTBEAT != 0)
    else {
        return Ok(None);
    };
    if arrival.is_carried() {
        return Err(Verdict::drop(Reason::StrayMalformed));
    }
    if port == beat::PORT {
        let reason = heartbeat::answer(packet, tables, interface);
        let echoed = matches!(reason, Reason::HeartbeatEchoed | Reason::HeartbeatClaim);
        return Err(if echoed { Verdict::transmit(reason) } else { Verdict::drop(reason) });
    }
    stray::unpack(packet, tables, node, interface, ip).map(|inner| Some(End::Unpacked(inner)))
}
