//! ARP and neighbour discovery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ha_common::abi::{Reason, address_flags};
use ha_common::pipeline::Action;

use super::forward::request;
use super::frames::{Arp, Body, Frame, Mac, advertisement, solicitation};
use super::world::*;
use super::{Changes, Vector, frames};

/// An IPv4 address, which `addr` is.
pub fn v4(addr: IpAddr) -> Ipv4Addr {
    let IpAddr::V4(addr) = addr else { panic!("{addr} is IPv4") };
    addr
}

/// An IPv6 address, which `addr` is.
pub fn v6(addr: IpAddr) -> Ipv6Addr {
    let IpAddr::V6(addr) = addr else { panic!("{addr} is IPv6") };
    addr
}

/// The client asks all stations for `target`.
pub fn question(target: IpAddr) -> Arp {
    Arp { to: [0xff; 6], vlan: None, reply: false, sender: (CLIENT_MAC, v4(CLIENT)), target: ([0; 6], v4(target)) }
}

/// The answer that the client leg gives.
fn answer(question: &Arp) -> Arp {
    Arp {
        to: question.sender.0,
        reply: true,
        sender: (CLIENT_LEG_MAC, question.target.1),
        target: question.sender,
        ..question.clone()
    }
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = arp();
    vectors.extend(discovery());
    vectors
}

fn arp() -> Vec<Vector> {
    let asked = question(VIP);
    let probe = Arp { sender: (CLIENT_MAC, Ipv4Addr::UNSPECIFIED), ..question(VIP) };
    let unicast = Arp { to: CLIENT_LEG_MAC, ..question(VIP) };
    let announced = Arp { sender: (CLIENT_MAC, v4(VIP)), ..question(VIP) };
    let replied = Arp { reply: true, ..question(VIP) };
    let taken = Arp { reply: true, ..announced.clone() };
    let ours = Arp { sender: (CLIENT_LEG_MAC, v4(VIP)), ..question(VIP) };
    let own = Arp { sender: (CLIENT_MAC, v4(LOCAL_VIP)), ..question(VIP) };
    let overheard = Changes { events: 1, ..Changes::default() };
    let mut token_ring = asked.bytes();
    token_ring[15] = 6;
    let asks = |name, arp: &Arp| Vector::new(name).received(CLIENT_LEG, arp.bytes());
    vec![
        asks("arp: a VIP is here", &asked).leaves(Action::Transmit, Reason::ArpReply, answer(&asked).bytes()),
        asks("arp: a VIP is defended against a probe", &probe).leaves(
            Action::Transmit,
            Reason::ArpReply,
            answer(&probe).bytes(),
        ),
        asks("arp: a VIP is still here", &unicast).leaves(Action::Transmit, Reason::ArpReply, answer(&unicast).bytes()),
        Vector::new("arp: a frame without padding is answered without")
            .received(CLIENT_LEG, asked.bytes()[..42].to_vec())
            .leaves(Action::Transmit, Reason::ArpReply, answer(&asked).bytes()[..42].to_vec()),
        asks("arp: an address of somebody else", &question(CLIENT)).passes(Reason::NotOurs),
        Vector::new("arp: an address of this host that does not float")
            .received(SERVER_LEG, question(OWN).bytes())
            .passes(Reason::NotOurs),
        asks("arp: a VIP that is not to be heard is silent", &question(MUTE_VIP)).drops(Reason::NeighbourIgnored),
        asks("arp: a VIP that replies to echo only is silent", &asked)
            .with(|tables| answers(tables, VIP, address_flags::ICMP))
            .drops(Reason::NeighbourIgnored),
        asks("arp: a VIP that does not reply to echo is here", &asked)
            .with(|tables| answers(tables, VIP, address_flags::ARP))
            .leaves(Action::Transmit, Reason::ArpReply, answer(&asked).bytes()),
        asks("arp: an announcement of a VIP by another station is told and passed on", &announced)
            .passes(Reason::NotOurs)
            .changing(overheard),
        asks("arp: a reply of another station that it has a VIP is told", &taken).passes(Reason::NotOurs).changing(overheard),
        asks("arp: an own announcement that comes back is not told", &ours).passes(Reason::NotOurs),
        Vector::new("arp: what is no leg is not listened to").received(HA_LINK, announced.bytes()).passes(Reason::NotOurs),
        asks("arp: a reply is the host's", &replied).passes(Reason::NotOurs),
        asks("arp: a question from a floating address is a loop, and told", &own).drops(Reason::Loop).changing(overheard),
        Vector::new("arp: another hardware type is the host's").received(CLIENT_LEG, token_ring).passes(Reason::NotOurs),
        Vector::new("arp: a packet that ends too early is the host's")
            .received(CLIENT_LEG, asked.bytes()[..40].to_vec())
            .passes(Reason::Unreadable),
    ]
}

/// The client asks the solicited-node group for `target`.
pub fn solicit(target: IpAddr, mac: Option<Mac>) -> Frame {
    let last = v6(target).octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(last[13]), u16::from_be_bytes([last[14], last[15]]));
    Frame {
        to: [0x33, 0x33, 0xff, last[13], last[14], last[15]],
        destination: group.into(),
        ttl: 255,
        ..request(target, solicitation(v6(target), mac))
    }
}

/// The answer that the client leg gives to `solicit`.
fn advertise(solicit: &Frame, target: IpAddr) -> Frame {
    Frame {
        from: CLIENT_LEG_MAC,
        to: CLIENT_MAC,
        source: target,
        destination: solicit.source,
        body: advertisement(v6(target), CLIENT_LEG_MAC, true),
        ..solicit.clone()
    }
}

fn discovery() -> Vec<Vector> {
    let asked = solicit(VIP6, Some(CLIENT_MAC));
    let unicast = Frame { to: CLIENT_LEG_MAC, destination: VIP6, ..asked.clone() };
    let bare = Frame { to: CLIENT_LEG_MAC, destination: VIP6, body: solicitation(v6(VIP6), None), ..asked.clone() };
    let detecting = Frame { source: Ipv6Addr::UNSPECIFIED.into(), body: solicitation(v6(VIP6), None), ..asked.clone() };
    let to_all = Frame {
        to: [0x33, 0x33, 0, 0, 0, 1],
        destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
        body: advertisement(v6(VIP6), CLIENT_LEG_MAC, false),
        ..advertise(&detecting, VIP6)
    };
    let nonce = {
        let Body::Icmp { data, .. } = solicitation(v6(VIP6), Some(CLIENT_MAC)) else { panic!("an ICMP message") };
        let data = [&data[..], &[14, 1, 1, 2, 3, 4, 5, 6]].concat();
        Frame { body: Body::Icmp { kind: 135, code: 0, rest: [0; 4], data }, ..asked.clone() }
    };
    let far = Frame { ttl: 254, ..asked.clone() };
    let coded = Frame {
        body: match solicitation(v6(VIP6), Some(CLIENT_MAC)) {
            Body::Icmp { kind, rest, data, .. } => Body::Icmp { kind, code: 1, rest, data },
            other => other,
        },
        ..asked.clone()
    };
    let claimed = |target, to_all: bool| Frame {
        from: CLIENT_MAC,
        to: if to_all { [0x33, 0x33, 0, 0, 0, 1] } else { CLIENT_LEG_MAC },
        source: CLIENT6,
        destination: if to_all { Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into() } else { SNIP6 },
        ttl: 255,
        ..request(target, advertisement(v6(target), CLIENT_MAC, !to_all))
    };
    let overheard = Changes { events: 1, ..Changes::default() };
    let asks = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let here = |vector: Vector, frame: &Frame| vector.leaves(Action::Transmit, Reason::NeighbourAdvertisement, frame.bytes());
    vec![
        here(asks("discovery: a VIP is here", &asked), &advertise(&asked, VIP6)),
        here(asks("discovery: a VIP is still here", &unicast), &advertise(&unicast, VIP6)),
        here(asks("discovery: a question without an option is answered with one", &bare), &advertise(&bare, VIP6)),
        here(asks("discovery: a question with more options is answered with one", &nonce), &advertise(&nonce, VIP6)),
        here(asks("discovery: a VIP is defended against a station without an address", &detecting), &to_all),
        asks("discovery: an advertisement of a VIP by another station is told and passed on", &claimed(VIP6, true))
            .passes(Reason::NotOurs)
            .changing(overheard),
        asks("discovery: an advertisement from beyond a router is not told", &Frame { ttl: 254, ..claimed(VIP6, true) })
            .passes(Reason::NotOurs),
        asks("discovery: a neighbour's answer to a floating address is for packet sockets", &claimed(CLIENT6, false)).leaves(
            Action::Pass,
            Reason::NeighbourHeard,
            Frame { to: [2, 0, 0, 0, 0, 0], ..claimed(CLIENT6, false) }.bytes(),
        ),
        asks("discovery: an address of somebody else", &solicit(CLIENT6, Some(CLIENT_MAC))).passes(Reason::NotOurs),
        asks("discovery: a VIP that replies to echo only is silent", &solicit(VIP6, Some(CLIENT_MAC)))
            .with(|tables| answers(tables, VIP6, address_flags::ICMP))
            .drops(Reason::NeighbourIgnored),
        asks("discovery: a VIP that is not to be heard is silent", &solicit(MUTE_VIP6, Some(CLIENT_MAC)))
            .drops(Reason::NeighbourIgnored),
        asks("discovery: a question from beyond a router", &far).drops(Reason::NeighbourIgnored),
        asks("discovery: a question with a code", &coded).drops(Reason::NeighbourIgnored),
        asks("discovery: a question from a floating address is a loop", &Frame { source: SNIP6, ..asked.clone() })
            .drops(Reason::Loop),
        Vector::new("discovery: a question that ends before its target is the host's")
            .received(CLIENT_LEG, {
                let mut bytes =
                    frames::Frame { body: Body::Icmp { kind: 135, code: 0, rest: [0; 4], data: vec![] }, ..unicast.clone() }
                        .bytes();
                bytes.truncate(62);
                bytes
            })
            .passes(Reason::Unreadable),
    ]
}
