//! What random worlds and packets are made of: a small universe, so that what is drawn for one meets what was drawn for the other.

use std::fs;

use anyhow::{Context, Result};
use ha_common::abi::{Ip, Key, NextHop};
use ha_common::tables::{HostTables, Route};
use nix::sched::{CloneFlags, unshare};

use crate::sim::Rng;
use crate::vectors::frames::Mac;
use crate::vectors::namespace::{ip, text};

/// Interfaces: every one exists in the namespace. Numbers start above the return codes of XDP programs.
pub const INTERFACES: [u32; 4] = [11, 12, 13, 14];

/// The MAC address of an interface of this node.
pub const fn own_mac(ifindex: u32) -> Mac {
    [2, 0, 0, 0xa, 0, ifindex as u8]
}

/// Other stations.
pub const STATIONS: [Mac; 4] = [[2, 0, 0, 0xc, 0, 1], [2, 0, 0, 0xd, 0, 11], [2, 0, 0, 0xd, 0, 12], PEER_MAC];
/// The peer on every interface.
pub const PEER_MAC: Mac = [2, 0, 0, 0xb, 0, 3];
/// Virtual routers: ids that interfaces may be bound to.
pub const VRIDS: [u8; 3] = [7, 9, 200];

/// VLANs that addresses live in.
pub const DOMAINS: [u32; 3] = [0, 100, 200];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ip {
    Ip::v4(u32::from_ne_bytes([a, b, c, d]))
}

/// `2001:db8:net::last`.
const fn v6(net: u32, last: u32) -> Ip {
    Ip([0x2001_0db8_u32.to_be(), (net << 16).to_be(), 0, last.to_be()])
}

const fn words(a: u32, b: u32, c: u32, d: u32) -> Ip {
    Ip([a.to_be(), b.to_be(), c.to_be(), d.to_be()])
}

/// Floating addresses.
pub const FLOATING: [[Ip; 5]; 2] = [
    [v4(10, 1, 0, 100), v4(10, 1, 0, 101), v4(10, 1, 0, 102), v4(10, 2, 0, 1), v4(192, 0, 2, 9)],
    [v6(1, 0x100), v6(1, 0x101), v6(1, 0x102), v6(2, 1), v6(9, 9)],
];
/// Clients: two that routes lead to, two that none does, one that is this host.
pub const CLIENTS: [[Ip; 5]; 2] = [
    [v4(10, 1, 0, 1), v4(10, 2, 0, 77), v4(10, 1, 0, 77), v4(203, 0, 113, 5), v4(10, 1, 0, 2)],
    [v6(1, 1), v6(2, 0x77), v6(1, 0x77), v6(5, 5), v6(1, 2)],
];
/// Backends.
pub const BACKENDS: [[Ip; 4]; 2] = [
    [v4(10, 2, 0, 11), v4(10, 2, 0, 12), v4(10, 2, 0, 13), v4(10, 2, 0, 14)],
    [v6(2, 0x11), v6(2, 0x12), v6(2, 0x13), v6(2, 0x14)],
];
/// Addresses that no station sends from, or that mean something to every station.
pub const ODD: [[Ip; 6]; 2] = [
    [v4(0, 0, 0, 0), v4(127, 0, 0, 1), v4(224, 0, 0, 18), v4(255, 255, 255, 255), v4(169, 254, 1, 1), v4(240, 0, 0, 1)],
    [
        Ip([0; 4]),
        words(0, 0, 0, 1),
        words(0xff02_0000, 0, 0, 0x12),
        words(0xff02_0000, 0, 1, 0xff00_0100),
        words(0xfe80_0000, 0, 0, 1),
        words(0xff02_0000, 0, 0, 1),
    ],
];
/// NSIP of this node.
pub const NSIP: Ip = v4(10, 9, 0, 1);
/// NSIP of the peer.
pub const PEER_NSIP: Ip = v4(10, 9, 0, 2);

/// Ports of services.
pub const SERVICE_PORTS: [u16; 6] = [80, 53, 443, 8080, 3003, 0];
/// Ports of clients.
pub const CLIENT_PORTS: [u16; 6] = [40_000, 40_001, 40_002, 1024, 65_535, 53];

/// Keys that nodes sign with; the first is nobody's.
pub const KEYS: [Key; 4] = [
    Key { k0: 0, k1: 0, id: 0 },
    Key { k0: 0x1111, k1: 0x2222, id: 1 },
    Key { k0: 0x3333, k1: 0x4444, id: 2 },
    Key { k0: 5, k1: 6, id: 3 },
];
/// Lives of nodes.
pub const NONCES: [u64; 3] = [0xaaaa_1111_aaaa_1111, 0xbbbb_2222_bbbb_2222, 0xcccc_3333_cccc_3333];

/// One of `options`.
pub fn pick<T: Copy>(rng: &mut Rng, options: &[T]) -> T {
    options[rng.below(options.len() as u64) as usize]
}

/// Those of `bits` that as many of a hundred cases have.
pub fn bits(rng: &mut Rng, bits: &[(u32, u64)]) -> u32 {
    bits.iter().filter(|(_, percent)| rng.chance(*percent)).map(|(bit, _)| bit).sum()
}

/// The way that the routing table knows to a client of these, by family and number.
fn way(family: usize, client: usize) -> Option<Route> {
    match client {
        0 | 1 => {
            let ifindex = INTERFACES[client];
            Some(Route::Via(NextHop::new(STATIONS[family], own_mac(ifindex), ifindex, 0)))
        }
        4 => Some(Route::Host),
        _ => None,
    }
}

/// Gives `tables` the routes of the namespace.
pub fn route(tables: &mut HostTables) {
    for (family, clients) in CLIENTS.iter().enumerate() {
        for (number, client) in clients.iter().enumerate() {
            tables.routes.extend(way(family, number).map(|way| (*client, way)));
        }
    }
}

/// Gives `tables` the routes to what `frame` may be for and the kernel never forwards to: groups, and addresses of one link.
pub fn route_strict(tables: &mut HostTables, frame: &[u8]) {
    const LINK: [usize; 4] = [14, 18, 14 + 56, 18 + 56];
    for at in LINK.map(|l3| l3 + 24) {
        let Some(octets) = frame.get(at..at + 16) else { continue };
        let group_or_link = octets[0] == 0xff || octets[0] == 0xfe && octets[1] & 0xc0 == 0x80;
        if group_or_link || octets[..15] == [0; 15] && octets[15] == 1 {
            let addr = std::net::Ipv6Addr::from(<[u8; 16]>::try_from(octets).expect("sixteen bytes"));
            tables.routes.insert(addr.into(), Route::Host);
        }
    }
}

/// Moves this thread into a network namespace with the universe's interfaces and routes, and no others; it ends with the thread.
pub fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace: this needs root")?;
    for ifindex in INTERFACES {
        ip(&format!("link add name dev{ifindex} index {ifindex} address {} type bridge", text(own_mac(ifindex))))?;
        ip(&format!("link set dev{ifindex} up"))?;
    }
    for (family, clients) in CLIENTS.iter().enumerate() {
        let ip = |arguments: &str| ip(&format!("-{} {arguments}", ["4", "6"][family]));
        // Only what is put here decides: neither the local table nor a lack of routes.
        ip("rule del pref 0")?;
        ip("route add unreachable default")?;
        for (number, client) in clients.iter().enumerate() {
            let addr = std::net::IpAddr::from(*client);
            match way(family, number) {
                Some(Route::Via(hop)) => {
                    ip(&format!("route add {addr} dev dev{}", hop.ifindex))?;
                    ip(&format!("neigh add {addr} lladdr {} dev dev{}", text(STATIONS[family]), hop.ifindex))?;
                }
                Some(Route::Host) => ip(&format!("route add local {addr} dev dev11 table main"))?,
                _ => {}
            }
        }
    }
    // Else the kernel's answer to every question for a route is that it does not forward.
    for family in ["ipv4", "ipv6"] {
        fs::write(format!("/proc/sys/net/{family}/conf/all/forwarding"), "1")
            .with_context(|| format!("forward {family} in the namespace"))?;
    }
    Ok(())
}
