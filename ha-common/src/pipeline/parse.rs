//! What is it?

use crate::abi::{Ip, Reason, ServiceKey};
use crate::packet::{PacketMut, Wire};
use crate::wire::eth::{self, Macs, ether_type};
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp::{self, Udp};
use crate::wire::{Be16, vlan};
use crate::word::opaque;

use super::{Arrival, Verdict};

/// The link layer of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Destination and source MAC.
    pub macs: Macs,
    /// Type of what follows.
    pub ether_type: u16,
    /// The tag's control information.
    pub control: Be16,
    /// 1 if there is an 802.1Q tag, 0 if not.
    tags: u8,
}

/// 1 if `a` is `b`, 0 if not, without a branch: the verifier would walk the rest of the story once for either answer.
#[inline(always)]
fn same(a: u16, b: u16) -> u8 {
    (opaque(u64::from(a ^ b)).wrapping_sub(1) >> 63) as u8
}

impl Frame {
    /// Where the link layer ends.
    #[inline(always)]
    pub const fn l3(&self) -> usize {
        eth::LEN + (self.tags & 1) as usize * vlan::LEN
    }

    /// Whether there is an 802.1Q tag.
    #[inline(always)]
    pub const fn is_tagged(&self) -> bool {
        self.tags != 0
    }

    /// VLAN that it belongs to; 0 is untagged, or a priority tag.
    #[inline(always)]
    pub const fn domain(&self) -> u32 {
        (self.control.get() & vlan::ID) as u32
    }
}

/// Reads the link layer.
#[inline(always)]
pub fn frame<P: PacketMut>(packet: &P) -> Result<Frame, Verdict> {
    const UNREADABLE: Verdict = Verdict::pass(Reason::Unreadable);
    const STACKED: Verdict = Verdict::pass(Reason::VlanStacked);
    let macs = packet.load::<Macs>(0).ok_or(UNREADABLE)?;
    let ether_type = packet.load::<Be16>(eth::TYPE).ok_or(UNREADABLE)?.get();
    if ether_type == ether_type::VLAN_OUTER {
        return Err(STACKED);
    }
    let tags = same(ether_type, ether_type::VLAN);
    if ether_type != ether_type::VLAN {
        return Ok(Frame { macs, ether_type, control: Be16::new(0), tags });
    }
    let [control, inner] = packet.load::<[Be16; 2]>(vlan::CONTROL).ok_or(UNREADABLE)?;
    let ether_type = inner.get();
    if ether_type == ether_type::VLAN || ether_type == ether_type::VLAN_OUTER {
        return Err(STACKED);
    }
    Ok(Frame { macs, ether_type, control, tags })
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

/// A packet, what is around it and where it came in: what every room is told. Its ends are the keys that they are looked up by.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Where it goes.
    pub there: ServiceKey,
    /// Where it comes from.
    pub here: ServiceKey,
    /// Where it came in, and how.
    pub arrival: Arrival,
    /// Its link layer.
    pub frame: Frame,
    /// 1 if it is IPv6, 0 if not.
    v6: u8,
    /// Length of its IP header, with the fragment header if there is one, in bytes.
    head: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub service: u8,
    /// What it carries.
    pub transport: Transport,
    /// TCP flags.
    pub tcp_flags: u8,
    /// Checksum of the payload, as it lies in the packet.
    pub checksum: u16,
    /// Type and code of ICMP.
    pub icmp: [u8; 2],
    /// Length of the frame as it came, in bytes.
    pub len: u32,
    /// Length of the IP packet, in bytes.
    pub total: u32,
}

impl Story {
    /// The beginning: nothing but the frame is known.
    #[inline(always)]
    pub fn new(arrival: Arrival, frame: Frame, len: usize) -> Self {
        let end = ServiceKey { domain: frame.domain(), ..ServiceKey::default() };
        let v6 = same(frame.ether_type, ether_type::IPV6);
        Story {
            there: end,
            here: end,
            arrival,
            frame,
            v6,
            head: ipv4::LEN as u8 + (v6 & 1) * (ipv6::LEN - ipv4::LEN) as u8,
            ttl: 0,
            service: 0,
            transport: Transport::Other,
            tcp_flags: 0,
            checksum: 0,
            icmp: [0; 2],
            len: len as u32,
            total: 0,
        }
    }

    /// Where the payload of IP begins. Only packets without options or extension headers, but for that of a fragment, are read to their end.
    #[inline(always)]
    pub const fn l4(&self) -> usize {
        // The verifier must see that it is little.
        self.frame.l3() + (self.head & 63) as usize
    }

    /// There is the header of a fragment behind that of IPv6.
    #[inline(always)]
    pub const fn has_fragment_header(&mut self) {
        self.head = (ipv6::LEN + ipv6::FRAGMENT_LEN) as u8;
    }

    /// Whether it is IPv6 and has such a header.
    #[inline(always)]
    pub const fn is_part(&self) -> bool {
        self.head > ipv6::LEN as u8
    }

    /// From here on it is about another packet in the same frame, of IPv6 if `v6`.
    #[inline(always)]
    pub const fn turns(&mut self, v6: bool) {
        self.v6 = v6 as u8;
        self.head = if v6 { ipv6::LEN as u8 } else { ipv4::LEN as u8 };
    }

    /// Whether it is IPv6.
    #[inline(always)]
    pub const fn is_v6(&self) -> bool {
        self.v6 != 0
    }

    /// Its IP protocol.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.there.protocol as u8
    }

    /// Whether it is the first segment of a TCP connection.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.transport == Transport::Tcp && self.tcp_flags & (tcp::flags::SYN | tcp::flags::ACK) == tcp::flags::SYN
    }
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Not even its destination can be told.
    Unreadable,
    /// It is a part of a packet, see [`super::fragment`].
    Part,
    /// Its destination is known.
    Bad(Reason),
}

/// Reads the IP packet of a story.
#[inline(always)]
pub fn packet<P: PacketMut>(packet: &P, story: &mut Story) -> Result<(), Fault> {
    let (protocol, len) = if story.frame.ether_type == ether_type::IPV6 { v6(packet, story)? } else { v4(packet, story)? };
    story.there.protocol = u16::from(protocol);
    story.here.protocol = u16::from(protocol);
    payload::<P, true>(packet, story, protocol, len).map_err(Fault::Bad)
}

#[inline(always)]
fn v4<P: PacketMut>(packet: &P, story: &mut Story) -> Result<(u8, usize), Fault> {
    let l3 = story.frame.l3();
    let header = packet.load::<Ipv4>(l3).ok_or(Fault::Unreadable)?;
    story.here.addr = Ip::v4(header.source);
    story.there.addr = Ip::v4(header.destination);
    story.ttl = header.ttl;
    story.service = header.service;
    if header.version_length != ipv4::PLAIN {
        return Err(match header.version_length {
            0x46..=0x4f => Fault::Bad(Reason::IpOptions),
            0x40..=0x44 => Fault::Bad(Reason::BadIpLength),
            _ => Fault::Unreadable,
        });
    }
    let total = usize::from(header.total_length.get());
    if total < ipv4::LEN || l3 + total > story.len as usize {
        return Err(Fault::Bad(Reason::BadIpLength));
    }
    story.total = total as u32;
    if header.fragment.get() & ipv4::FRAGMENTED != 0 {
        return Err(Fault::Part);
    }
    Ok((header.protocol, total - ipv4::LEN))
}

#[inline(always)]
fn v6<P: PacketMut>(packet: &P, story: &mut Story) -> Result<(u8, usize), Fault> {
    let l3 = story.frame.l3();
    let header = packet.load::<Ipv6>(l3).ok_or(Fault::Unreadable)?;
    // Word by word: the compiler puts whole arrays on the stack first.
    let [a, b, c, d] = header.source;
    story.here.addr = Ip([a, b, c, d]);
    let [a, b, c, d] = header.destination;
    story.there.addr = Ip([a, b, c, d]);
    story.ttl = header.hop_limit;
    let [first, second, ..] = header.version_class_label;
    story.service = first << 4 | second >> 4;
    if header.version_class_label[0] >> 4 != 6 {
        return Err(Fault::Unreadable);
    }
    let len = usize::from(header.payload_length.get());
    if l3 + ipv6::LEN + len > story.len as usize {
        return Err(Fault::Bad(Reason::BadIpLength));
    }
    story.total = (ipv6::LEN + len) as u32;
    if header.next_header == ipv6::FRAGMENT {
        return Err(Fault::Part);
    }
    if ipv6::is_extension(header.next_header) {
        return Err(Fault::Bad(Reason::IpOptions));
    }
    Ok((header.next_header, len))
}

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// Reads what IP carries: `len` bytes, of which there are more in other fragments if they are not the `WHOLE`.
#[inline(always)]
pub fn payload<P: PacketMut, const WHOLE: bool>(packet: &P, story: &mut Story, protocol: u8, len: usize) -> Result<(), Reason> {
    match protocol {
        tcp::PROTOCOL => {
            let header = load::<Tcp, P>(packet, story.l4(), len)?;
            let header_len = usize::from(header.length >> 4) * 4;
            if header_len < tcp::LEN || header_len > len {
                return Err(Reason::BadTransportLength);
            }
            story.transport = Transport::Tcp;
            story.tcp_flags = header.flags;
            ends(story, header.source, header.destination, header.checksum);
        }
        udp::PROTOCOL => {
            let header = load::<Udp, P>(packet, story.l4(), len)?;
            let udp_len = usize::from(header.length.get());
            if udp_len < udp::LEN || WHOLE && udp_len > len {
                return Err(Reason::BadTransportLength);
            }
            if story.is_v6() && header.checksum == 0 {
                return Err(Reason::NoUdpChecksum);
            }
            story.transport = Transport::Udp;
            ends(story, header.source, header.destination, header.checksum);
        }
        ICMP | ICMP_V6 if (protocol == ICMP_V6) == story.is_v6() => {
            let header = load::<Icmp, P>(packet, story.l4(), len)?;
            story.transport = Transport::Icmp;
            story.icmp = [header.kind, header.code];
            story.checksum = header.checksum;
        }
        _ => {}
    }
    Ok(())
}

#[inline(always)]
fn ends(story: &mut Story, source: Be16, destination: Be16, checksum: u16) {
    story.here.port = source;
    story.there.port = destination;
    story.checksum = checksum;
}

/// The header at `l4`, which must lie within the packet, not only within the frame: what follows may be padding.
#[inline(always)]
fn load<H: Wire, P: PacketMut>(packet: &P, l4: usize, len: usize) -> Result<H, Reason> {
    if len < size_of::<H>() {
        return Err(Reason::Truncated);
    }
    packet.load::<H>(l4).ok_or(Reason::Truncated)
}
