//! What the nodes of the pair say to each other: heartbeats and strays.
//!
//! Judged before anything else is read of a frame: their layout is fixed, so four constant offsets tell them from the rest.

use core::hint::black_box;

use crate::abi::{Interface, Reason, interface_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::eth::{self, ether_type};
use crate::wire::{Be16, heartbeat as beat, ipv4, stray as wire_stray, udp};

use super::{Arrival, Ingress, Verdict, heartbeat, stray};

const PORT_AT: usize = eth::LEN + ipv4::LEN + 2;

/// Whether the frame may be one of theirs: the bytes where the destination port would be are a port of theirs.
#[inline(always)]
pub fn may_speak<P: PacketMut>(packet: &P) -> bool {
    let Some(port) = packet.load::<Be16>(PORT_AT) else {
        return false;
    };
    port == Be16::new(beat::PORT) || port == Be16::new(wire_stray::PORT)
}

/// Takes what the peer says; if it carried a frame of a client here, that frame is what is left, and its leg goes into `arrival`.
/// `None` then, and when nobody of the pair spoke.
#[inline(always)]
pub fn listen<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, ingress: Ingress, arrival: &mut Arrival) -> Option<Verdict> {
    let interface = addressed(packet, tables, ingress)?;
    if packet.load::<Be16>(PORT_AT)? == Be16::new(beat::PORT) {
        let reason = hear(packet, tables, interface);
        let echoed = matches!(reason, Reason::HeartbeatEchoed | Reason::HeartbeatClaim);
        return Some(if echoed { Verdict::transmit(reason) } else { Verdict::drop(reason) });
    }
    let reason = stray::unpack(packet, tables, interface, arrival);
    if reason != Reason::StrayTaken {
        return Some(Verdict::drop(reason));
    }
    // What is inside is no word between nodes, whatever it looks like.
    None
}

/// The interface that it came in on, if it is UDP to this node, or in its name, on an interface of the pair.
#[inline(always)]
fn addressed<'t, P: PacketMut, T: Tables>(packet: &P, tables: &'t T, ingress: Ingress) -> Option<&'t Interface> {
    let header = packet.load::<ipv4::Ipv4>(eth::LEN)?;
    let plain = packet.load::<Be16>(eth::TYPE)? == Be16::new(ether_type::IPV4) && header.version_length == ipv4::PLAIN;
    let nsip = tables.node()?.nsip;
    // From this node's own address: a frame of its own that comes back, or another machine's under its address.
    if !plain || header.protocol != udp::PROTOCOL || nsip != header.destination && nsip != header.source {
        return None;
    }
    tables.interface(ingress.ifindex).filter(|interface| interface.flags & interface_flags::HEARTBEAT != 0)
}

#[inline(never)]
fn hear<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, interface: &Interface) -> Reason {
    heartbeat::answer(packet, tables, interface)
}

/// An arrival as it is without a stray. Opaque: the kernel's verifier shall not walk the whole story twice, for a packet that came
/// by itself and for one that was carried.
#[inline(always)]
pub fn by_itself(ingress: Ingress) -> Arrival {
    Arrival { ifindex: ingress.ifindex, carried_over: black_box(0) }
}
