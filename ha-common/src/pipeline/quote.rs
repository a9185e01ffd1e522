//! Which packet is an ICMP error about, and how must it quote it?
//!
//! An error goes to the sender of the packet that it quotes. So the story is turned into that of the packet which the quoted one's receiver
//! might have answered with: its ends are those by which vservers, owners and flows are looked up, as for any other packet.
//!
//! No more is asked of a quote than that it holds the eight bytes of the transport header that name the flow (RFC 792). Its own checksums
//! are not judged but kept as right or wrong as they are: a transport checksum covers more than is quoted (RFC 5508, REQ-3), and routers
//! differ in how they quote an IP header. Quotes with IP options or extension headers, but for the header of a first fragment, are about no
//! packet that the pair has sent.

use crate::abi::{Ip, Reason};
use crate::packet::PacketMut;
use crate::wire::checksum::{Delta, Sum};
use crate::wire::icmp;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{Be16, tcp, udp};
use crate::word::opaque;

use super::parse::{Story, Transport};

/// The longest ICMP message whose checksum is computed, in bytes: errors have no more than 1,240 (RFC 4443, 2.4) or 556 (RFC 1812, 4.3.2.3).
const LONGEST: usize = 1_480;
/// Bytes of the transport header that a quote must have.
pub const NAMED: usize = 8;

/// A packet that somebody quotes.
struct Quoted {
    source: Ip,
    destination: Ip,
    protocol: u8,
    /// Length of its IP header.
    head: usize,
}

/// Reads what the error of `story` quotes, and makes the story that of an answer to it; whether it did. If not, nothing is changed, and the
/// error is not about a packet of TCP or UDP that came from where it goes to.
///
/// # Errors
/// When the quote ends before it says which flow it is about.
#[inline(always)]
pub fn answer<P: PacketMut>(packet: &P, story: &mut Story) -> Result<bool, Reason> {
    let (at, len) = place(story).ok_or(Reason::Truncated)?;
    let quoted = if story.is_v6() { v6(packet, at, len)? } else { v4(packet, at, len)? };
    let Some(Quoted { source, destination, protocol, head }) = quoted else {
        return Ok(false);
    };
    if !source.is(&story.there.addr) {
        return Ok(false);
    }
    let transport = match protocol {
        tcp::PROTOCOL => Transport::Tcp,
        udp::PROTOCOL => Transport::Udp,
        _ => return Ok(false),
    };
    if len < head + NAMED {
        return Err(Reason::Truncated);
    }
    let [from, to] = packet.load::<[Be16; 2]>(at + head).ok_or(Reason::Truncated)?;
    story.transport = transport;
    story.here.addr = destination;
    (story.here.port, story.there.port) = (to, from);
    (story.here.protocol, story.there.protocol) = (protocol.into(), protocol.into());
    Ok(true)
}

/// Makes the story that of the error itself again.
#[inline(always)]
pub fn forget<P: PacketMut>(packet: &P, story: &mut Story) {
    let protocol = if story.is_v6() { icmp::V6_PROTOCOL } else { icmp::PROTOCOL };
    story.transport = Transport::Icmp;
    story.here.addr = reporter(packet, story);
    (story.here.port, story.there.port) = (Be16::default(), Be16::default());
    (story.here.protocol, story.there.protocol) = (protocol.into(), protocol.into());
}

/// Who says so: the source of the error.
#[inline(always)]
pub fn reporter<P: PacketMut>(packet: &P, story: &Story) -> Ip {
    let l3 = story.frame.l3();
    let found = if story.is_v6() { packet.load(l3 + ipv6::SOURCE).map(Ip) } else { packet.load(l3 + ipv4::SOURCE).map(Ip::v4) };
    found.unwrap_or_default()
}

/// Where the quote is, and how many bytes it has: what pads the frame is no part of it.
#[inline(always)]
pub fn place(story: &Story) -> Option<(usize, usize)> {
    let at = story.l4() + icmp::LEN;
    Some((at, (story.frame.l3() + story.total as usize).checked_sub(at)?))
}

/// Whether the checksum of the error is right.
#[inline(always)]
pub fn is_right<P: PacketMut>(packet: &P, story: &Story) -> bool {
    let from = story.l4();
    let len = (story.frame.l3() + story.total as usize).saturating_sub(from);
    let mut sum = Sum::new();
    if story.is_v6() {
        let ends = sum.words(&reporter(packet, story).0).words(&story.there.addr.0);
        sum = ends.word32((len as u32).to_be()).word32(u32::from(icmp::V6_PROTOCOL).to_be());
    }
    len <= LONGEST && summed(packet, from, len, sum).is_some_and(|sum| sum.finish() == 0)
}

/// `sum` and that of the `len` bytes at `from`: no more than [`LONGEST`].
#[inline(always)]
fn summed<P: PacketMut>(packet: &P, from: usize, len: usize, mut sum: Sum) -> Option<Sum> {
    // Opaque: what follows would be walked once for each length that ends the loop.
    let whole = opaque(len as u64 / 8);
    for number in 0..LONGEST / 8 {
        if number as u64 >= whole {
            break;
        }
        let [a, b] = packet.load::<[u32; 2]>(from + 8 * number)?;
        sum = sum.word32(a).word32(b);
    }
    // Less than eight bytes are left. Masks are what the verifier understands.
    let mut at = from + (len & 0x7f8);
    if len & 4 != 0 {
        sum = sum.word32(packet.load(at)?);
        at += 4;
    }
    if len & 2 != 0 {
        sum = sum.word16(packet.load(at)?);
        at += 2;
    }
    if len & 1 != 0 {
        // With the one before: the verifier does not understand how a single byte is looked for.
        let [_, last] = packet.load::<[u8; 2]>(at - 1)?;
        sum = sum.word16(u16::from_ne_bytes([last, 0]));
    }
    Some(sum)
}

#[inline(always)]
fn v4<P: PacketMut>(packet: &P, at: usize, len: usize) -> Result<Option<Quoted>, Reason> {
    if len < ipv4::LEN {
        return Err(Reason::Truncated);
    }
    let header = packet.load::<Ipv4>(at).ok_or(Reason::Truncated)?;
    if header.version_length != ipv4::PLAIN || header.fragment.get() & ipv4::FRAGMENT_OFFSET != 0 {
        return Ok(None);
    }
    let (source, destination) = (Ip::v4(header.source), Ip::v4(header.destination));
    Ok(Some(Quoted { source, destination, protocol: header.protocol, head: ipv4::LEN }))
}

#[inline(always)]
fn v6<P: PacketMut>(packet: &P, at: usize, len: usize) -> Result<Option<Quoted>, Reason> {
    if len < ipv6::LEN {
        return Err(Reason::Truncated);
    }
    let header = packet.load::<Ipv6>(at).ok_or(Reason::Truncated)?;
    let mut quoted = Quoted {
        source: Ip(header.source),
        destination: Ip(header.destination),
        protocol: header.next_header,
        head: ipv6::LEN,
    };
    if header.next_header == ipv6::FRAGMENT {
        if len < ipv6::LEN + ipv6::FRAGMENT_LEN {
            return Err(Reason::Truncated);
        }
        let fragment = packet.load::<ipv6::Fragment>(at + ipv6::LEN).ok_or(Reason::Truncated)?;
        if fragment.offset.get() & ipv6::FRAGMENT_OFFSET != 0 {
            return Ok(None);
        }
        quoted.protocol = fragment.next_header;
        quoted.head += ipv6::FRAGMENT_LEN;
    }
    Ok(Some(quoted))
}

/// Makes the error one about a packet between other ends, for whoever sent that: of `ends` and `ports` the first are its receiver's. If `hides`, the
/// error comes from there, too, else from who reports it. The story is that of an answer, see [`answer`].
#[inline(always)]
pub fn translate<P: PacketMut>(packet: &mut P, story: &Story, ends: (&Ip, &Ip), ports: [Be16; 2], hides: bool) -> Option<()> {
    let (l3, at) = (story.frame.l3(), story.l4() + icmp::LEN);
    let (here, there) = ends;
    let (sum, covered) = if story.is_v6() {
        let mut outer = Delta::new().words(&story.there.addr.0, &there.0);
        if hides {
            outer = outer.words(&packet.load(l3 + ipv6::SOURCE)?, &here.0);
            packet.store(l3 + ipv6::SOURCE, here.0)?;
        }
        packet.store(l3 + ipv6::HOP_LIMIT, story.ttl - 1)?;
        packet.store(l3 + ipv6::DESTINATION, there.0)?;
        packet.store(at + ipv6::SOURCE, there.0)?;
        packet.store(at + ipv6::DESTINATION, here.0)?;
        let inner = Delta::new().words(&story.here.addr.0, &here.0).words(&story.there.addr.0, &there.0);
        // Its checksum covers its own ends, too.
        (inner, inner.and(outer))
    } else {
        let life = |ttl| u16::from_ne_bytes([ttl, icmp::PROTOCOL]);
        let (ttl, after) = (life(story.ttl), life(story.ttl - 1));
        let mut outer = Delta::new().word16(ttl, after).word32(story.there.addr.last(), there.last());
        if hides {
            outer = outer.word32(packet.load(l3 + ipv4::SOURCE)?, here.last());
            packet.store(l3 + ipv4::SOURCE, here.last())?;
        }
        packet.store(l3 + ipv4::TTL_PROTOCOL, [after, outer.apply(packet.load(l3 + ipv4::CHECKSUM)?)])?;
        packet.store(l3 + ipv4::DESTINATION, there.last())?;
        let inner = Delta::new().word32(story.here.addr.last(), here.last()).word32(story.there.addr.last(), there.last());
        let quoted = packet.load::<u16>(at + ipv4::CHECKSUM)?;
        let translated = inner.apply(quoted);
        packet.store(at + ipv4::CHECKSUM, translated)?;
        packet.store(at + ipv4::SOURCE, [there.last(), here.last()])?;
        (inner, inner.word16(quoted, translated))
    };
    let [here, there] = ports;
    let changed = Delta::new().word16(story.here.port.raw(), here.raw()).word16(story.there.port.raw(), there.raw());
    let inside = transport(packet, story, [there, here], sum.and(changed))?;
    packet.store(story.l4() + icmp::CHECKSUM, covered.and(changed).and(inside).apply(story.checksum))
}

/// Replaces the ports that are quoted, and the checksum, which changes by `delta`, if it is quoted; the difference that this makes to the sum of
/// the quote.
#[inline(always)]
fn transport<P: PacketMut>(packet: &mut P, story: &Story, ports: [Be16; 2], delta: Delta) -> Option<Delta> {
    const NONE: Delta = Delta::new();
    let (at, len) = place(story)?;
    let head = head(packet, story, at)?;
    packet.store(at + head, ports)?;
    let is_udp = story.transport == Transport::Udp;
    let offset = head + if is_udp { udp::CHECKSUM } else { tcp::CHECKSUM };
    if len < offset + size_of::<u16>() {
        return Some(NONE);
    }
    let before = packet.load::<u16>(at + offset)?;
    if is_udp && before == 0 {
        // The sender computed none.
        return Some(NONE);
    }
    let after = delta.apply(before);
    let after = if is_udp && after == 0 { 0xffff } else { after };
    packet.store(at + offset, after)?;
    Some(NONE.word16(before, after))
}

/// Length of the quoted IP header, which has been read before.
#[inline(always)]
fn head<P: PacketMut>(packet: &P, story: &Story, at: usize) -> Option<usize> {
    if !story.is_v6() {
        return Some(ipv4::LEN);
    }
    let fragmented = packet.load::<Ipv6>(at)?.next_header == ipv6::FRAGMENT;
    Some(ipv6::LEN + if fragmented { ipv6::FRAGMENT_LEN } else { 0 })
}
