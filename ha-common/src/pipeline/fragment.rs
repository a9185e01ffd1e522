//! A part of a packet: where does it go?
//!
//! Only the first fragment of a datagram says whose it is. It is taken for a packet, as long as all of its transport header is in it, and
//! leaves as the fragment that it was; checksums are changed by differences, so that it does not matter that they cover what is not there.
//! What was done with it is noted, and is done with the fragments that follow. They are expected in order: one that overtakes the first is
//! dropped, and so is all that follows a first fragment that was.
//!
//! A datagram that is whole although it has the header of a fragment (RFC 6946) is a packet like any other. What is reassembled here is
//! nothing: overlapping fragments are their receiver's business (RFC 8200, 4.5), but none may come to lie upon the transport header that
//! was judged (RFC 1858, RFC 3128).

use core::time::Duration;

use crate::abi::{FragmentKey, Reason};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{eth, ipv6, tcp};

use super::parse::{self, Story, Transport};
use super::rewrite::{self, Plan, Step, Way};
use super::{Steps, Verdict, classify, gate};

/// How long a receiver waits for the rest of a datagram: what comes later is of another one that happens to have the same number.
const LIFE: Duration = Duration::from_secs(30);
/// A TCP header has no more bytes than this.
const TCP_MAX: u32 = 60;
/// A datagram has no more bytes than this.
const LONGEST: u32 = 0xffff;

/// A fragment, as its IP header has it.
struct Part {
    /// Where its payload belongs, in bytes.
    offset: u32,
    /// Length of its payload, in bytes.
    len: u32,
    /// Whether others follow.
    more: bool,
    protocol: u8,
}

/// Reads the fragment of a story; whether it goes on as a packet. If not, the plan says what becomes of it.
#[inline(always)]
pub fn piece<P: PacketMut, T: Steps>(packet: &mut P, tables: &T, story: &mut Story, plan: &mut Plan) -> bool {
    let followed = match read(packet, story, plan) {
        Ok(true) => return true,
        Ok(false) => follow(packet, tables, story, plan),
        Err(reason) => Err(classify::misfit(tables, story, reason)),
    };
    if let Err(verdict) = followed {
        (plan.way, plan.verdict) = (Way::Ended, verdict);
    }
    false
}

/// Whether it is the first one of its datagram.
#[inline(always)]
fn read<P: PacketMut>(packet: &P, story: &mut Story, plan: &mut Plan) -> Result<bool, Reason> {
    let part = if story.is_v6() { v6(packet, story)? } else { v4(packet, story)? };
    story.here.protocol = part.protocol.into();
    story.there.protocol = part.protocol.into();
    if part.more && !part.len.is_multiple_of(8) || part.offset + part.len > LONGEST {
        return Err(Reason::Fragment);
    }
    if part.offset != 0 {
        let overlaps = part.protocol == tcp::PROTOCOL && part.offset < TCP_MAX;
        return if overlaps { Err(Reason::Fragment) } else { Ok(false) };
    }
    parse::payload::<P, false>(packet, story, part.protocol, part.len as usize)?;
    if !matches!(story.transport, Transport::Tcp | Transport::Udp) {
        return Err(Reason::Fragment);
    }
    if part.more {
        plan.way = Way::First;
    }
    Ok(true)
}

#[inline(always)]
fn v4<P: PacketMut>(packet: &P, story: &Story) -> Result<Part, Reason> {
    let header = packet.load::<Ipv4>(story.frame.l3()).ok_or(Reason::Truncated)?;
    let field = header.fragment.get();
    Ok(Part {
        offset: u32::from(field & ipv4::FRAGMENT_OFFSET) * 8,
        len: story.total.saturating_sub(ipv4::LEN as u32),
        more: field & ipv4::MORE_FRAGMENTS != 0,
        protocol: header.protocol,
    })
}

#[inline(always)]
fn v6<P: PacketMut>(packet: &P, story: &mut Story) -> Result<Part, Reason> {
    let len = story.total.checked_sub((ipv6::LEN + ipv6::FRAGMENT_LEN) as u32).ok_or(Reason::Truncated)?;
    let header = packet.load::<ipv6::Fragment>(story.l4()).ok_or(Reason::Truncated)?;
    if ipv6::is_extension(header.next_header) {
        return Err(Reason::IpOptions);
    }
    story.has_fragment_header();
    let field = header.offset.get();
    Ok(Part {
        offset: u32::from(field & ipv6::FRAGMENT_OFFSET),
        len,
        more: field & ipv6::MORE_FRAGMENTS != 0,
        protocol: header.next_header,
    })
}

/// Writes into `key` what the fragments of its datagram have in common.
#[inline(always)]
fn key_of<P: PacketMut>(packet: &P, story: &Story, key: &mut FragmentKey) -> Option<()> {
    let l3 = story.frame.l3();
    key.identification = if story.is_v6() {
        packet.load::<ipv6::Fragment>(l3 + ipv6::LEN)?.identification
    } else {
        packet.load::<Ipv4>(l3)?.identification.raw().into()
    };
    key.source = story.here.addr;
    key.destination = story.there.addr;
    key.domain = story.here.domain;
    key.protocol = story.here.protocol.into();
    Some(())
}

/// Notes what is done with the first fragment of a datagram. Field by field, in a room for it: the stack is small.
#[inline(always)]
pub fn note<P: PacketMut, T: Tables>(packet: &P, tables: &T, story: &Story, plan: &Plan) {
    let Some(mut room) = tables.fragment_room() else {
        return;
    };
    if key_of(packet, story, &mut room.key).is_none() {
        return;
    }
    room.fragment.flow = plan.key;
    room.fragment.index = plan.index;
    room.fragment.nat = plan.nat;
    room.fragment.hop = plan.hop;
    room.fragment.step = plan.step as u32;
    room.fragment.at = tables.now();
    tables.fragment_insert(&room.key, &room.fragment);
}

/// Plans for a later fragment what was done with the first.
#[inline(always)]
fn follow<P: PacketMut, T: Tables>(packet: &P, tables: &T, story: &mut Story, plan: &mut Plan) -> Result<(), Verdict> {
    if !recall(packet, tables, story, plan) {
        return Err(classify::misfit(tables, story, Reason::FragmentUnknown));
    }
    let vserver = tables.vserver(plan.key.index()).ok_or(Verdict::drop(Reason::NotConfigured))?;
    gate::enter(tables, story.arrival, vserver.group)?;
    if eth::to_group(story.frame.macs) {
        return Err(Verdict::drop(Reason::DropNotUnicast));
    }
    if plan.step.translates() {
        rewrite::lives_on(story)?;
    }
    plan.way = Way::Later;
    plan.reason = if plan.step == Step::Return { Reason::FragmentReturned } else { Reason::FragmentForwarded };
    // A tunnel is chosen by it.
    story.here.port = plan.key.port;
    Ok(())
}

/// Whether it is known what was done with the first fragment; the plan is the same, then.
#[inline(always)]
fn recall<P: PacketMut, T: Tables>(packet: &P, tables: &T, story: &Story, plan: &mut Plan) -> bool {
    let Some(mut room) = tables.fragment_room() else {
        return false;
    };
    if key_of(packet, story, &mut room.key).is_none() {
        return false;
    }
    let Some(first) = tables.fragment(&room.key) else {
        return false;
    };
    plan.key = first.flow;
    plan.index = first.index;
    plan.nat = first.nat;
    plan.hop = first.hop;
    plan.step = Step::of(first.step);
    // Another CPU's clock may be a moment ahead.
    tables.now().0.wrapping_sub(first.at.0) as i64 <= LIFE.as_nanos() as i64
}
