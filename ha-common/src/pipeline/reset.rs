//! A segment whose connection is no more: its sender is told, by a reset from where it sent it to.
//!
//! The sequence numbers follow from the segment alone (RFC 9293, 3.10.7.1): where it acknowledges something, that is what comes next; where it
//! does not, the reset acknowledges all of it. So the sender takes it, whatever was said before.

use crate::abi::Reason;
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::Be16;
use crate::wire::checksum::Sum;
use crate::wire::eth;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tcp::{self, Tcp, flags};

use super::parse::Story;
use super::rewrite::Plan;
use super::{Verdict, limit};

const TTL: u8 = 64;
/// Says in the window of a reset why: the public product's number for a connection whose service or virtual server went down.
const CUT_OFF: u16 = 9301;

/// Turns the packet into a reset of its connection, for the plan's reason. Resets are few.
#[inline(always)]
pub fn reset<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, plan: &mut Plan) {
    plan.verdict = if !limit::draw_reset(tables) {
        Verdict::drop(Reason::ResetLimited)
    } else if turn(packet, story, plan.reason).is_some() {
        Verdict::transmit(plan.reason)
    } else {
        Verdict::drop(Reason::Truncated)
    };
}

#[inline(always)]
fn turn<P: PacketMut>(packet: &mut P, story: &Story, reason: Reason) -> Option<()> {
    let l4 = story.l4();
    let segment = answer(&packet.load::<Tcp>(l4)?, story, reason);
    // In answer to a fragment it is none.
    let l4 = l4 - if story.is_part() { ipv6::FRAGMENT_LEN } else { 0 };
    packet.cut_tail(l4 + tcp::LEN)?;
    packet.store(0, eth::swapped(story.frame.macs))?;
    let pseudo = Sum::new().word32((tcp::LEN as u32).to_be()).word32(u32::from(tcp::PROTOCOL).to_be());
    let l3 = story.frame.l3();
    let pseudo = if story.is_v6() {
        let header = Ipv6 {
            version_class_label: [6 << 4, 0, 0, 0],
            payload_length: Be16::new(tcp::LEN as u16),
            next_header: tcp::PROTOCOL,
            hop_limit: TTL,
            source: story.there.addr.0,
            destination: story.here.addr.0,
        };
        packet.store(l3, header)?;
        pseudo.words(&story.there.addr.0).words(&story.here.addr.0)
    } else {
        let header = Ipv4 {
            version_length: ipv4::PLAIN,
            total_length: Be16::new((ipv4::LEN + tcp::LEN) as u16),
            fragment: ipv4::DONT_FRAGMENT,
            ttl: TTL,
            protocol: tcp::PROTOCOL,
            source: story.there.addr.last(),
            destination: story.here.addr.last(),
            ..Ipv4::default()
        };
        packet.store(l3, header.summed())?;
        pseudo.word32(story.there.addr.last()).word32(story.here.addr.last())
    };
    packet.store(l4, summed(segment, pseudo))
}

/// The reset that answers `segment`.
#[inline(always)]
fn answer(segment: &Tcp, story: &Story, reason: Reason) -> Tcp {
    let headers = (story.l4() - story.frame.l3()) as u32 + u32::from(segment.length >> 4) * 4;
    let counted = u32::from(segment.flags & flags::SYN != 0) + u32::from(segment.flags & flags::FIN != 0);
    let next = u32::from_be(segment.sequence).wrapping_add(story.total.wrapping_sub(headers)).wrapping_add(counted);
    let acknowledges = segment.flags & flags::ACK != 0;
    Tcp {
        source: segment.destination,
        destination: segment.source,
        sequence: if acknowledges { segment.acknowledgment } else { 0 },
        acknowledgment: if acknowledges { 0 } else { next.to_be() },
        length: (tcp::LEN as u8 / 4) << 4,
        flags: if acknowledges { flags::RST } else { flags::RST | flags::ACK },
        window: Be16::new(if reason as u16 == Reason::ResetCutOff as u16 { CUT_OFF } else { 0 }),
        ..Tcp::default()
    }
}

#[inline(always)]
fn summed(segment: Tcp, pseudo: Sum) -> Tcp {
    let sum = pseudo
        .word16(segment.source.raw())
        .word16(segment.destination.raw())
        .word32(segment.sequence)
        .word32(segment.acknowledgment)
        .word16(u16::from_ne_bytes([segment.length, segment.flags]))
        .word16(segment.window.raw());
    Tcp { checksum: sum.finish(), ..segment }
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, parse};
    use super::*;
    use crate::packet::HostPacket;
    use crate::wire::vlan;

    /// The reset that answers a segment with these flags, sequence and acknowledgment numbers and as many bytes of options and data.
    fn answered(set: u8, sequence: u32, acknowledgment: u32, options: usize, data: usize) -> Tcp {
        let total = ipv4::LEN + tcp::LEN + options + data;
        let mut frame = vec![0; eth::LEN + total + vlan::LEN];
        frame[12..14].copy_from_slice(&[8, 0]);
        let segment = Tcp {
            sequence: sequence.to_be(),
            acknowledgment: acknowledgment.to_be(),
            length: ((tcp::LEN + options) as u8 / 4) << 4,
            flags: set,
            ..Tcp::default()
        };
        let mut story =
            Story::new(Arrival { ifindex: 1, carried_over: 0 }, parse::frame(&HostPacket::new(&frame)).unwrap(), frame.len());
        story.total = total as u32;
        answer(&segment, &story, Reason::ResetDown)
    }

    #[test]
    fn what_acknowledges_is_answered_with_what_comes_next_and_nothing_more() {
        let reset = answered(flags::ACK, 7, 1_000, 0, 100);
        assert_eq!((u32::from_be(reset.sequence), reset.acknowledgment, reset.flags), (1_000, 0, flags::RST));
    }

    #[test]
    fn what_does_not_is_acknowledged_whole_its_syn_and_fin_included() {
        let table = [
            ((flags::SYN, 7, 0, 20, 0), 8),
            ((flags::SYN, u32::MAX, 0, 0, 0), 0),
            ((flags::FIN, 7, 0, 0, 0), 8),
            ((0, 7, 0, 12, 100), 107),
            ((flags::SYN | flags::FIN, 7, 0, 0, 100), 109),
        ];
        for ((set, sequence, acknowledgment, options, data), next) in table {
            let reset = answered(set, sequence, acknowledgment, options, data);
            let found = (reset.sequence, u32::from_be(reset.acknowledgment), reset.flags);
            assert_eq!(found, (0, next, flags::RST | flags::ACK), "{set:#x} {sequence} {data}");
        }
    }
}
