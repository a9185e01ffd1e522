//! What stations say on the link: who has an address, where a router is; and what this host sends itself.

use ha_common::abi::{AddressKey, Interface, Ip};

use super::{BROADCAST, Datagram, GROUPS, NOBODY, Packets};
use crate::fuzz::bytes::{self, Shape, protocol};
use crate::fuzz::space::{self, PEER_MAC, STATIONS, own_mac};
use crate::vectors::frames::Mac;

impl Packets {
    pub(super) fn arp(&mut self, ifindex: u32) -> Vec<u8> {
        let AddressKey { addr, domain } = self.address();
        let sender = self.somebody(addr);
        let from = if self.rng.chance(90) { self.pick(&STATIONS) } else { own_mac(ifindex) };
        let to = if self.rng.chance(60) { BROADCAST } else { own_mac(ifindex) };
        let packet = match self.rng.below(10) {
            0..6 => bytes::arp(1, (from, sender), (NOBODY, addr)),
            6 => bytes::arp(1, (from, addr), (NOBODY, addr)),
            7 => bytes::arp(2, (from, addr), (own_mac(ifindex), sender)),
            8 => bytes::arp(2, (from, sender), (own_mac(ifindex), addr)),
            _ => bytes::arp(self.rng.below(4) as u16, (from, addr), (NOBODY, sender)),
        };
        self.framed_to(to, from, domain, 0x0806, &packet)
    }

    /// A neighbour solicitation or advertisement of or for an address.
    fn discovery_packet(&mut self, from: Mac) -> Datagram {
        let AddressKey { addr: target, domain } = self.address();
        let asks = self.rng.chance(60);
        let source = match self.rng.below(10) {
            0 => Ip::default(),
            1 => target,
            _ => self.pick(&space::CLIENTS[1]),
        };
        let group = self.pick(&space::ODD[1]);
        let to = self.pick(&[target, group, space::FLOATING[1][0]]);
        let flags = [self.pick(&[0, 0x60, 0x20]), 0, 0, 0];
        let mut data = bytes::octets(target).to_vec();
        if self.rng.chance(85) {
            data.extend([if asks { 1 } else { 2 }, self.pick(&[1, 1, 1, 1, 2, 0])]);
            data.extend(from);
        }
        let code = u8::from(self.rng.chance(3));
        let message = bytes::icmp(if asks { 135 } else { 136 }, code, flags, &data);
        let message = bytes::sum_up(message, 2, source, if to.is_v4() { group } else { to }, protocol::ICMP_V6);
        let ttl = if self.rng.chance(94) { 255 } else { 64 };
        let shape = Shape { ttl, ..Shape::default() };
        let packet = bytes::ip(&shape, source, if to.is_v4() { group } else { to }, protocol::ICMP_V6, &message);
        Datagram { domain, is_v6: packet[0] >> 4 == 6, packet }
    }

    pub(super) fn discovery(&mut self, ifindex: u32) -> Vec<u8> {
        let from = if self.rng.chance(90) { self.pick(&STATIONS) } else { own_mac(ifindex) };
        let Datagram { domain, packet, is_v6 } = self.discovery_packet(from);
        let to = if self.rng.chance(50) { GROUPS[2] } else { own_mac(ifindex) };
        self.framed_to(to, from, domain, if is_v6 { 0x86dd } else { 0x0800 }, &packet)
    }

    /// An advertisement of some virtual router.
    pub(super) fn router(&mut self, ifindex: u32) -> Vec<u8> {
        let family = self.rng.below(2) as usize;
        let source = self.pick(&space::CLIENTS[family]);
        let to = if self.rng.chance(80) { space::ODD[family][2] } else { self.pick(&space::FLOATING[family]) };
        let vrid = if self.rng.chance(80) { self.pick(&space::VRIDS) } else { self.rng.draw() as u8 };
        let mut data = vec![self.pick(&[0x31, 0x31, 0x21, 0x32]), vrid, 100, 1, 0, 100, 0, 0];
        data.truncate(if self.rng.chance(95) { 8 } else { 3 });
        let shape = Shape { ttl: self.pick(&[255, 255, 255, 254]), ..Shape::default() };
        let packet = bytes::ip(&shape, source, to, protocol::VRRP, &data);
        self.on_link(ifindex, &Datagram { domain: 0, is_v6: family == 1, packet })
    }

    /// What the host's own stack sends, from its own addresses or from those that float.
    pub(super) fn sent(&mut self, ifindex: u32) -> Vec<u8> {
        let [v4, v6] = Interface::virtual_macs(self.pick(&space::VRIDS));
        let from = if self.rng.chance(80) { own_mac(ifindex) } else { self.pick(&[v4, v6]) };
        let to = if self.rng.chance(80) { self.pick(&STATIONS) } else { PEER_MAC };
        let AddressKey { addr, domain } = self.address();
        let family = usize::from(!addr.is_v4());
        let source = if self.rng.chance(60) { addr } else { self.pick(&space::CLIENTS[family]) };
        match self.rng.below(10) {
            0..5 => {
                let peer = self.pick(&space::CLIENTS[family]);
                let protocol = self.pick(&[6, 17, 112]);
                let packet = self.talk((source, 80), (peer, 40_000), protocol);
                let ether_type = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
                self.framed_to(to, from, domain, ether_type, &packet)
            }
            5..7 => {
                let target = self.pick(&space::CLIENTS[0]);
                let packet = bytes::arp(1 + self.rng.below(2) as u16, (from, source), (NOBODY, target));
                self.framed_to(BROADCAST, from, domain, 0x0806, &packet)
            }
            7..9 => {
                let Datagram { domain, packet, is_v6 } = self.discovery_packet(from);
                self.framed_to(to, from, domain, if is_v6 { 0x86dd } else { 0x0800 }, &packet)
            }
            _ => self.junk(ifindex),
        }
    }
}
