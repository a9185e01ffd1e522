//! How must it look?

use crate::abi::{FlowKey, Ip, NextHop, Reason, ServiceKey};
use crate::packet::PacketMut;
use crate::wire::checksum::Delta;
use crate::wire::eth::{self, ether_type};
use crate::wire::{Be16, ipv4, ipv6, tcp, udp, vlan};

use super::Verdict;
use super::parse::{Frame, Story, Transport};
use super::verdict::end;

/// What is to be done with a packet that is forwarded.
///
/// Filled in by reference and not returned: the compiler takes what functions return apart and puts it together again, which the
/// verifier does not let it do with pointers, and copies of it do not fit the stack.
#[derive(Debug)]
pub struct Plan {
    /// The flow that the packet belongs to.
    pub key: FlowKey,
    /// Which of its ends is translated.
    pub translate: Translate,
    /// Into which address.
    pub addr: Ip,
    /// Into which port.
    pub port: Be16,
    /// Where it leaves, and how.
    pub hop: NextHop,
    /// Why.
    pub reason: Reason,
}

impl Plan {
    /// Nothing is planned.
    #[inline(always)]
    pub fn new() -> Self {
        Plan {
            key: FlowKey::default(),
            translate: Translate::Nothing,
            addr: Ip::default(),
            port: Be16::default(),
            hop: NextHop::default(),
            reason: Reason::NotConfigured,
        }
    }
}

/// Which end of a packet is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translate {
    /// Neither: the backend owns the address.
    Nothing,
    /// Where it goes: a client's packet to a backend.
    Destination,
    /// Where it comes from: a backend's answer to the client.
    Source,
}

/// Whether a packet may be forwarded once more.
#[inline(always)]
pub fn lives_on(story: &Story) -> Result<(), Verdict> {
    if story.ttl <= 1 { Err(Verdict::drop(Reason::TtlExceeded)) } else { Ok(()) }
}

/// Does what `plan` says.
#[inline(always)]
pub fn carry_out<P: PacketMut>(packet: &mut P, story: &Story, plan: &Plan) -> Verdict {
    end(try_carry_out(packet, story, plan))
}

#[inline(always)]
fn try_carry_out<P: PacketMut>(packet: &mut P, story: &Story, plan: &Plan) -> Result<Verdict, Verdict> {
    const TRUNCATED: Verdict = Verdict::drop(Reason::Truncated);
    match plan.translate {
        Translate::Nothing => {}
        Translate::Destination => {
            translate(packet, story, &story.there, plan, ipv4::DESTINATION, ipv6::DESTINATION, 2).ok_or(TRUNCATED)?
        }
        Translate::Source => translate(packet, story, &story.here, plan, ipv4::SOURCE, ipv6::SOURCE, 0).ok_or(TRUNCATED)?,
    }
    let hop = &plan.hop;
    if hop.vlan != story.frame.domain() || story.frame.is_tagged() && hop.vlan == 0 {
        retag(packet, &story.frame, hop.vlan).ok_or(Verdict::drop(Reason::NoHeadroom))?;
    }
    packet.store(0, hop.macs).ok_or(TRUNCATED)?;
    let same = hop.ifindex == story.arrival.ifindex && !story.arrival.is_carried();
    Ok(if same { Verdict::transmit(plan.reason) } else { Verdict::redirect(hop.ifindex, plan.reason) })
}

/// Replaces one end of the packet, and takes one hop off its life; every checksum follows.
#[inline(always)]
fn translate<P: PacketMut>(
    packet: &mut P,
    story: &Story,
    old: &ServiceKey,
    plan: &Plan,
    v4_at: usize,
    v6_at: usize,
    port_at: usize,
) -> Option<()> {
    let (l3, l4, ttl) = (story.frame.l3(), story.l4(), story.ttl - 1);
    let new = &plan.addr;
    let ports = Delta::new().word16(old.port.raw(), plan.port.raw());
    let delta = if story.is_v6() {
        packet.store(l3 + ipv6::HOP_LIMIT, ttl)?;
        packet.store(l3 + v6_at, new.0)?;
        ports.words(&old.addr.0, &new.0)
    } else {
        let life = |ttl| u16::from_ne_bytes([ttl, story.protocol()]);
        let checksum = packet.load::<u16>(l3 + ipv4::CHECKSUM)?;
        let delta = Delta::new().word16(life(story.ttl), life(ttl)).word32(old.addr.last(), new.last());
        packet.store(l3 + ipv4::TTL_PROTOCOL, [life(ttl), delta.apply(checksum)])?;
        packet.store(l3 + v4_at, new.last())?;
        ports.word32(old.addr.last(), new.last())
    };
    packet.store(l4 + port_at, plan.port)?;
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
