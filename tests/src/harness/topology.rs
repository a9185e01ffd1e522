//! The hosts of the lab and their cables.
//!
//! ```text
//!   client ──┐                 ┌── a ──┐                 ┌── be1
//! observer ──┤ brc (clients)   │ │ │   │ brs (servers)   ├── be2 …
//!            ├─────────────────┤ │ │   ├─────────────────┤
//!            └─────────────────┴─┼─┼─ b ─────────────────┘
//!                       ha0: brx ┘ └ ha1: brh
//! ```
//! All bridges stand in one namespace, `switch`; every cable is a veth pair whose switch end is a port with the fault injector. The direct
//! HA cable ha0 runs through a bridge of its own, so that it can fall silent with its carrier up.

use anyhow::Result;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::napi;
use super::netdev;
use super::netns::Netns;
use super::run::Run;
use super::wire::{Direction, Port, Wire};

/// Client of the VIP, IPv4; /24.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// Client of the VIP, IPv6; /64.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
/// The floating address that clients use, IPv4.
pub const VIP_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);
/// The floating address that clients use, IPv6.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x100);
/// A floating address without a virtual server: what comes to it is for the Primary's own host stack.
pub const HOST_VIP_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 101);
/// The backends' gateway, floating, IPv4; /24.
pub const SNIP_V4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// The backends' gateway, floating, IPv6; /64.
pub const SNIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1);

/// MTU of clients' and backends' segments.
pub const LEG_MTU: u32 = 1500;
/// MTU of the HA links: a whole frame of a leg fits, with what carries it to the peer.
pub const HA_MTU: u32 = LEG_MTU + 60;

/// One of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The node with the lower NSIP.
    A,
    /// The node with the higher NSIP.
    B,
}

impl Host {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Name of its namespace and ending of its switch ports.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// Its identity in the pair.
    pub fn nsip(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, 0, 1 + self as u8)
    }

    /// Its own address on the client segment.
    pub fn client_v4(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 1, 0, 11 + self as u8)
    }

    /// Its own address on the server segment.
    pub fn server_v4(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 2, 0, 251 + self as u8)
    }
}

/// Address of backend `number` (from 1), IPv4.
pub fn backend_v4(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 0, 10 + number as u8)
}

/// Address of backend `number` (from 1), IPv6.
pub fn backend_v6(number: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x10 + number as u16)
}

/// A node's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// Towards the clients: `client0`.
    Client,
    /// Towards the backends: `server0`.
    Server,
    /// The direct HA cable: `ha0`.
    Ha0,
    /// The HA link through the switch: `ha1`.
    Ha1,
}

impl Leg {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Client, Self::Server, Self::Ha0, Self::Ha1];

    /// Those that carry heartbeats.
    pub const HA: [Self; 2] = [Self::Ha0, Self::Ha1];

    /// Name of the interface on the node.
    pub fn interface(self) -> &'static str {
        ["client0", "server0", "ha0", "ha1"][self as usize]
    }

    /// Name of the switch port that it is cabled to.
    pub fn port(self, host: Host) -> String {
        format!("{}-{}", ["c", "s", "x", "h"][self as usize], host.name())
    }

    /// Name of the bridge that its switch ports belong to.
    pub fn bridge(self) -> &'static str {
        ["brc", "brs", "brx", "brh"][self as usize]
    }
}

/// A node's place: its namespace and the switch ports of its legs.
pub struct Site {
    /// Where its daemon runs.
    pub netns: Netns,
    ports: [Port; 4],
}

impl Site {
    /// The switch port of a leg.
    pub fn port(&self, leg: Leg) -> Port {
        self.ports[leg as usize]
    }
}

/// All hosts, cabled and addressed, with a fault injector on each switch port.
pub struct Topology {
    /// Faults of every cable.
    pub wire: Wire,
    /// The bridges.
    pub switch: Netns,
    /// Where connections and probes start.
    pub client: Netns,
    /// A bystander on the client segment: asks by broadcast, so that what it learns does not help the client.
    pub observer: Netns,
    /// Servers, be1 first.
    pub backends: Vec<Netns>,
    sites: [Site; 2],
}

impl Topology {
    /// Raises all namespaces of `run`.
    pub fn raise(run: &Run, backends: usize) -> Result<Self> {
        let switch = run.netns("switch")?;
        switch.ip(&Leg::ALL.map(|leg| bridge(leg.bridge())).concat())?;
        for family in ["ip", "ip6", "arp"] {
            // Absent when the kernel has no bridge netfilter at all.
            let _ = switch.sysctl(&format!("bridge/bridge-nf-call-{family}tables"), "0");
        }
        let mut cabling = Cabling { wire: Wire::new()?, switch, run };
        let client = cabling.host("client", &[("client0", "brc", "c-client")])?;
        client.ip(&format!("addr add {CLIENT_V4}/24 dev client0\naddr add {CLIENT_V6}/64 dev client0 nodad\n"))?;
        let observer = cabling.host("observer", &[("obs0", "brc", "c-obs")])?;
        let sites = [cabling.node(Host::A)?, cabling.node(Host::B)?];
        let backends = (1..=backends).map(|number| cabling.backend(number)).collect::<Result<_>>()?;
        Ok(Self { wire: cabling.wire, switch: cabling.switch, client, observer, backends, sites })
    }

    /// Where `host` stands.
    pub fn site(&self, host: Host) -> &Site {
        &self.sites[host as usize]
    }

    /// All cables of `host` fall silent at once, or speak again; carrier stays.
    pub fn silence(&self, host: Host, silent: bool) {
        self.wire.silence(&self.site(host).ports, silent);
    }

    /// One direction of some of `host`'s cables is cut, or passes again; carrier stays.
    pub fn cut(&self, host: Host, legs: &[Leg], direction: Direction, cut: bool) {
        let cables = legs.iter().map(|leg| (self.site(host).port(*leg), direction)).collect::<Vec<_>>();
        self.wire.cut(&cables, cut);
    }

    /// Gives each of `host`'s legs a packet thread of its own on one CPU; see [`napi`].
    pub fn thread_packets(&self, host: Host) -> Result<()> {
        let cpus = std::thread::available_parallelism()?.get();
        let legs = Leg::ALL.map(Leg::interface);
        napi::thread(&self.site(host).netns, &legs, host as usize % cpus)
    }

    /// Takes or gives the carrier of `host`'s client leg, as a switch port that goes down.
    pub fn set_client_carrier(&self, host: Host, up: bool) -> Result<()> {
        self.set_carrier(host, Leg::Client, up)
    }

    /// Takes or gives the carrier of one of `host`'s legs.
    pub fn set_carrier(&self, host: Host, leg: Leg, up: bool) -> Result<()> {
        let port = leg.port(host);
        self.switch.run(|| netdev::set_up(&port, up))
    }
}

/// What laying cables needs.
struct Cabling<'a> {
    wire: Wire,
    switch: Netns,
    run: &'a Run,
}

impl Cabling<'_> {
    /// Creates a namespace with its cables: interface, bridge, switch port.
    fn host(&mut self, name: &str, cables: &[(&str, &str, &str)]) -> Result<Netns> {
        Ok(self.host_with_ports(name, cables)?.0)
    }

    fn host_with_ports(&mut self, name: &str, cables: &[(&str, &str, &str)]) -> Result<(Netns, Vec<Port>)> {
        let netns = self.run.netns(name)?;
        // Addresses are usable at once: duplicate detection would hold IPv6 back for a second.
        netns.sysctl("ipv6/conf/default/accept_dad", "0")?;
        let lines = cables.iter().map(|(interface, bridge, port)| {
            let is_ha = Leg::HA.iter().any(|leg| leg.bridge() == *bridge);
            let mtu = if is_ha { HA_MTU } else { LEG_MTU };
            format!(
                "link add {port} mtu {mtu} type veth peer name {interface} mtu {mtu} netns {}\n\
                 link set {port} master {bridge}\nlink set {port} up\n",
                netns.name()
            )
        });
        self.switch.ip(&lines.collect::<String>())?;
        netns.ip(&cables.iter().map(|(interface, ..)| format!("link set {interface} up\n")).collect::<String>())?;
        netns.run(|| cables.iter().try_for_each(|(interface, ..)| netdev::finish_checksums(interface)))?;
        let wire = &mut self.wire;
        let ports = self.switch.run(|| {
            let port = |(.., port): &(&str, &str, &str)| {
                // The switch joins TCP segments and splits them again, with checksums of its own.
                netdev::finish_checksums(port)?;
                netdev::write_tags(port)?;
                wire.attach(port)
            };
            cables.iter().map(port).collect()
        })?;
        Ok((netns, ports))
    }

    fn node(&mut self, host: Host) -> Result<Site> {
        let names = Leg::ALL.map(|leg| leg.port(host));
        let cables: Vec<_> =
            Leg::ALL.iter().zip(&names).map(|(leg, port)| (leg.interface(), leg.bridge(), port.as_str())).collect();
        let (netns, ports) = self.host_with_ports(host.name(), &cables)?;
        netns.ip(&format!(
            "addr add {}/24 dev client0\naddr add {}/24 dev server0\n\
             addr add fd00:1::1{n}/64 dev client0 nodad\naddr add fd00:2::25{n}/64 dev server0 nodad\n",
            host.client_v4(),
            host.server_v4(),
            n = 1 + host as u8,
        ))?;
        let ports = ports.try_into().expect("one port per leg");
        Ok(Site { netns, ports })
    }

    fn backend(&mut self, number: usize) -> Result<Netns> {
        let netns = self.host(&format!("be{number}"), &[("eth0", "brs", &format!("s-be{number}"))])?;
        netns.ip(&format!(
            "addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\n\
             route add default via {SNIP_V4}\nroute add ::/0 via {SNIP_V6}\n",
            backend_v4(number),
            backend_v6(number),
        ))?;
        Ok(netns)
    }
}

fn bridge(name: &str) -> String {
    format!("link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set {name} up\n")
}
