//! How must it look?

use crate::abi::{Backend, Ip, NextHop, Reason, ServiceKey, Vserver};
use crate::packet::PacketMut;
use crate::wire::checksum::Delta;
use crate::wire::eth::{self, ether_type};
use crate::wire::{Be16, ipv4, ipv6, tcp, udp, vlan};

use super::Verdict;
use super::parse::{Frame, Story, Transport};

const TRUNCATED: Verdict = Verdict::drop(Reason::Truncated);

/// Whether a packet may be forwarded once more.
#[inline(always)]
pub fn lives_on(story: &Story) -> Result<(), Verdict> {
    if story.ttl <= 1 { Err(Verdict::drop(Reason::TtlExceeded)) } else { Ok(()) }
}

/// Sends a client's packet to `backend` instead of the vserver.
#[inline(always)]
pub fn to_backend<P: PacketMut>(packet: &mut P, story: &Story, backend: &Backend) -> Result<(), Verdict> {
    let at = if story.v6 { ipv6::DESTINATION } else { ipv4::DESTINATION };
    let step = Step { address_at: at, port_at: 2, old: &story.there, new: &backend.addr, new_port: backend.port };
    translate(packet, story, &step).ok_or(TRUNCATED)
}

/// Lets a backend's packet come from the vserver that the client knows.
#[inline(always)]
pub fn to_client<P: PacketMut>(packet: &mut P, story: &Story, vserver: &Vserver) -> Result<(), Verdict> {
    let at = if story.v6 { ipv6::SOURCE } else { ipv4::SOURCE };
    let step = Step { address_at: at, port_at: 0, old: &story.here, new: &vserver.vip, new_port: vserver.port };
    translate(packet, story, &step).ok_or(TRUNCATED)
}

/// Which end of a packet is translated.
struct Step<'a> {
    /// Offset of its address in the IP header.
    address_at: usize,
    /// Offset of its port in the transport header.
    port_at: usize,
    old: &'a ServiceKey,
    new: &'a Ip,
    new_port: Be16,
}

/// Replaces one end of the packet, and takes one hop off its life; every checksum follows.
#[inline(always)]
fn translate<P: PacketMut>(packet: &mut P, story: &Story, step: &Step<'_>) -> Option<()> {
    let (l3, l4, ttl) = (story.frame.l3(), story.l4(), story.ttl - 1);
    let Step { old, new, .. } = step;
    let ports = Delta::new().word16(old.port.raw(), step.new_port.raw());
    let delta = if story.v6 {
        packet.store(l3 + ipv6::HOP_LIMIT, ttl)?;
        packet.store(l3 + step.address_at, new.0)?;
        ports.words(&old.addr.0, &new.0)
    } else {
        let life = |ttl| u16::from_ne_bytes([ttl, story.protocol()]);
        let checksum = packet.load::<u16>(l3 + ipv4::CHECKSUM)?;
        let delta = Delta::new().word16(life(story.ttl), life(ttl)).word32(old.addr.last(), new.last());
        packet.store(l3 + ipv4::TTL_PROTOCOL, [life(ttl), delta.apply(checksum)])?;
        packet.store(l3 + step.address_at, new.last())?;
        ports.word32(old.addr.last(), new.last())
    };
    packet.store(l4 + step.port_at, step.new_port)?;
    if story.transport == Transport::Tcp {
        return packet.store(l4 + tcp::CHECKSUM, delta.apply(story.checksum));
    }
    if story.checksum == 0 {
        // The sender computed none, and zero says so.
        return Some(());
    }
    let checksum = delta.apply(story.checksum);
    packet.store(l4 + udp::CHECKSUM, if checksum == 0 { 0xffff } else { checksum })
}

/// Puts the link layer of `hop` in front of the packet and lets it leave there, for `reason`.
#[inline(always)]
pub fn send<P: PacketMut>(packet: &mut P, story: &Story, hop: &NextHop, reason: Reason) -> Result<Verdict, Verdict> {
    let Story { frame, arrival, .. } = story;
    tag(packet, frame, hop.vlan).ok_or(Verdict::drop(Reason::NoHeadroom))?;
    packet.store(0, hop.macs).ok_or(TRUNCATED)?;
    let same = hop.ifindex == arrival.ifindex && !arrival.is_carried();
    Ok(if same { Verdict::transmit(reason) } else { Verdict::redirect(hop.ifindex, reason) })
}

/// Makes the frame one of VLAN `wanted`; its MAC addresses are to be written anew after this.
#[inline(always)]
fn tag<P: PacketMut>(packet: &mut P, frame: &Frame, wanted: u32) -> Option<()> {
    if wanted == frame.domain() && (wanted != 0 || !frame.tagged) {
        return Some(());
    }
    let control = Be16::new(frame.control.get() & !vlan::ID | wanted as u16);
    if frame.tagged && wanted != 0 {
        return packet.store(vlan::CONTROL, control);
    }
    if frame.tagged {
        packet.grow_head(-(vlan::LEN as i32))?;
        return packet.store(eth::TYPE, Be16::new(frame.ether_type));
    }
    packet.grow_head(vlan::LEN as i32)?;
    packet.store(eth::TYPE, [Be16::new(ether_type::VLAN), control])
}
