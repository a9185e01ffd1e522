//! An error about a tunnel: which packet was in it, and what is its sender told?
//!
//! What a router says about the packet outside is of no use to the client, which does not know of the tunnel. If as much of the packet inside is
//! quoted as names its flow, the client is told about that, from the VIP (RFC 2003, 4; RFC 2473, 8): that the way is narrow, by the
//! tunnel's own header more than the router says, and for all else that the service cannot be reached. Only clients that are remembered are
//! told: who else would take part in a tunnel that the pair knows nothing of?

use crate::abi::{Ip, Reason, ServiceKey, mode};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{Be16, icmp, tcp, udp};

use super::parse::Story;
use super::rewrite::{Plan, Way};
use super::{Steps, Verdict, classify, quote, refuse, relay, tunnel};

/// Plans what the client is told whose packet was in the tunnel that an error is about; whether it is about a tunnel of the pair's. If so, the story is
/// that of the client's packet, and the frame holds no more than that; if not, nothing was changed.
#[inline(always)]
pub fn outer<P: PacketMut, T: Steps>(packet: &mut P, tables: &T, story: &mut Story, plan: &mut Plan) -> bool {
    match try_outer(packet, tables, story, plan) {
        Ok(known) => known,
        Err(verdict) => {
            (plan.way, plan.verdict) = (Way::Ended, verdict);
            true
        }
    }
}

#[inline(always)]
fn try_outer<P: PacketMut, T: Steps>(packet: &mut P, tables: &T, story: &mut Story, plan: &mut Plan) -> Result<bool, Verdict> {
    let Some((at, len)) = quote::place(story) else {
        return Ok(false);
    };
    // The stack is small: addresses are put where there is room for them.
    let Some(mut room) = tables.fragment_room() else {
        return Ok(false);
    };
    let outside = &mut room.key;
    let protocol = layer(packet, at, len, story.is_v6(), [&mut outside.source, &mut outside.destination]);
    let inner_v6 = protocol == tunnel::IPV6;
    if protocol != tunnel::IPIP && !inner_v6 || !outside.source.is(&story.there.addr) {
        return Ok(false);
    }
    let (around, head) = (head(story.is_v6()), head(inner_v6));
    let begin = at + around;
    if len < around + head + quote::NAMED {
        return Err(classify::misfit(tables, story, Reason::Truncated));
    }
    let mut service = ServiceKey { domain: story.there.domain, ..ServiceKey::default() };
    let protocol = layer(packet, begin, len - around, inner_v6, [&mut plan.key.addr, &mut service.addr]);
    if !matches!(protocol, tcp::PROTOCOL | udp::PROTOCOL) {
        return Ok(false);
    }
    let Some([from, to]) = packet.load::<[Be16; 2]>(begin + head) else {
        return Ok(false);
    };
    (service.port, service.protocol) = (to, protocol.into());
    let Some(index) = tables.vserver_index(&service) else {
        return Ok(false);
    };
    let vserver = tables.vserver(index).ok_or(Verdict::drop(Reason::NotConfigured))?;
    if vserver.mode != mode::TUNNEL {
        return Ok(false);
    }
    relay::admit(packet, tables, story, vserver)?;
    (plan.key.vserver, plan.key.port, plan.key.protocol) = (index as u16, from, protocol.into());
    plan.room = packet.load::<u32>(story.l4() + 4).map_or(0, |said| largest(story, u32::from_be(said), around as u32));
    if plan.room == 0 || !recorded(tables, plan, &outside.destination) {
        return Err(Verdict::drop(Reason::ErrorUnknown));
    }
    relay::right(packet, tables, story)?;
    plan.reason = Reason::ErrorReturned;
    plan.way = Way::Refused;
    packet.grow_head(story.frame.l3() as i32 - begin as i32).ok_or(Verdict::drop(Reason::Truncated))?;
    (story.here.addr, story.there.addr) = (plan.key.addr, service.addr);
    story.turns(inner_v6);
    Ok(true)
}

/// The largest packet that a client may send, by what the error `said`; zero if it did not say, as routers did before RFC 1191.
#[inline(always)]
fn largest(story: &Story, said: u32, around: u32) -> u16 {
    let (kind, code) = if story.is_v6() { icmp::V6_TOO_BIG } else { icmp::FRAGMENTATION_NEEDED };
    if story.icmp != [kind, code] {
        return refuse::UNREACHABLE;
    }
    let mtu = if story.is_v6() { said } else { said & 0xffff };
    if mtu < around + u32::from(refuse::ROOM_MIN) {
        return 0;
    }
    (mtu - around).min(u16::MAX.into()) as u16
}

/// Length of an IP header.
#[inline(always)]
const fn head(v6: bool) -> usize {
    if v6 { ipv6::LEN } else { ipv4::LEN }
}

/// Reads the ends of the packet at `at`, of which there are `len` bytes; its protocol, zero if it is no whole or first one without options.
#[inline(always)]
fn layer<P: PacketMut>(packet: &P, at: usize, len: usize, v6: bool, [source, destination]: [&mut Ip; 2]) -> u8 {
    if len < head(v6) {
        return 0;
    }
    if v6 {
        let Some(header) = packet.load::<Ipv6>(at) else {
            return 0;
        };
        (*source, *destination) = (Ip(header.source), Ip(header.destination));
        return header.next_header;
    }
    let Some(header) = packet.load::<Ipv4>(at) else {
        return 0;
    };
    if header.version_length != ipv4::PLAIN || header.fragment.get() & ipv4::FRAGMENT_OFFSET != 0 {
        return 0;
    }
    (*source, *destination) = (Ip::v4(header.source), Ip::v4(header.destination));
    header.protocol
}

/// Whether the flow of `plan` has a record, or its SYN left one, that says that it goes to the backend at `addr`; how its client is reached, then.
#[inline(always)]
fn recorded<T: Tables>(tables: &T, plan: &mut Plan, addr: &Ip) -> bool {
    let key = plan.key.here();
    if let Some(flow) = tables.flow_mut(&key) {
        (plan.index, plan.hop) = (flow.placed_at(), flow.client_hop);
    } else if let Some(embryo) = tables.embryo(&key) {
        (plan.index, plan.hop) = (embryo.backend, embryo.client_hop);
    } else {
        return false;
    }
    let Some(backend) = tables.backend(plan.index) else {
        return false;
    };
    !plan.hop.is_unknown() && backend.addr.is(addr)
}
