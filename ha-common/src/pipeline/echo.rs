//! Packets for a floating address that no vserver takes: echo requests are answered, the rest is the host's or nobody's.

use crate::abi::{Address, Reason, address_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::checksum::Delta;
use crate::wire::icmp::{ADVERTISEMENT, ECHO_REPLY, ECHO_REQUEST, V6_ECHO_REPLY, V6_ECHO_REQUEST};
use crate::wire::{eth, ipv4, ipv6};

use super::parse::{Story, Transport};
use super::verdict::end;
use super::{Verdict, gate, limit};

/// A station that does not exist: the host's stack leaves alone what is addressed to it, and packet sockets see it.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0];
/// Time to live of answers.
const TTL: u8 = 64;

/// Decides about a packet for a floating address.
#[inline(never)]
pub fn address<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, address: &Address) -> Verdict {
    end(decide(packet, tables, story, address))
}

#[inline(always)]
fn decide<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, address: &Address) -> Result<Verdict, Verdict> {
    gate::enter(tables, story.arrival, address.group)?;
    if eth::to_group(story.frame.macs) {
        return Err(Verdict::drop(Reason::DropNotUnicast));
    }
    if !story.here.addr.is_station() {
        return Err(Verdict::drop(Reason::BadSource));
    }
    if gate::floating(tables, story.here.address()).is_some() {
        return Err(Verdict::drop(Reason::Loop));
    }
    let request = if story.is_v6() { V6_ECHO_REQUEST } else { ECHO_REQUEST };
    let echo = story.transport == Transport::Icmp && story.icmp == [request, 0];
    if echo && address.flags & address_flags::ICMP != 0 {
        if !limit::draw(tables) {
            return Err(Verdict::drop(Reason::IcmpLimited));
        }
        return reply(packet, story).ok_or(Verdict::drop(Reason::Truncated));
    }
    if !echo && address.flags & address_flags::LOCAL != 0 {
        return Err(Verdict::pass(Reason::Local));
    }
    if story.transport == Transport::Icmp && story.is_v6() && story.icmp[0] == ADVERTISEMENT && !story.arrival.is_carried() {
        // The daemon asks gateways from floating addresses. The stack, which does not know them, would forward the answer.
        packet.store(0, eth::macs(NOBODY, eth::source(story.frame.macs))).ok_or(Verdict::drop(Reason::Truncated))?;
        return Err(Verdict::pass(Reason::NeighbourHeard));
    }
    Err(Verdict::drop(match story.transport {
        Transport::Tcp | Transport::Udp => Reason::NoVserver,
        Transport::Icmp => Reason::IcmpIgnored,
        Transport::Other => Reason::ProtocolNotServed,
    }))
}

/// Turns an echo request into its reply. Swapped addresses leave every sum as it is.
#[inline(always)]
fn reply<P: PacketMut>(packet: &mut P, story: &Story) -> Option<Verdict> {
    let l3 = story.frame.l3();
    let (source, destination) = (story.here.addr, story.there.addr);
    let (request, reply) = if story.is_v6() { (V6_ECHO_REQUEST, V6_ECHO_REPLY) } else { (ECHO_REQUEST, ECHO_REPLY) };
    if story.is_v6() {
        packet.store(l3 + ipv6::HOP_LIMIT, TTL)?;
        packet.store(l3 + ipv6::SOURCE, [destination.0, source.0])?;
    } else {
        let life = |ttl| u16::from_ne_bytes([ttl, story.protocol()]);
        let checksum = packet.load::<u16>(l3 + ipv4::CHECKSUM)?;
        let checksum = Delta::new().word16(life(story.ttl), life(TTL)).apply(checksum);
        packet.store(l3 + ipv4::TTL_PROTOCOL, [life(TTL), checksum])?;
        packet.store(l3 + ipv4::SOURCE, [destination.last(), source.last()])?;
    }
    let kind = |kind| u16::from_ne_bytes([kind, 0]);
    let checksum = Delta::new().word16(kind(request), kind(reply)).apply(story.checksum);
    packet.store(story.l4(), [kind(reply), checksum])?;
    packet.store(0, eth::swapped(story.frame.macs))?;
    Some(Verdict::transmit(Reason::IcmpEcho))
}
