//! Random tables: one function per record, one line per field.
//!
//! No field is left to a default: a new one is drawn here, or does not compile.

mod pair;

pub use pair::extension;

use std::collections::HashMap;

use ha_common::abi::{
    AMBIGUOUS, Address, AddressKey, Backend, CUT_OFF, Choice, Choices, Embryo, Exception, Flow, FlowKey, Fragment, FragmentKey,
    IcmpBudget, Interface, Ip, Load, MAX_LINKS, NO_BACKEND, Nat, NextHop, Owner, Pace, PrefixKey, ReverseKey, Ring, ServiceKey,
    Session, SessionKey, Snip, Source, SourceKey, SourceLimits, StrayBudget, Throttle, Vserver, address_flags, backend_flags,
    flow_flags, hash_kind, interface_flags, mode, prefix_action, vrid_flags, vserver_flags,
};
use ha_common::pipeline::l2_place;
use ha_common::tables::HostTables;
use ha_common::time::{Nanos, Ticks};
use ha_common::wire::Be16;

use super::object::{NOW, TICKS};
use super::records::{self, BACKENDS, EXCEPTIONS, FLOWS, REVERSE, SESSIONS, SLOTS, SNIPS, VSERVERS};
use super::space::{self, DOMAINS, INTERFACES, NSIP, STATIONS, bits, own_mac, pick};
use crate::kernel::map::bytes_of;
use crate::sim::Rng;

/// The pair, as it may be found at any moment of its life.
pub fn random(seed: u64) -> HostTables {
    let rng = &mut Rng::new(seed);
    let mut tables = records::empty();
    tables.node = pair::node(rng);
    tables.fence = pair::fence(rng, &tables.node);
    for link in &mut tables.links[..MAX_LINKS] {
        *link.get_mut() = pair::link(rng);
    }
    interfaces(rng, &mut tables);
    addresses(rng, &mut tables);
    snips(rng, &mut tables);
    backends(rng, &mut tables);
    vservers(rng, &mut tables);
    loads(rng, &mut tables);
    flows(rng, &mut tables);
    guards(rng, &mut tables);
    *tables.icmp_budget.get_mut() = IcmpBudget {
        credit: pick(rng, &[0, 1, 99_999, 100_000, IcmpBudget::WINDOW, u64::MAX]),
        refilled_at: time(rng),
        refilled_in: pick(rng, &[TICKS, Ticks(TICKS.0 - 1), Ticks(0)]),
    };
    *tables.reset_budget.get_mut() = IcmpBudget {
        credit: pick(rng, &[0, 99_999, 100_000, IcmpBudget::WINDOW]),
        refilled_at: time(rng),
        refilled_in: pick(rng, &[TICKS, Ticks(TICKS.0 - 1), Ticks(0)]),
    };
    *tables.stray_budget.get_mut() = StrayBudget {
        tokens: pick(rng, &[0, 1, 2, 1_000, 1_024, u64::MAX]),
        refilled_at: time(rng),
        seq: pick(rng, &[0, 1, u64::from(u32::MAX), u64::MAX]),
    };
    for vrid in space::VRIDS {
        tables.vrids.insert(vrid, bits(rng, &[(vrid_flags::V4, 50), (vrid_flags::V6, 50)]));
    }
    tables
}

/// An instant: often one at which something is just, or just not, too old.
fn time(rng: &mut Rng) -> Nanos {
    const SECOND: u64 = 1_000_000_000;
    let ago = pick(rng, &[0, 1, 4_999_999, 5_000_000, 50_000_000, SECOND - 1, SECOND, SECOND + 1, NOW.0 - 1, NOW.0]);
    match rng.below(8) {
        0 => Nanos(rng.below(2 * NOW.0)),
        1 => Nanos(NOW.0 + ago),
        2 => Nanos::NEVER,
        _ => Nanos(NOW.0 - ago),
    }
}

/// Two legs and two links that carry strays; rarely something else, or nothing.
fn interfaces(rng: &mut Rng, tables: &mut HostTables) {
    const LEG: u32 = interface_flags::LEG;
    const LINK: u32 = interface_flags::HEARTBEAT | interface_flags::STRAYS;
    for (number, ifindex) in (0..).zip(INTERFACES) {
        if rng.chance(4) {
            continue;
        }
        let usual = if number < 2 { LEG } else { LINK };
        let flags = if rng.chance(90) { usual } else { rng.below(8) as u32 };
        let mac = own_mac(ifindex);
        let [v4_mac, v6_mac] = Interface::virtual_macs(pick(rng, &space::VRIDS));
        tables.interfaces.insert(
            ifindex,
            Interface {
                flags,
                link: number & 1,
                leg: number & 1,
                ifindex,
                mac,
                mtu: pick(rng, &[1500, 1560, 9000, 200]),
                v4_mac: if rng.chance(40) { v4_mac } else { mac },
                v6_mac: if rng.chance(40) { v6_mac } else { mac },
                vlan: if rng.chance(80) { 0 } else { domain(rng) },
            },
        );
        let index = if number < 2 { &mut tables.leg_ifindex } else { &mut tables.link_ifindex };
        index.insert(number & 1, ifindex);
    }
}

fn group(rng: &mut Rng) -> u32 {
    if rng.chance(99) { 0 } else { pick(rng, &[1, u32::MAX]) }
}

/// An address, and the VLAN that it lives in.
fn domain(rng: &mut Rng) -> u32 {
    pick(rng, &[DOMAINS[0], DOMAINS[0], DOMAINS[0], DOMAINS[1], DOMAINS[2]])
}

fn addresses(rng: &mut Rng, tables: &mut HostTables) {
    use address_flags::{ANY_PORT, ARP, HOST, ICMP, LOCAL, SNIP, VIP};
    for family in 0..2 {
        for addr in space::FLOATING[family] {
            for domain in DOMAINS {
                if rng.chance(if domain == 0 { 85 } else { 25 }) {
                    let flags =
                        bits(rng, &[(VIP, 70), (SNIP, 30), (LOCAL, 25), (ARP, 80), (ICMP, 80), (HOST, 5), (ANY_PORT, 50)]);
                    tables.addresses.insert(AddressKey { addr, domain }, Address { flags, group: group(rng) });
                }
            }
        }
        // This machine's own, and once in a while a client's: a mistake that nobody may make worse.
        for addr in [space::CLIENTS[family][4], NSIP, space::CLIENTS[family][0]] {
            if rng.chance(20) {
                let flags = if addr == space::CLIENTS[family][0] && rng.chance(50) { VIP } else { HOST };
                tables.addresses.insert(AddressKey { addr, domain: 0 }, Address { flags, group: group(rng) });
            }
        }
    }
}

fn hop(rng: &mut Rng) -> NextHop {
    let ifindex = if rng.chance(95) { pick(rng, &INTERFACES[..2]) } else { pick(rng, &[0, INTERFACES[2]]) };
    NextHop::new(pick(rng, &STATIONS), own_mac(ifindex), ifindex, domain(rng))
}

/// Backends of each family, and who answers from their addresses.
fn backends(rng: &mut Rng, tables: &mut HostTables) {
    for index in 0..BACKENDS as u32 {
        let family = (index / (BACKENDS as u32 / 2)) as usize;
        let backend = Backend {
            flags: bits(
                rng,
                &[
                    (backend_flags::UP, 85),
                    (backend_flags::SHARED, 20),
                    (backend_flags::SNAT, 35),
                    (backend_flags::CUTS_OFF, 30),
                    (backend_flags::KEEPS, 60),
                    (backend_flags::LEAVING, 8),
                    (backend_flags::THROTTLED, 10),
                ],
            ),
            generation: rng.below(3) as u32,
            addr: pick(rng, &space::BACKENDS[family]),
            port: Be16::new(pick(rng, &[8080, 80, 53, 0])),
            mtu: pick(rng, &[1500, 1500, 1500, 0, 100, 60, u16::MAX]),
            next_hop: hop(rng),
            // Half of the sources are each family's.
            snips: if rng.chance(97) { (family * (SNIPS / 2)) as u32 } else { pick(rng, &[1, 5_000]) },
            snip_count: pick(rng, &[1, 2, 3, 0]),
            flows_max: pick(rng, &[0, 0, 0, 1, 2, 5]),
            reserved: 0,
        };
        tables.backends[index as usize] = backend;
        for protocol in [6, 17] {
            let hidden = backend.flags & backend_flags::SNAT != 0 && rng.chance(95);
            if rng.chance(90) {
                let key = ServiceKey { addr: backend.addr, domain: backend.next_hop.vlan, port: backend.port, protocol };
                let vserver = if hidden || backend.flags & backend_flags::SHARED != 0 {
                    AMBIGUOUS
                } else {
                    rng.below(VSERVERS as u64) as u32
                };
                let vserver = if rng.chance(95) { vserver } else { pick(rng, &[AMBIGUOUS, 0, 1_000]) };
                tables.owners.insert(key, Owner { backend: index, vserver });
            }
        }
    }
}

/// What backends are spoken to from: floating addresses, with so few ports that they run out.
fn snips(rng: &mut Rng, tables: &mut HostTables) {
    for (index, snip) in tables.snips.iter_mut().enumerate() {
        *snip = Snip {
            addr: pick(rng, &space::FLOATING[index / (SNIPS / 2)]),
            first_port: pick(rng, &[2000, 2001]),
            ports: pick(rng, &[1, 2, 4, 4, 0]),
            reserved: 0,
        };
    }
}

/// A source that a flow with `backend` may have: often none.
fn nat(rng: &mut Rng, tables: &HostTables, backend: u32) -> Nat {
    let hidden = tables.backends.get(backend as usize).is_some_and(|known| known.flags & backend_flags::SNAT != 0);
    if !rng.chance(if hidden { 90 } else { 3 }) {
        return Nat::NONE;
    }
    let first = tables.backends.get(backend as usize).map_or(0, |known| known.snips as u16);
    let snip = if rng.chance(98) { first.wrapping_add(rng.below(3) as u16) } else { 5_000 };
    Nat { snip, port: Be16::new(2000 + rng.below(5) as u16) }
}

/// How the answers of a flow's backend are looked up.
fn reverse_key(tables: &HostTables, key: &FlowKey, backend: u32, nat: Nat) -> ReverseKey {
    match tables.snips.get(usize::from(nat.snip)) {
        Some(snip) if !nat.is_none() => {
            ReverseKey { backend, addr: snip.addr, port: nat.port, protocol: key.transport().into() }
        }
        _ => ReverseKey { backend, addr: key.addr, port: key.port, protocol: key.transport().into() },
    }
}

fn vservers(rng: &mut Rng, tables: &mut HostTables) {
    use vserver_flags::{
        ALLOW_LISTED, CUTS_OFF, DOWN, EXCEPTIONS, HASH_ONLY, IN_TURN, KEEPS, L2_CONN, LEAST, LIMITED, LISTED, LOGGED,
        PERSIST_DESTINATION, PERSIST_SOURCE, PREVIOUS, RESETS,
    };
    for index in 0..VSERVERS as u32 {
        let family = (index as usize) / (VSERVERS / 2);
        let vserver = Vserver {
            flags: bits(rng, &[(DOWN, 5), (HASH_ONLY, 25), (LOGGED, 40), (EXCEPTIONS, 40), (PREVIOUS, 30)])
                | bits(rng, &[(CUTS_OFF, 40), (KEEPS, 50), (RESETS, 50), (L2_CONN, 10)])
                | bits(rng, &[(IN_TURN, 25), (LEAST, 25), (PERSIST_SOURCE, 30), (PERSIST_DESTINATION, 20)])
                | bits(rng, &[(LISTED, 15), (ALLOW_LISTED, 30), (LIMITED, 20)]),
            group: group(rng),
            ring: ring(rng),
            previous: ring(rng),
            generation: 1 + rng.below(2) as u32,
            previous_generation: rng.below(2) as u32,
            vip: pick(rng, &space::FLOATING[family][..3]),
            port: Be16::new(pick(rng, &space::SERVICE_PORTS)),
            protocol: pick(rng, &[6, 6, 17]),
            mode: if rng.chance(98) {
                pick(rng, &[mode::NAT, mode::NAT, mode::NAT, mode::MAC, mode::TUNNEL])
            } else {
                rng.below(256) as u8
            },
            hash: if rng.chance(98) {
                pick(rng, &[hash_kind::SOURCE_PORT, hash_kind::SOURCE, hash_kind::DESTINATION, hash_kind::SOURCE_DESTINATION])
            } else {
                rng.below(256) as u8
            },
            reserved: [0; 3],
            choices: choices(rng),
            session_mask: Ip::mask(pick(rng, &[128, 128, 120, 64, 0])),
            sessions: if rng.chance(80) { index } else { 0 },
            limits: limits(rng),
            ..Vserver::default()
        };
        let vserver = of_any_port(rng, vserver);
        let key = ServiceKey { addr: vserver.vip, domain: domain(rng), port: vserver.port, protocol: vserver.protocol.into() };
        let known_as = if rng.chance(99) { index } else { 1_000 };
        tables.vserver_index.insert(key, known_as);
        if vserver.flags & vserver_flags::ANY_PORT != 0 && rng.chance(30) {
            let port = Be16::new(pick(rng, &[21, 80]));
            tables.vserver_index.insert(ServiceKey { port, ..key }, known_as);
        }
        tables.vservers[index as usize] = vserver;
    }
    for (slot, index) in tables.rings.iter_mut().enumerate() {
        // Rings lie anywhere: half of the pool is each family's.
        let first = if slot < SLOTS / 2 { 0 } else { BACKENDS as u64 / 2 };
        let weight = if rng.chance(80) { 0 } else { pick(rng, &[1, 2, 100]) };
        *index = match rng.below(64) {
            0 => NO_BACKEND,
            1 => 1_000,
            2 => rng.below(BACKENDS as u64) as u32,
            _ => Choice::new((first + rng.below(BACKENDS as u64 / 2)) as u32, weight).slot(),
        };
    }
    if rng.chance(10) {
        // Nobody is there.
        tables.rings.fill(NO_BACKEND);
    }
}

fn choices(rng: &mut Rng) -> Choices {
    Choices::new(pick(rng, &[0, SLOTS as u32 / 2, 13, 1 << 20]), pick(rng, &[0, 1, 2, 5, 15, 16, 17, 40]))
}

/// What backends have to do, and who had them before.
fn loads(rng: &mut Rng, tables: &mut HostTables) {
    for load in &mut tables.loads {
        let closed: u64 = pick(rng, &[0, 7, u64::MAX]);
        // Once in a while more have ended than began.
        let opened = closed.wrapping_add(pick(rng, &[0, 0, 1, 2, 4, 5, 1 << 33, u64::MAX]));
        *load = Load {
            opened: opened.into(),
            closed: closed.into(),
            peak: pick(rng, &[0, 3, 1 << 40]).into(),
            lately: pick(rng, &[0, 0, (TICKS.0 >> 6) << 32 | 3, (TICKS.0 >> 6) << 32 | 0xffff_ffff, u64::MAX]).into(),
        };
    }
    for turn in &tables.turns {
        turn.set(pick(rng, &[0, 3, u64::from(u32::MAX), u64::MAX]));
    }
    for _ in 0..rng.below(2 * SESSIONS as u64) {
        let vserver = &tables.vservers[rng.below(VSERVERS as u64) as usize];
        let family = usize::from(!vserver.vip.is_v4());
        let part =
            |addr: Ip, flag: u32| if vserver.flags & flag == 0 { Ip([0; 4]) } else { addr.masked(&vserver.session_mask) };
        let key = SessionKey {
            vserver: vserver.sessions,
            source: part(pick(rng, &space::CLIENTS[family]), vserver_flags::PERSIST_SOURCE),
            destination: part(vserver.vip, vserver_flags::PERSIST_DESTINATION),
        };
        let backend = if rng.chance(90) { rng.below(BACKENDS as u64) as u32 } else { 1_000 };
        let session = Session { backend, reserved: 0, seen: Ticks(TICKS.0 - rng.below(100)) };
        let table = if rng.chance(50) { &mut tables.sessions } else { &mut tables.session_embryos }.get_mut();
        if table.len() < SESSIONS {
            table.insert(key, session);
        }
    }
}

/// A source's limits: often just reached.
fn limits(rng: &mut Rng) -> SourceLimits {
    let mask = pick(rng, &[[u32::MAX; 4], [u32::MAX, u32::MAX, u32::MAX, 0], [u32::MAX, u32::MAX, 0, 0], [0; 4]]);
    SourceLimits {
        mask: Ip(mask),
        open_max: pick(rng, &[0, 1, 2, u32::MAX]),
        cost: pick(rng, &[0, 1, 500_000_000, 1_000_000_000]),
    }
}

/// Who is let in, what sources have done, and how long services make newcomers wait.
fn guards(rng: &mut Rng, tables: &mut HostTables) {
    for _ in 0..rng.below(32) {
        let vserver = rng.below(VSERVERS as u64) as u32;
        let family = rng.below(2) as usize;
        let addr = pick(rng, &space::CLIENTS[family]);
        let len = pick(rng, &[0, 8, 24, 32, 64, 128]).min(if addr.is_v4() { 32 } else { 128 });
        let prefix = PrefixKey::network(vserver, addr, len);
        tables.prefixes.insert(prefix, pick(rng, &[prefix_action::ALLOW, prefix_action::DENY]));
    }
    for _ in 0..rng.below(32) {
        let vserver = rng.below(VSERVERS as u64) as u32;
        let family = rng.below(2) as usize;
        let addr = pick(rng, &space::CLIENTS[family]);
        let key = SourceKey::new(vserver, &tables.vservers[vserver as usize].limits, &addr);
        let counts = Source::with_counts(pick(rng, &[0, 7, u32::MAX]), pick(rng, &[0, 1, 2, u32::MAX]));
        tables.sources.get_mut().insert(key, Source { pace: pace(rng), ..counts });
    }
    for throttle in &mut tables.throttles {
        *throttle = Throttle { cost: pick(rng, &[0, 1, 10_000_000, 500_000_000]), pace: pace(rng) };
    }
}

fn pace(rng: &mut Rng) -> Pace {
    let ago = pick(rng, &[0, 1, 10_000_000, 500_000_000, 1_000_000_000]);
    Pace::due_at(pick(rng, &[Nanos(0), NOW, Nanos(NOW.0 - ago), Nanos(NOW.0 + ago)]))
}

/// Some virtual servers take any port, and some of those any address.
fn of_any_port(rng: &mut Rng, vserver: Vserver) -> Vserver {
    use vserver_flags::{ANY_ADDRESS, ANY_PORT, FTP, HASH_ONLY};
    if !rng.chance(25) {
        return vserver;
    }
    let port = if rng.chance(95) { Be16::new(0) } else { vserver.port };
    let flags = vserver.flags | ANY_PORT | bits(rng, &[(FTP, 30)]);
    if !rng.chance(20) {
        return Vserver { flags, port, ..vserver };
    }
    let vip = if vserver.vip.is_v4() { Ip::v4(0) } else { Ip::default() };
    let kept = if rng.chance(95) { HASH_ONLY } else { 0 };
    let mode = if rng.chance(95) { mode::MAC } else { vserver.mode };
    Vserver { flags: flags | ANY_ADDRESS | kept, vip, port: if rng.chance(50) { port } else { vserver.port }, mode, ..vserver }
}

fn ring(rng: &mut Rng) -> Ring {
    // The largest that begin in the middle end beyond the pool.
    Ring::new(pick(rng, &[0, 0, SLOTS as u32 / 2, 13]), rng.below(9) as u32)
}

/// The key of a flow of some client with some vserver, and the backend that it is with: often one whose answers are the flow's.
fn conversation(rng: &mut Rng, tables: &HostTables, owners: &[Owner]) -> (FlowKey, u32) {
    let known = owners.get(rng.below(owners.len().max(1) as u64) as usize).filter(|_| rng.chance(60));
    let vserver = match known {
        Some(owner) if (owner.vserver as usize) < VSERVERS => owner.vserver,
        _ => rng.below(VSERVERS as u64) as u32,
    };
    let Vserver { vip, protocol, flags, .. } = tables.vservers[vserver as usize];
    let (family, first) = if vip.is_v4() { (0, 0) } else { (1, BACKENDS as u64 / 2) };
    let backend = match known {
        Some(owner) => owner.backend,
        None if rng.chance(95) => (first + rng.below(BACKENDS as u64 / 2)) as u32,
        None => pick(rng, &[NO_BACKEND, 1_000, 0]),
    };
    let place =
        if flags & vserver_flags::L2_CONN != 0 { l2_place(pick(rng, &STATIONS), domain(rng), rng.below(2) as u32) } else { 0 };
    let any = tables.vservers[vserver as usize].flags & vserver_flags::ANY_PORT != 0;
    let key = FlowKey {
        vserver: vserver as u16,
        service_port: if any { Be16::new(pick(rng, &space::SERVICE_PORTS)) } else { Be16::new(0) },
        addr: pick(rng, &space::CLIENTS[family]),
        port: Be16::new(pick(rng, &space::CLIENT_PORTS)),
        protocol: u16::from(protocol) | u16::from(place) << 8,
    };
    (key, backend)
}

fn flow(rng: &mut Rng, backend: u32, nat: Nat) -> Flow {
    Flow {
        backend: if rng.chance(10) { backend | CUT_OFF } else { backend },
        client_packets: pick(rng, &[0, 3, u32::MAX]),
        server_packets: pick(rng, &[0, 3, u32::MAX]),
        client_hop: hop(rng),
        client_bytes: rng.below(1_000),
        server_bytes: rng.below(1_000),
        seen: Ticks(TICKS.0 - rng.below(100)).low(),
        nat,
        opened: Ticks(TICKS.0 - rng.below(100)),
        generation: rng.below(3) as u32,
        flags: bits(
            rng,
            &[(flow_flags::EXCEPTION.into(), 20), (flow_flags::CLOSE_TOLD.into(), 20), (flow_flags::COUNTED.into(), 20)],
        ) as u16,
        client_tcp: pick(rng, &[0, 0, 0, 1, 2, 3]),
        server_tcp: pick(rng, &[0, 0, 0, 1, 2, 3]),
        reserved_words: [0; 6],
    }
}

/// What is remembered of flows: none, some, or as many as there is room for.
fn flows(rng: &mut Rng, tables: &mut HostTables) {
    let amount = |rng: &mut Rng, room: usize| {
        let some = rng.below(room as u64 + 1) as usize;
        pick(rng, &[0, some, room])
    };
    let owners: Vec<Owner> = sorted(&tables.owners).into_iter().map(|(_, owner)| owner).collect();
    for _ in 0..amount(rng, FLOWS) {
        let (key, backend) = conversation(rng, tables, &owners);
        let nat = nat(rng, tables, backend);
        tables.flows.get_mut().insert(key, flow(rng, backend, nat));
        if tables.reverse.get_mut().len() < REVERSE && rng.chance(if nat.is_none() { 20 } else { 90 }) {
            let reverse = reverse_key(tables, &key, backend, nat);
            tables.reverse.get_mut().insert(reverse, key);
        }
    }
    for _ in 0..amount(rng, FLOWS) {
        let (key, backend) = conversation(rng, tables, &owners);
        let nat = nat(rng, tables, backend);
        tables.embryonic.get_mut().insert(key, Embryo { backend, client_hop: hop(rng), nat, seen: Ticks(5).low() });
        if !nat.is_none() && rng.chance(90) {
            let reverse = reverse_key(tables, &key, backend, nat);
            tables.reverse_embryonic.get_mut().insert(reverse, key);
        }
    }
    for _ in 0..amount(rng, EXCEPTIONS) {
        let (key, backend) = conversation(rng, tables, &owners);
        let generation = rng.below(3) as u32;
        tables.exceptions.get_mut().insert(key, Exception { backend, generation, seen: TICKS });
    }
    fragments(rng, tables, &owners);
    for evicts in [false, true] {
        for _ in 0..amount(rng, REVERSE / 2) {
            let (flow, backend) = conversation(rng, tables, &owners);
            let nat = nat(rng, tables, backend);
            let key = reverse_key(tables, &flow, backend, nat);
            let table = if evicts { &mut tables.reverse_embryonic } else { &mut tables.reverse }.get_mut();
            if table.len() < REVERSE {
                table.insert(key, flow);
            }
        }
    }
}

/// First fragments that were seen some time ago.
fn fragments(rng: &mut Rng, tables: &mut HostTables, owners: &[Owner]) {
    for _ in 0..rng.below(6) {
        let (flow, backend) = conversation(rng, tables, owners);
        let nat = nat(rng, tables, backend);
        let key = FragmentKey {
            source: flow.addr,
            destination: pick(rng, &space::FLOATING[usize::from(!flow.addr.is_v4())]),
            identification: if flow.addr.is_v4() { 0x3412 } else { u32::from_ne_bytes([1, 2, 3, 0]) },
            domain: domain(rng),
            protocol: flow.protocol.into(),
        };
        let index = if rng.chance(80) { backend } else { flow.index() };
        let noted = Fragment { flow, index, nat, hop: hop(rng), step: rng.below(5) as u32, at: time(rng) };
        tables.fragments.get_mut().insert(key, noted);
    }
}

/// Entries in an order that is the same in every process.
pub fn sorted<K: Copy, V: Copy>(entries: &HashMap<K, V>) -> Vec<(K, V)> {
    let mut entries: Vec<(K, V)> = entries.iter().map(|(key, value)| (*key, *value)).collect();
    entries.sort_by(|(a, _), (b, _)| bytes_of(a).cmp(bytes_of(b)));
    entries
}
