//! Ordinary traffic of the host, which nobody may disturb.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::IpNumber;
use ha_common::abi::{Reason, vrid_flags};

use super::forward::request;
use super::frames::{Body, Frame, echo, link, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let comes = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let group = Frame { to: [1, 0, 0x5e, 0, 0, 18], ..request(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)), udp(1, 2)) };
    let group6 = Frame {
        to: [0x33, 0x33, 0, 0, 0, 0xfb],
        ..request(IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)), udp(5353, 5353))
    };
    let advert = |to: IpAddr, kind: u8, vrid: u8| Frame {
        ttl: 255,
        ..request(to, Body::Other(IpNumber(112), vec![kind, vrid, 100, 1, 0, 100, 0, 0]))
    };
    let routers = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
    let routers6 = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));
    let hears = |name, frame: &Frame| {
        comes(name, frame)
            .with(|tables| tables.vrids.extend([(7, vrid_flags::V4), (9, vrid_flags::V6)]))
            .passes(Reason::NotOurs)
    };
    let overheard = Changes { events: 1, ..Changes::default() };
    vec![
        hears("vrrp: an advertisement of a VRID of the pair is told and passed on", &advert(routers, 0x31, 7))
            .changing(overheard),
        hears("vrrp: one of version 2, too", &advert(routers, 0x21, 7)).changing(overheard),
        hears("vrrp v6: an advertisement of a VRID of the pair is told and passed on", &advert(routers6, 0x31, 9))
            .changing(overheard),
        hears("vrrp: a VRID that only IPv6 uses here", &advert(routers, 0x31, 9)),
        hears("vrrp: a VRID of others", &advert(routers, 0x31, 8)),
        hears("vrrp: no advertisement", &advert(routers, 0x32, 7)),
        hears("vrrp: from beyond a router", &Frame { ttl: 254, ..advert(routers, 0x31, 7) }),
        hears("vrrp: a packet that ends too early", &request(routers, Body::Other(IpNumber(112), vec![0x31, 7, 1]))),
        comes("vrrp: to a floating address it is a protocol that is not served", &advert(VIP, 0x31, 7))
            .drops(Reason::ProtocolNotServed),
        comes("host: a connection to its own address", &request(OWN, tcp(4000, 22, "S"))).passes(Reason::NotOurs),
        comes("host: a connection to its NSIP", &request(NSIP.into(), tcp(4000, 3010, "S"))).passes(Reason::NotOurs),
        comes("host: a datagram to somebody else", &request(STRANGER, udp(4000, 53))).passes(Reason::NotOurs),
        comes("host: a ping to its own address", &request(OWN, echo(OWN, false))).passes(Reason::NotOurs),
        comes("host: a packet to a group", &group).passes(Reason::NotOurs),
        comes("host v6: a packet to a group", &group6).passes(Reason::NotOurs),
        comes("host: a datagram to a port of the pair's on a leg", &request(NSIP.into(), udp(3003, 3003)))
            .passes(Reason::NotOurs),
        Vector::new("host: another protocol of the link")
            .received(
                CLIENT_LEG,
                [link([1, 0x80, 0xc2, 0, 0, 0xe], CLIENT_MAC, None, etherparse::EtherType(0x88cc)), vec![0; 50]].concat(),
            )
            .passes(Reason::NotIp),
        Vector::new("host: a frame that is no more than a header")
            .received(CLIENT_LEG, link(CLIENT_LEG_MAC, CLIENT_MAC, None, etherparse::EtherType::IPV4))
            .passes(Reason::Unreadable),
        comes("host: everything, on the node that does not serve", &request(OWN, tcp(4000, 22, "S")))
            .with(step_down)
            .passes(Reason::NotOurs),
        Vector::new("host: a damaged packet to its own address")
            .received(CLIENT_LEG, {
                let mut bytes = request(OWN, tcp(4000, 22, "S")).bytes();
                bytes[16..18].copy_from_slice(&9000u16.to_be_bytes());
                bytes
            })
            .passes(Reason::NotOurs),
    ]
}
