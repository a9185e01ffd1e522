//! The vectors' interfaces, made of a guest's network cards.

use std::collections::HashMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::programs::{Xdp, XdpMode};
use ha_common::abi::node_flags;
use ha_common::tables::HostTables;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::LinkAttribute;

use super::HUBS;
use super::bond::Mode;
use super::port::{self, Port};
use crate::harness::netdev;
use crate::harness::netns::Netns;
use crate::kernel::Kernel;
use crate::vectors::world::CLIENT_LEG;
use crate::vectors::{loaded, namespace};

/// Until the kernel has given back what the check before had.
const CARDS_WITHIN: Duration = Duration::from_secs(30);
/// MTU of every card: that of an HA link, which carries whole frames of legs.
const MTU: u32 = 1560;
/// Cards of the node that `client0` is made of, when it is a bond, and their indices.
const MEMBERS: [(&str, u32); 2] = [("client0a", 21), ("client0b", 22)];

/// One of the vectors' interfaces.
pub struct Leg {
    /// What is at the other end of its wires.
    pub opposite: Vec<Port>,
    /// What the programs let through to the host.
    pub host: Vec<Port>,
}

/// The node and the other ends of its wires.
pub struct Rig {
    /// The node's namespace.
    pub node: Netns,
    bond: Option<Mode>,
    legs: HashMap<u32, Leg>,
    /// Which of the opposite ports the leg with clients is reached by.
    pub active: usize,
}

impl Rig {
    /// Makes the vectors' interfaces of network cards, the leg with clients a bond if one is asked for.
    pub fn raise(bond: Option<Mode>) -> Result<Self> {
        let cards = await_cards()?;
        let node = Netns::create("node")?;
        let names = match bond {
            None => vec![(0, "client0", CLIENT_LEG), (2, "server0", 12), (3, "ha0", 13)],
            Some(_) => {
                vec![(0, MEMBERS[0].0, MEMBERS[0].1), (1, MEMBERS[1].0, MEMBERS[1].1), (2, "server0", 12), (3, "ha0", 13)]
            }
        };
        for &(card, name, index) in &names {
            move_card(&node, &cards[card], name, index)?;
        }
        let far = raise_opposite(&cards[HUBS..], bond)?;
        let near = raise_node(&node, bond)?;
        let mut legs = HashMap::new();
        for (((_, index, _), far), near) in namespace::INTERFACES.into_iter().zip(far).zip(near) {
            let opposite = far.iter().map(|name| Port::open(name)).collect::<Result<_>>()?;
            let host = node.run(|| near.iter().map(|name| Port::open(name)).collect())?;
            legs.insert(index, Leg { opposite, host });
        }
        if let Some(mode) = bond {
            node.run(|| mode.wait_ready("client0", MEMBERS[0].0))?;
        }
        Ok(Self { node, bond, legs, active: 0 })
    }

    /// Loads the programs and attaches the one for received frames, in the drivers or not at all.
    pub fn attach(&self) -> Result<Kernel> {
        self.node.run(|| {
            let mut kernel = Kernel::load(loaded::SIZES)?;
            let program: &mut Xdp = kernel.ebpf().program_mut("ingress").context("program ingress")?.try_into()?;
            for (name, ..) in namespace::INTERFACES {
                program.attach(name, XdpMode::Driver).with_context(|| format!("attach ingress in the driver of {name}"))?;
            }
            Ok(kernel)
        })
    }

    /// The leg that is the vectors' interface `index`.
    pub fn leg(&self, index: u32) -> Result<&Leg> {
        self.legs.get(&index).with_context(|| format!("there is no leg {index}"))
    }

    /// Sends a frame to the node's interface `index`, over the member that is active if it is a bond.
    pub fn send(&self, index: u32, frame: &[u8]) -> Result<()> {
        let way = if index == CLIENT_LEG { self.active } else { 0 };
        self.leg(index)?.opposite[way].send(frame)
    }

    /// Takes the active member of the bond away and waits until the other one is.
    pub fn lose_active_member(&mut self) -> Result<()> {
        let mode = self.bond.context("there is no bond")?;
        self.node.ip(&format!("link set {} down", MEMBERS[self.active].0))?;
        self.active = 1 - self.active;
        self.node.run(|| mode.wait_ready("client0", MEMBERS[self.active].0))
    }

    /// Throws away what has come so far.
    pub fn drain(&self) -> Result<()> {
        self.legs.values().try_for_each(|leg| port::drain(&leg.opposite).and_then(|()| port::drain(&leg.host)))
    }

    /// What `tables` has to say of the members of the bond: that they are the bond.
    pub fn tell_members(&self, tables: &mut HostTables) {
        if self.bond.is_some() {
            let bond = tables.interfaces[&CLIENT_LEG];
            tables.node.flags |= node_flags::BONDS;
            tables.interfaces.extend(MEMBERS.map(|(_, index)| (index, bond)));
        }
    }
}

/// Names of the cards, in the order in which the guest got them, once all are here.
fn await_cards() -> Result<Vec<String>> {
    let deadline = Instant::now() + CARDS_WITHIN;
    loop {
        let mut cards = Vec::new();
        for entry in fs::read_dir("/sys/class/net")? {
            let entry = entry?;
            let device = fs::read_link(entry.path().join("device")).unwrap_or_default();
            let number = device.file_name().and_then(|name| name.to_str()?.strip_prefix("virtio")?.parse::<u32>().ok());
            cards.extend(number.map(|number| (number, entry.file_name().to_string_lossy().into_owned())));
        }
        if cards.len() == 2 * HUBS {
            cards.sort();
            return Ok(cards.into_iter().map(|(_, name)| name).collect());
        }
        ensure!(Instant::now() < deadline, "{} cards and not {} after {CARDS_WITHIN:?}", cards.len(), 2 * HUBS);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Moves a card of the first namespace to `node`. ip(8) cannot choose its index there.
fn move_card(node: &Netns, card: &str, name: &str, index: u32) -> Result<()> {
    let target = fs::File::open(node.path())?;
    let message = LinkUnspec::new_with_index(netdev::index(card)?)
        .name(name)
        .setns_by_fd(target.as_raw_fd())
        .append_extra_attribute(LinkAttribute::NewIfIndex(index as i32))
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        handle.link().set(message).execute().await.with_context(|| format!("make {card} {name} of the node"))
    })
}

/// Switches the cards opposite on; which interfaces are at the other end of each leg.
fn raise_opposite(cards: &[String], bond: Option<Mode>) -> Result<Vec<Vec<String>>> {
    let mut lines: String = cards.iter().map(|card| format!("link set {card} down mtu {MTU} arp off promisc on\n")).collect();
    let clients = match bond {
        Some(Mode::Lacp) => {
            lines += &Mode::Lacp.commands("far0", &format!("mtu {MTU}"), [&cards[0], &cards[1]]);
            vec!["far0".to_owned()]
        }
        Some(Mode::ActiveBackup) => cards[..2].to_vec(),
        None => cards[..1].to_vec(),
    };
    lines += &cards.iter().map(|card| format!("link set {card} up\n")).collect::<String>();
    namespace::ip_batch(&lines)?;
    Ok(vec![clients, vec![cards[2].clone()], vec![cards[3].clone()]])
}

/// Furnishes the node; through which interfaces what XDP lets through comes to the host.
fn raise_node(node: &Netns, bond: Option<Mode>) -> Result<Vec<Vec<&'static str>>> {
    let mut lines = String::new();
    let mut near = vec![vec!["client0"], vec!["server0"], vec!["ha0"]];
    if let Some(mode) = bond {
        near[0] = MEMBERS.map(|(name, _)| name).to_vec();
        let members = MEMBERS.map(|(name, _)| name);
        lines += &members.map(|name| format!("link set {name} mtu {MTU} promisc on\n")).concat();
        lines += &mode.commands("client0", &format!("index {CLIENT_LEG} mtu {MTU}"), members);
    }
    for (name, _, mac) in namespace::INTERFACES {
        lines += &format!("link set {name} mtu {MTU} address {} promisc on up\n", namespace::text(mac));
    }
    node.ip(&lines)?;
    node.run(namespace::furnish)?;
    Ok(near)
}

impl Drop for Rig {
    fn drop(&mut self) {
        // An error leaves cards away, and the next check says so.
        if self.bond == Some(Mode::Lacp) {
            let _ = namespace::ip_batch("link del far0\n");
        }
        let _ = std::process::Command::new("ip").args(["netns", "del", self.node.name()]).status();
    }
}
