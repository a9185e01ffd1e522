//! Random frames for a world: what clients, backends, neighbours, the peer and strangers may send, to what the world has.

mod link;

use ha_common::abi::{AddressKey, Fence, FlowKey, Interface, Ip, Node, Owner, ReverseKey, ServiceKey};
use ha_common::tables::HostTables;

use super::between;
use super::both::Packet;
use super::bytes::{self, Shape, protocol};
use super::mutate::{LONGEST, SHORTEST, SHORTEST_SENT, mutate};
use super::space::{self, INTERFACES, STATIONS, own_mac, pick};
use super::world::sorted;
use crate::sim::Rng;
use crate::vectors::frames::Mac;

const BROADCAST: Mac = [0xff; 6];
const GROUPS: [Mac; 3] = [BROADCAST, [1, 0, 0x5e, 0, 0, 18], [0x33, 0x33, 0, 0, 0, 1]];
const NOBODY: Mac = [0; 6];

/// VLAN, sender, receiver and protocol of a packet.
type Ends = (u32, (Ip, u16), (Ip, u16), u16);

/// The frames of one world, in order.
pub struct Packets {
    rng: Rng,
    services: Vec<(ServiceKey, u32)>,
    owners: Vec<(ServiceKey, Owner)>,
    /// Flows of which something is recorded, and their backends.
    flows: Vec<(FlowKey, u32)>,
    /// Sources that somebody has.
    reverse: Vec<ReverseKey>,
    addresses: Vec<AddressKey>,
    /// Datagrams of which a part was sent.
    parts: Vec<Ends>,
    node: Node,
    fence: Fence,
}

/// An IP packet and the VLAN that it belongs to.
struct Datagram {
    domain: u32,
    packet: Vec<u8>,
    is_v6: bool,
}

impl Packets {
    /// Frames for the world `tables`.
    pub fn new(seed: u64, tables: &HostTables) -> Self {
        let mut flows: Vec<_> = sorted(&tables.flows.borrow()).into_iter().map(|(key, flow)| (key, flow.backend)).collect();
        flows.extend(sorted(&tables.embryonic.borrow()).into_iter().map(|(key, embryo)| (key, embryo.backend)));
        let mut reverse: Vec<_> = sorted(&tables.reverse.borrow()).into_iter().map(|(key, _)| key).collect();
        reverse.extend(sorted(&tables.reverse_embryonic.borrow()).into_iter().map(|(key, _)| key));
        Packets {
            rng: Rng::new(!seed),
            services: sorted(&tables.vserver_index),
            owners: sorted(&tables.owners),
            flows,
            reverse,
            addresses: sorted(&tables.addresses).into_iter().map(|(key, _)| key).collect(),
            parts: Vec::new(),
            node: tables.node,
            fence: tables.fence.clone(),
        }
    }

    /// The next one.
    pub fn draw(&mut self) -> Packet {
        if self.rng.chance(10) {
            let ifindex = pick(&mut self.rng, &INTERFACES);
            let frame = self.sent(ifindex);
            return self.finish(ifindex, true, frame);
        }
        let usual = match self.rng.below(100) {
            0..34 => (0, Packets::request as fn(&mut Packets, u32) -> Vec<u8>),
            34..52 => (1, Packets::answer as _),
            52..56 => (0, Packets::ping as _),
            56..64 => (0, Packets::error as _),
            64..72 => (0, Packets::fragment as _),
            72..78 => (0, Packets::arp as _),
            78..83 => (0, Packets::discovery as _),
            83..89 => (2, Packets::heartbeat as _),
            89..94 => (2, Packets::stray as _),
            94..96 => (0, Packets::router as _),
            96..98 => (0, Packets::tunnel as _),
            _ => (0, Packets::junk as _),
        };
        let ifindex = if self.rng.chance(92) { INTERFACES[usual.0] } else { pick(&mut self.rng, &INTERFACES) };
        let frame = usual.1(self, ifindex);
        self.finish(ifindex, false, frame)
    }

    fn finish(&mut self, ifindex: u32, sent: bool, mut frame: Vec<u8>) -> Packet {
        if self.rng.chance(12) {
            mutate(&mut self.rng, &mut frame);
        }
        frame.truncate(LONGEST);
        frame.resize(frame.len().max(if sent { SHORTEST_SENT } else { SHORTEST }), 0);
        Packet { ifindex, sent, frame }
    }

    fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        pick(&mut self.rng, options)
    }

    /// One of the world's services, or what might be one.
    fn service(&mut self) -> ServiceKey {
        let service = self.services[self.rng.below(self.services.len() as u64) as usize].0;
        let port = if self.rng.chance(96) { service.port.get() } else { self.pick(&[81, 3003, 3005, 6080]) };
        ServiceKey { port: ha_common::wire::Be16::new(port), ..service }
    }

    fn address(&mut self) -> AddressKey {
        if self.addresses.is_empty() || self.rng.chance(3) {
            return AddressKey { addr: self.pick(&space::FLOATING[0]), domain: 0 };
        }
        self.addresses[self.rng.below(self.addresses.len() as u64) as usize]
    }

    /// Somebody who may talk to `other`.
    fn somebody(&mut self, other: Ip) -> Ip {
        let family = usize::from(!other.is_v4());
        match self.rng.below(100) {
            0..92 => self.pick(&space::CLIENTS[family]),
            92..94 => self.pick(&space::FLOATING[family]),
            94..96 => self.pick(&space::BACKENDS[family]),
            96..99 => self.pick(&space::ODD[family]),
            _ => other,
        }
    }

    fn data(&mut self) -> Vec<u8> {
        let len = match self.rng.below(20) {
            0..4 => 0,
            4..18 => self.rng.below(48),
            18 => self.rng.below(600),
            _ => 1_400 + self.rng.below(100),
        };
        let byte = self.rng.draw() as u8;
        vec![byte; len as usize]
    }

    fn shape(&mut self, is_v6: bool, protocol: u8) -> Shape {
        let rng = &mut self.rng;
        let ttl = pick(rng, &[64, 64, 64, 64, 64, 64, 64, 255, 128, 2, 1, 0]);
        let mut shape = Shape { ttl, ..Shape::default() };
        if !rng.chance(5) {
            return shape;
        }
        if !is_v6 {
            if rng.chance(50) {
                shape.extra = vec![1; 4 * (1 + rng.below(10) as usize)];
            } else {
                shape.fragment = pick(rng, &[0x2000, 0x2001, 0x0001, 0x4000, 0x1fff, 0x8000]);
            }
            return shape;
        }
        for _ in 0..=rng.below(2) {
            let header = pick(rng, &[0, 43, 44, 51, 60, 135, 139]);
            if let Some(former) = shape.extra.len().checked_sub(8) {
                shape.extra[former] = header;
            } else {
                shape.first = Some(header);
            }
            shape.extra.extend([protocol, 0, 0, rng.below(2) as u8, 0, 0, 0, 0]);
        }
        shape
    }

    /// A packet with a payload whose checksum is at `at`.
    fn ip(&mut self, source: Ip, destination: Ip, protocol: u8, mut payload: Vec<u8>, at: Option<usize>) -> Vec<u8> {
        if self.rng.chance(1) {
            // It ends within its first header, and says so.
            payload.truncate(self.rng.below(24) as usize);
        }
        let is_v6 = !(source.is_v4() && destination.is_v4());
        let shape = self.shape(is_v6, protocol);
        let payload = match at {
            Some(at) if at + 2 <= payload.len() => bytes::sum_up(payload, at, source, destination, protocol),
            _ => payload,
        };
        bytes::ip(&shape, source, destination, protocol, &payload)
    }

    /// What one end says to the other over a transport.
    fn talk(&mut self, from: (Ip, u16), to: (Ip, u16), protocol: u16) -> Vec<u8> {
        const FLAGS: [u8; 12] = [0x10, 0x10, 0x10, 0x18, 0x18, 0x02, 0x02, 0x12, 0x11, 0x04, 0x14, 0];
        let data = self.data();
        match protocol {
            6 => {
                let flags = if self.rng.chance(97) { self.pick(&FLAGS) } else { self.rng.draw() as u8 };
                self.ip(from.0, to.0, protocol::TCP, bytes::tcp(from.1, to.1, flags, &data), Some(16))
            }
            17 => {
                let at = self.rng.chance(85).then_some(6);
                self.ip(from.0, to.0, protocol::UDP, bytes::udp(from.1, to.1, &data), at)
            }
            other => self.ip(from.0, to.0, other as u8, data, None),
        }
    }

    /// A flow that is recorded, in some cases.
    fn flow(&mut self) -> Option<(FlowKey, u32)> {
        let flow = self.flows.get(self.rng.below(self.flows.len().max(1) as u64) as usize).copied();
        flow.filter(|_| self.rng.chance(35))
    }

    fn request_packet(&mut self) -> Datagram {
        let (domain, client, service, protocol) = self.request_ends();
        let packet = self.talk(client, service, protocol);
        Datagram { domain, is_v6: packet[0] >> 4 == 6, packet }
    }

    /// VLAN and ends of a client's packet, and its protocol.
    fn request_ends(&mut self) -> Ends {
        let flow = self.flow();
        let known = flow.and_then(|(key, _)| {
            let service = self.services.iter().find(|(_, vserver)| *vserver == key.index())?.0;
            Some((service, (key.addr, key.port.get())))
        });
        let (service, client) = known.unwrap_or_else(|| {
            let service = self.service();
            (service, (self.somebody(service.addr), self.pick(&space::CLIENT_PORTS)))
        });
        let port = match flow {
            Some((key, _)) if key.service_port.get() != 0 => key.service_port.get(),
            _ => self.port_of(service.port.get()),
        };
        let family = usize::from(!service.addr.is_v4());
        // Any address: somebody's beyond.
        let any = service.addr == Ip::v4(0) || service.addr == Ip::default();
        let addr = if any { self.pick(&space::CLIENTS[family]) } else { service.addr };
        (service.domain, client, (addr, port), service.protocol)
    }

    /// A port itself, or, where it stands for any, one of those that mean something.
    fn port_of(&mut self, port: u16) -> u16 {
        if port == 0 && self.rng.chance(95) { self.pick(&[20, 21, 22, 80, 1023, 1024, 5000, 8080]) } else { port }
    }

    /// The answer of a backend that does not see its client: to a port that somebody has, or may get.
    fn masked(&mut self) -> Option<(ServiceKey, (Ip, u16))> {
        let entry = self.reverse.get(self.rng.below(self.reverse.len().max(1) as u64) as usize).copied()?;
        let owns =
            |(service, owner): &&(ServiceKey, Owner)| owner.backend == entry.backend && service.protocol == entry.protocol;
        let service = self.owners.iter().find(owns)?.0;
        let port = if self.rng.chance(70) { entry.port.get() } else { 2000 + self.rng.below(5) as u16 };
        Some((service, (entry.addr, port)))
    }

    fn answer_packet(&mut self) -> Datagram {
        let (domain, backend, client, protocol) = self.answer_ends();
        let packet = self.talk(backend, client, protocol);
        Datagram { domain, is_v6: packet[0] >> 4 == 6, packet }
    }

    /// VLAN and ends of a backend's packet, and its protocol.
    fn answer_ends(&mut self) -> Ends {
        let flow = self.flow();
        let known = flow.and_then(|(key, backend)| {
            let owns = |(service, owner): &&(ServiceKey, Owner)| owner.backend == backend && service.protocol == key.protocol;
            Some((self.owners.iter().find(owns)?.0, (key.addr, key.port.get())))
        });
        let masked = self.masked().filter(|_| self.rng.chance(50));
        let (owner, client) = known.or(masked).unwrap_or_else(|| {
            let owner = self.owners[self.rng.below(self.owners.len() as u64) as usize].0;
            (owner, (self.somebody(owner.addr), self.pick(&space::CLIENT_PORTS)))
        });
        let port = match flow {
            Some((key, _)) if owner.port.get() == 0 && key.service_port.get() != 0 => key.service_port.get(),
            _ => self.port_of(owner.port.get()),
        };
        (owner.domain, (owner.addr, port), client, owner.protocol)
    }

    /// Puts a packet on the link of `ifindex`.
    fn on_link(&mut self, ifindex: u32, datagram: &Datagram) -> Vec<u8> {
        let from = if self.rng.chance(97) { self.pick(&STATIONS) } else { self.any_mac(ifindex) };
        let ether_type = if datagram.is_v6 { 0x86dd } else { 0x0800 };
        self.framed(ifindex, from, datagram.domain, ether_type, &datagram.packet)
    }

    fn framed(&mut self, ifindex: u32, from: Mac, domain: u32, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let to = if self.rng.chance(85) { own_mac(ifindex) } else { self.any_mac(ifindex) };
        self.framed_to(to, from, domain, ether_type, payload)
    }

    fn framed_to(&mut self, to: Mac, from: Mac, domain: u32, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let mut tags = Vec::new();
        if self.rng.chance(4) {
            tags.push((self.pick(&[0x8100, 0x88a8]), self.rng.draw() as u16));
        }
        let tag = if self.rng.chance(95) { domain } else { self.pick(&space::DOMAINS) };
        if tag != 0 || self.rng.chance(4) {
            let priority = if self.rng.chance(70) { 0 } else { self.rng.below(16) as u16 };
            tags.push((0x8100, tag as u16 | priority << 12));
        }
        bytes::ethernet(to, from, &tags, ether_type, payload)
    }

    fn any_mac(&mut self, ifindex: u32) -> Mac {
        let [v4, v6] = Interface::virtual_macs(self.pick(&space::VRIDS));
        let group = self.pick(&GROUPS);
        let station = self.pick(&STATIONS);
        self.pick(&[v4, v6, v4, v6, group, station, own_mac(ifindex)])
    }

    fn request(&mut self, ifindex: u32) -> Vec<u8> {
        let datagram = self.request_packet();
        self.on_link(ifindex, &datagram)
    }

    fn answer(&mut self, ifindex: u32) -> Vec<u8> {
        let datagram = self.answer_packet();
        self.on_link(ifindex, &datagram)
    }

    fn ping(&mut self, ifindex: u32) -> Vec<u8> {
        let AddressKey { addr, domain } = self.address();
        let source = self.somebody(addr);
        let is_v6 = !(source.is_v4() && addr.is_v4());
        let (protocol, kinds) = if is_v6 { (protocol::ICMP_V6, [128, 129, 135]) } else { (protocol::ICMP, [8, 0, 13]) };
        let kind = if self.rng.chance(80) { kinds[0] } else { self.pick(&kinds) };
        let code = u8::from(self.rng.chance(5));
        let message = bytes::icmp(kind, code, [0, 1, 0, 2], &self.data());
        let packet = self.ip(source, addr, protocol, message, Some(2));
        self.on_link(ifindex, &Datagram { domain, packet, is_v6 })
    }

    /// A packet that the pair, or a backend in its name, has sent: the ends of one that it gets, exchanged; at times whatever it gets.
    fn sent_packet(&mut self) -> Datagram {
        if self.rng.chance(15) {
            return self.tunnelled();
        }
        let of_client = self.rng.chance(50);
        let (domain, from, to, protocol) = if of_client { self.request_ends() } else { self.answer_ends() };
        let (from, to) = if self.rng.chance(85) { (to, from) } else { (from, to) };
        let packet = self.talk(from, to, protocol);
        let is_v6 = packet[0] >> 4 == 6;
        let packet = if self.rng.chance(5) { self.cut(&Datagram { domain, packet, is_v6 }) } else { packet };
        Datagram { domain, packet, is_v6 }
    }

    /// A client's packet in a tunnel to some backend.
    fn tunnelled(&mut self) -> Datagram {
        let inner = self.request_packet();
        let family = self.rng.below(2) as usize;
        let (source, destination) = (self.pick(&space::FLOATING[family]), self.pick(&space::BACKENDS[family]));
        let protocol = if inner.is_v6 { protocol::IPV6 } else { protocol::IPIP };
        let packet = self.ip(source, destination, protocol, inner.packet, None);
        Datagram { domain: inner.domain, is_v6: packet[0] >> 4 == 6, packet }
    }

    /// A fragment of some datagram; often the second of one that was in parts before.
    fn fragment(&mut self, ifindex: u32) -> Vec<u8> {
        let recent = self.parts.get(self.rng.below(self.parts.len().max(1) as u64) as usize).copied();
        let (domain, from, to, protocol) = match recent {
            Some(ends) if self.rng.chance(60) => ends,
            _ if self.rng.chance(65) => self.request_ends(),
            _ => self.answer_ends(),
        };
        if self.parts.len() < 8 {
            self.parts.push((domain, from, to, protocol));
        } else {
            let oldest = self.rng.below(8) as usize;
            self.parts[oldest] = (domain, from, to, protocol);
        }
        let packet = self.talk(from, to, protocol);
        let whole = Datagram { domain, is_v6: packet[0] >> 4 == 6, packet };
        let packet = self.cut(&whole);
        self.on_link(ifindex, &Datagram { packet, ..whole })
    }

    /// A part of a packet without options or extension headers; of others, the packet.
    fn cut(&mut self, whole: &Datagram) -> Vec<u8> {
        let packet = &whole.packet;
        let (head, protocol) = if whole.is_v6 { (40, packet[6]) } else { (20, packet[9]) };
        if !whole.is_v6 && packet[0] != 0x45 || packet.len() < head {
            return packet.clone();
        }
        let ends = |at: usize| {
            if whole.is_v6 {
                Ip::from(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&packet[8 + 16 * at..24 + 16 * at]).expect("sixteen")))
            } else {
                Ip::v4(u32::from_ne_bytes(packet[12 + 4 * at..16 + 4 * at].try_into().expect("four bytes")))
            }
        };
        let (source, destination) = (ends(0), ends(1));
        let payload = &packet[head..];
        let first = self.rng.chance(50);
        let offset = if first { 0 } else { self.pick(&[1, 2, 7, 8, 8, 8, 9, 185, 8_191]) };
        let more = u16::from(self.rng.chance(if first { 90 } else { 40 }));
        let keep = if self.rng.chance(90) { payload.len() / 8 * 8 } else { self.rng.below(payload.len() as u64 + 1) as usize };
        let keep = if more == 1 { keep } else { payload.len() };
        let mut shape = Shape { ttl: self.pick(&[64, 64, 64, 64, 2, 1]), ..Shape::default() };
        if whole.is_v6 {
            let next = if self.rng.chance(97) { protocol } else { self.pick(&[0, 43, 44, 60]) };
            let field = (offset << 3 | more).to_be_bytes();
            (shape.first, shape.extra) = (Some(44), vec![next, 0, field[0], field[1], 1, 2, 3, self.rng.below(2) as u8]);
        } else {
            shape.fragment = offset | more << 13;
        }
        bytes::ip(&shape, source, destination, protocol, &payload[..keep])
    }

    /// An ICMP error about a packet of some flow, to one of its ends.
    fn error(&mut self, ifindex: u32) -> Vec<u8> {
        let about = self.sent_packet();
        let quoted = &about.packet[..about.packet.len().min(if self.rng.chance(50) { 28 + 20 } else { 1_200 })];
        let address = self.address();
        let ends = if about.is_v6 { (8, 24) } else { (12, 16) };
        let end = if self.rng.chance(90) { ends.0 } else { ends.1 };
        let to = match (about.is_v6, quoted.get(end..end + 16)) {
            (true, Some(octets)) => Ip::from(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(octets).expect("sixteen bytes"))),
            (false, _) => Ip::v4(u32::from_ne_bytes(quoted[end..end + 4].try_into().expect("four bytes"))),
            _ => address.addr,
        };
        let source = self.somebody(to);
        let is_v6 = !(source.is_v4() && to.is_v4());
        let (protocol, kind) = if is_v6 {
            (protocol::ICMP_V6, self.pick(&[1, 2, 3, 4]))
        } else {
            (protocol::ICMP, self.pick(&[3, 3, 11, 12, 4, 5]))
        };
        let code = self.rng.below(5) as u8;
        let message = bytes::icmp(kind, code, [0, 0, 5, 0], quoted);
        let packet = self.ip(source, to, protocol, message, Some(2));
        self.on_link(ifindex, &Datagram { domain: about.domain, packet, is_v6 })
    }

    fn heartbeat(&mut self, ifindex: u32) -> Vec<u8> {
        between::heartbeat(&mut self.rng, ifindex)
    }

    fn stray(&mut self, ifindex: u32) -> Vec<u8> {
        let leg = self.pick(&INTERFACES[..2]);
        let inner = match self.rng.below(20) {
            0..9 => self.request(leg),
            9..13 => self.answer(leg),
            13 => self.ping(leg),
            14 => self.arp(leg),
            15 => self.discovery(leg),
            16 => self.error(leg),
            17 => self.heartbeat(leg),
            18 => self.router(leg),
            _ => self.junk(leg),
        };
        between::stray(&mut self.rng, &self.node, &self.fence, ifindex, &inner)
    }

    /// A packet within a packet: IP in IP, GRE, or generic UDP encapsulation.
    fn tunnel(&mut self, ifindex: u32) -> Vec<u8> {
        let inner = if self.rng.chance(50) { self.request_packet() } else { self.answer_packet() };
        let AddressKey { addr, domain } = self.address();
        let source = self.somebody(addr);
        let next = if inner.is_v6 { protocol::IPV6 } else { protocol::IPIP };
        let packet = match self.rng.below(3) {
            0 => self.ip(source, addr, next, inner.packet, None),
            1 => {
                let ether_type: [u8; 2] = if inner.is_v6 { [0x86, 0xdd] } else { [8, 0] };
                let payload = [&[0, 0][..], &ether_type, &inner.packet].concat();
                self.ip(source, addr, protocol::GRE, payload, None)
            }
            _ => {
                let payload = [&[0, next, 0, 0][..], &inner.packet].concat();
                let at = self.rng.chance(50).then_some(6);
                self.ip(source, addr, protocol::UDP, bytes::udp(50_000, 6080, &payload), at)
            }
        };
        self.on_link(ifindex, &Datagram { domain, is_v6: packet[0] >> 4 == 6, packet })
    }

    fn junk(&mut self, ifindex: u32) -> Vec<u8> {
        let len = self.rng.below(120) as usize;
        let payload: Vec<u8> = (0..len).map(|_| self.rng.draw() as u8).collect();
        let ether_type = self.pick(&[0x0800, 0x86dd, 0x0806, 0x88cc, 0x8100, 0x88a8, 0x8847]);
        self.framed(ifindex, STATIONS[0], 0, ether_type, &payload)
    }
}
