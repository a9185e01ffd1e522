//! The paths that are measured: which frame, which clients, and what must come of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ha_common::abi::Reason;

use crate::vectors::frames::{Arp, Body, Frame, echo, link, tcp};
use crate::vectors::heartbeat;
use crate::vectors::world::{
    self, CLIENT_LEG_MAC, CLIENT_MAC, DIRECT, DIRECT6, MASKED, MASKED6, OWN, VIP, VIP6, WEB, WEB6, WRAPPED, WRAPPED6,
};

/// Length of every client's frame: what that harness program writes.
pub const LEN: usize = 96;
/// Numbers of flows that a table is measured with.
pub const FLOWS: [u32; 3] = [1, 1 << 16, 1 << 20];
/// Port of every client.
pub const CLIENT_PORT: u16 = 40_000;

/// First client, IPv4: the rest of 10.16.0.0/12 is behind it.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 16, 0, 0);
/// First word and last word of a client's IPv6 address.
const FIRST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0x10, 0);

/// What runs over the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// A baseline, by the name of its program.
    Baseline(&'static str),
    /// The product; every packet must leave for this reason.
    Product(Reason),
}

/// Which harness program makes the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harness {
    /// Frames of [`LEN`] bytes that come in on the client leg, with another client each time.
    Clients,
    /// One heartbeat that comes in on the HA link, again and again.
    Heartbeat,
}

impl Harness {
    /// The name of its program.
    pub fn program(self) -> &'static str {
        match self {
            Harness::Clients => "outer",
            Harness::Heartbeat => "outer_heartbeat",
        }
    }

    /// The interface that its frames come in on.
    pub fn interface(self) -> u32 {
        match self {
            Harness::Clients => world::CLIENT_LEG,
            Harness::Heartbeat => world::HA_LINK,
        }
    }
}

/// One path.
#[derive(Clone, Debug)]
pub struct Path {
    /// Its name in reports.
    pub name: &'static str,
    /// Its address family in reports.
    pub family: &'static str,
    /// What makes the packets.
    pub harness: Harness,
    /// What runs.
    pub under: Under,
    /// The frame, as long as the harness program's.
    pub frame: Vec<u8>,
    /// Where the client's changing address word is; 0 for none.
    pub client_at: u32,
    /// The first value of that word.
    pub base: u32,
    /// How many clients there are; 0: every packet is another one's.
    pub flows: u32,
    /// The vserver in which each client has a recorded flow.
    pub recorded: Option<u32>,
    /// Whether the clients are in the baseline's table.
    pub in_lru: bool,
}

impl Path {
    /// Whether this is the harness alone: what the paths after it cost more than they do.
    pub fn is_harness(&self) -> bool {
        self.under == Under::Baseline("empty")
    }

    /// Client number `index`.
    pub fn client(&self, index: u32) -> IpAddr {
        let word = self.base.wrapping_add(index);
        if self.family == "v6" {
            let mut octets = FIRST6.octets();
            octets[12..].copy_from_slice(&word.to_be_bytes());
            return Ipv6Addr::from(octets).into();
        }
        Ipv4Addr::from(word).into()
    }
}

fn request(destination: IpAddr, body: Body) -> Vec<u8> {
    let source = if destination.is_ipv4() { FIRST.into() } else { FIRST6.into() };
    padded(Frame { from: CLIENT_MAC, to: CLIENT_LEG_MAC, vlan: None, source, destination, ttl: 64, body }.bytes())
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    assert!(frame.len() <= LEN, "{} bytes", frame.len());
    frame.resize(LEN, 0);
    frame
}

fn path(name: &'static str, destination: IpAddr, body: Body, under: Under, flows: u32) -> Path {
    let v4 = destination.is_ipv4();
    let last = FIRST6.octets();
    let base6 = u32::from_be_bytes([last[12], last[13], last[14], last[15]]);
    Path {
        name,
        family: if v4 { "v4" } else { "v6" },
        harness: Harness::Clients,
        under,
        frame: request(destination, body),
        client_at: if v4 { 26 } else { 34 },
        base: if v4 { FIRST.into() } else { base6 },
        flows,
        recorded: None,
        in_lru: false,
    }
}

/// Every path, in the order in which it is reported. Those of one harness follow each other, and the first of them is it alone.
pub fn paths() -> Vec<Path> {
    let segment = |port| tcp(CLIENT_PORT, port, "A");
    let baseline = |name, flows| path(name, VIP, segment(80), Under::Baseline(name), flows);
    let mut paths = vec![Path { client_at: 0, ..baseline("empty", 1) }, baseline("mac_swap", 1)];
    paths.extend(FLOWS.map(|flows| Path { in_lru: true, ..baseline("lru_lookup", flows) }));
    let many = FLOWS[FLOWS.len() - 1];
    let own6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2));
    for own in [OWN, own6] {
        paths.push(path("non_vip", own, segment(80), Under::Product(Reason::NotOurs), many));
    }
    for (name, vservers) in [
        ("tunnel_established", [(VIP, 88, WRAPPED), (VIP6, 88, WRAPPED6)]),
        ("nat_established", [(VIP, 80, WEB), (VIP6, 80, WEB6)]),
        ("source_nat_established", [(VIP, 87, MASKED), (VIP6, 87, MASKED6)]),
        ("dsr_established", [(VIP, 81, DIRECT), (VIP6, 81, DIRECT6)]),
    ] {
        for (vip, port, vserver) in vservers {
            paths.extend(FLOWS.map(|flows| Path {
                recorded: Some(vserver),
                ..path(name, vip, segment(port), Under::Product(Reason::ForwardHit), flows)
            }));
        }
    }
    for vip in [VIP, VIP6] {
        paths.extend(FLOWS.map(|flows| path("hash_only", vip, segment(82), Under::Product(Reason::ForwardHash), flows)));
    }
    for vip in [VIP, VIP6] {
        paths.push(path("new_flow", vip, segment(80), Under::Product(Reason::ForwardNew), 0));
    }
    for vip in [VIP, VIP6] {
        let ping = match echo(vip, false) {
            Body::Icmp { kind, code, rest, .. } => Body::Icmp { kind, code, rest, data: vec![7; 32] },
            other => other,
        };
        paths.push(path("icmp_echo", vip, ping, Under::Product(Reason::IcmpEcho), many));
    }
    paths.push(arp());
    paths.extend(heartbeats());
    paths
}

fn arp() -> Path {
    let IpAddr::V4(vip) = VIP else { panic!("VIP is IPv4") };
    let question = Arp { to: [0xff; 6], vlan: None, reply: false, sender: (CLIENT_MAC, FIRST), target: ([0; 6], vip) };
    let frame = padded(question.bytes());
    debug_assert_eq!(frame[..14], link([0xff; 6], CLIENT_MAC, None, etherparse::EtherType::ARP));
    let under = Under::Product(Reason::ArpReply);
    Path { client_at: 0, frame, ..path("arp", world::VIP, tcp(1, 1, "S"), under, 1) }
}

/// A request of the peer: its tag is verified, and an echo with a tag of its own leaves.
///
/// As it is the same request each time, its sequence number is new only once. What a new one adds is not measured: noting what the
/// peer says, and judging it.
fn heartbeats() -> [Path; 2] {
    let arp = arp();
    let heartbeat = |name, under| Path { name, under, harness: Harness::Heartbeat, frame: heartbeat::request(), ..arp.clone() };
    [heartbeat("empty_heartbeat", Under::Baseline("empty")), heartbeat("heartbeat", Under::Product(Reason::HeartbeatEchoed))]
}
