//! Bad input to a floating address.

use std::net::{IpAddr, Ipv4Addr};

use ha_common::abi::Reason;
use ha_common::time::Nanos;

use super::Vector;
use super::forward::request;
use super::frames::{Body, Frame, tcp, udp};
use super::world::*;

const IP: usize = 14;
const TOTAL_LENGTH: usize = IP + 2;
const FRAGMENT: usize = IP + 6;
const PAYLOAD_LENGTH: usize = IP + 4;
const NEXT_HEADER: usize = IP + 6;
const TCP_LENGTH: usize = IP + 20 + 12;
const UDP_LENGTH: usize = IP + 20 + 4;

/// `frame` with `bytes` at `offset`.
fn with(frame: &Frame, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.bytes();
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

/// `frame` cut to `len` bytes, with a total length that fits.
fn cut(frame: &Frame, len: usize) -> Vec<u8> {
    let mut bytes = frame.bytes();
    bytes.truncate(len);
    if bytes[12..14] == [8, 0] {
        bytes[TOTAL_LENGTH..TOTAL_LENGTH + 2].copy_from_slice(&(len as u16 - 14).to_be_bytes());
    } else {
        bytes[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 2].copy_from_slice(&(len as u16 - 54).to_be_bytes());
    }
    bytes
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = lengths();
    vectors.extend(headers());
    vectors.extend(addresses());
    vectors
}

fn lengths() -> Vec<Vector> {
    let port = port_to(&super::world::pair(Nanos(1)), WEB, CLIENT, 1);
    let segment = request(VIP, tcp(port, 80, "A"));
    let query = request(VIP, udp(port, 53));
    let segment6 = request(VIP6, tcp(port, 80, "A"));
    let comes = |name, bytes: Vec<u8>| Vector::new(name).received(CLIENT_LEG, bytes);
    let cut_frame = |len: usize| segment.bytes()[..len].to_vec();
    vec![
        comes("bad: a frame that ends within the IPv4 header", cut_frame(IP + 19)).passes(Reason::Unreadable),
        comes("bad: a frame that ends before its total length", cut_frame(60)).drops(Reason::BadIpLength),
        comes("bad: a total length beyond the frame", with(&segment, TOTAL_LENGTH, &[0xff, 0xff])).drops(Reason::BadIpLength),
        comes("bad: a total length within the header", with(&segment, TOTAL_LENGTH, &[0, 19])).drops(Reason::BadIpLength),
        comes("bad: a packet that is no more than its header", cut(&segment, IP + 20)).drops(Reason::Truncated),
        comes("bad: a packet that ends within the TCP header", cut(&segment, IP + 20 + 19)).drops(Reason::Truncated),
        comes("bad: a packet that ends within the UDP header", cut(&query, IP + 20 + 7)).drops(Reason::Truncated),
        comes("bad v6: a frame that ends within the header", segment6.bytes()[..IP + 39].to_vec()).passes(Reason::Unreadable),
        comes("bad v6: a payload length beyond the frame", with(&segment6, PAYLOAD_LENGTH, &[1, 0])).drops(Reason::BadIpLength),
        comes("bad v6: a packet that ends within the TCP header", cut(&segment6, IP + 40 + 19)).drops(Reason::Truncated),
        comes("bad: TCP says that its header is too short", with(&segment, TCP_LENGTH, &[0x40]))
            .drops(Reason::BadTransportLength),
        comes("bad: TCP says that its header is longer than the packet", with(&segment, TCP_LENGTH, &[0xf0]))
            .drops(Reason::BadTransportLength),
        comes("bad: UDP says that it is shorter than its header", with(&query, UDP_LENGTH, &[0, 7]))
            .drops(Reason::BadTransportLength),
        comes("bad: UDP says that it is longer than the packet", with(&query, UDP_LENGTH, &[0, 99]))
            .drops(Reason::BadTransportLength),
        comes(
            "bad: an echo request that ends within its header",
            cut(&request(VIP, super::frames::echo(VIP, false)), IP + 20 + 7),
        )
        .drops(Reason::Truncated),
        comes("bad: a damaged packet is no better on the node that does not serve", with(&segment, TOTAL_LENGTH, &[0, 19]))
            .with(step_down)
            .with(|tables| tables.node.controller_dead = 0)
            .drops(Reason::StrayNoPeer),
    ]
}

fn headers() -> Vec<Vector> {
    let port = port_to(&super::world::pair(Nanos(1)), WEB, CLIENT, 1);
    let segment = request(VIP, tcp(port, 80, "A"));
    let segment6 = request(VIP6, tcp(port, 80, "A"));
    let bare6 = request(VIP6, Body::Udp { source: port, destination: 53, summed: false, data: vec![1] });
    let comes = |name, bytes: Vec<u8>| Vector::new(name).received(CLIENT_LEG, bytes);
    vec![
        comes("bad: IPv4 options", with(&segment, IP, &[0x46])).drops(Reason::IpOptions),
        comes("bad: an IPv4 header that is too short for itself", with(&segment, IP, &[0x44])).drops(Reason::BadIpLength),
        comes("bad: version 6 where 4 was said", with(&segment, IP, &[0x65])).passes(Reason::Unreadable),
        comes("bad: version 4 where 6 was said", with(&segment6, IP, &[0x45])).passes(Reason::Unreadable),
        comes("bad: the first fragment", with(&segment, FRAGMENT, &[0x20, 0])).drops(Reason::Fragment),
        comes("bad: a later fragment", with(&segment, FRAGMENT, &[0, 5])).drops(Reason::Fragment),
        comes("bad: the wish not to be fragmented is none", with(&segment, FRAGMENT, &[0x20 | 0x40, 0]))
            .drops(Reason::Fragment),
        comes("bad v6: a fragment header", with(&segment6, NEXT_HEADER, &[44])).drops(Reason::FragmentUnknown),
        comes("bad v6: a hop-by-hop header", with(&segment6, NEXT_HEADER, &[0])).drops(Reason::IpOptions),
        comes("bad v6: a routing header", with(&segment6, NEXT_HEADER, &[43])).drops(Reason::IpOptions),
        comes("bad v6: UDP without a checksum", bare6.bytes()).drops(Reason::NoUdpChecksum),
    ]
}

fn addresses() -> Vec<Vector> {
    let port = port_to(&super::world::pair(Nanos(1)), WEB, CLIENT, 1);
    let segment = request(VIP, tcp(port, 80, "A"));
    let segment6 = request(VIP6, tcp(port, 80, "A"));
    let from = |source: [u8; 4]| Frame { source: IpAddr::V4(Ipv4Addr::from(source)), ..segment.clone() };
    let from6 = |source: &str| Frame { source: source.parse().expect("an address"), ..segment6.clone() };
    let comes = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    vec![
        comes("bad: the VIP's own packet comes back", &Frame { source: VIP, ..segment.clone() }).drops(Reason::Loop),
        comes("bad v6: the VIP's own packet comes back", &Frame { source: VIP6, ..segment6.clone() }).drops(Reason::Loop),
        comes("bad: from nowhere", &from([0, 0, 0, 0])).drops(Reason::BadSource),
        comes("bad: from a loopback address", &from([127, 0, 0, 1])).drops(Reason::BadSource),
        comes("bad: from a group", &from([224, 0, 0, 5])).drops(Reason::BadSource),
        comes("bad: from everybody", &from([255; 4])).drops(Reason::BadSource),
        comes("bad v6: from nowhere", &from6("::")).drops(Reason::BadSource),
        comes("bad v6: from a loopback address", &from6("::1")).drops(Reason::BadSource),
        comes("bad v6: from a group", &from6("ff02::1")).drops(Reason::BadSource),
        comes("bad: to all stations of the link", &Frame { to: [0xff; 6], ..segment.clone() }).drops(Reason::DropNotUnicast),
        comes("bad: to a group of stations", &Frame { to: [1, 0, 0x5e, 1, 0, 100], ..segment.clone() })
            .drops(Reason::DropNotUnicast),
    ]
}
