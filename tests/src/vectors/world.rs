//! The pair that vectors happen to: node A with a client leg, a server leg and one HA link, serving.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ha_common::abi::{
    Address, AddressKey, Backend, Choice, Choices, Embryo, Flow, FlowKey, IcmpBudget, Interface, Ip, Key, Load, Nat, NextHop,
    Node, NodeGroup, Owner, ReverseKey, Ring, ServiceKey, Snip, Term, Vserver, address_flags, backend_flags, hash_kind,
    interface_flags, mode, vserver_flags,
};
use ha_common::tables::{HostTables, Route};
use ha_common::time::{Nanos, Ticks};
use ha_common::wire::Be16;

use super::frames::Mac;

/// Interface index of the leg that clients are on.
pub const CLIENT_LEG: u32 = 11;
/// Interface index of the leg that backends are on.
pub const SERVER_LEG: u32 = 12;
/// Interface index of the HA link.
pub const HA_LINK: u32 = 13;
/// Numbers of the legs.
pub const LEGS: [(u32, u32); 2] = [(0, CLIENT_LEG), (1, SERVER_LEG)];

/// Interface index that test runs of the guard see: the loopback's.
pub const SENDS_ON: u32 = 1;

/// Own MAC addresses, by interface.
pub const CLIENT_LEG_MAC: Mac = [2, 0, 0, 0xa, 0, 1];
/// See [`CLIENT_LEG_MAC`].
pub const SERVER_LEG_MAC: Mac = [2, 0, 0, 0xa, 0, 2];
/// See [`CLIENT_LEG_MAC`].
pub const HA_LINK_MAC: Mac = [2, 0, 0, 0xa, 0, 3];
/// The peer's MAC address on the HA link.
pub const PEER_MAC: Mac = [2, 0, 0, 0xb, 0, 3];
/// MAC address of the client, and of the gateway that the others are behind.
pub const CLIENT_MAC: Mac = [2, 0, 0, 0xc, 0, 1];

/// NSIP of this node.
pub const NSIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// NSIP of the peer.
pub const PEER_NSIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The client.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));
/// The client, IPv6.
pub const CLIENT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));
/// The virtual address.
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 100));
/// The virtual address, IPv6.
pub const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100));
/// A virtual address whose other ports are a local daemon's.
pub const LOCAL_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 101));
/// A virtual address that answers neither ARP nor echo now.
pub const MUTE_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 102));
/// As [`MUTE_VIP`], IPv6.
pub const MUTE_VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x102));
/// The backends' gateway.
pub const SNIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 1));
/// The backends' gateway, IPv6.
pub const SNIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1));
/// An address of this machine on the server leg that does not float.
pub const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 2));
/// An address of this machine that `ADDRESSES` does not know (yet).
pub const UNLISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2));
/// A client that no neighbour table knows.
pub const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 77));
/// Room in `FLOWS`.
pub const FLOWS: usize = 4;
/// Room in `EXCEPTIONS`.
pub const EXCEPTIONS: usize = 2;
/// VLAN of the tagged vserver.
pub const VLAN: u16 = 100;
/// VLAN of the tagged backend.
pub const SERVER_VLAN: u16 = 200;

/// Backends of IPv4 vservers.
pub const BACKENDS: u32 = 3;
/// Index of the first backend of IPv6 vservers.
pub const FIRST6: u32 = 3;
/// A backend without a known way.
pub const LOST: u32 = 6;
/// A backend that two vservers share.
pub const SHARED: u32 = 7;
/// A backend in VLAN [`SERVER_VLAN`].
pub const TAGGED: u32 = 8;
/// A backend that does not see its clients' addresses.
pub const HIDDEN: u32 = 9;
/// As [`HIDDEN`], IPv6.
pub const HIDDEN6: u32 = 10;
/// A backend with a narrow way to it.
pub const NARROW: u32 = 11;
/// The largest packet on the way to [`NARROW`].
pub const NARROW_MTU: u16 = 90;
/// As [`NARROW`], IPv6.
pub const NARROW6: u32 = 12;
/// How many backends there are.
pub const ALL_BACKENDS: u32 = 13;
/// Source ports that this node may give out on each SNIP: the first, and how many.
pub const PORTS: (u16, u16) = (2000, 8);

/// Port of every backend.
pub const BACKEND_PORT: u16 = 8080;

/// TCP 80 at [`VIP`]: NAT, tracked.
pub const WEB: u32 = 0;
/// TCP 80 at [`VIP6`]: NAT, tracked.
pub const WEB6: u32 = 1;
/// UDP 53 at [`VIP`]: NAT, tracked.
pub const DNS: u32 = 2;
/// UDP 53 at [`VIP6`]: NAT, tracked.
pub const DNS6: u32 = 3;
/// TCP 81 at [`VIP`]: MAC mode, tracked.
pub const DIRECT: u32 = 4;
/// TCP 82 at [`VIP`]: NAT, hash-only.
pub const HASHED: u32 = 5;
/// TCP 83 at [`VIP`]: its only backend is [`LOST`].
pub const WAYLESS: u32 = 6;
/// TCP 84 at [`VIP`]: shares [`SHARED`] with [`SHARER`].
pub const SHARER: u32 = 7;
/// TCP 85 at [`VIP`]: the other one.
pub const OTHER_SHARER: u32 = 8;
/// TCP 80 at [`VIP`] in [`VLAN`].
pub const WEB_VLAN: u32 = 9;
/// TCP 86 at [`VIP`], whose backend is [`TAGGED`].
pub const TO_VLAN: u32 = 10;
/// UDP 54 at [`VIP`]: by source address alone, MAC mode, hash-only.
pub const STICKY: u32 = 11;
/// TCP 81 at [`VIP6`]: MAC mode, tracked.
pub const DIRECT6: u32 = 12;
/// TCP 82 at [`VIP6`]: NAT, hash-only.
pub const HASHED6: u32 = 13;

/// TCP 87 at [`VIP`]: NAT, before [`HIDDEN`].
pub const MASKED: u32 = 14;
/// UDP 55 at [`VIP`]: the same.
pub const MASKED_UDP: u32 = 15;
/// TCP 87 at [`VIP6`]: NAT, before [`HIDDEN6`].
pub const MASKED6: u32 = 16;
/// TCP 88 at [`VIP`]: tunnels, to IPv4 backends.
pub const WRAPPED: u32 = 17;
/// TCP 88 at [`VIP6`]: tunnels, to IPv6 backends.
pub const WRAPPED6: u32 = 18;
/// TCP 89 at [`VIP6`]: tunnels, to IPv4 backends.
pub const MIXED: u32 = 19;
/// TCP 89 at [`VIP`]: tunnels, to IPv6 backends.
pub const MIXED6: u32 = 20;
/// TCP 90 at [`VIP`]: tunnels, to [`TAGGED`].
pub const WRAPPED_TO_VLAN: u32 = 21;
/// TCP 91 at [`VIP`]: NAT, before [`NARROW`].
pub const SQUEEZED: u32 = 22;
/// TCP 92 at [`VIP`]: tunnels, to [`NARROW`].
pub const WRAPPED_SQUEEZED: u32 = 23;
/// TCP 91 at [`VIP6`]: NAT, before [`NARROW6`].
pub const SQUEEZED6: u32 = 24;

/// TCP 93 at [`VIP`]: NAT, one backend after the other.
pub const IN_TURN: u32 = 25;
/// UDP 93 at [`VIP`]: the same.
pub const IN_TURN_UDP: u32 = 26;
/// TCP 94 at [`VIP`]: NAT, the backend with the fewest flows.
pub const LEAST: u32 = 27;
/// TCP 95 at [`VIP`]: NAT, by the ring, with sessions by source.
pub const SESSIONED: u32 = 28;
/// TCP 96 at [`VIP`]: NAT, one backend after the other, with sessions by source and destination.
pub const SESSIONED_IN_TURN: u32 = 29;
/// TCP 97 at [`VIP`]: NAT, by the address that clients speak to.
pub const BY_DESTINATION: u32 = 30;
/// TCP 98 at [`VIP`]: NAT, by both addresses.
pub const BY_BOTH: u32 = 31;
/// TCP 95 at [`VIP6`]: NAT, by the ring, with sessions by /64 of the source.
pub const SESSIONED6: u32 = 32;
/// UDP 95 at [`VIP`]: NAT, by the ring, with sessions by source.
pub const SESSIONED_UDP: u32 = 33;
/// How many vservers there are.
pub const ALL_VSERVERS: u32 = 34;
/// Room in `PERSIST`.
pub const SESSIONS: usize = 2;

/// log2 of the slots of every ring here.
const RING_BITS: u32 = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;

fn is_v6(index: u32) -> bool {
    matches!(index, FIRST6..LOST | HIDDEN6 | NARROW6)
}

/// Address of backend `index`.
pub fn backend_addr(index: u32) -> IpAddr {
    let last = 11 + index as u16;
    if is_v6(index) {
        return Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, last).into();
    }
    Ipv4Addr::new(10, 2, 0, last as u8).into()
}

/// MAC address of backend `index`.
pub fn backend_mac(index: u32) -> Mac {
    [2, 0, 0, 0xd, 0, 11 + index as u8]
}

/// The way to backend `index`.
pub fn backend_hop(index: u32) -> NextHop {
    let vlan = if index == TAGGED { u32::from(SERVER_VLAN) } else { 0 };
    NextHop::new(backend_mac(index), SERVER_LEG_MAC, SERVER_LEG, vlan)
}

/// The way to the client.
pub fn client_hop() -> NextHop {
    NextHop::new(CLIENT_MAC, CLIENT_LEG_MAC, CLIENT_LEG, 0)
}

/// The key of the client's flow from `port` with vserver `index` of `protocol`.
pub fn flow_key(index: u32, client: IpAddr, port: u16, protocol: u8) -> FlowKey {
    let vserver = index as u16;
    FlowKey { vserver, addr: client.into(), port: Be16::new(port), protocol: protocol.into(), ..FlowKey::default() }
}

/// Which backend the ring of vserver `index` gives to the client.
pub fn placed(tables: &HostTables, index: u32, client: IpAddr, port: u16) -> u32 {
    let vserver = &tables.vservers[index as usize];
    let hash = ha_common::pipeline::client_hash(vserver.hash, &client.into(), Be16::new(port));
    tables.rings[vserver.ring.slot(hash) as usize]
}

/// A port of the client from which the ring of vserver `index` places it at `backend`.
pub fn port_to(tables: &HostTables, index: u32, client: IpAddr, backend: u32) -> u16 {
    (40_000..).find(|&port| placed(tables, index, client, port) == backend).expect("every backend has slots")
}

/// The source port that the client's flow from `port` gets towards a backend that does not see it, as its `n`th choice.
pub fn source_port(client: IpAddr, port: u16, n: u32) -> u16 {
    let hash = ha_common::pipeline::client_hash(hash_kind::SOURCE_PORT, &client.into(), Be16::new(port));
    let spread = u64::from(ha_common::pipeline::rehash(hash, n) & 0xffff);
    PORTS.0 + (spread * u64::from(PORTS.1) / 0x1_0000) as u16
}

/// What a backend that does not see the client sees of its flow: `port` of the SNIP of its family.
pub fn masked(index: u32, port: u16) -> Nat {
    Nat { snip: u16::from(is_v6(index)), port: Be16::new(port) }
}

/// How an answer of backend `index` to `port` of the SNIP is looked up.
pub fn reverse_key(index: u32, port: u16, protocol: u8) -> ReverseKey {
    let addr = if is_v6(index) { SNIP6 } else { SNIP };
    ReverseKey { backend: index, addr: addr.into(), port: Be16::new(port), protocol: protocol.into() }
}

/// Records a flow of the client that its backend sees at `port` of the SNIP.
pub fn record_masked(tables: &HostTables, key: FlowKey, backend: u32, port: u16) {
    record(tables, key, backend);
    tables.flows.borrow_mut().get_mut(&key).expect("recorded").nat = masked(backend, port);
    tables.reverse.borrow_mut().insert(reverse_key(backend, port, key.protocol as u8), key);
}

/// Records a flow of the client.
pub fn record(tables: &HostTables, key: FlowKey, backend: u32) {
    let flow = Flow { backend, client_packets: 3, client_bytes: 300, client_hop: client_hop(), ..Flow::default() };
    tables.flows.borrow_mut().insert(key, Flow { generation: 1, seen: Ticks(5).low(), opened: Ticks(4), ..flow });
}

/// Leaves what the SYN of a flow leaves.
pub fn conceive(tables: &HostTables, key: FlowKey, backend: u32) {
    tables
        .embryonic
        .borrow_mut()
        .insert(key, Embryo { backend, client_hop: client_hop(), nat: Nat::NONE, seen: Ticks(5).low() });
}

/// Of what [`address_flags::ARP`] and [`address_flags::ICMP`] stand for, `vip` does `answers` now.
pub fn answers(tables: &mut HostTables, vip: IpAddr, answers: u32) {
    let address = tables.addresses.get_mut(&AddressKey { addr: vip.into(), domain: 0 }).expect("is there");
    address.flags = address.flags & !(address_flags::ARP | address_flags::ICMP) | answers;
}

/// ICMP messages cost `cost` nanoseconds each, and every CPU has `credit`, and gains nothing.
pub fn ration(tables: &mut HostTables, cost: u64, credit: u64) {
    tables.node.icmp_cost = cost;
    let refilled_at = tables.now.get() + std::time::Duration::from_secs(60);
    *tables.icmp_budget.get_mut() = IcmpBudget { credit, refilled_at, refilled_in: Ticks(u64::MAX) };
}

/// This node serves no more.
pub fn step_down(tables: &mut HostTables) {
    tables.node.groups[0].role_term = Term::NONE;
}

/// The pair at `now`.
pub fn pair(now: Nanos) -> HostTables {
    let mut tables = HostTables::default();
    tables.now.set(now);
    tables.flows_max = FLOWS;
    tables.exceptions_max = EXCEPTIONS;
    tables.sessions_max = SESSIONS;
    tables.loads.resize_with(ALL_BACKENDS as usize, Load::default);
    for addr in [CLIENT, CLIENT6] {
        tables.routes.insert(addr.into(), Route::Via(client_hop()));
    }
    tables.routes.insert(UNLISTED.into(), Route::Host);
    tables.node = node();
    tables.fence.peer_nonce = 0xbbbb_2222_bbbb_2222.into();
    for (leg, ifindex, mac, flags, mtu) in [
        (0, CLIENT_LEG, CLIENT_LEG_MAC, interface_flags::LEG, 1500),
        (1, SERVER_LEG, SERVER_LEG_MAC, interface_flags::LEG, 1500),
        (0, HA_LINK, HA_LINK_MAC, interface_flags::HEARTBEAT | interface_flags::STRAYS, 1560),
    ] {
        tables
            .interfaces
            .insert(ifindex, Interface { flags, link: 0, leg, ifindex, mac, mtu, v4_mac: mac, v6_mac: mac, vlan: 0 });
    }
    tables.leg_ifindex.extend(LEGS);
    tables.link_ifindex.insert(0, HA_LINK);
    addresses(&mut tables);
    backends(&mut tables);
    vservers(&mut tables);
    tables
}

fn node() -> Node {
    let word = |addr: Ipv4Addr| u32::from_ne_bytes(addr.octets());
    let rx = Key { k0: 0x3333, k1: 0x4444, id: 2 };
    Node {
        nsip: word(NSIP),
        peer_nsip: word(PEER_NSIP),
        node_id: 1,
        peer_id: 2,
        boot_nonce: 0xaaaa_1111_aaaa_1111,
        controller_dead: 3_000_000_000,
        groups: [NodeGroup { role_term: Term::new(1, 1), ..NodeGroup::default() }],
        tx_key: Key { k0: 0x1111, k1: 0x2222, id: 1 },
        rx_keys: [rx, Key::default()],
        ..Node::default()
    }
}

fn addresses(tables: &mut HostTables) {
    use address_flags::{ARP, HOST, ICMP, LOCAL, SNIP as SNIP_FLAG, VIP as VIP_FLAG};
    let vlan = u32::from(VLAN);
    for (addr, domain, flags) in [
        (VIP, 0, VIP_FLAG | ARP | ICMP),
        (VIP6, 0, VIP_FLAG | ARP | ICMP),
        (LOCAL_VIP, 0, VIP_FLAG | ARP | ICMP | LOCAL),
        (MUTE_VIP, 0, VIP_FLAG),
        (MUTE_VIP6, 0, VIP_FLAG),
        (SNIP, 0, SNIP_FLAG | ARP | ICMP | LOCAL),
        (SNIP6, 0, SNIP_FLAG | ARP | ICMP),
        (OWN, 0, HOST),
        (VIP, vlan, VIP_FLAG | ARP | ICMP),
        (VIP6, vlan, VIP_FLAG | ARP | ICMP),
    ] {
        tables.addresses.insert(AddressKey { addr: addr.into(), domain }, Address { flags, group: 0 });
    }
}

fn backends(tables: &mut HostTables) {
    for index in 0..ALL_BACKENDS {
        let shared = match index {
            SHARED => backend_flags::SHARED,
            HIDDEN | HIDDEN6 => backend_flags::SNAT | backend_flags::SHARED,
            _ => 0,
        };
        let mtu = if matches!(index, NARROW | NARROW6) { NARROW_MTU } else { 1500 };
        let next_hop = if index == LOST { NextHop::default() } else { backend_hop(index) };
        tables.backends.push(Backend {
            flags: backend_flags::UP | shared,
            addr: backend_addr(index).into(),
            port: Be16::new(BACKEND_PORT),
            mtu,
            next_hop,
            snips: is_v6(index).into(),
            snip_count: 1,
            ..Backend::default()
        });
    }
    for addr in [SNIP, SNIP6] {
        tables.snips.push(Snip { addr: addr.into(), first_port: PORTS.0, ports: PORTS.1, reserved: 0 });
    }
}

fn vservers(tables: &mut HostTables) {
    let v4: &[u32] = &[0, 1, 2];
    let v6: &[u32] = &[FIRST6, FIRST6 + 1, FIRST6 + 2];
    add(tables, (VIP, 80, TCP), v4, |_| {});
    add(tables, (VIP6, 80, TCP), v6, |_| {});
    add(tables, (VIP, 53, UDP), v4, |_| {});
    add(tables, (VIP6, 53, UDP), v6, |_| {});
    add(tables, (VIP, 81, TCP), v4, |vserver| vserver.mode = mode::MAC);
    add(tables, (VIP, 82, TCP), v4, |vserver| vserver.flags = vserver_flags::HASH_ONLY);
    add(tables, (VIP, 83, TCP), &[LOST], |_| {});
    add(tables, (VIP, 84, TCP), &[SHARED], |_| {});
    add(tables, (VIP, 85, TCP), &[SHARED], |_| {});
    add(tables, (VIP, 80, TCP), v4, |_| {});
    add(tables, (VIP, 86, TCP), &[TAGGED], |_| {});
    add(tables, (VIP, 54, UDP), v4, |vserver| {
        vserver.flags = vserver_flags::HASH_ONLY;
        vserver.mode = mode::MAC;
        vserver.hash = hash_kind::SOURCE;
    });
    add(tables, (VIP6, 81, TCP), v6, |vserver| vserver.mode = mode::MAC);
    add(tables, (VIP6, 82, TCP), v6, |vserver| vserver.flags = vserver_flags::HASH_ONLY);
    add(tables, (VIP, 87, TCP), &[HIDDEN], |_| {});
    add(tables, (VIP, 55, UDP), &[HIDDEN], |_| {});
    add(tables, (VIP6, 87, TCP), &[HIDDEN6], |_| {});
    let tunnel = |vserver: &mut Vserver| vserver.mode = mode::TUNNEL;
    add(tables, (VIP, 88, TCP), v4, tunnel);
    add(tables, (VIP6, 88, TCP), v6, tunnel);
    add(tables, (VIP6, 89, TCP), v4, tunnel);
    add(tables, (VIP, 89, TCP), v6, tunnel);
    add(tables, (VIP, 90, TCP), &[TAGGED], tunnel);
    add(tables, (VIP, 91, TCP), &[NARROW], |_| {});
    add(tables, (VIP, 92, TCP), &[NARROW], tunnel);
    add(tables, (VIP6, 91, TCP), &[NARROW6], |_| {});
    counted(tables, (VIP, 93, TCP), v4, vserver_flags::IN_TURN);
    counted(tables, (VIP, 93, UDP), v4, vserver_flags::IN_TURN);
    counted(tables, (VIP, 94, TCP), v4, vserver_flags::LEAST);
    add(tables, (VIP, 95, TCP), v4, |vserver| sessions(vserver, vserver_flags::PERSIST_SOURCE, 128));
    counted(tables, (VIP, 96, TCP), v4, vserver_flags::IN_TURN);
    let both = vserver_flags::PERSIST_SOURCE | vserver_flags::PERSIST_DESTINATION;
    sessions(&mut tables.vservers[SESSIONED_IN_TURN as usize], both, 120);
    add(tables, (VIP, 97, TCP), v4, |vserver| vserver.hash = hash_kind::DESTINATION);
    add(tables, (VIP, 98, TCP), v4, |vserver| vserver.hash = hash_kind::SOURCE_DESTINATION);
    add(tables, (VIP6, 95, TCP), v6, |vserver| sessions(vserver, vserver_flags::PERSIST_SOURCE, 64));
    add(tables, (VIP, 95, UDP), v4, |vserver| sessions(vserver, vserver_flags::PERSIST_SOURCE, 128));
    for index in 0..ALL_VSERVERS {
        tables.turns.push(Cell::new(0));
        tables.vservers[index as usize].sessions = index;
    }
    // The second vserver of VIP:80 is the one in the VLAN.
    let key = |domain| ServiceKey { addr: Ip::from(VIP), domain, port: Be16::new(80), protocol: TCP.into() };
    tables.vserver_index.insert(key(0), WEB);
    tables.vserver_index.insert(key(VLAN.into()), WEB_VLAN);
    owners(tables);
}

/// Adds a vserver whose ring gives its slots to `members` in turn.
pub fn add(tables: &mut HostTables, (vip, port, protocol): (IpAddr, u16, u8), members: &[u32], change: impl Fn(&mut Vserver)) {
    let base = tables.rings.len() as u32;
    tables.rings.extend(members.iter().cycle().take(1 << RING_BITS));
    let index = tables.vservers.len() as u32;
    let mut vserver = Vserver {
        ring: Ring::new(base, RING_BITS),
        generation: 1,
        vip: vip.into(),
        port: Be16::new(port),
        protocol,
        ..Vserver::default()
    };
    change(&mut vserver);
    tables.vservers.push(vserver);
    let key = ServiceKey { addr: vip.into(), domain: 0, port: Be16::new(port), protocol: protocol.into() };
    tables.vserver_index.insert(key, index);
}

/// Adds a vserver whose newcomers its `members` take in turn, or whoever has the fewest flows.
fn counted(tables: &mut HostTables, key: (IpAddr, u16, u8), members: &[u32], flag: u32) {
    add(tables, key, members, |vserver| vserver.flags = flag | vserver_flags::EXCEPTIONS);
    let base = tables.rings.len() as u32;
    tables.rings.extend(members.iter().map(|&index| Choice::new(index, 1).slot()));
    tables.vservers.last_mut().expect("just added").choices = Choices::new(base, members.len() as u32);
}

/// Gives a vserver sessions by what `flags` says, under a mask of so many bits.
fn sessions(vserver: &mut Vserver, flags: u32, bits: u32) {
    vserver.flags |= flags | vserver_flags::EXCEPTIONS;
    vserver.session_mask = Ip::mask(bits);
}

/// Who answers from each backend's address: as many vservers share the first ones, each vector says which it means.
fn owners(tables: &mut HostTables) {
    for index in 0..ALL_BACKENDS {
        let vserver = match index {
            SHARED | HIDDEN | HIDDEN6 => ha_common::abi::AMBIGUOUS,
            NARROW => SQUEEZED,
            NARROW6 => SQUEEZED6,
            TAGGED => TO_VLAN,
            LOST => WAYLESS,
            FIRST6.. => WEB6,
            _ => WEB,
        };
        own(tables, index, TCP, vserver);
        let udp = match index {
            HIDDEN | HIDDEN6 => ha_common::abi::AMBIGUOUS,
            _ if is_v6(index) => DNS6,
            _ => DNS,
        };
        own(tables, index, UDP, udp);
    }
}

/// Lets `vserver` own what backend `index` says over `protocol`.
pub fn own(tables: &mut HostTables, index: u32, protocol: u8, vserver: u32) {
    let domain = if index == TAGGED { u32::from(SERVER_VLAN) } else { 0 };
    let port = Be16::new(BACKEND_PORT);
    let key = ServiceKey { addr: backend_addr(index).into(), domain, port, protocol: protocol.into() };
    tables.owners.insert(key, Owner { backend: index, vserver });
}

/// Gives vserver `index` a second ring, with `members`, as the present one; the former stays as the one before.
pub fn new_ring(tables: &mut HostTables, index: u32, members: &[u32]) {
    let base = tables.rings.len() as u32;
    tables.rings.extend(members.iter().cycle().take(1 << RING_BITS));
    let vserver = &mut tables.vservers[index as usize];
    vserver.flags |= vserver_flags::PREVIOUS | vserver_flags::EXCEPTIONS;
    vserver.previous = vserver.ring;
    vserver.previous_generation = vserver.generation;
    vserver.ring = Ring::new(base, RING_BITS);
    vserver.generation += 1;
}

/// Takes a backend down.
pub fn fail(tables: &mut HostTables, index: u32) {
    tables.backends[index as usize].flags &= !backend_flags::UP;
}

/// Takes all room in `FLOWS`.
pub fn fill_flows(tables: &mut HostTables) {
    for port in 0..FLOWS as u16 {
        record(tables, flow_key(WEB, STRANGER, port, TCP), 0);
    }
}

/// The client's own second choice when its backend is down, worked out by hand.
pub fn second_choice(tables: &HostTables, index: u32, client: IpAddr, port: u16) -> u32 {
    let vserver = &tables.vservers[index as usize];
    let hash = ha_common::pipeline::client_hash(vserver.hash, &client.into(), Be16::new(port));
    let up = |index: u32| tables.backends[index as usize].flags & backend_flags::UP != 0;
    let slot = |hash: u32| tables.rings[vserver.ring.slot(hash) as usize];
    let rehashed = (1..=4).map(|n| slot(ha_common::pipeline::rehash(hash, n)));
    let walked = (1..=64).map(|step| slot(hash.wrapping_add(step)));
    rehashed.chain(walked).find(|&index| up(index)).expect("somebody is up")
}
