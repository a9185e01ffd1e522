//! Is this a packet that an operator wants to see?

use crate::abi::{ServiceKey, TraceFilter};
use crate::packet::PacketMut;
use crate::wire::eth::ether_type;

use super::parse::{self, Story};
use super::{Ingress, nodes};

/// One name for the two of them.
const ICMP: u16 = 1;
const ICMP_V6: u16 = 58;

/// Whether `filter` wants `packet` as it is now. What is no IP packet is wanted by a filter that wants everything.
#[inline(always)]
pub fn wants<P: PacketMut>(filter: &TraceFilter, packet: &P) -> bool {
    let any_host = filter.host.0 == [0; 4];
    if filter.protocol == 0 && filter.port.raw() == 0 && any_host && filter.vserver.protocol == 0 {
        return true;
    }
    let Ok(frame) = parse::frame(packet) else {
        return false;
    };
    if !matches!(frame.ether_type, ether_type::IPV4 | ether_type::IPV6) {
        return false;
    }
    let mut story = Story::new(nodes::by_itself(Ingress { ifindex: 0 }), frame, packet.len());
    // Whatever is wrong with it: as far as it can be read, it can be asked for.
    let _ = parse::packet(packet, &mut story);
    let (here, there) = (&story.here, &story.there);
    let protocol = if there.protocol == ICMP_V6 { ICMP } else { there.protocol };
    if filter.protocol != 0 && filter.protocol != protocol {
        return false;
    }
    if filter.port.raw() != 0 && filter.port != here.port && filter.port != there.port {
        return false;
    }
    if !any_host && filter.host != here.addr && filter.host != there.addr {
        return false;
    }
    filter.vserver.protocol == 0 || is(&filter.vserver, here) || is(&filter.vserver, there)
}

/// Whether `end` is the virtual server's.
#[inline(always)]
fn is(vserver: &ServiceKey, end: &ServiceKey) -> bool {
    (vserver.protocol == end.protocol)
        && (vserver.port.raw() == 0 || vserver.port == end.port)
        && (vserver.addr.0 == [0; 4] || vserver.addr == end.addr)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use etherparse::PacketBuilder;

    use super::*;
    use crate::abi::Ip;
    use crate::packet::HostPacket;
    use crate::wire::Be16;

    const CLIENT: [u8; 4] = [10, 1, 0, 1];
    const VIP: [u8; 4] = [10, 1, 0, 100];

    fn ip(addr: [u8; 4]) -> Ip {
        Ipv4Addr::from(addr).into()
    }

    fn tcp() -> HostPacket {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(CLIENT, VIP, 64).tcp(40_000, 80, 1, 1_000);
        builder.write(&mut bytes, b"hello").unwrap();
        HostPacket::new(&bytes)
    }

    fn vserver(addr: [u8; 4], port: u16) -> TraceFilter {
        let vserver = ServiceKey { addr: ip(addr), domain: 0, port: Be16::new(port), protocol: 6 };
        TraceFilter { vserver, ..TraceFilter::default() }
    }

    #[test]
    fn either_end_may_be_the_one_that_is_wanted() {
        let host = |addr| TraceFilter { host: ip(addr), ..TraceFilter::default() };
        let port = |port| TraceFilter { port: Be16::new(port), ..TraceFilter::default() };
        for wanted in [host(CLIENT), host(VIP), port(40_000), port(80), vserver(VIP, 80), vserver(VIP, 0)] {
            assert!(wants(&wanted, &tcp()), "{wanted:?}");
        }
        for other in [host([10, 1, 0, 2]), port(81), vserver(VIP, 81), vserver(CLIENT, 80)] {
            assert!(!wants(&other, &tcp()), "{other:?}");
        }
    }

    #[test]
    fn every_part_of_a_filter_has_to_hold() {
        let both = TraceFilter { protocol: 6, host: ip(CLIENT), ..TraceFilter::default() };
        assert!(wants(&both, &tcp()));
        assert!(!wants(&TraceFilter { protocol: 17, ..both }, &tcp()));
    }

    #[test]
    fn one_name_stands_for_icmp_of_both_families() {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [2; 16], 64).icmpv6_echo_request(1, 1);
        builder.write(&mut bytes, b"").unwrap();
        let icmp = TraceFilter { protocol: 1, ..TraceFilter::default() };
        assert!(wants(&icmp, &HostPacket::new(&bytes)) && !wants(&icmp, &tcp()));
    }

    #[test]
    fn what_is_no_ip_is_wanted_by_whoever_wants_everything() {
        let arp = HostPacket::new(&[&[0xff; 12][..], &[8, 6], &[0; 28]].concat());
        assert!(wants(&TraceFilter::default(), &arp));
        assert!(!wants(&TraceFilter { protocol: 6, ..TraceFilter::default() }, &arp));
    }
}
