//! Strays: a frame for a floating address that reaches the node that does not serve goes to the peer over an HA link.
//!
//! The frame travels whole (see [`crate::wire::stray`]), is unpacked once and never sent on again, and what comes of it leaves on
//! the serving node's own leg.

use core::hint::black_box;

use crate::abi::{Fence, Interface, Key, MAX_LINKS, Node, Reason, StrayBudget, interface_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::time::Nanos;
use crate::wire::Be16;
use crate::wire::eth::{self, Macs, ether_type};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::siphash::SipHash;
use crate::wire::stray::{self, Header};
use crate::wire::udp::{self, Udp};
use crate::word::load;

use super::verdict::end;
use super::{Action, Arrival, Verdict};

/// Strays per second that one CPU sends at most: far below what a link carries.
const RATE: u64 = 200_000;
/// Nanoseconds per stray.
const COST: u64 = 1_000_000_000 / RATE;
/// Nanoseconds for which frames to a virtual MAC are carried after this node has stopped serving.
const VIRTUAL_FOR: u64 = 1_000_000_000;
/// Strays that may go at once.
const BURST: u64 = 1_024;

const UDP_AT: usize = eth::LEN + ipv4::LEN;
const HEADER_AT: usize = UDP_AT + udp::LEN;
const TTL: u8 = 64;
const VERSION_KIND: u8 = stray::VERSION << 4 | stray::KIND;

/// Sends a frame that this node does not handle to the peer, if it may.
#[inline(never)]
pub fn carry<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, arrival: &Arrival) -> Verdict {
    end(try_carry(packet, tables, *arrival))
}

#[inline(always)]
fn try_carry<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, arrival: Arrival) -> Result<Verdict, Verdict> {
    const NOT_SERVING: Verdict = Verdict::drop(Reason::NotServing);
    let (node, fence) = (tables.node().ok_or(NOT_SERVING)?, tables.fence().ok_or(NOT_SERVING)?);
    let leg = tables.interface(arrival.ifindex).filter(|found| found.flags & interface_flags::LEG != 0).ok_or(NOT_SERVING)?;
    let macs = packet.load::<Macs>(0).ok_or(NOT_SERVING)?;
    let now = tables.now();
    if !is_meant(leg, fence, eth::destination(macs), now) {
        return Err(NOT_SERVING);
    }
    let (link, peer_mac) = best_link(tables, node, now).ok_or(Verdict::drop(Reason::StrayNoPeer))?;
    let len = packet.len();
    if len + stray::OVERHEAD - eth::LEN > usize::from(link.mtu) {
        return Err(Verdict::drop(Reason::StrayTooBig));
    }
    let sequence = {
        let mut budget = tables.stray_budget().ok_or(Verdict::drop(Reason::NotConfigured))?;
        draw(&mut budget, now).ok_or(Verdict::drop(Reason::StrayLimited))?
    };
    let peer_nonce = load(&fence.peer_nonce);
    let word = u64::from(sequence) | u64::from(VERSION_KIND) << 32 | u64::from(leg.leg as u8) << 40 | (len as u64) << 48;
    let tag = tag(packet, &node.tx_key, [node.boot_nonce, peer_nonce, word], 0, len).ok_or(Verdict::drop(Reason::Truncated))?;
    pack(packet, node, link, peer_mac, len, tag, word).ok_or(Verdict::drop(Reason::NoHeadroom))?;
    if let Some(mut sent) = tables.stray_leg(leg.leg) {
        *sent += 1;
    }
    Ok(Verdict::redirect(link.ifindex, Reason::StraySent))
}

/// Whether a frame to `mac` is carried: it is the leg's own, or it is virtual and this node served a moment ago, so that the switch
/// may not have noticed yet where it is now. A switch that floods would otherwise double everything onto the HA link.
#[inline(always)]
fn is_meant(leg: &Interface, fence: &Fence, mac: [u8; 6], now: Nanos) -> bool {
    let quit_at = load(&fence.quit_at);
    mac == leg.mac || leg.has_virtual(mac) && quit_at != 0 && now.0.wrapping_sub(quit_at) < VIRTUAL_FOR
}

/// The HA link on which the peer was heard last, and its MAC address there.
#[inline(always)]
fn best_link<'t, T: Tables>(tables: &'t T, node: &Node, now: Nanos) -> Option<(&'t Interface, [u8; 6])> {
    let mut best = (Nanos::NEVER, 0, 0);
    for number in 0..MAX_LINKS as u32 {
        let Some(link) = tables.link_mut(number) else {
            continue;
        };
        let heard = if link.request_at > link.echo_at { link.request_at } else { link.echo_at };
        let carries = tables.link_interface(number).is_some_and(|found| found.flags & interface_flags::STRAYS != 0);
        if carries && heard > best.0 {
            best = (heard, number, link.peer_mac);
        }
    }
    let (heard, number, mac) = best;
    if heard == Nanos::NEVER || now.since(heard).as_nanos() as u64 > node.controller_dead {
        return None;
    }
    let interface = tables.link_interface(number)?;
    let [_, _, a, b, c, d, e, f] = mac.to_be_bytes();
    Some((interface, [a, b, c, d, e, f]))
}

/// Takes one stray out of the bucket; its sequence number.
#[inline(always)]
fn draw(budget: &mut StrayBudget, now: Nanos) -> Option<u32> {
    let gained = (now.since(budget.refilled_at).as_nanos() as u64) / COST;
    if gained > 0 {
        let tokens = budget.tokens.saturating_add(gained);
        budget.tokens = if tokens > BURST { BURST } else { tokens };
        budget.refilled_at = now;
    }
    budget.tokens = budget.tokens.checked_sub(1)?;
    budget.seq = budget.seq.wrapping_add(1);
    Some(budget.seq as u32)
}

/// Puts everything in front of the frame that carries it.
#[inline(always)]
fn pack<P: PacketMut>(
    packet: &mut P,
    node: &Node,
    link: &Interface,
    peer_mac: [u8; 6],
    len: usize,
    tag: u64,
    word: u64,
) -> Option<()> {
    packet.grow_head(stray::OVERHEAD as i32)?;
    let payload = len + stray::OVERHEAD - eth::LEN;
    packet.store(0, eth::macs(peer_mac, link.mac))?;
    packet.store(eth::TYPE, Be16::new(ether_type::IPV4))?;
    let header = Ipv4 {
        version_length: ipv4::PLAIN,
        total_length: Be16::new(payload as u16),
        fragment: ipv4::DONT_FRAGMENT,
        ttl: TTL,
        protocol: udp::PROTOCOL,
        source: node.nsip,
        destination: node.peer_nsip,
        ..Ipv4::default()
    };
    packet.store(eth::LEN, header.summed())?;
    let port = Be16::new(stray::PORT);
    let length = Be16::new((payload - ipv4::LEN) as u16);
    packet.store(UDP_AT, Udp { source: port, destination: port, length, checksum: 0 })?;
    packet.store(HEADER_AT, header_of(tag, word))
}

#[inline(always)]
fn header_of(tag: u64, word: u64) -> Header {
    let [a, b, c, d] = [tag, tag >> 16, tag >> 32, tag >> 48].map(|part| (part as u16).to_le());
    Header {
        tag: [a, b, c, d],
        sequence: [(word as u16).to_le(), ((word >> 16) as u16).to_le()],
        version_kind: (word >> 32) as u8,
        leg: (word >> 40) as u8,
    }
}

/// The tag over `words` and the first bytes of the frame of `len` bytes at `offset`.
#[inline(always)]
fn tag<P: PacketMut>(packet: &P, key: &Key, words: [u64; 3], offset: usize, len: usize) -> Option<u64> {
    let mut hash = SipHash::new(key);
    for word in words {
        hash.word(word);
    }
    for at in (0..stray::SIGNED).step_by(8) {
        if at + 8 <= len {
            hash.word(u64::from_le(packet.load(offset + at)?));
        }
    }
    if len < stray::SIGNED && !len.is_multiple_of(8) {
        // The verifier needs a bound that it can see; the compiler, which sees that it changes nothing, must not.
        let last = black_box(len.checked_sub(8)?) & (stray::SIGNED.next_power_of_two() - 1);
        hash.word(u64::from_le(packet.load(offset + last)?));
    }
    Some(hash.finish().0)
}

/// Takes the frame out of a stray of the peer, and tells which leg it came in on; [`Reason::StrayTaken`] when that was done.
#[inline(never)]
pub fn unpack<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, interface: &Interface, arrival: &mut Arrival) -> Reason {
    match try_unpack(packet, tables) {
        Ok(leg) => {
            *arrival = Arrival { ifindex: leg, carried_over: interface.ifindex };
            Reason::StrayTaken
        }
        Err(reason) => reason,
    }
}

#[inline(always)]
fn try_unpack<P: PacketMut, T: Tables>(packet: &mut P, tables: &T) -> Result<u32, Reason> {
    const MALFORMED: Reason = Reason::StrayMalformed;
    let node = tables.node().ok_or(Reason::NotConfigured)?;
    let ip = packet.load::<Ipv4>(eth::LEN).ok_or(MALFORMED)?;
    if ip.source != node.peer_nsip || node.peer_nsip == 0 {
        return Err(Reason::StrayNotForUs);
    }
    if ip.fragment.get() & ipv4::FRAGMENTED != 0 {
        return Err(MALFORMED);
    }
    let header = packet.load::<Header>(HEADER_AT).ok_or(MALFORMED)?;
    let udp = packet.load::<Udp>(UDP_AT).ok_or(MALFORMED)?;
    let len = usize::from(udp.length.get()).checked_sub(udp::LEN + stray::LEN).ok_or(MALFORMED)?;
    // What the link pads at the end is no part of the frame inside; strays are never that short, or the tag is wrong.
    if header.version_kind != VERSION_KIND || len < eth::LEN || len + stray::OVERHEAD != packet.len() {
        return Err(MALFORMED);
    }
    if !authentic(packet, tables.fence().ok_or(MALFORMED)?, node, &header, len) {
        return Err(Reason::StrayBadTag);
    }
    let leg = tables.leg_interface(u32::from(header.leg)).ok_or(Reason::StrayNoLeg)?;
    packet.grow_head(-(stray::OVERHEAD as i32)).ok_or(MALFORMED)?;
    let macs = packet.load::<Macs>(0).ok_or(MALFORMED)?;
    // What is answered by swapping leaves from the virtual MAC that it was sent to.
    let to = eth::destination(macs);
    let to = if leg.has_virtual(to) { to } else { leg.mac };
    packet.store(0, eth::macs(to, eth::source(macs))).ok_or(MALFORMED)?;
    Ok(leg.ifindex)
}

#[inline(always)]
fn authentic<P: PacketMut>(packet: &P, fence: &Fence, node: &Node, header: &Header, len: usize) -> bool {
    let [a, b, c, d] = header.tag.map(|part| u64::from(u16::from_le(part)));
    let said = a | b << 16 | c << 32 | d << 48;
    let [low, high] = header.sequence.map(|part| u64::from(u16::from_le(part)));
    let word = low | high << 16 | u64::from(header.version_kind) << 32 | u64::from(header.leg) << 40 | (len as u64) << 48;
    let peer_nonce = load(&fence.peer_nonce);
    let words = [peer_nonce, node.boot_nonce, word];
    for key in &node.rx_keys {
        if key.id != 0 && tag(packet, key, words, stray::OVERHEAD, len).is_some_and(|tag| tag == said) {
            return true;
        }
    }
    false
}

/// Lets what came of a carried packet leave as if it had come in on its leg.
#[inline(never)]
pub fn deliver<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, arrival: &Arrival, verdict: Verdict) -> Verdict {
    match verdict.action() {
        Action::Transmit => Verdict::redirect(arrival.ifindex, verdict.reason()),
        Action::Pass => {
            // The host takes only what is addressed to the interface that it came in on.
            let interface = tables.interface(arrival.carried_over);
            let macs = packet.load::<Macs>(0).zip(interface).map(|(macs, here)| eth::macs(here.mac, eth::source(macs)));
            match macs.and_then(|macs| packet.store(0, macs)) {
                Some(()) => Verdict::pass(Reason::StrayTaken),
                None => Verdict::drop(Reason::StrayMalformed),
            }
        }
        Action::Drop | Action::Redirect(_) => verdict,
    }
}
