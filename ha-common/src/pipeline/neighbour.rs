//! Who has this address? ARP requests and neighbour solicitations for floating addresses.

use crate::abi::{
    Address, AddressKey, Event, FlowKey, Interface, Ip, Reason, address_flags, event_kind, interface_flags, mac_word,
};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::arp::{self, Arp};
use crate::wire::checksum::Sum;
use crate::wire::eth::{self, Macs, ether_type};
use crate::wire::icmp::{self, Advertisement, Icmp, Neighbour};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{Be16, vlan};

use super::parse::{Frame, Story};
use super::verdict::end;
use super::{Arrival, Verdict, echo, gate};

const NOT_OURS: Verdict = Verdict::pass(Reason::NotOurs);
const IGNORED: Verdict = Verdict::drop(Reason::NeighbourIgnored);

/// Answers an ARP request for a floating address.
#[inline(never)]
pub fn arp<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, arrival: &Arrival, frame: &Frame) -> Verdict {
    end(answer_arp(packet, tables, *arrival, frame))
}

#[inline(always)]
fn answer_arp<P: PacketMut, T: Tables>(
    packet: &mut P,
    tables: &T,
    arrival: Arrival,
    frame: &Frame,
) -> Result<Verdict, Verdict> {
    let request = packet.load::<Arp>(frame.l3()).ok_or(Verdict::pass(Reason::Unreadable))?;
    let ethernet =
        request.hardware == arp::ETHERNET && request.protocol == Be16::new(ether_type::IPV4) && request.lengths == arp::LENGTHS;
    if !ethernet {
        return Err(NOT_OURS);
    }
    overhear(tables, &arrival, frame, Ip::v4(arp::word(request.sender)), eth::from_halves(request.sender_mac));
    // A sender that asks for its own address announces it.
    if request.operation != arp::REQUEST || request.sender == request.target {
        return Err(NOT_OURS);
    }
    let address = gate::floating(tables, &AddressKey { addr: Ip::v4(arp::word(request.target)), domain: frame.domain() })
        .ok_or(NOT_OURS)?;
    let sender = Ip::v4(arp::word(request.sender));
    let interface = may_answer(tables, arrival, frame, address, sender)?;
    let mac = interface.v4_mac;
    let answer = Arp {
        operation: arp::REPLY,
        sender_mac: eth::halves(mac),
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
        ..request
    };
    packet.store(frame.l3(), answer).ok_or(IGNORED)?;
    packet.store(0, eth::macs(eth::from_halves(request.sender_mac), mac)).ok_or(IGNORED)?;
    Ok(Verdict::transmit(Reason::ArpReply))
}

/// Tells the daemon of a station on a leg that says that floating address `addr` is at `mac`, unless that is this leg itself. Whether it
/// is the peer's right, the daemon knows.
#[inline(always)]
fn overhear<T: Tables>(tables: &T, arrival: &Arrival, frame: &Frame, addr: Ip, mac: [u8; 6]) -> Option<()> {
    gate::floating(tables, &AddressKey { addr, domain: frame.domain() })?;
    let leg = tables.interface(arrival.ifindex)?;
    if arrival.is_carried() || leg.flags & interface_flags::LEG == 0 || leg.mac == mac {
        return None;
    }
    tables.emit(&Event {
        kind: event_kind::ADDRESS_CLAIMED,
        detail: frame.domain(),
        at: tables.now(),
        flow: FlowKey { addr, ..FlowKey::default() },
        ifindex: arrival.ifindex,
        words: [mac_word(mac), 0, 0, 0],
        ..Event::default()
    });
    Some(())
}

/// Whether this node answers for `address` now: then the interface whose MAC address it gives.
#[inline(always)]
fn may_answer<'t, T: Tables>(
    tables: &'t T,
    arrival: Arrival,
    frame: &Frame,
    address: &Address,
    sender: Ip,
) -> Result<&'t Interface, Verdict> {
    gate::enter(tables, arrival, address.group)?;
    if gate::floating(tables, &AddressKey { addr: sender, domain: frame.domain() }).is_some() {
        return Err(Verdict::drop(Reason::Loop));
    }
    if address.flags & address_flags::ARP == 0 {
        return Err(IGNORED);
    }
    tables.interface(arrival.ifindex).ok_or(Verdict::drop(Reason::NotConfigured))
}

/// Overhears a neighbour advertisement (RFC 4861, 7.2.4), which is then judged as any other packet.
#[inline(never)]
pub fn advertisement<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story) -> Verdict {
    if let Some(advertisement) = packet.load::<Neighbour>(story.l4())
        && story.ttl == 255
    {
        overhear(tables, &story.arrival, &story.frame, Ip(advertisement.target), eth::source(story.frame.macs));
    }
    match gate::floating(tables, story.there.address()) {
        Some(address) => echo::address(packet, tables, story, address),
        None => NOT_OURS,
    }
}

/// Answers a neighbour solicitation for a floating address (RFC 4861, 7.2.3 and 7.2.4).
#[inline(never)]
pub fn solicitation<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story) -> Verdict {
    end(answer_solicitation(packet, tables, story))
}

#[inline(always)]
fn answer_solicitation<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story) -> Result<Verdict, Verdict> {
    let Story { arrival, frame, .. } = story;
    let solicitation = packet.load::<Neighbour>(story.l4()).ok_or(Verdict::pass(Reason::Unreadable))?;
    let target = Ip(solicitation.target);
    let address = gate::floating(tables, &AddressKey { addr: target, domain: frame.domain() }).ok_or(NOT_OURS)?;
    let interface = may_answer(tables, *arrival, frame, address, story.here.addr)?;
    // From beyond a router, or no solicitation at all: not to be answered.
    if story.ttl != 255 || story.icmp[1] != 0 {
        return Err(IGNORED);
    }
    advertise(packet, story, target, interface.v6_mac).ok_or(Verdict::drop(Reason::NoHeadroom))
}

/// All nodes of the link: whom to answer when the asker has no address yet.
const ALL_NODES: Ip = Ip([0xff02_0000_u32.to_be(), 0, 0, 1_u32.to_be()]);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const HOP_LIMIT: u8 = 255;
const NEXT_HEADER: u8 = 58;
/// Length of an untagged frame with an advertisement.
const FRAME_LEN: usize = eth::LEN + ipv6::LEN + size_of::<Advertisement>();

/// Writes the advertisement over the solicitation. Its length does not depend on the options that came.
#[inline(always)]
fn advertise<P: PacketMut>(packet: &mut P, story: &Story, target: Ip, mac: [u8; 6]) -> Option<Verdict> {
    let Story { frame, here, .. } = story;
    let detecting = here.addr == Ip::default();
    let (destination, to, flags) = if detecting {
        (ALL_NODES, ALL_NODES_MAC, icmp::OVERRIDE)
    } else {
        (here.addr, eth::source(frame.macs), icmp::OVERRIDE | icmp::SOLICITED)
    };
    let wanted = FRAME_LEN + if frame.is_tagged() { vlan::LEN } else { 0 };
    packet.grow_head(wanted as i32 - packet.len() as i32)?;
    packet.store::<Macs>(0, eth::macs(to, mac))?;
    let l3 = if frame.is_tagged() {
        packet.store(eth::TYPE, [Be16::new(ether_type::VLAN), frame.control, Be16::new(ether_type::IPV6)])?;
        eth::LEN + vlan::LEN
    } else {
        packet.store(eth::TYPE, Be16::new(ether_type::IPV6))?;
        eth::LEN
    };
    let header = Ipv6 {
        version_class_label: [0x60, 0, 0, 0],
        payload_length: Be16::new(size_of::<Advertisement>() as u16),
        next_header: NEXT_HEADER,
        hop_limit: HOP_LIMIT,
        source: target.0,
        destination: destination.0,
    };
    packet.store(l3, header)?;
    let option = [icmp::TARGET_MAC, 1];
    let [a, b, c] = eth::halves(mac);
    let checksum = Sum::new()
        .words(&target.0)
        .words(&destination.0)
        .word16(header.payload_length.raw())
        .word16(Be16::new(NEXT_HEADER as u16).raw())
        .word16(u16::from_ne_bytes([icmp::ADVERTISEMENT, 0]))
        .word32(flags.to_be())
        .words(&target.0)
        .word16(u16::from_ne_bytes(option))
        .word16(a)
        .word16(b)
        .word16(c)
        .finish();
    let icmp = Icmp { kind: icmp::ADVERTISEMENT, code: 0, checksum, rest: flags.to_be() };
    packet.store(l3 + ipv6::LEN, Advertisement { neighbour: Neighbour { icmp, target: target.0 }, option, mac })?;
    Some(Verdict::transmit(Reason::NeighbourAdvertisement))
}
