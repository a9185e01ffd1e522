//! The frames that tell a segment where an address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BROADCAST: [u8; 6] = [0xff; 6];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
/// Type 136; flags: override (RFC 4861 4.4). Router and solicited are clear.
const NEIGHBOUR_ADVERTISEMENT: [u8; 8] = [136, 0, 0, 0, 0x20, 0, 0, 0];
/// Option 2: target link-layer address, one unit of eight bytes.
const TARGET_LINK_LAYER: [u8; 2] = [2, 1];

/// Tells the segment that `address` is at `mac`.
///
/// IPv4: gratuitous ARP in its request form, sender and target both `address` (RFC 5227 3). IPv6: unsolicited neighbour
/// advertisement with the override flag to all nodes (RFC 4861 7.2.6).
#[must_use]
pub fn announcement(mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(mac, address),
        IpAddr::V6(address) => unsolicited_advertisement(mac, address),
    }
}

fn gratuitous_arp(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]); // Ethernet, IPv4, their lengths, request
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

fn unsolicited_advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = NEIGHBOUR_ADVERTISEMENT.to_vec();
    message.extend(address.octets());
    message.extend(TARGET_LINK_LAYER);
    message.extend(mac);
    let checksum = icmpv6_checksum(address, all_nodes, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(all_nodes.octets());
    frame.extend(message);
    frame
}

fn ethernet(destination: [u8; 6], source: [u8; 6], ethertype: [u8; 2]) -> Vec<u8> {
    [&destination[..], &source, &ethertype].concat()
}

/// Checksum over the pseudo-header of RFC 8200 8.1 and `message`, whose length is even.
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let octets = [source.octets(), destination.octets()].concat();
    let words = octets.chunks(2).chain(message.chunks(2)).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = words.sum::<u32>() + message.len() as u32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use etherparse::{EtherType, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    #[test]
    fn gratuitous_arp_is_a_broadcast_request_from_and_for_the_address() {
        let address = Ipv4Addr::new(10, 1, 0, 100);
        let frame = announcement(MAC, address.into());
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let link = packet.link.unwrap().to_header().unwrap().ethernet2().unwrap();
        assert_eq!((link.destination, link.source, link.ether_type), (BROADCAST, MAC, EtherType::ARP));
        let Some(NetSlice::Arp(arp)) = packet.net else { panic!("no ARP") };
        assert_eq!(arp.operation().0, 1);
        assert_eq!((arp.sender_hw_addr(), arp.sender_protocol_addr()), (&MAC[..], &address.octets()[..]));
        assert_eq!((arp.target_hw_addr(), arp.target_protocol_addr()), (&[0; 6][..], &address.octets()[..]));
    }

    #[test]
    fn unsolicited_advertisement_overrides_and_has_a_good_checksum() {
        let address: Ipv6Addr = "2001:db8::100".parse().unwrap();
        let frame = announcement(MAC, address.into());
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("no IPv6") };
        let header = ip.header();
        assert_eq!((header.source_addr(), header.hop_limit()), (address, 255));
        assert_eq!(header.destination_addr(), "ff02::1".parse::<Ipv6Addr>().unwrap());
        let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("no ICMPv6") };
        assert!(icmp.is_checksum_valid(header.source(), header.destination()));
        let Icmpv6Type::NeighborAdvertisement(flags) = icmp.icmp_type() else { panic!("no advertisement") };
        assert!(flags.r#override && !flags.solicited && !flags.router);
        assert_eq!(icmp.payload(), [&address.octets()[..], &[2, 1], &MAC].concat());
    }
}
