//! Packets for a floating address that no vserver takes: echo requests are answered, the rest is the host's or nobody's.

use crate::abi::{Address, Reason, address_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::checksum::Delta;
use crate::wire::icmp::{ECHO_REPLY, ECHO_REQUEST, V6_ECHO_REPLY, V6_ECHO_REQUEST};
use crate::wire::{eth, ipv4, ipv6};

use super::parse::{Frame, Packet, Transport};
use super::{Arrival, Verdict, gate};

/// Time to live of answers.
const TTL: u8 = 64;

/// Decides about a packet for a floating address.
#[inline(always)]
pub fn address<P: PacketMut, T: Tables>(
    packet: &mut P,
    tables: &T,
    arrival: Arrival,
    frame: &Frame,
    ip: &Packet,
    address: &Address,
) -> Result<Verdict, Verdict> {
    gate::enter(tables, arrival, address.group)?;
    if eth::to_group(frame.macs) {
        return Err(Verdict::drop(Reason::DropNotUnicast));
    }
    if !ip.source.is_station() {
        return Err(Verdict::drop(Reason::BadSource));
    }
    if gate::floating(tables, ip.source, frame.domain).is_some() {
        return Err(Verdict::drop(Reason::Loop));
    }
    let request = if ip.v6 { V6_ECHO_REQUEST } else { ECHO_REQUEST };
    let echo = ip.transport == Transport::Icmp && ip.icmp == (request, 0);
    if echo && address.flags & address_flags::ICMP != 0 {
        return reply(packet, frame, ip).ok_or(Verdict::drop(Reason::Truncated));
    }
    if !echo && address.flags & address_flags::LOCAL != 0 {
        return Err(Verdict::pass(Reason::Local));
    }
    Err(Verdict::drop(match ip.transport {
        Transport::Tcp | Transport::Udp => Reason::NoVserver,
        Transport::Icmp => Reason::IcmpIgnored,
        Transport::Other => Reason::ProtocolNotServed,
    }))
}

/// Turns an echo request into its reply. Swapped addresses leave every sum as it is.
#[inline(always)]
fn reply<P: PacketMut>(packet: &mut P, frame: &Frame, ip: &Packet) -> Option<Verdict> {
    let (request, reply) = if ip.v6 { (V6_ECHO_REQUEST, V6_ECHO_REPLY) } else { (ECHO_REQUEST, ECHO_REPLY) };
    if ip.v6 {
        packet.store(frame.l3 + ipv6::HOP_LIMIT, TTL)?;
        packet.store(frame.l3 + ipv6::SOURCE, [ip.destination.0, ip.source.0])?;
    } else {
        let life = |ttl| u16::from_ne_bytes([ttl, ip.protocol]);
        let checksum = packet.load::<u16>(frame.l3 + ipv4::CHECKSUM)?;
        let checksum = Delta::new().word16(life(ip.ttl), life(TTL)).apply(checksum);
        packet.store(frame.l3 + ipv4::TTL_PROTOCOL, [life(TTL), checksum])?;
        packet.store(frame.l3 + ipv4::SOURCE, [ip.destination.last(), ip.source.last()])?;
    }
    let kind = |kind| u16::from_ne_bytes([kind, 0]);
    let checksum = Delta::new().word16(kind(request), kind(reply)).apply(ip.checksum);
    packet.store(ip.l4, [kind(reply), checksum])?;
    packet.store(0, eth::swapped(frame.macs))?;
    Some(Verdict::transmit(Reason::IcmpEcho))
}
