//! What a frame is at first glance: one line for people, as `explain` and `trace` print it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{ArpPacketSlice, EtherType, IpNumber, LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpSlice, TransportSlice};
use serde::Serialize;

/// Tunnels within tunnels that are looked into.
const DEPTH_MAX: usize = 2;

/// What a frame, or the beginning of one, says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Glance {
    /// `TCP`, `UDP`, `ICMP`, `ARP`, `protocol 47`, `type 0x88cc`.
    pub what: String,
    /// Sender, with its port if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Receiver, the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// TCP flags, the kind of an ICMP message, who asks by ARP; empty if there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub more: String,
    /// The VLANs of its tags, the outer one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<u16>,
    /// Destination MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub destination_mac: String,
    /// Source MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_mac: String,
    /// The packet within, if it is a tunnel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner: Option<Box<Glance>>,
}

impl Glance {
    /// Looks at a frame from its Ethernet header on; what is cut off or damaged is left out.
    #[must_use]
    pub fn at(frame: &[u8]) -> Self {
        let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else {
            return Glance { what: format!("{} bytes that are no frame", frame.len()), ..Glance::default() };
        };
        let mut glance = Glance::of(&packet, DEPTH_MAX);
        if let Some(LinkSlice::Ethernet2(link)) = &packet.link {
            (glance.destination_mac, glance.source_mac) = (mac(link.destination()), mac(link.source()));
        }
        glance.vlans = packet.vlan_ids().iter().map(|id| id.value()).collect();
        glance
    }

    fn of(packet: &LaxSlicedPacket<'_>, depth: usize) -> Self {
        match &packet.net {
            Some(LaxNetSlice::Arp(arp)) => Glance { what: "ARP".into(), more: question(arp), ..Glance::default() },
            Some(LaxNetSlice::Ipv4(_) | LaxNetSlice::Ipv6(_)) => Glance::of_ip(packet, depth).unwrap_or_default(),
            None => {
                let EtherType(kind) = packet.ether_payload().map_or(EtherType(0), |payload| payload.ether_type);
                Glance { what: format!("type {kind:#06x}"), ..Glance::default() }
            }
        }
    }

    fn of_ip(packet: &LaxSlicedPacket<'_>, depth: usize) -> Option<Self> {
        let (from, to, protocol, fragment) = match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => (
                IpAddr::V4(ip.header().source_addr()),
                IpAddr::V4(ip.header().destination_addr()),
                ip.header().protocol(),
                ip.header().is_fragmenting_payload(),
            ),
            LaxNetSlice::Ipv6(ip) => (
                IpAddr::V6(ip.header().source_addr()),
                IpAddr::V6(ip.header().destination_addr()),
                ip.payload().ip_number,
                ip.is_payload_fragmented(),
            ),
            LaxNetSlice::Arp(_) => return None,
        };
        let ends = |ports: Option<(u16, u16)>| match ports {
            Some((source, destination)) => {
                (SocketAddr::new(from, source).to_string(), SocketAddr::new(to, destination).to_string())
            }
            None => (from.to_string(), to.to_string()),
        };
        let (what, ports, mut more) = match &packet.transport {
            Some(TransportSlice::Tcp(tcp)) => ("TCP".to_owned(), Some((tcp.source_port(), tcp.destination_port())), flags(tcp)),
            Some(TransportSlice::Udp(udp)) => {
                ("UDP".to_owned(), Some((udp.source_port(), udp.destination_port())), String::new())
            }
            Some(TransportSlice::Icmpv4(icmp)) => ("ICMP".to_owned(), None, message(icmp.type_u8(), icmp.code_u8(), [8, 0])),
            Some(TransportSlice::Icmpv6(icmp)) => {
                ("ICMPv6".to_owned(), None, message(icmp.type_u8(), icmp.code_u8(), [128, 129]))
            }
            _ => (of_protocol(protocol), None, String::new()),
        };
        if fragment {
            more = format!("{more} fragment").trim_start().to_owned();
        }
        let within = packet.ip_payload().filter(|_| depth > 0 && matches!(protocol, IpNumber::IPV4 | IpNumber::IPV6));
        let inner = within.and_then(|payload| LaxSlicedPacket::from_ip(payload.payload).ok());
        let inner = inner.map(|inner| Box::new(Glance::of(&inner, depth - 1)));
        let (from, to) = ends(ports);
        Some(Glance { what, from: Some(from), to: Some(to), more, inner, ..Glance::default() })
    }
}

/// A MAC address as people write it.
pub fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn of_protocol(IpNumber(number): IpNumber) -> String {
    match number {
        6 => "TCP".into(),
        17 => "UDP".into(),
        1 => "ICMP".into(),
        58 => "ICMPv6".into(),
        4 | 41 => "IP in IP".into(),
        112 => "VRRP".into(),
        other => format!("protocol {other}"),
    }
}

fn flags(tcp: &TcpSlice<'_>) -> String {
    let all = [
        (tcp.syn(), "SYN"),
        (tcp.fin(), "FIN"),
        (tcp.rst(), "RST"),
        (tcp.psh(), "PSH"),
        (tcp.ack(), "ACK"),
        (tcp.urg(), "URG"),
    ];
    all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

fn message(kind: u8, code: u8, [request, reply]: [u8; 2]) -> String {
    match kind {
        _ if kind == request => "echo request".into(),
        _ if kind == reply => "echo reply".into(),
        _ => format!("type {kind} code {code}"),
    }
}

fn question(arp: &ArpPacketSlice<'_>) -> String {
    let ip =
        |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map_or_else(|_| "?".to_owned(), |octets| IpAddr::from(octets).to_string());
    let (sender, target) = (ip(arp.sender_protocol_addr()), ip(arp.target_protocol_addr()));
    match arp.operation().0 {
        1 => format!("who has {target}? tell {sender}"),
        2 => format!("{sender} is here, to {target}"),
        other => format!("operation {other} of {sender}"),
    }
}

impl fmt::Display for Glance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let (Some(from), Some(to)) = (&self.from, &self.to) {
            write!(f, " {from} > {to}")?;
        }
        if !self.more.is_empty() {
            write!(f, " {}", self.more)?;
        }
        for vlan in &self.vlans {
            write!(f, " VLAN {vlan}")?;
        }
        self.inner.as_ref().map_or(Ok(()), |inner| write!(f, " ({inner})"))
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, VlanId};

    use super::*;

    #[test]
    fn a_segment_says_its_ends_flags_and_vlan() {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .single_vlan(VlanId::try_new(7).unwrap())
            .ipv4([10, 1, 0, 1], [10, 1, 0, 100], 64)
            .tcp(40_000, 80, 1, 1)
            .syn()
            .ack(2);
        builder.write(&mut frame, b"").unwrap();
        let glance = Glance::at(&frame);
        assert_eq!(glance.to_string(), "TCP 10.1.0.1:40000 > 10.1.0.100:80 SYN|ACK VLAN 7");
        assert_eq!(glance.destination_mac, "02:00:00:00:00:02");
    }

    #[test]
    fn a_tunnel_says_what_is_within_even_if_the_end_is_cut_off() {
        let mut inner = Vec::new();
        PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(5, 53).write(&mut inner, &[0; 300]).unwrap();
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        let outer = etherparse::Ipv4Header::new(inner.len() as u16, 64, IpNumber::IPV6, [10, 2, 0, 1], [10, 2, 0, 11]).unwrap();
        outer.write(&mut frame).unwrap();
        frame.extend(inner);
        frame.truncate(128);
        assert_eq!(
            Glance::at(&frame).to_string(),
            "IP in IP 10.2.0.1 > 10.2.0.11 (UDP [101:101:101:101:101:101:101:101]:5 > [202:202:202:202:202:202:202:202]:53)"
        );
    }

    #[test]
    fn nothing_is_too_short_to_be_looked_at() {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 0, 1], [10, 1, 0, 100], 64).udp(1, 2);
        builder.write(&mut frame, b"hello").unwrap();
        for len in 0..frame.len() {
            assert!(!Glance::at(&frame[..len]).to_string().is_empty());
        }
        assert_eq!(Glance::at(&[&[0xff; 12][..], &[0x88, 0xcc]].concat()).to_string(), "type 0x88cc");
    }
}
