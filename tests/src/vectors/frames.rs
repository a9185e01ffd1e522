//! Frames as bytes, built and checked with etherparse: never with the wire formats under test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type,
    IpNumber, Ipv4Header, Ipv6Header, NetSlice, SingleVlanHeader, SlicedPacket, TcpHeader, TransportSlice, UdpHeader, VlanId,
};

/// A MAC address.
pub type Mac = [u8; 6];

/// An IP packet in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Source MAC.
    pub from: Mac,
    /// Destination MAC.
    pub to: Mac,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Time to live.
    pub ttl: u8,
    /// What it carries.
    pub body: Body,
}

/// What an IP packet carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// A TCP segment.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Flags, by letter: `S`, `A`, `F`, `R`, `P`.
        flags: &'static str,
        /// Data.
        data: Vec<u8>,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Whether its checksum was computed.
        summed: bool,
        /// Data.
        data: Vec<u8>,
    },
    /// An ICMP or ICMPv6 message, by the family of the addresses.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Bytes 4 to 8.
        rest: [u8; 4],
        /// The rest.
        data: Vec<u8>,
    },
    /// Another protocol.
    Other(IpNumber, Vec<u8>),
}

/// A TCP segment with a few bytes of data.
pub fn tcp(source: u16, destination: u16, flags: &'static str) -> Body {
    Body::Tcp { source, destination, flags, data: b"GET / HTTP/1.0\r\n\r\n".to_vec() }
}

/// A UDP datagram with an odd number of bytes.
pub fn udp(source: u16, destination: u16) -> Body {
    Body::Udp { source, destination, summed: true, data: b"a query".to_vec() }
}

/// An echo request or reply of the family of `addr`.
pub fn echo(addr: IpAddr, reply: bool) -> Body {
    let kind = match (addr, reply) {
        (IpAddr::V4(_), false) => 8,
        (IpAddr::V4(_), true) => 0,
        (IpAddr::V6(_), false) => 128,
        (IpAddr::V6(_), true) => 129,
    };
    Body::Icmp { kind, code: 0, rest: [0x12, 0x34, 0, 7], data: (0..56).collect() }
}

impl Frame {
    /// The frame on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let payload = self.payload();
        let (ether_type, ip) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let len = u16::try_from(payload.len()).expect("a small packet");
                let mut header = Ipv4Header::new(len, self.ttl, self.protocol(), source.octets(), destination.octets())
                    .expect("a small packet");
                header.header_checksum = header.calc_header_checksum();
                (EtherType::IPV4, header.to_bytes().to_vec())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class: 0,
                    flow_label: Default::default(),
                    payload_length: u16::try_from(payload.len()).expect("a small packet"),
                    next_header: self.protocol(),
                    hop_limit: self.ttl,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                (EtherType::IPV6, header.to_bytes().to_vec())
            }
            families => panic!("one packet, two families: {families:?}"),
        };
        [link(self.to, self.from, self.vlan, ether_type), ip, payload].concat()
    }

    fn protocol(&self) -> IpNumber {
        match self.body {
            Body::Tcp { .. } => IpNumber::TCP,
            Body::Udp { .. } => IpNumber::UDP,
            Body::Icmp { .. } if self.source.is_ipv4() => IpNumber::ICMP,
            Body::Icmp { .. } => IpNumber::IPV6_ICMP,
            Body::Other(protocol, _) => protocol,
        }
    }

    fn payload(&self) -> Vec<u8> {
        match &self.body {
            Body::Tcp { source, destination, flags, data } => {
                let mut header = TcpHeader::new(*source, *destination, 0x0102_0304, 8192);
                header.acknowledgment_number = 0x0506_0708;
                header.syn = flags.contains('S');
                header.ack = flags.contains('A');
                header.fin = flags.contains('F');
                header.rst = flags.contains('R');
                header.psh = flags.contains('P');
                let data: &[u8] = if header.syn { &[] } else { data };
                header.checksum = match (self.source, self.destination) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => header.calc_checksum_ipv4_raw(a.octets(), b.octets(), data),
                    (IpAddr::V6(a), IpAddr::V6(b)) => header.calc_checksum_ipv6_raw(a.octets(), b.octets(), data),
                    families => panic!("one packet, two families: {families:?}"),
                }
                .expect("a small packet");
                [header.to_bytes().as_slice(), data].concat()
            }
            Body::Udp { source, destination, summed, data } => {
                let length = u16::try_from(data.len() + UdpHeader::LEN).expect("a small packet");
                let mut header = UdpHeader { source_port: *source, destination_port: *destination, length, checksum: 0 };
                if *summed {
                    header.checksum = match (self.source, self.destination) {
                        (IpAddr::V4(a), IpAddr::V4(b)) => header.calc_checksum_ipv4_raw(a.octets(), b.octets(), data),
                        (IpAddr::V6(a), IpAddr::V6(b)) => header.calc_checksum_ipv6_raw(a.octets(), b.octets(), data),
                        families => panic!("one packet, two families: {families:?}"),
                    }
                    .expect("a small packet");
                }
                [header.to_bytes().as_slice(), data].concat()
            }
            Body::Icmp { kind, code, rest, data } => {
                let header = match (self.source, self.destination) {
                    (IpAddr::V6(a), IpAddr::V6(b)) => {
                        let kind = Icmpv6Type::Unknown { type_u8: *kind, code_u8: *code, bytes5to8: *rest };
                        let header = Icmpv6Header::with_checksum(kind, a.octets(), b.octets(), data).expect("a small packet");
                        header.to_bytes().to_vec()
                    }
                    _ => {
                        let kind = Icmpv4Type::Unknown { type_u8: *kind, code_u8: *code, bytes5to8: *rest };
                        Icmpv4Header::with_checksum(kind, data).to_bytes().to_vec()
                    }
                };
                [header.as_slice(), data].concat()
            }
            Body::Other(_, data) => data.clone(),
        }
    }
}

/// An Ethernet header, with a tag if there is a VLAN.
pub fn link(to: Mac, from: Mac, vlan: Option<u16>, ether_type: EtherType) -> Vec<u8> {
    let outer = if vlan.is_some() { EtherType::VLAN_TAGGED_FRAME } else { ether_type };
    let mut bytes = Ethernet2Header { source: from, destination: to, ether_type: outer }.to_bytes().to_vec();
    if let Some(vlan) = vlan {
        let tag = SingleVlanHeader { vlan_id: VlanId::try_new(vlan).expect("a VLAN id"), ether_type, ..Default::default() };
        bytes.extend_from_slice(&tag.to_bytes());
    }
    bytes
}

/// An ARP packet in a frame.
#[derive(Clone, Debug)]
pub struct Arp {
    /// Destination MAC of the frame; its source is the sender.
    pub to: Mac,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// Whether it answers.
    pub reply: bool,
    /// The sender.
    pub sender: (Mac, Ipv4Addr),
    /// The target.
    pub target: (Mac, Ipv4Addr),
}

impl Arp {
    /// The frame on the wire, padded as a NIC pads it.
    pub fn bytes(&self) -> Vec<u8> {
        let packet = ArpEthIpv4Packet {
            operation: if self.reply { ArpOperation::REPLY } else { ArpOperation::REQUEST },
            sender_mac: self.sender.0,
            sender_ipv4: self.sender.1.octets(),
            target_mac: self.target.0,
            target_ipv4: self.target.1.octets(),
        };
        let mut bytes = link(self.to, self.sender.0, self.vlan, EtherType::ARP);
        bytes.extend_from_slice(&ArpPacket::from(packet).to_bytes());
        bytes.resize(bytes.len().max(60), 0);
        bytes
    }
}

/// The body of a neighbour solicitation for `target`, with the asker's MAC unless it has no address yet.
pub fn solicitation(target: Ipv6Addr, from: Option<Mac>) -> Body {
    let option = from.map_or_else(Vec::new, |mac| [&[1, 1][..], &mac].concat());
    Body::Icmp { kind: 135, code: 0, rest: [0; 4], data: [&target.octets()[..], &option].concat() }
}

/// The body of a neighbour advertisement of `target` at `mac`.
pub fn advertisement(target: Ipv6Addr, mac: Mac, solicited: bool) -> Body {
    let flags = if solicited { 0x60 } else { 0x20 };
    let data = [&target.octets()[..], &[2, 1], &mac].concat();
    Body::Icmp { kind: 136, code: 0, rest: [flags, 0, 0, 0], data }
}

/// Whether every checksum of `frame` is right; frames that hold no IP packet have none.
///
/// # Errors
/// With the one that is not.
pub fn check_sums(frame: &[u8]) -> Result<(), String> {
    let packet = SlicedPacket::from_ethernet(frame).map_err(|error| format!("unreadable output: {error}"))?;
    let (sums, udp_over_v4) = match (&packet.net, &packet.transport) {
        (Some(NetSlice::Ipv4(ip)), transport) => {
            let header = ip.header().to_header();
            let mut sums = vec![("IPv4", header.header_checksum, header.calc_header_checksum())];
            sums.extend(match transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    let right = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload());
                    Some(("TCP", tcp.checksum(), right.expect("a small packet")))
                }
                Some(TransportSlice::Udp(udp)) => {
                    let right = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
                    Some(("UDP", udp.checksum(), right.expect("a small packet")))
                }
                Some(TransportSlice::Icmpv4(icmp)) => {
                    Some(("ICMP", icmp.checksum(), icmp.header().icmp_type.calc_checksum(icmp.payload())))
                }
                _ => None,
            });
            (sums, true)
        }
        (Some(NetSlice::Ipv6(ip)), transport) => {
            let header = ip.header().to_header();
            let sum = match transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    let right = tcp.to_header().calc_checksum_ipv6(&header, tcp.payload());
                    Some(("TCP", tcp.checksum(), right.expect("a small packet")))
                }
                Some(TransportSlice::Udp(udp)) => {
                    let right = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
                    Some(("UDP", udp.checksum(), right.expect("a small packet")))
                }
                Some(TransportSlice::Icmpv6(icmp)) => {
                    let kind = icmp.header().icmp_type;
                    let right = kind.calc_checksum(header.source, header.destination, icmp.payload());
                    Some(("ICMPv6", icmp.checksum(), right.expect("a small packet")))
                }
                _ => None,
            };
            (sum.into_iter().collect(), false)
        }
        _ => return Ok(()),
    };
    for (what, found, right) in sums {
        let none = what == "UDP" && udp_over_v4 && found == 0;
        if found != right && !none {
            return Err(format!("{what} checksum is {found:04x}, right is {right:04x}"));
        }
    }
    Ok(())
}
