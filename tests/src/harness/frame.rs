//! Probes as bytes: built and read here with etherparse, never with the code under test.
//!
//! An echo request carries the probe's index. Broadcast questions cannot carry it, so the asker's address does: it is one of
//! [`ASKERS`] in turn, and an answer is addressed to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, IcmpEchoHeader, Icmpv4Header, Icmpv4Type, LaxNetSlice, LaxSlicedPacket, LinkSlice,
    PacketBuilder, TransportSlice,
};

/// Number of addresses that broadcast questions are asked from, one after the other; an answer older than this many probes is lost.
pub const ASKERS: u32 = 32;
/// Echo identifier of the prober.
const ECHO_ID: u16 = 0x5553;
/// Source of all broadcast questions: a locally administered MAC of nobody else.
const ASKER_MAC: [u8; 6] = [0x02, 0x55, 0x53, 0, 0, 1];

const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// What a captured frame says, as far as the lab cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Answer to the echo request of probe `index`.
    EchoReply {
        /// The probe's index.
        index: u32,
    },
    /// An ARP frame; `asker` is the broadcast question's asker that it answers, if any.
    Arp {
        /// Index modulo [`ASKERS`].
        asker: Option<u32>,
    },
    /// A neighbour advertisement; `asker` as for ARP.
    Advertisement {
        /// Index modulo [`ASKERS`].
        asker: Option<u32>,
    },
    /// TCP, with or without RST.
    Tcp {
        /// The RST flag.
        reset: bool,
    },
    /// Anything else.
    Other,
}

/// A captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Ethernet source.
    pub mac: [u8; 6],
    /// Who claims to speak: IP source, ARP sender; `None` for other protocols.
    pub speaker: Option<IpAddr>,
    /// What is said.
    pub content: Content,
}

/// ICMP echo request of probe `index`, without IP header.
pub fn echo_request(index: u32) -> Vec<u8> {
    let payload = index.to_be_bytes();
    let echo = IcmpEchoHeader { id: ECHO_ID, seq: index as u16 };
    let mut bytes = Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(echo), &payload).to_bytes().to_vec();
    bytes.extend(payload);
    bytes
}

/// Index of the probe that an ICMP message (without IP header) answers.
pub fn echo_reply(message: &[u8]) -> Option<u32> {
    let message = etherparse::Icmpv4Slice::from_slice(message).ok()?;
    match message.icmp_type() {
        Icmpv4Type::EchoReply(echo) if echo.id == ECHO_ID => {
            let index = u32::from_be_bytes(message.payload().first_chunk().copied()?);
            (index as u16 == echo.seq).then_some(index)
        }
        _ => None,
    }
}

/// Broadcast ARP request for `target` in the name of probe `index`.
pub fn arp_request(index: u32, target: Ipv4Addr) -> Result<Vec<u8>> {
    let question = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: ASKER_MAC,
        sender_ipv4: asker_v4(index).octets(),
        target_mac: [0; 6],
        target_ipv4: target.octets(),
    };
    let mut bytes = Vec::with_capacity(64);
    PacketBuilder::ethernet2(ASKER_MAC, [0xff; 6]).arp(question.into()).write(&mut bytes)?;
    Ok(bytes)
}

/// Neighbour solicitation for `target` in the name of probe `index` (RFC 4861, 4.3).
pub fn neighbor_solicitation(index: u32, target: Ipv6Addr) -> Result<Vec<u8>> {
    let tail = target.octets();
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&tail[13..]);
    let destination = [0x33, 0x33, group[12], group[13], group[14], group[15]];
    let mut payload = tail.to_vec();
    payload.extend([1, 1]); // option: source link-layer address, one unit of 8 bytes
    payload.extend(ASKER_MAC);
    let mut bytes = Vec::with_capacity(96);
    PacketBuilder::ethernet2(ASKER_MAC, destination)
        .ipv6(asker_v6(index).octets(), group, 255)
        .icmpv6_raw(NEIGHBOR_SOLICITATION, 0, [0; 4])
        .write(&mut bytes, &payload)?;
    Ok(bytes)
}

/// Reads a captured frame, which may be cut short.
pub fn read(bytes: &[u8]) -> Option<Frame> {
    let packet = LaxSlicedPacket::from_ethernet(bytes).ok()?;
    let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else {
        return None;
    };
    let mac = ethernet.source();
    let (speaker, content) = match packet.net {
        Some(LaxNetSlice::Arp(arp)) => {
            let arp = ArpEthIpv4Packet::try_from(arp.to_packet()).ok()?;
            let asker = match arp.operation {
                ArpOperation::REPLY => asker_of_v4(arp.target_ipv4_addr()),
                _ => None,
            };
            (Some(IpAddr::V4(arp.sender_ipv4_addr())), Content::Arp { asker })
        }
        Some(LaxNetSlice::Ipv4(ip)) => (Some(IpAddr::V4(ip.header().source_addr())), transport(packet.transport, None)),
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (Some(IpAddr::V6(header.source_addr())), transport(packet.transport, asker_of_v6(header.destination_addr())))
        }
        _ => (None, Content::Other),
    };
    Some(Frame { mac, speaker, content })
}

fn transport(transport: Option<TransportSlice<'_>>, asker: Option<u32>) -> Content {
    match transport {
        Some(TransportSlice::Icmpv4(message)) => match echo_reply(message.slice()) {
            Some(index) => Content::EchoReply { index },
            None => Content::Other,
        },
        Some(TransportSlice::Icmpv6(message)) if message.type_u8() == NEIGHBOR_ADVERTISEMENT => {
            Content::Advertisement { asker }
        }
        Some(TransportSlice::Tcp(segment)) => Content::Tcp { reset: segment.rst() },
        _ => Content::Other,
    }
}

fn asker_v4(index: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, 192 + (index % ASKERS) as u8)
}

fn asker_of_v4(address: Ipv4Addr) -> Option<u32> {
    (0..ASKERS).find(|asker| asker_v4(*asker) == address)
}

fn asker_v6(index: u32) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 1, (index % ASKERS) as u16)
}

fn asker_of_v6(address: Ipv6Addr) -> Option<u32> {
    (0..ASKERS).find(|asker| asker_v6(*asker) == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arp_reply_names_its_asker() {
        let vip = Ipv4Addr::new(10, 1, 0, 100);
        let answer = ArpEthIpv4Packet {
            operation: ArpOperation::REPLY,
            sender_mac: [2; 6],
            sender_ipv4: vip.octets(),
            target_mac: ASKER_MAC,
            target_ipv4: asker_v4(69).octets(),
        };
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2; 6], ASKER_MAC).arp(answer.into()).write(&mut bytes).unwrap();
        let expected = Frame { mac: [2; 6], speaker: Some(vip.into()), content: Content::Arp { asker: Some(69 % ASKERS) } };
        assert_eq!(read(&bytes), Some(expected));
    }

    #[test]
    fn questions_are_no_answers() {
        let question = read(&arp_request(7, Ipv4Addr::new(10, 1, 0, 100)).unwrap()).unwrap();
        assert_eq!(question.content, Content::Arp { asker: None });
        let question = read(&neighbor_solicitation(7, "fd00:1::100".parse().unwrap()).unwrap()).unwrap();
        assert_eq!(question.content, Content::Other);
        assert_eq!(question.speaker, Some(IpAddr::V6(asker_v6(7))));
    }

    #[test]
    fn echo_request_is_not_taken_for_its_reply() {
        let mut message = echo_request(70_000);
        assert_eq!(echo_reply(&message), None);
        message[0] = 0;
        assert_eq!(echo_reply(&message), Some(70_000));
    }
}
