//! How must it look?

use crate::abi::{FlowKey, Ip, NO_BACKEND, Nat, NextHop, Owner, Reason};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::checksum::Delta;
use crate::wire::eth::{self, ether_type};
use crate::wire::{Be16, ipv4, ipv6, tcp, udp, vlan};
use crate::word::opaque;

use super::parse::{Frame, Story, Transport};
use super::placement::Placement;
use super::verdict::end;
use super::{Verdict, any_port, quote, tunnel};

/// What is to be done with a packet that is forwarded.
///
/// Filled in by reference and not returned: the compiler takes what functions return apart and puts it together again, which the
/// verifier does not let it do with pointers. It has a place of its own, because it does not fit the kernel's stack together with
/// what the steps need there.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The flow that the packet belongs to.
    pub key: FlowKey,
    /// What is to be done with it.
    pub step: Step,
    /// Whether the flow has a record.
    pub recorded: bool,
    /// How.
    pub way: Way,
    /// Why.
    pub reason: Reason,
    /// What the backend sees in place of the client.
    pub nat: Nat,
    /// The backend that [`Self::nat`] is for.
    pub nat_for: u32,
    /// Who is at the other end: the backend that a client's packet goes to, the vserver that an answer comes from.
    pub index: u32,
    /// The largest IP packet that can go on, in bytes, for one that is larger; zero for one that has no time left to live.
    pub room: u16,
    /// Where an answer leaves, and how.
    pub hop: NextHop,
    /// Where a flow without a record goes.
    pub placement: Placement,
    /// Who was found for a packet whose port nobody has.
    pub found: Owner,
    /// What came of the packet once all this was carried out.
    pub verdict: Verdict,
}

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// To a backend that owns the VIP: nothing but its link layer changes.
    Link,
    /// To a backend: both ends are replaced, the client's often by itself.
    Translate,
    /// To a backend, in another packet.
    Tunnel,
    /// To the client: both ends are replaced, the client's often by itself.
    Return,
    /// Back, as a TCP reset: its connection is no more.
    Reset,
}

/// How a step is done: by what the packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    /// As to any packet.
    Packet,
    /// The same, and noted: it is the first fragment of a datagram.
    First,
    /// It is a later fragment, and has no more than addresses.
    Later,
    /// It is an error about a packet, in which it is done, too.
    Quote,
    /// Not at all: it cannot go on and goes back, as an error about itself.
    Refused,
    /// Not at all: [`Plan::verdict`] is what has become of it.
    Ended,
}

impl Step {
    /// The step of this number.
    #[inline(always)]
    pub const fn of(number: u32) -> Step {
        match number {
            0 => Step::Link,
            1 => Step::Translate,
            2 => Step::Tunnel,
            _ => Step::Return,
        }
    }

    /// Whether it replaces the ends of a packet.
    #[inline(always)]
    pub const fn translates(self) -> bool {
        matches!(self, Step::Translate | Step::Return)
    }
}

impl Default for Plan {
    /// Nothing is planned.
    #[inline(always)]
    fn default() -> Self {
        Plan {
            key: FlowKey::default(),
            step: Step::Link,
            recorded: false,
            way: Way::Packet,
            reason: Reason::NotConfigured,
            nat: Nat::NONE,
            nat_for: NO_BACKEND,
            index: NO_BACKEND,
            room: 0,
            hop: NextHop::default(),
            placement: Placement::NONE,
            found: any_port::NOBODY,
            verdict: Verdict::drop(Reason::NotConfigured),
        }
    }
}

/// One end of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Its address.
    pub addr: Ip,
    /// Its port.
    pub port: Be16,
}

/// Whether a packet may be forwarded once more.
#[inline(always)]
pub fn lives_on(story: &Story) -> Result<(), Verdict> {
    if story.ttl <= 1 { Err(Verdict::drop(Reason::TtlExceeded)) } else { Ok(()) }
}

/// Does what `plan` says. What it says by index is read here: the caller's stack is full.
#[inline(always)]
pub fn carry_out<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, plan: &mut Plan) {
    plan.verdict = end(try_carry_out(packet, tables, story, plan));
}

#[inline(always)]
fn try_carry_out<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, plan: &Plan) -> Result<Verdict, Verdict> {
    const TRUNCATED: Verdict = Verdict::drop(Reason::Truncated);
    const NOT_CONFIGURED: Verdict = Verdict::drop(Reason::NotConfigured);
    if plan.step == Step::Return {
        let vserver = tables.vserver(plan.index).ok_or(NOT_CONFIGURED)?;
        // One of them is zero.
        let port = Be16::from_raw(vserver.port.raw() | plan.key.service_port.raw());
        let here = End { addr: vserver.vip, port };
        translate(packet, story, &here, &End { addr: plan.key.addr, port: plan.key.port }).ok_or(TRUNCATED)?;
        return leave(packet, story, plan, &plan.hop);
    }
    let backend = tables.backend(plan.index).ok_or(NOT_CONFIGURED)?;
    match plan.step {
        Step::Translate => {
            let here = source(tables, story, plan.nat)?;
            translate(packet, story, &here, &End { addr: backend.addr, port: kept(backend.port, story.there.port) })
                .ok_or(TRUNCATED)?;
        }
        Step::Tunnel => {
            tunnel::wrap(packet, tables, story, backend)?;
            return Ok(way(story, plan, &backend.next_hop));
        }
        Step::Link | Step::Return | Step::Reset => {}
    }
    leave(packet, story, plan, &backend.next_hop)
}

/// A backend's port: its own, or, where it has none, the one that the client speaks to. Without a branch, as ever.
#[inline(always)]
fn kept(own: Be16, asked: Be16) -> Be16 {
    let none = (opaque(u64::from(own.raw())).wrapping_sub(1) >> 63) as u16;
    Be16::from_raw(own.raw() | asked.raw() & none.wrapping_neg())
}

/// Puts the link layer of `hop` in front.
#[inline(always)]
pub fn leave<P: PacketMut>(packet: &mut P, story: &Story, plan: &Plan, hop: &NextHop) -> Result<Verdict, Verdict> {
    if hop.vlan != story.frame.domain() || story.frame.is_tagged() && hop.vlan == 0 {
        retag(packet, &story.frame, hop.vlan).ok_or(Verdict::drop(Reason::NoHeadroom))?;
    }
    packet.store(0, hop.macs).ok_or(Verdict::drop(Reason::Truncated))?;
    Ok(way(story, plan, hop))
}

#[inline(always)]
fn way(story: &Story, plan: &Plan, hop: &NextHop) -> Verdict {
    let same = hop.ifindex == story.arrival.ifindex && !story.arrival.is_carried();
    if same { Verdict::transmit(plan.reason) } else { Verdict::redirect(hop.ifindex, plan.reason) }
}

/// What the backend sees as the sender of a packet.
#[inline(always)]
fn source<T: Tables>(tables: &T, story: &Story, nat: Nat) -> Result<End, Verdict> {
    if nat.is_none() {
        return Ok(End { addr: story.here.addr, port: story.here.port });
    }
    let snip = tables.snip(nat.snip.into()).ok_or(Verdict::drop(Reason::NoSnip))?;
    Ok(End { addr: snip.addr, port: nat.port })
}

/// Replaces both ends of the packet, and takes one hop off its life; every checksum follows.
#[inline(always)]
fn translate<P: PacketMut>(packet: &mut P, story: &Story, here: &End, there: &End) -> Option<()> {
    let l4 = story.l4();
    let ports = Delta::new().word16(story.here.port.raw(), here.port.raw()).word16(story.there.port.raw(), there.port.raw());
    let delta = ports.and(readdress(packet, story, &here.addr, &there.addr)?);
    packet.store(l4, [here.port, there.port])?;
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

/// Replaces both addresses of the packet, and takes one hop off its life; the difference that this makes to the checksum of its payload.
#[inline(always)]
fn readdress<P: PacketMut>(packet: &mut P, story: &Story, here: &Ip, there: &Ip) -> Option<Delta> {
    let (l3, ttl) = (story.frame.l3(), story.ttl - 1);
    if story.is_v6() {
        packet.store(l3 + ipv6::HOP_LIMIT, ttl)?;
        packet.store(l3 + ipv6::SOURCE, here.0)?;
        packet.store(l3 + ipv6::DESTINATION, there.0)?;
        return Some(Delta::new().words(&story.here.addr.0, &here.0).words(&story.there.addr.0, &there.0));
    }
    let life = |ttl| u16::from_ne_bytes([ttl, story.protocol()]);
    let checksum = packet.load::<u16>(l3 + ipv4::CHECKSUM)?;
    let ends = Delta::new().word32(story.here.addr.last(), here.last()).word32(story.there.addr.last(), there.last());
    packet.store(l3 + ipv4::TTL_PROTOCOL, [life(ttl), ends.word16(life(story.ttl), life(ttl)).apply(checksum)])?;
    packet.store(l3 + ipv4::SOURCE, [here.last(), there.last()])?;
    Some(ends)
}

/// Replaces the ends of what is no whole packet, an error or a later fragment, as `plan` says.
#[inline(always)]
pub fn translate_rest<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, plan: &mut Plan) {
    plan.verdict = end(try_translate_rest(packet, tables, story, plan));
}

#[inline(always)]
fn try_translate_rest<P: PacketMut, T: Tables>(
    packet: &mut P,
    tables: &T,
    story: &Story,
    plan: &Plan,
) -> Result<Verdict, Verdict> {
    const NOT_CONFIGURED: Verdict = Verdict::drop(Reason::NotConfigured);
    // The stack is small: the new ends are put where there is room for two addresses.
    let mut room = tables.fragment_room().ok_or(NOT_CONFIGURED)?;
    let (ports, hop) = if plan.step == Step::Return {
        let vserver = tables.vserver(plan.index).ok_or(NOT_CONFIGURED)?;
        (room.key.source, room.key.destination) = (vserver.vip, plan.key.addr);
        ([vserver.port, plan.key.port], &plan.hop)
    } else {
        let backend = tables.backend(plan.index).ok_or(NOT_CONFIGURED)?;
        room.key.destination = backend.addr;
        let mut port = story.here.port;
        if plan.nat.is_none() {
            room.key.source = story.here.addr;
        } else {
            room.key.source = tables.snip(plan.nat.snip.into()).ok_or(Verdict::drop(Reason::NoSnip))?.addr;
            port = plan.nat.port;
        }
        ([port, backend.port], &backend.next_hop)
    };
    let (here, there) = (&room.key.source, &room.key.destination);
    let translated = if plan.way == Way::Quote {
        // Whoever is hidden from the receiver does not report to it either.
        quote::translate(packet, story, (here, there), ports, plan.step == Step::Return || !plan.nat.is_none())
    } else {
        readdress(packet, story, here, there).map(drop)
    };
    translated.ok_or(Verdict::drop(Reason::Truncated))?;
    leave(packet, story, plan, hop)
}

/// Makes the frame one of VLAN `wanted`; its MAC addresses are to be written anew after this.
#[inline(never)]
fn retag<P: PacketMut>(packet: &mut P, frame: &Frame, wanted: u32) -> Option<()> {
    let control = Be16::new(frame.control.get() & !vlan::ID | wanted as u16);
    if frame.is_tagged() && wanted != 0 {
        return packet.store(vlan::CONTROL, control);
    }
    if frame.is_tagged() {
        packet.grow_head(-(vlan::LEN as i32))?;
        return packet.store(eth::TYPE, Be16::new(frame.ether_type));
    }
    packet.grow_head(vlan::LEN as i32)?;
    packet.store(eth::TYPE, [Be16::new(ether_type::VLAN), control])
}
