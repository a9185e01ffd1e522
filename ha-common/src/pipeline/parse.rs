//! What is it?

use crate::abi::{Ip, Reason};
use crate::packet::PacketMut;
use crate::wire::eth::{self, Macs, ether_type};
use crate::wire::icmp::{self, Icmp};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp::{self, Udp};
use crate::wire::{Be16, vlan};

use super::Verdict;

/// The link layer of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Destination and source MAC.
    pub macs: Macs,
    /// Whether there is an 802.1Q tag.
    pub tagged: bool,
    /// The tag's control information, as it lies in the packet.
    pub control: Be16,
    /// VLAN that it belongs to; 0 is untagged, or a priority tag.
    pub domain: u32,
    /// Type of what follows.
    pub ether_type: u16,
    /// Where that begins.
    pub l3: usize,
}

/// Reads the link layer.
#[inline(always)]
pub fn frame<P: PacketMut>(packet: &P) -> Result<Frame, Verdict> {
    const UNREADABLE: Verdict = Verdict::pass(Reason::Unreadable);
    let macs = packet.load::<Macs>(0).ok_or(UNREADABLE)?;
    let ether_type = packet.load::<Be16>(eth::TYPE).ok_or(UNREADABLE)?.get();
    let untagged = Frame { macs, tagged: false, control: Be16::new(0), domain: 0, ether_type, l3: eth::LEN };
    if ether_type == ether_type::VLAN_OUTER {
        return Err(Verdict::pass(Reason::VlanStacked));
    }
    if ether_type != ether_type::VLAN {
        return Ok(untagged);
    }
    let control = packet.load::<Be16>(vlan::CONTROL).ok_or(UNREADABLE)?;
    let ether_type = packet.load::<Be16>(vlan::TYPE).ok_or(UNREADABLE)?.get();
    if ether_type == ether_type::VLAN || ether_type == ether_type::VLAN_OUTER {
        return Err(Verdict::pass(Reason::VlanStacked));
    }
    let domain = u32::from(control.get() & vlan::ID);
    Ok(Frame { tagged: true, control, domain, ether_type, l3: eth::LEN + vlan::LEN, ..untagged })
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP: ports and flags are known.
    Tcp,
    /// UDP: ports are known.
    Udp,
    /// ICMP or ICMPv6 of its own family: type and code are known.
    Icmp,
    /// Anything else.
    Other,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// IPv6.
    pub v6: bool,
    /// Where its payload begins.
    pub l4: usize,
    /// Source address.
    pub source: Ip,
    /// Destination address.
    pub destination: Ip,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// What it carries.
    pub transport: Transport,
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// TCP flags.
    pub tcp_flags: u8,
    /// Checksum of the payload, as it lies in the packet.
    pub checksum: u16,
    /// Type and code of ICMP.
    pub icmp: (u8, u8),
}

impl Packet {
    /// Whether it is the first segment of a TCP connection.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.transport == Transport::Tcp && self.tcp_flags & (tcp::flags::SYN | tcp::flags::ACK) == tcp::flags::SYN
    }
}

/// A packet that is no good, and who it was for.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its destination.
    pub destination: Ip,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What of a packet's payload was read.
struct Payload {
    transport: Transport,
    source_port: Be16,
    destination_port: Be16,
    tcp_flags: u8,
    checksum: u16,
    icmp: (u8, u8),
}

/// Reads the IP packet in `frame`. `Err(None)` when not even its destination can be told.
#[inline(always)]
pub fn packet<P: PacketMut>(packet: &P, frame: &Frame) -> Result<Packet, Option<Fault>> {
    if frame.ether_type == ether_type::IPV4 { v4(packet, frame.l3) } else { v6(packet, frame.l3) }
}

#[inline(always)]
fn v4<P: PacketMut>(packet: &P, l3: usize) -> Result<Packet, Option<Fault>> {
    let header = packet.load::<Ipv4>(l3).ok_or(None)?;
    let destination = Ip::v4(header.destination);
    let fault = |reason| Some(Fault { destination, reason });
    if header.version_length != ipv4::PLAIN {
        return Err(match header.version_length {
            0x46..=0x4f => fault(Reason::IpOptions),
            0x40..=0x44 => fault(Reason::BadIpLength),
            _ => None,
        });
    }
    let total = usize::from(header.total_length.get());
    if total < ipv4::LEN || l3 + total > packet.len() {
        return Err(fault(Reason::BadIpLength));
    }
    if header.fragment.get() & ipv4::FRAGMENTED != 0 {
        return Err(fault(Reason::Fragment));
    }
    let l4 = l3 + ipv4::LEN;
    let payload = payload(packet, l4, total - ipv4::LEN, header.protocol, false).map_err(fault)?;
    Ok(joined(payload, false, l4, Ip::v4(header.source), destination, header.ttl, header.protocol))
}

#[inline(always)]
fn v6<P: PacketMut>(packet: &P, l3: usize) -> Result<Packet, Option<Fault>> {
    let header = packet.load::<Ipv6>(l3).ok_or(None)?;
    let destination = Ip(header.destination);
    let fault = |reason| Some(Fault { destination, reason });
    if header.version_class_label[0] >> 4 != 6 {
        return Err(None);
    }
    let len = usize::from(header.payload_length.get());
    if l3 + ipv6::LEN + len > packet.len() {
        return Err(fault(Reason::BadIpLength));
    }
    if header.next_header == ipv6::FRAGMENT {
        return Err(fault(Reason::Fragment));
    }
    if ipv6::EXTENSIONS.contains(&header.next_header) {
        return Err(fault(Reason::IpOptions));
    }
    let l4 = l3 + ipv6::LEN;
    let payload = payload(packet, l4, len, header.next_header, true).map_err(fault)?;
    Ok(joined(payload, true, l4, Ip(header.source), destination, header.hop_limit, header.next_header))
}

#[inline(always)]
fn joined(payload: Payload, v6: bool, l4: usize, source: Ip, destination: Ip, ttl: u8, protocol: u8) -> Packet {
    Packet {
        v6,
        l4,
        source,
        destination,
        ttl,
        protocol,
        transport: payload.transport,
        source_port: payload.source_port,
        destination_port: payload.destination_port,
        tcp_flags: payload.tcp_flags,
        checksum: payload.checksum,
        icmp: payload.icmp,
    }
}

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

#[inline(always)]
fn payload<P: PacketMut>(packet: &P, l4: usize, len: usize, protocol: u8, v6: bool) -> Result<Payload, Reason> {
    let nothing = Payload {
        transport: Transport::Other,
        source_port: Be16::new(0),
        destination_port: Be16::new(0),
        tcp_flags: 0,
        checksum: 0,
        icmp: (0, 0),
    };
    match protocol {
        tcp::PROTOCOL => {
            let header = load::<Tcp, P>(packet, l4, len)?;
            let header_len = usize::from(header.length >> 4) * 4;
            if header_len < tcp::LEN || header_len > len {
                return Err(Reason::BadTransportLength);
            }
            Ok(Payload {
                transport: Transport::Tcp,
                source_port: header.source,
                destination_port: header.destination,
                tcp_flags: header.flags,
                checksum: header.checksum,
                ..nothing
            })
        }
        udp::PROTOCOL => {
            let header = load::<Udp, P>(packet, l4, len)?;
            let udp_len = usize::from(header.length.get());
            if udp_len < udp::LEN || udp_len > len {
                return Err(Reason::BadTransportLength);
            }
            if v6 && header.checksum == 0 {
                return Err(Reason::NoUdpChecksum);
            }
            Ok(Payload {
                transport: Transport::Udp,
                source_port: header.source,
                destination_port: header.destination,
                checksum: header.checksum,
                ..nothing
            })
        }
        ICMP | ICMP_V6 if (protocol == ICMP_V6) == v6 => {
            let header = load::<Icmp, P>(packet, l4, len)?;
            Ok(Payload { transport: Transport::Icmp, checksum: header.checksum, icmp: (header.kind, header.code), ..nothing })
        }
        _ => Ok(nothing),
    }
}

/// The header at `l4`, which must lie within the packet, not only within the frame: what follows may be padding.
#[inline(always)]
fn load<H: crate::packet::Wire, P: PacketMut>(packet: &P, l4: usize, len: usize) -> Result<H, Reason> {
    if len < size_of::<H>() {
        return Err(Reason::Truncated);
    }
    packet.load::<H>(l4).ok_or(Reason::Truncated)
}

const _: () = assert!(size_of::<Icmp>() == icmp::LEN);
