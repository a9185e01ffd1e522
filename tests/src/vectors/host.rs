//! Ordinary traffic of the host, which nobody may disturb.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ha_common::abi::Reason;

use super::Vector;
use super::forward::request;
use super::frames::{Frame, echo, link, tcp, udp};
use super::world::*;

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let comes = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let group = Frame { to: [1, 0, 0x5e, 0, 0, 18], ..request(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)), udp(1, 2)) };
    let group6 = Frame {
        to: [0x33, 0x33, 0, 0, 0, 0xfb],
        ..request(IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)), udp(5353, 5353))
    };
    vec![
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
