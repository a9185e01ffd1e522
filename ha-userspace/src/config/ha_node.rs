//! This node's part in the pair, and its peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Config;
use super::address;
use super::change::{Change, Touched};
use super::record::{Record, record};
use super::rpc_node::RpcNode;
use crate::command::error::code;
use crate::command::schema::{self, Verb};
use crate::command::span::{self, Unit};
use crate::command::value::Secret;
use crate::command::words::HaStatus;
use crate::command::{Command, CommandError};

/// A dead interval holds at least this many hello intervals.
const HELLOS_PER_DEAD_INTERVAL: u32 = 3;
/// The shortest isolationHold that nobody has asked for.
const ISOLATION_HOLD_MIN: Duration = Duration::from_millis(100);
/// Below this, a dead interval on fewer than two links takes a lost cable for a dead peer.
const SHORT_DEAD_INTERVAL: Duration = Duration::from_secs(1);

/// `set ha node`: the local node.
#[derive(Clone, Debug, PartialEq)]
pub struct HaNode {
    /// Whether this node takes part in elections, stays in a role, or is out.
    pub status: HaStatus,
    /// Whether it takes over the Primary's configuration.
    pub sync: bool,
    /// Whether its commands are run on the peer too.
    pub propagation: bool,
    /// Time between two heartbeats on one link.
    pub hello_interval: Duration,
    /// Silence after which the peer is dead.
    pub dead_interval: Duration,
    /// Time after which a live node whose daemon hangs is taken over.
    pub controller_dead_interval: Duration,
    /// Whether a Primary is kept even if both nodes are unhealthy.
    pub fail_safe: bool,
    /// Who says which node may serve when neither hears the other.
    pub witness: Option<SocketAddr>,
    /// The password that it shares with the pair.
    pub witness_password: Option<Secret>,
    /// Failovers for route monitors after which the Primary stays; zero for no limit.
    pub max_flips: u32,
    /// Time from the first of them after which the same holds; zero for no limit.
    pub max_flip_time: Duration,
    /// VLAN for synchronisation.
    pub sync_vlan: Option<u16>,
    /// Whether a synchronisation of which a command failed counts as failed.
    pub sync_strict: bool,
    /// Silence on every leg of clients that means isolation, where it is not the dead interval.
    pub isolation_hold: Option<Duration>,
    /// How long route monitors are not judged after a start, a failover or a new one.
    pub route_hold: Duration,
}

record!(HaNode: schema::ha::NODE, {
    "haStatus" => status,
    "haSync" => sync,
    "haProp" => propagation,
    "helloInterval" => hello_interval,
    "deadInterval" => dead_interval,
    "controllerDeadInterval" => controller_dead_interval,
    "failSafe" => fail_safe,
    "witness" => witness,
    "witnessPassword" => witness_password,
    "maxFlips" => max_flips,
    "maxFlipTime" => max_flip_time,
    "syncvlan" => sync_vlan,
    "syncStatusStrictMode" => sync_strict,
    "isolationHold" => isolation_hold,
    "routeHold" => route_hold,
});

impl HaNode {
    pub(super) fn of_defaults() -> Self {
        Self::from_command(&Command { verb: Verb::Set, entity: &schema::ha::NODE, args: Vec::new() })
    }

    /// Returns how long nobody need be heard on the legs of clients: as set, else the dead interval, but not less than a gateway answers
    /// for: it is asked six times in that span, and routers police what they have to answer themselves.
    pub fn isolation_hold(&self) -> Duration {
        self.isolation_hold.unwrap_or(self.dead_interval.max(ISOLATION_HOLD_MIN))
    }

    pub(super) fn warnings(&self, links: usize, paired: bool) -> Vec<String> {
        let short = paired && self.dead_interval < SHORT_DEAD_INTERVAL && links < 2;
        let dead = span::label(self.dead_interval, Unit::Seconds);
        let one = format!(
            "deadInterval {dead} with {links} HA link(s): one lost link is then taken for a dead peer; give the pair two independent links \
             (set interface <name> -haHeartbeat ON) or a deadInterval of 1 s and more"
        );
        let none = "the pair has no HA link: neither node can hear the other, and none will serve; \
             set interface <name> -haHeartbeat ON"
            .to_owned();
        let mute = "the witness cannot be asked without a password and counts as silent: a Secondary whose peer falls silent then does not take over; \
             set ha node -witnessPassword <password>, one of the witness's key file"
            .to_owned();
        let mute = (self.witness.is_some() && self.witness_password.is_none()).then_some(mute);
        short.then_some(one).into_iter().chain((paired && links == 0).then_some(none)).chain(mute).collect()
    }
}

/// `add ha node`: the other node of the pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its id on this node.
    pub id: u8,
    /// Its NSIP.
    pub ip: Ipv4Addr,
    /// Whether it may be in another subnet.
    pub inc: bool,
}

record!(Peer: schema::ha::PEER, { "id" => id, "IPAddress" => ip, "inc" => inc });

/// Both nodes' places in the pair: the lower NSIP is pair id 1, the higher 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// This node's NSIP.
    pub own: Ipv4Addr,
    /// The peer's NSIP.
    pub peer: Ipv4Addr,
    /// This node's pair id.
    pub own_id: u8,
    /// The peer's pair id.
    pub peer_id: u8,
}

impl Pair {
    pub(super) fn of(own: Ipv4Addr, peer: Ipv4Addr) -> Self {
        let (own_id, peer_id) = if own < peer { (1, 2) } else { (2, 1) };
        Self { own, peer, own_id, peer_id }
    }
}

impl Config {
    pub(super) fn apply_ha_node(&mut self, command: &Command) -> Result<Change, CommandError> {
        if let id @ 1.. = command.read::<Option<u8>>("id").unwrap_or(0) {
            return Err(CommandError::refused(format!(
                "node {id} is not this node (0); its settings are changed on that node itself"
            )));
        }
        let ha = self.ha.updated(command);
        let least = ha.hello_interval * HELLOS_PER_DEAD_INTERVAL;
        if ha.dead_interval < least {
            let [dead, hello, least] =
                [(ha.dead_interval, Unit::Seconds), (ha.hello_interval, Unit::Millis), (least, Unit::Millis)]
                    .map(|(span, unit)| span::label(span, unit));
            let why = format!(
                "with helloInterval {hello} it is at least {least}, so that one lost heartbeat is no failover; change both in one command"
            );
            return Err(CommandError::value(code::BAD_VALUE, "deadInterval", &dead, why));
        }
        self.ha = ha;
        self.check_sync_vlan()?;
        Ok(Change::of(Touched::Ha))
    }

    pub(super) fn apply_peer(&mut self, command: &Command) -> Result<Change, CommandError> {
        let id: u8 = command.read("id");
        let ip = match command.verb {
            Verb::Add => self.add_peer(Peer::from_command(command))?,
            _ => self.rm_peer(id)?,
        };
        let mut change = Change::of(Touched::Peer);
        change.add(Touched::RpcNode(IpAddr::V4(ip)));
        Ok(change)
    }

    fn add_peer(&mut self, peer: Peer) -> Result<Ipv4Addr, CommandError> {
        match &self.peer {
            Some(known) if known.id == peer.id || known.ip == peer.ip => {
                return Err(CommandError::exists(
                    "id",
                    peer.id,
                    format!("the peer is node {} at {}; rm ha node {} removes it", known.id, known.ip, known.id),
                ));
            }
            Some(known) => {
                let why = format!(
                    "Too many nodes: a pair has one peer, and that is node {} at {}; rm ha node {} removes it",
                    known.id, known.ip, known.id
                );
                return Err(CommandError::new(code::TOO_MANY_NODES, why));
            }
            None => {}
        }
        let ip = peer.ip;
        self.peer = Some(peer);
        self.check_peer()?;
        self.check_sync_vlan()?;
        self.rpc_nodes.insert(IpAddr::V4(ip), RpcNode::of(IpAddr::V4(ip)));
        Ok(ip)
    }

    fn rm_peer(&mut self, id: u8) -> Result<Ipv4Addr, CommandError> {
        let known = self.peer.as_ref().is_some_and(|peer| peer.id == id);
        if known && self.ha.sync_vlan.is_some() {
            let why = "Operation not permitted: the pair's syncVlan is set; unset ha node -syncvlan first";
            return Err(CommandError::new(code::SYNC_VLAN_SET, why));
        }
        if let (true, Some(route)) = (known, self.route_monitors.first()) {
            let why = format!(
                "Operation not permitted: route monitors are bound, and a stand-alone node has none; unbind ha node -routeMonitor {route} first"
            );
            return Err(CommandError::new(code::ROUTE_MONITORS_BOUND, why));
        }
        match self.peer.take_if(|peer| peer.id == id) {
            Some(peer) => {
                self.rpc_nodes.remove(&IpAddr::V4(peer.ip));
                Ok(peer.ip)
            }
            None => {
                let known = self
                    .peer
                    .as_ref()
                    .map_or("this node is standalone".to_owned(), |peer| format!("the peer is node {}", peer.id));
                Err(CommandError::missing("id", id, known))
            }
        }
    }

    /// A VLAN that both nodes share cannot be had where a router is between them.
    fn check_sync_vlan(&self) -> Result<(), CommandError> {
        match (self.ha.sync_vlan, &self.peer) {
            (Some(vlan), Some(Peer { inc: true, .. })) => Err(CommandError::new(
                code::SYNC_VLAN_INC,
                format!(
                    "Operation not permitted: syncVlan {vlan} and -inc ENABLED exclude each other: a VLAN does not reach into another subnet"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Checks the peer's address against this node's: called when either changes.
    pub(super) fn check_peer(&self) -> Result<(), CommandError> {
        let Some(peer) = &self.peer else { return Ok(()) };
        let ip = peer.ip;
        if address::check_host("IPAddress", IpAddr::V4(ip)).is_err() {
            return Err(CommandError::new(
                code::PEER_ADDRESS,
                format!("Invalid peer address [IPAddress, {ip}]: no host can have it"),
            ));
        }
        if self.node.ip.is_none() {
            let why = "Argument pre-requisite missing [IPAddress]: this node has no NSIP yet: set ns config -IPAddress <ip> -netmask <mask>";
            return Err(CommandError::new(code::PREREQUISITE, why));
        }
        if self.node.ip == Some(ip) {
            let why = format!("Invalid peer address [IPAddress, {ip}]: it is this node's own NSIP; give the other node's");
            return Err(CommandError::new(code::PEER_CLASH, why));
        }
        if let Some(other) = self.addresses.get(&IpAddr::V4(ip)) {
            let why = format!(
                "Invalid peer address [IPAddress, {ip}]: it is a {} of the pair; give the other node's NSIP",
                other.kind
            );
            return Err(CommandError::new(code::PEER_CLASH, why));
        }
        if !peer.inc && !self.node.is_in_subnet(ip) {
            let why = format!(
                "Invalid peer address [IPAddress, {ip}]: it is not in the subnet of this node's NSIP; give both nodes NSIPs of one subnet, or add the peer with -inc ENABLED (rm ha node {} first)",
                peer.id
            );
            return Err(CommandError::new(code::PEER_SUBNET, why));
        }
        Ok(())
    }
}
