//! How must it look?

use crate::abi::{Backend, Ip, NextHop, Reason, Vserver};
use crate::packet::PacketMut;
use crate::wire::checksum::Delta;
use crate::wire::eth::{self, ether_type};
use crate::wire::{Be16, ipv4, ipv6, tcp, udp, vlan};

use super::parse::{Frame, Packet, Transport};
use super::{Action, Arrival, Verdict};

const TRUNCATED: Verdict = Verdict::drop(Reason::Truncated);

/// Whether a packet may be forwarded once more.
#[inline(always)]
pub fn lives_on(ip: &Packet) -> Result<(), Verdict> {
    if ip.ttl <= 1 { Err(Verdict::drop(Reason::TtlExceeded)) } else { Ok(()) }
}

/// Sends a client's packet to `backend` instead of the vserver.
#[inline(always)]
pub fn to_backend<P: PacketMut>(packet: &mut P, frame: &Frame, ip: &Packet, backend: &Backend) -> Result<(), Verdict> {
    let offsets = if ip.v6 { ipv6::DESTINATION } else { ipv4::DESTINATION };
    let step = Step { address_at: offsets, port_at: 2, old: ip.destination, old_port: ip.destination_port };
    translate(packet, frame, ip, &step, &backend.addr, backend.port).ok_or(TRUNCATED)
}

/// Lets a backend's packet come from the vserver that the client knows.
#[inline(always)]
pub fn to_client<P: PacketMut>(packet: &mut P, frame: &Frame, ip: &Packet, vserver: &Vserver) -> Result<(), Verdict> {
    let offsets = if ip.v6 { ipv6::SOURCE } else { ipv4::SOURCE };
    let step = Step { address_at: offsets, port_at: 0, old: ip.source, old_port: ip.source_port };
    translate(packet, frame, ip, &step, &vserver.vip, vserver.port).ok_or(TRUNCATED)
}

/// Which end of a packet is translated.
struct Step {
    /// Offset of its address in the IP header.
    address_at: usize,
    /// Offset of its port in the transport header.
    port_at: usize,
    old: Ip,
    old_port: Be16,
}

/// Replaces one end of the packet, and takes one hop off its life; every checksum follows.
#[inline(always)]
fn translate<P: PacketMut>(packet: &mut P, frame: &Frame, ip: &Packet, step: &Step, new: &Ip, new_port: Be16) -> Option<()> {
    let ports = Delta::new().word16(step.old_port.raw(), new_port.raw());
    let delta = if ip.v6 {
        packet.store(frame.l3 + ipv6::HOP_LIMIT, ip.ttl - 1)?;
        packet.store(frame.l3 + step.address_at, new.0)?;
        ports.words(&step.old.0, &new.0)
    } else {
        let life = |ttl| u16::from_ne_bytes([ttl, ip.protocol]);
        let checksum = packet.load::<u16>(frame.l3 + ipv4::CHECKSUM)?;
        let delta = Delta::new().word16(life(ip.ttl), life(ip.ttl - 1)).word32(step.old.last(), new.last());
        packet.store(frame.l3 + ipv4::TTL_PROTOCOL, [life(ip.ttl - 1), delta.apply(checksum)])?;
        packet.store(frame.l3 + step.address_at, new.last())?;
        ports.word32(step.old.last(), new.last())
    };
    packet.store(ip.l4 + step.port_at, new_port)?;
    if ip.transport == Transport::Tcp {
        return packet.store(ip.l4 + tcp::CHECKSUM, delta.apply(ip.checksum));
    }
    if ip.checksum == 0 {
        // The sender computed none, and zero says so.
        return Some(());
    }
    let checksum = delta.apply(ip.checksum);
    packet.store(ip.l4 + udp::CHECKSUM, if checksum == 0 { 0xffff } else { checksum })
}

/// Puts the link layer of `hop` in front of the packet and lets it leave there, for `reason`.
#[inline(always)]
pub fn send<P: PacketMut>(
    packet: &mut P,
    frame: &Frame,
    arrival: Arrival,
    hop: &NextHop,
    reason: Reason,
) -> Result<Verdict, Verdict> {
    tag(packet, frame, hop.vlan).ok_or(Verdict::drop(Reason::NoHeadroom))?;
    packet.store(0, hop.macs).ok_or(TRUNCATED)?;
    let same = hop.ifindex == arrival.ifindex && !arrival.is_carried();
    let action = if same { Action::Transmit } else { Action::Redirect(hop.ifindex) };
    Ok(Verdict { action, reason })
}

/// Makes the frame one of VLAN `wanted`; its MAC addresses are to be written anew after this.
#[inline(always)]
fn tag<P: PacketMut>(packet: &mut P, frame: &Frame, wanted: u32) -> Option<()> {
    if wanted == frame.domain && (wanted != 0 || !frame.tagged) {
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
