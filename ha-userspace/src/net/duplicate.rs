//! Before the first claim: does somebody have a floating address already?
//!
//! Each is asked for once, in the way that claims nothing: an ARP probe with no sender address (RFC 5227, 2.1.1), a neighbour
//! solicitation from the unspecified address (RFC 4862, 5.4.2). Whoever answers is overheard by the kernel program of the leg; whether that
//! is the peer's right is judged elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::frame::{BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV6, ICMPV6, ethernet, icmpv6_checksum, tagged};
use super::raw::RawSocket;

/// Between two questions: switches police ARP, at a thousand a second and less.
const GAP: Duration = Duration::from_millis(1);

/// Who is to be asked for where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Interface index of the leg.
    pub ifindex: u32,
    /// VLAN to ask in; 0 is untagged.
    pub vlan: u16,
    /// The leg's MAC address.
    pub mac: [u8; 6],
    /// The floating address.
    pub address: IpAddr,
}

/// Asks all `questions` from a thread of its own, as long as `still` says so.
///
/// # Errors
/// When the kernel gives no thread.
pub fn ask(questions: Vec<Question>, still: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
    let work = move || {
        let mut sockets: BTreeMap<u32, RawSocket> = BTreeMap::new();
        for question in questions {
            if !still() {
                return;
            }
            if let Err(error) = send(&mut sockets, question) {
                warn!(address = %question.address, ifindex = question.ifindex, %error, "cannot ask who has a floating address");
            }
            thread::sleep(GAP);
        }
    };
    thread::Builder::new().name("duplicates".into()).spawn(work).map(drop)
}

fn send(sockets: &mut BTreeMap<u32, RawSocket>, Question { ifindex, vlan, mac, address }: Question) -> io::Result<()> {
    if let std::collections::btree_map::Entry::Vacant(place) = sockets.entry(ifindex) {
        place.insert(RawSocket::open(ifindex)?);
    }
    match sockets.get(&ifindex) {
        Some(socket) => socket.send(&tagged(frame(mac, address), vlan)),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The question for `address`.
fn frame(mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => probe(mac, address),
        IpAddr::V6(address) => solicitation(mac, address),
    }
}

fn probe(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]); // Ethernet, IPv4, their lengths, request
    frame.extend(mac);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// To the solicited-node group of `address` (RFC 4291, 2.7.1), and without an option: nobody may learn anything from it.
fn solicitation(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    let checksum = icmpv6_checksum(Ipv6Addr::UNSPECIFIED, group, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = ethernet([0x33, 0x33, 0xff, a, b, c], mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255]);
    frame.extend(Ipv6Addr::UNSPECIFIED.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    #[test]
    fn an_arp_probe_has_no_sender_address() {
        let address = Ipv4Addr::new(10, 1, 0, 100);
        let frame = frame(MAC, address.into());
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Arp(arp)) = packet.net else { panic!("no ARP") };
        assert_eq!((arp.operation().0, arp.sender_hw_addr(), arp.target_hw_addr()), (1, &MAC[..], &[0; 6][..]));
        assert_eq!((arp.sender_protocol_addr(), arp.target_protocol_addr()), (&[0; 4][..], &address.octets()[..]));
    }

    #[test]
    fn a_solicitation_comes_from_nobody_and_goes_to_the_addresss_group() {
        let address: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
        let frame = frame(MAC, address.into());
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let link = packet.link.unwrap().to_header().unwrap().ethernet2().unwrap();
        assert_eq!(link.destination, [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("no IPv6") };
        let header = ip.header();
        assert_eq!((header.source_addr(), header.hop_limit()), (Ipv6Addr::UNSPECIFIED, 255));
        assert_eq!(header.destination_addr(), "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
        let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("no ICMPv6") };
        assert!(icmp.is_checksum_valid(header.source(), header.destination()));
        assert!(matches!(icmp.icmp_type(), Icmpv6Type::NeighborSolicitation), "{:?}", icmp.icmp_type());
        assert_eq!(icmp.payload(), address.octets(), "and no option");
    }
}
