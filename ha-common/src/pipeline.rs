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
//!
//! What a packet of an established flow runs through is one function after inlining. What is rare (answers in place, newcomers,
//! strays, heartbeats) is not inlined: each has the kernel's small stack to itself, takes at most five arguments and returns at
//! most eight bytes, because that is all that the kernel's functions can do.

mod classify;
mod echo;
mod egress;
mod flow;
mod gate;
mod hash;
pub mod heartbeat;
mod neighbour;
mod newcomer;
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

use crate::abi::{Interface, Reason, interface_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::{eth::ether_type, heartbeat as beat, stray as wire_stray};

use classify::Concern;
use parse::{Story, Transport};

/// Where a frame came in.
#[derive(Clone, Copy, Debug)]
pub struct Ingress {
    /// Interface index.
    pub ifindex: u32,
}

/// Where a packet came in, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// How a story ends early, or for good.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The packet leaves.
    Leaves(Verdict),
    /// It was a stray; the packet inside of it begins a story of its own.
    Unpacked(Arrival),
}

impl From<Verdict> for End {
    #[inline(always)]
    fn from(verdict: Verdict) -> Self {
        End::Leaves(verdict)
    }
}

/// Decides about a received frame, and makes it look as it must to leave.
#[inline(always)]
pub fn process<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, ingress: Ingress) -> Verdict {
    let mut arrival = Arrival { ifindex: ingress.ifindex, carried_over: 0 };
    // One turn for the frame, and one for a frame inside of it: a stray within a stray is not unpacked.
    for _ in 0..2 {
        let verdict = match tell(packet, tables, arrival) {
            End::Unpacked(inner) => {
                arrival = inner;
                continue;
            }
            End::Leaves(verdict) => verdict,
        };
        if arrival.is_carried() {
            return stray::deliver(packet, tables, &arrival, verdict);
        }
        if verdict.reason() == Reason::NotServing {
            return stray::carry(packet, tables, &arrival);
        }
        return verdict;
    }
    Verdict::drop(Reason::StrayMalformed)
}

/// A packet's whole story.
#[inline(always)]
fn tell<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, arrival: Arrival) -> End {
    let frame = match parse::frame(packet) {
        Ok(frame) => frame,
        Err(verdict) => return verdict.into(),
    };
    match frame.ether_type {
        ether_type::IPV4 | ether_type::IPV6 => {}
        ether_type::ARP => return neighbour::arp(packet, tables, &arrival, &frame).into(),
        _ => return Verdict::pass(Reason::NotIp).into(),
    }
    let mut story = Story::new(arrival, frame, packet.len());
    if let Err(fault) = parse::packet(packet, &mut story) {
        return classify::faulty(tables, &story, fault).into();
    }
    if let Some(end) = between_nodes(packet, tables, &story) {
        return end;
    }
    let verdict = match classify::concern(tables, &story) {
        Concern::Vserver(index) => select::forward(packet, tables, &story, index),
        Concern::Owner(owner) => returning::answer(packet, tables, &story, owner),
        Concern::Address(address) => echo::address(packet, tables, &story, address),
        Concern::Solicitation => neighbour::solicitation(packet, tables, &story),
        Concern::Nobody => Verdict::pass(Reason::NotOurs),
    };
    verdict.into()
}

/// What the nodes of the pair say to each other: heartbeats and strays.
#[inline(always)]
fn between_nodes<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story) -> Option<End> {
    let port = story.there.port.get();
    let known = story.transport == Transport::Udp && (port == beat::PORT || port == wire_stray::PORT);
    if !known || story.v6 || story.frame.tagged {
        return None;
    }
    let node = tables.node().filter(|node| node.nsip == story.there.addr.last())?;
    let interface = tables.interface(story.arrival.ifindex).filter(|found| found.flags & interface_flags::HEARTBEAT != 0)?;
    if story.arrival.is_carried() {
        return Some(Verdict::drop(Reason::StrayMalformed).into());
    }
    if port == beat::PORT {
        let reason = beat(packet, tables, interface);
        let echoed = matches!(reason, Reason::HeartbeatEchoed | Reason::HeartbeatClaim);
        return Some(if echoed { Verdict::transmit(reason) } else { Verdict::drop(reason) }.into());
    }
    let mut inner = Arrival { ifindex: 0, carried_over: interface.ifindex };
    let reason = stray::unpack(packet, tables, node, &story.here.addr, &mut inner);
    Some(if reason == Reason::StrayTaken { End::Unpacked(inner) } else { Verdict::drop(reason).into() })
}

#[inline(never)]
fn beat<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, interface: &Interface) -> Reason {
    heartbeat::answer(packet, tables, interface)
}
