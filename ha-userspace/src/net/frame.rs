//! The frames that tell a segment where an address is, and those that ask and answer it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Operation of an announcement of IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArpForm {
    /// Who has the address? Asked of oneself, it announces (RFC 5227, 3).
    #[default]
    Request,
    /// I have it.
    Reply,
}

pub(super) const BROADCAST: [u8; 6] = [0xff; 6];
pub(super) const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_RARP: [u8; 2] = [0x80, 0x35];
pub(super) const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
pub(super) const ICMPV6: u8 = 58;
/// Ethernet, IPv4, and the lengths of their addresses.
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// Type 136; flags: override (RFC 4861 4.4). Router and solicited are clear.
const NEIGHBOUR_ADVERTISEMENT: [u8; 8] = [136, 0, 0, 0, 0x20, 0, 0, 0];
/// Option 2: target link-layer address, one unit of eight bytes.
const TARGET_LINK_LAYER: [u8; 2] = [2, 1];

/// `frame` in `vlan` (IEEE 802.1Q, 9.6); 0 is untagged.
#[must_use]
pub fn tagged(mut frame: Vec<u8>, vlan: u16) -> Vec<u8> {
    if vlan != 0 {
        let [a, b] = vlan.to_be_bytes();
        frame.splice(12..12, [0x81, 0, a, b]);
    }
    frame
}

/// Tells the segment that `address` is at `mac`.
///
/// IPv4: gratuitous ARP in the form asked for, sender and target both `address` (RFC 5227 3). IPv6: unsolicited neighbour
/// advertisement with the override flag to all nodes (RFC 4861 7.2.6).
#[must_use]
pub fn announcement(mac: [u8; 6], address: IpAddr, form: ArpForm) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(mac, address, form),
        IpAddr::V6(address) => unsolicited_advertisement(mac, address),
    }
}

/// Asks where `target` is, from `own` at `mac`: everybody, or whoever answered before.
///
/// IPv4: an ARP request; without an own address a probe from 0.0.0.0, which changes no table (RFC 5227 1.1). IPv6: a neighbour
/// solicitation (RFC 4861 4.3), without an own address from `::`, as in duplicate address detection.
#[must_use]
pub fn question(mac: [u8; 6], to: Option<[u8; 6]>, own: Option<IpAddr>, target: IpAddr) -> Vec<u8> {
    match (own, target) {
        (Some(IpAddr::V4(own)), IpAddr::V4(target)) => arp_request(mac, to, own, target),
        (_, IpAddr::V4(target)) => arp_request(mac, to, Ipv4Addr::UNSPECIFIED, target),
        (Some(IpAddr::V6(own)), IpAddr::V6(target)) => solicitation(mac, to, own, target),
        (_, IpAddr::V6(target)) => solicitation(mac, None, Ipv6Addr::UNSPECIFIED, target),
    }
}

/// Somebody says where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The address.
    pub address: IpAddr,
    /// Where it is.
    pub mac: [u8; 6],
}

/// What `frame`, ARP of either kind or a neighbour advertisement, says.
#[must_use]
pub fn answer(frame: &[u8]) -> Option<Answer> {
    let source: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    match frame.get(12..14)? {
        kind if kind == ETHERTYPE_ARP && frame.get(14..20)? == ARP_ETHERNET_IPV4 => {
            let mac = frame.get(22..28)?.try_into().ok()?;
            let address: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
            Some(Answer { address: Ipv4Addr::from(address).into(), mac })
        }
        kind if kind == ETHERTYPE_IPV6 && (*frame.get(20)?, *frame.get(54)?) == (ICMPV6, NEIGHBOUR_ADVERTISEMENT[0]) => {
            let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
            Some(Answer { address: Ipv6Addr::from(target).into(), mac: source })
        }
        _ => None,
    }
}

/// Whether `frame` tells `asker` where `target` is: an ARP reply to it, or a neighbour advertisement.
#[must_use]
pub fn answers(frame: &[u8], asker: IpAddr, target: IpAddr) -> bool {
    let part = |from: usize, len: usize| frame.get(from..from + len);
    let is_of_target = answer(frame).is_some_and(|answer| answer.address == target);
    is_of_target
        && match asker {
            IpAddr::V4(asker) => part(20, 2) == Some(&[0, 2]) && part(38, 4) == Some(&asker.octets()),
            IpAddr::V6(asker) => part(38, 16) == Some(&asker.octets()),
        }
}

/// Tells switches that `mac` is here, and stations nothing: a reverse ARP request (RFC 903) that asks for its own address, as
/// hypervisors send it for a machine that has moved. ARP inspection and rate limits do not concern it.
#[must_use]
pub fn moved(mac: [u8; 6]) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_RARP);
    frame.extend(ARP_ETHERNET_IPV4);
    frame.extend([0, 3]); // reverse request
    frame.extend(mac);
    frame.extend([0; 4]);
    frame.extend(mac);
    frame.extend([0; 4]);
    frame
}

/// The group that solicitations for `address` go to (RFC 4291 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

fn arp_request(mac: [u8; 6], to: Option<[u8; 6]>, own: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(to.unwrap_or(BROADCAST), mac, ETHERTYPE_ARP);
    frame.extend(ARP_ETHERNET_IPV4);
    frame.extend([0, 1]); // request
    frame.extend(mac);
    frame.extend(own.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

fn solicitation(mac: [u8; 6], to: Option<[u8; 6]>, own: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = solicited_node(target);
    let (to, destination) = to.map_or(([0x33, 0x33, 0xff, a, b, c], group), |mac| (mac, target));
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !own.is_unspecified() {
        message.extend([1, 1]); // option 1: source link-layer address
        message.extend(mac);
    }
    let checksum = icmpv6_checksum(own, destination, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = ethernet(to, mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255]);
    frame.extend(own.octets());
    frame.extend(destination.octets());
    frame.extend(message);
    frame
}

fn gratuitous_arp(mac: [u8; 6], address: Ipv4Addr, form: ArpForm) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend(ARP_ETHERNET_IPV4);
    frame.extend([0, if form == ArpForm::Reply { 2 } else { 1 }]);
    frame.extend(mac);
    frame.extend(address.octets());
    // A request does not know the target's; a gratuitous reply answers all.
    frame.extend(if form == ArpForm::Reply { BROADCAST } else { [0; 6] });
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

pub(super) fn ethernet(destination: [u8; 6], source: [u8; 6], ethertype: [u8; 2]) -> Vec<u8> {
    [&destination[..], &source, &ethertype].concat()
}

/// Checksum over the pseudo-header of RFC 8200 8.1 and `message`, whose length is even.
pub(super) fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
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
        let frame = announcement(MAC, address.into(), ArpForm::Request);
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
        let frame = announcement(MAC, address.into(), ArpForm::Request);
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

    #[test]
    fn question_to_an_ipv4_address_is_an_arp_request_and_without_an_own_address_a_probe() {
        let target = Ipv4Addr::new(10, 1, 0, 254);
        for (own, sender) in [(Some(Ipv4Addr::new(10, 1, 0, 11)), [10, 1, 0, 11]), (None, [0; 4])] {
            let frame = question(MAC, None, own.map(IpAddr::V4), target.into());
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(NetSlice::Arp(arp)) = packet.net else { panic!("no ARP") };
            assert_eq!(arp.operation().0, 1);
            assert_eq!((arp.sender_hw_addr(), arp.sender_protocol_addr()), (&MAC[..], &sender[..]));
            assert_eq!(arp.target_protocol_addr(), target.octets());
            assert_eq!(frame[..6], BROADCAST);
            assert_eq!(question(MAC, Some([2; 6]), own.map(IpAddr::V4), target.into())[..6], [2; 6]);
        }
    }

    #[test]
    fn question_to_an_ipv6_address_is_a_solicitation_to_its_group_with_a_good_checksum() {
        let target: Ipv6Addr = "fd00:1::12:3456".parse().unwrap();
        let own: Ipv6Addr = "fe80::9".parse().unwrap();
        for (own, to) in [(Some(own), None), (Some(own), Some([2; 6])), (None, None)] {
            let frame = question(MAC, to, own.map(IpAddr::V6), target.into());
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("no IPv6") };
            let header = ip.header();
            let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
            assert_eq!(header.destination_addr(), if to.is_some() { target } else { group });
            assert_eq!((header.source_addr(), header.hop_limit()), (own.unwrap_or(Ipv6Addr::UNSPECIFIED), 255));
            assert_eq!(frame[..6], to.unwrap_or([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
            let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("no ICMPv6") };
            assert!(icmp.is_checksum_valid(header.source(), header.destination()));
            assert_eq!(icmp.icmp_type().type_u8(), 135);
        }
    }

    #[test]
    fn every_announcement_is_an_answer_and_a_question_says_where_the_asker_is() {
        for address in ["10.1.0.100", "2001:db8::100"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(answer(&announcement(MAC, address, ArpForm::Request)), Some(Answer { address, mac: MAC }));
        }
        let own: IpAddr = "10.1.0.11".parse().unwrap();
        let asked = question(MAC, None, Some(own), "10.1.0.254".parse().unwrap());
        assert_eq!(answer(&asked), Some(Answer { address: own, mac: MAC }));
        assert_eq!(answer(&question(MAC, None, None, "fd00::1".parse().unwrap())), None);
    }

    #[test]
    fn truncated_answers_say_nothing() {
        for address in ["10.1.0.100", "2001:db8::100"] {
            let frame = announcement(MAC, address.parse().unwrap(), ArpForm::Request);
            let shortest = if address.contains(':') { 78 } else { 32 };
            assert!((0..shortest).all(|len| answer(&frame[..len]).is_none()));
        }
    }

    #[test]
    fn the_reply_form_is_a_reply_to_all() {
        let address = Ipv4Addr::new(10, 1, 0, 100);
        let frame = announcement(MAC, address.into(), ArpForm::Reply);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Arp(arp)) = packet.net else { panic!("no ARP") };
        assert_eq!(arp.operation().0, 2);
        assert_eq!((arp.sender_protocol_addr(), arp.target_protocol_addr()), (&address.octets()[..], &address.octets()[..]));
        assert_eq!((arp.target_hw_addr(), &frame[..6]), (&BROADCAST[..], &BROADCAST[..]));
    }

    #[test]
    fn a_tag_stands_behind_the_addresses() {
        let frame = moved(MAC);
        assert_eq!(tagged(frame.clone(), 0), frame);
        let tagged = tagged(frame.clone(), 0x123);
        assert_eq!((&tagged[..12], &tagged[12..16], &tagged[16..]), (&frame[..12], &[0x81, 0, 1, 0x23][..], &frame[12..]));
    }

    #[test]
    fn a_moved_mac_is_the_source_of_a_frame_that_is_no_arp() {
        let frame = moved([0, 0, 0x5e, 0, 1, 7]);
        assert_eq!(
            (&frame[..6], &frame[6..12], &frame[12..14]),
            (&BROADCAST[..], &[0, 0, 0x5e, 0, 1, 7][..], &[0x80, 0x35][..])
        );
    }

    #[test]
    fn a_question_is_answered_by_its_target_to_its_asker_only() {
        let (vip, gateway): (IpAddr, IpAddr) = ("10.1.0.100".parse().unwrap(), "10.1.0.254".parse().unwrap());
        let asked = question(MAC, None, Some(vip), gateway);
        assert!(!answers(&asked, gateway, vip), "a question is no answer");
        let mut answer = question(MAC, Some(MAC), Some(gateway), vip);
        assert!(!answers(&answer, vip, gateway), "nor is the gateway's own");
        answer[21] = 2;
        assert!(answers(&answer, vip, gateway) && !answers(&answer, gateway, vip) && !answers(&answer[..41], vip, gateway));
        let (vip, gateway): (IpAddr, IpAddr) = ("2001:db8::100".parse().unwrap(), "fe80::1".parse().unwrap());
        let mut answer = question(MAC, Some(MAC), Some(gateway), vip);
        answer[54] = NEIGHBOUR_ADVERTISEMENT[0];
        let IpAddr::V6(target) = gateway else { panic!("IPv6") };
        answer[62..78].copy_from_slice(&target.octets());
        assert!(answers(&answer, vip, gateway) && !answers(&answer, gateway, vip));
    }
}
