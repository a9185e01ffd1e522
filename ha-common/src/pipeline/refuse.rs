//! A packet that cannot go on: its sender is told, by ICMP, from the address that it sent it to.
//!
//! What is quoted of the packet is its IP header and the eight bytes behind it, which name the connection: enough for the sender to know
//! which it is (RFC 792). RFC 4443 would have more of it; nobody reads more.

use crate::abi::Reason;
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::Be16;
use crate::wire::checksum::Sum;
use crate::wire::eth::{self, ether_type};
use crate::wire::icmp::{self, Icmp};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::vlan;

use super::parse::Story;
use super::rewrite::Plan;
use super::{Verdict, limit};

const TTL: u8 = 64;
/// Bytes of the payload that are quoted.
const QUOTED: usize = 8;

/// Turns the packet into the error about it: too big for the plan's room, or, if that is zero, out of time. Errors are few (RFC 1812, 4.3.2.8).
#[inline(always)]
pub fn tell<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, plan: &mut Plan) {
    plan.verdict = told(packet, tables, story, plan.room);
}

#[inline(always)]
fn told<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, room: u32) -> Verdict {
    if !limit::draw(tables) {
        return Verdict::drop(Reason::IcmpLimited);
    }
    let reason = if room == 0 { Reason::TimeExceeded } else { Reason::TooBig };
    let told = if story.is_v6() { v6(packet, story, room) } else { v4(packet, story, room) };
    match told {
        Some(()) => Verdict::transmit(reason),
        None => Verdict::drop(reason),
    }
}

#[inline(always)]
fn v4<P: PacketMut>(packet: &mut P, story: &Story, room: u32) -> Option<()> {
    const INSIDE: usize = ipv4::LEN + QUOTED;
    const OUTSIDE: usize = ipv4::LEN + icmp::LEN;
    let l3 = story.frame.l3();
    packet.cut_tail(l3 + INSIDE)?;
    packet.grow_head(OUTSIDE as i32)?;
    link(packet, story)?;
    let header = Ipv4 {
        version_length: ipv4::PLAIN,
        total_length: Be16::new((OUTSIDE + INSIDE) as u16),
        fragment: ipv4::DONT_FRAGMENT,
        ttl: TTL,
        protocol: icmp::PROTOCOL,
        source: story.there.addr.last(),
        destination: story.here.addr.last(),
        ..Ipv4::default()
    };
    packet.store(l3, header.summed())?;
    let (kind, code) = if room == 0 { icmp::TIME_EXCEEDED } else { icmp::FRAGMENTATION_NEEDED };
    let message = Icmp { kind, code, checksum: 0, rest: room.to_be() };
    let quoted = packet.load::<[u32; INSIDE / 4]>(l3 + OUTSIDE)?;
    packet.store(l3 + ipv4::LEN, summed(message, Sum::new(), &quoted))
}

#[inline(always)]
fn v6<P: PacketMut>(packet: &mut P, story: &Story, room: u32) -> Option<()> {
    const INSIDE: usize = ipv6::LEN + QUOTED;
    const OUTSIDE: usize = ipv6::LEN + icmp::LEN;
    const LEN: usize = icmp::LEN + INSIDE;
    let l3 = story.frame.l3();
    packet.cut_tail(l3 + INSIDE)?;
    packet.grow_head(OUTSIDE as i32)?;
    link(packet, story)?;
    let header = Ipv6 {
        version_class_label: [6 << 4, 0, 0, 0],
        payload_length: Be16::new(LEN as u16),
        next_header: icmp::V6_PROTOCOL,
        hop_limit: TTL,
        source: story.there.addr.0,
        destination: story.here.addr.0,
    };
    packet.store(l3, header)?;
    let (kind, code) = if room == 0 { icmp::V6_TIME_EXCEEDED } else { icmp::V6_TOO_BIG };
    let message = Icmp { kind, code, checksum: 0, rest: room.to_be() };
    let pseudo = Sum::new()
        .words(&story.there.addr.0)
        .words(&story.here.addr.0)
        .word32((LEN as u32).to_be())
        .word32(u32::from(icmp::V6_PROTOCOL).to_be());
    let quoted = packet.load::<[u32; INSIDE / 4]>(l3 + OUTSIDE)?;
    packet.store(l3 + ipv6::LEN, summed(message, pseudo, &quoted))
}

/// The link layer of an answer.
#[inline(always)]
fn link<P: PacketMut>(packet: &mut P, story: &Story) -> Option<()> {
    let kind = Be16::new(if story.is_v6() { ether_type::IPV6 } else { ether_type::IPV4 });
    packet.store(0, eth::swapped(story.frame.macs))?;
    if !story.frame.is_tagged() {
        return packet.store(eth::TYPE, kind);
    }
    packet.store(eth::TYPE, [Be16::new(ether_type::VLAN), story.frame.control])?;
    packet.store(eth::TYPE + vlan::LEN, kind)
}

#[inline(always)]
fn summed<const N: usize>(message: Icmp, pseudo: Sum, quoted: &[u32; N]) -> Icmp {
    let mut sum = pseudo.word16(u16::from_ne_bytes([message.kind, message.code])).word32(message.rest);
    for word in quoted {
        sum = sum.word32(*word);
    }
    Icmp { checksum: sum.finish(), ..message }
}
