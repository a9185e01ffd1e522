//! Headers as bytes, with everything in them that is computed right.

use ha_common::abi::Ip;

use crate::vectors::frames::Mac;

/// IP protocols.
pub mod protocol {
    #![allow(missing_docs)] // names of IANA
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const GRE: u8 = 47;
    pub const ICMP_V6: u8 = 58;
    pub const VRRP: u8 = 112;
}

/// An Ethernet frame with these tags, outermost first.
pub fn ethernet(to: Mac, from: Mac, tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(22 + payload.len());
    frame.extend(to);
    frame.extend(from);
    for (protocol, control) in tags {
        frame.extend(protocol.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The octets of an address, as they lie in an IPv6 header.
pub fn octets(addr: Ip) -> [u8; 16] {
    let mut octets = [0; 16];
    for (four, word) in octets.chunks_exact_mut(4).zip(addr.0) {
        four.copy_from_slice(&word.to_ne_bytes());
    }
    octets
}

fn add(sum: u32, bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    let last = words.remainder().first().map_or(0, |last| u32::from(*last) << 8);
    words.fold(sum, |sum, pair| sum + (u32::from(pair[0]) << 8 | u32::from(pair[1]))) + last
}

fn fold(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// What is besides addresses and payload in an IP header.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Time to live.
    pub ttl: u8,
    /// Options (IPv4), whole words; or extension headers (IPv6), with the number of the first, which name the payload's protocol last.
    pub extra: Vec<u8>,
    /// First extension header.
    pub first: Option<u8>,
    /// Fragment field (IPv4).
    pub fragment: u16,
}

/// An IP packet, IPv4 if both ends are.
pub fn ip(shape: &Shape, source: Ip, destination: Ip, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let extra = &shape.extra;
    if source.is_v4() && destination.is_v4() {
        let header_len = 20 + extra.len();
        let mut packet = vec![0x40 | (header_len / 4) as u8, 0];
        packet.extend(((header_len + payload.len()) as u16).to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(shape.fragment.to_be_bytes());
        packet.extend([shape.ttl, protocol, 0, 0]);
        packet.extend(source.last().to_ne_bytes());
        packet.extend(destination.last().to_ne_bytes());
        packet.extend_from_slice(extra);
        let sum = fold(add(0, &packet));
        packet[10..12].copy_from_slice(&sum);
        packet.extend_from_slice(payload);
        return packet;
    }
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(((extra.len() + payload.len()) as u16).to_be_bytes());
    packet.extend([shape.first.unwrap_or(protocol), shape.ttl]);
    packet.extend(octets(source));
    packet.extend(octets(destination));
    packet.extend_from_slice(extra);
    packet.extend_from_slice(payload);
    packet
}

/// Fills in the checksum at `at` of a payload between these ends.
pub fn sum_up(mut payload: Vec<u8>, at: usize, source: Ip, destination: Ip, protocol: u8) -> Vec<u8> {
    let pseudo = if source.is_v4() && destination.is_v4() {
        let ends = add(add(0, &source.last().to_ne_bytes()), &destination.last().to_ne_bytes());
        // ICMP covers no addresses.
        if protocol == protocol::ICMP { 0 } else { ends + u32::from(protocol) + payload.len() as u32 }
    } else {
        add(add(0, &octets(source)), &octets(destination)) + u32::from(protocol) + payload.len() as u32
    };
    payload[at..at + 2].fill(0);
    let sum = fold(add(pseudo, &payload));
    let sum = if protocol == protocol::UDP && sum == [0, 0] { [0xff, 0xff] } else { sum };
    payload[at..at + 2].copy_from_slice(&sum);
    payload
}

/// A TCP segment without its checksum.
pub fn tcp(source: u16, destination: u16, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut segment = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    segment.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    segment.extend_from_slice(data);
    segment
}

/// A UDP datagram without its checksum.
pub fn udp(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let len = 8 + data.len() as u16;
    let mut datagram = [source, destination, len, 0].map(u16::to_be_bytes).concat();
    datagram.extend_from_slice(data);
    datagram
}

/// An ICMP or ICMPv6 message without its checksum.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend_from_slice(data);
    message
}

/// An ARP packet for IPv4 over Ethernet.
pub fn arp(operation: u16, sender: (Mac, Ip), target: (Mac, Ip)) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    for (mac, addr) in [sender, target] {
        packet.extend(mac);
        packet.extend(addr.last().to_ne_bytes());
    }
    packet
}
