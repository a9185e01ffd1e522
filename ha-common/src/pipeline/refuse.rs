//! A packet that cannot go on: its sender is told, by ICMP, from the address that it sent it to.
//!
//! What is quoted of the packet is its IP header, with that of a fragment, and the eight bytes behind it, which name the connection: enough for
//! the sender to know which it is (RFC 792). RFC 4443 would have more of it; nobody reads more. A packet of IPv4 is refused whether or not it may
//! be fragmented: its sender is asked to do that.

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
use super::rewrite::{self, Plan};
use super::verdict::end;
use super::{Verdict, limit};

const TTL: u8 = 64;
/// The smallest MTU that IPv4 knows (RFC 791): no way is narrower.
pub const ROOM_MIN: u16 = 68;
/// No room at all: there is no way. Nobody means a single byte.
pub const UNREACHABLE: u16 = 1;
/// Bytes of the payload that are quoted.
const QUOTED: usize = 8;

/// Turns the packet into the error about it: too big for the plan's room, or, if that is zero, out of time. Errors are few (RFC 1812, 4.3.2.8).
#[inline(always)]
pub fn tell<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, plan: &mut Plan) {
    plan.verdict = end(told(packet, tables, story, plan));
}

#[inline(always)]
fn told<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, plan: &Plan) -> Result<Verdict, Verdict> {
    if !limit::draw(tables) {
        return Err(Verdict::drop(Reason::IcmpLimited));
    }
    let reason = if plan.room == 0 { Reason::TimeExceeded } else { Reason::TooBig };
    let told = match (story.is_v6(), story.is_part()) {
        (false, _) => v4(packet, story, plan.room),
        (true, false) => v6::<P, { (ipv6::LEN + QUOTED) / 4 }>(packet, story, plan.room),
        (true, true) => v6::<P, { (ipv6::LEN + ipv6::FRAGMENT_LEN + QUOTED) / 4 }>(packet, story, plan.room),
    };
    told.ok_or(Verdict::drop(reason))?;
    if plan.hop.is_unknown() {
        return Ok(Verdict::transmit(reason));
    }
    // It did not come from its sender just now, but was in an error about a tunnel.
    rewrite::leave(packet, story, plan, &plan.hop)
}

#[inline(always)]
fn v4<P: PacketMut>(packet: &mut P, story: &Story, room: u16) -> Option<()> {
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
    let message = message(room, [icmp::TIME_EXCEEDED, icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED]);
    let quoted = packet.load::<[u32; INSIDE / 4]>(l3 + OUTSIDE)?;
    packet.store(l3 + ipv4::LEN, summed(message, Sum::new(), &quoted))
}

#[inline(always)]
fn v6<P: PacketMut, const WORDS: usize>(packet: &mut P, story: &Story, room: u16) -> Option<()> {
    const OUTSIDE: usize = ipv6::LEN + icmp::LEN;
    let len = icmp::LEN + 4 * WORDS;
    let l3 = story.frame.l3();
    packet.cut_tail(l3 + 4 * WORDS)?;
    packet.grow_head(OUTSIDE as i32)?;
    link(packet, story)?;
    let header = Ipv6 {
        version_class_label: [6 << 4, 0, 0, 0],
        payload_length: Be16::new(len as u16),
        next_header: icmp::V6_PROTOCOL,
        hop_limit: TTL,
        source: story.there.addr.0,
        destination: story.here.addr.0,
    };
    packet.store(l3, header)?;
    let message = message(room, [icmp::V6_TIME_EXCEEDED, icmp::V6_UNREACHABLE, icmp::V6_TOO_BIG]);
    let pseudo = Sum::new()
        .words(&story.there.addr.0)
        .words(&story.here.addr.0)
        .word32((len as u32).to_be())
        .word32(u32::from(icmp::V6_PROTOCOL).to_be());
    let quoted = packet.load::<[u32; WORDS]>(l3 + OUTSIDE)?;
    packet.store(l3 + ipv6::LEN, summed(message, pseudo, &quoted))
}

/// What is said when there is so much `room`: the type and code for none because the packet is out of time, for none because there is no way, and for
/// some.
#[inline(always)]
fn message(room: u16, [late, lost, big]: [(u8, u8); 3]) -> Icmp {
    let ((kind, code), mtu) = match room {
        0 => (late, 0),
        UNREACHABLE => (lost, 0),
        _ => (big, room.into()),
    };
    Icmp { kind, code, checksum: 0, rest: u32::to_be(mtu) }
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
