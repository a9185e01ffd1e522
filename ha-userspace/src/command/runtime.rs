//! What the language needs from the living daemon, and the plain values that `show` prints of it.

#[cfg(test)]
pub(crate) mod recorder;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use ha_common::ha::event::Testimony;
use ha_common::ha::machine::Judged;
use serde::Serialize;

use super::CommandError;
use super::value::Route;
use super::words::HaStatus;
use crate::config::{Change, Config, SavedForm, Service, Vserver};
use crate::connections::{Found, Query};
use crate::datapath::Limits;
use crate::ha::public;
use crate::net::link::Traffic;
use crate::net::media::Media;

/// What becomes of something that takes time; awaited without holding the executor.
pub type Outcome = Pin<Box<dyn Future<Output = Result<(), CommandError>>>>;

/// Connections that are being looked for; awaited without holding the executor.
pub type Search = Pin<Box<dyn Future<Output = Result<Found, CommandError>>>>;

/// The living side of a node: implemented by the daemon, and by a recorder in tests.
pub trait Runtime {
    /// Makes the node equal to `config`; `change` names everything that may differ. Refused, it is called again with the old one.
    fn reconcile(&mut self, config: &Config, change: &Change) -> Result<(), CommandError>;

    /// Returns the state of both nodes and their links.
    fn ha_status(&self, config: &Config) -> PairStatus;

    /// Begins a forced failover; errors 363–366, 1441 and 1449 are chosen here.
    fn force_failover(&mut self, force: bool) -> Outcome;

    /// Begins to announce `address`, or every one that this node may; error 785 is chosen here.
    fn send_arp(&mut self, config: &Config, address: Option<IpAddr>) -> Outcome;

    /// Returns what the monitor knows of a service.
    fn service_state(&self, name: &str) -> ServiceState;

    /// Returns the connections of a service.
    fn service_load(&self, _service: &Service) -> ServiceLoad {
        ServiceLoad::default()
    }

    /// Returns the persistent sessions of these virtual servers.
    fn sessions(&self, _config: &Config, _vservers: &[&Vserver]) -> Result<Vec<SessionStatus>, CommandError> {
        Ok(Vec::new())
    }

    /// Forgets the persistent sessions of these virtual servers.
    fn clear_sessions(&mut self, _vservers: &[&Vserver]) -> Result<(), CommandError> {
        Ok(())
    }

    /// Returns what the kernel knows of an interface; none if there is none of that name.
    fn interface_state(&self, name: &str) -> Option<InterfaceState>;

    /// Returns the legs that each floating address lives on; those of a virtual router that it names need not be among them.
    fn homes(&self, config: &Config) -> BTreeMap<IpAddr, Vec<String>>;

    /// Returns what became of what syslog, program and web server were told.
    fn hook_status(&self) -> crate::hook::Status {
        crate::hook::Status::default()
    }

    /// Returns how full the data plane's tables, source ports and ring buffers are.
    fn limits(&self) -> LimitsStatus {
        LimitsStatus::default()
    }

    /// Returns what of `change`, which was made, takes more than that to be in force.
    fn pending(&self, _config: &Config, _change: &Change) -> Vec<String> {
        Vec::new()
    }

    /// Returns every alarm that stands.
    fn alarms(&self) -> Vec<AlarmStatus>;

    /// Begins to look for the connections that `query` means.
    fn connections(&self, config: &Config, query: Query) -> Search;

    /// Begins to write the saved form to the configuration file.
    fn save(&mut self, form: SavedForm) -> Outcome;

    /// Begins to hand over and to end the daemon.
    fn stop(&mut self, force: bool) -> Outcome;
}

/// What `show ns limits` prints.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsStatus {
    /// How full everything is.
    pub limits: Limits,
    /// Packets that found no room, by the name of the reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Packets that were kept out, by the name of the reason.
    pub kept_out: Vec<(&'static str, u64)>,
}

/// Health of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Nothing credible is heard from it.
    Unknown,
    /// It is joining.
    Init,
    /// It is dead.
    Down,
    /// It can be Primary or Secondary.
    Up,
    /// It lives and is unhealthy.
    NotUp,
    /// One of its monitored interfaces or sets fails.
    PartialFail,
    /// All of them fail.
    CompleteFail,
    /// A monitored route is missing.
    RouteMonitorFail,
    /// It only listens.
    StaySecondary,
    /// Its HA engine is off.
    Disabled,
}

/// Role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterState {
    /// It serves.
    Primary,
    /// It stands by.
    Secondary,
    /// It is taking over.
    Claiming,
    /// It is becoming Primary by a forced failover.
    ForceChange,
    /// It is not known.
    Unknown,
}

/// State of configuration synchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// Enabled, with nothing to say (as on a Primary).
    Enabled,
    /// Disabled.
    Disabled,
    /// Going on.
    InProgress,
    /// The last one succeeded.
    Success,
    /// The last one failed.
    Failed,
    /// Nothing was heard of it.
    Unknown,
}

macro_rules! shown_as {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Returns the word that `show` prints.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    };
}
shown_as!(NodeState {
    Unknown = "UNKNOWN", Init = "INIT", Down = "DOWN", Up = "UP", NotUp = "NOT UP", PartialFail = "NOT UP", CompleteFail = "NOT UP", RouteMonitorFail = "NOT UP",
    StaySecondary = "STAYSECONDARY", Disabled = "DISABLED",
});
shown_as!(MasterState {
    Primary = "Primary", Secondary = "Secondary", Claiming = "Claiming", ForceChange = "Force Change", Unknown = "UNKNOWN",
});
shown_as!(SyncState { Enabled = "ENABLED", Disabled = "DISABLED", InProgress = "IN PROGRESS", Success = "SUCCESS", Failed = "FAILED", Unknown = "UNKNOWN" });
shown_as!(Health { Up = "UP", Down = "DOWN", Unknown = "UNKNOWN", OutOfService = "OUT OF SERVICE", GoingOutOfService = "GOING OUT OF SERVICE" });

/// Everything that `show ha node` prints.
#[derive(Clone, Debug, PartialEq)]
pub struct PairStatus {
    /// This node.
    pub local: NodeStatus,
    /// The peer, if there is one.
    pub peer: Option<NodeStatus>,
    /// Every HA link.
    pub links: Vec<LinkStatus>,
    /// The last transitions of this node, newest last.
    pub transitions: Vec<Transition>,
    /// What only this node knows of itself.
    pub own: OwnStatus,
}

/// What only this node knows of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnStatus {
    /// Interfaces whose failure alone makes it unhealthy.
    pub critical_interfaces: Vec<String>,
    /// Failover interface sets that fail.
    pub failed_sets: Vec<String>,
    /// It has not looked at its interfaces yet: it is neither well nor unwell.
    pub unjudged: bool,
    /// Monitored routes, and whether they are there; none for one that has not been looked for yet.
    pub routes: Vec<(Route, Option<bool>)>,
    /// Whether those count for its health.
    pub routes_judged: Judged,
    /// Failovers that count against maxFlips.
    pub flips: u32,
    /// Time since the first of them.
    pub flip_time: Option<Duration>,
    /// Time until it takes its preferred role back, while it waits for that (STAYPRIMARY).
    pub preference_left: Option<Duration>,
    /// What the witness said last; none if it has not been asked anything yet.
    pub witness: Option<Testimony>,
    /// How long nobody has been heard on the legs of clients; none while nobody is asked.
    pub silence: Option<Duration>,
    /// Heartbeats of the peer that were taken in: requests and answers.
    pub received: u64,
    /// Heartbeats sent: requests, and answers to the peer's.
    pub sent: u64,
    /// Both, per second of late.
    pub rates: [f64; 2],
}

/// A fault that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmStatus {
    /// Its kind.
    pub kind: String,
    /// What it is about; often nothing.
    pub subject: String,
    /// Since when.
    pub since: SystemTime,
    /// What was found.
    pub text: String,
}

impl NodeState {
    /// Returns the word that `stat` prints, which names the failure.
    pub const fn stat_word(self) -> &'static str {
        match self {
            Self::PartialFail => "PARTIALFAIL",
            Self::CompleteFail => "COMPLETEFAIL",
            Self::RouteMonitorFail => "ROUTEMONITORFAIL",
            Self::StaySecondary => "DUMB",
            other => other.word(),
        }
    }
}

/// One node's block of `show ha node`.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Node id: 0 for this node.
    pub id: u8,
    /// NSIP, once known.
    pub ip: Option<Ipv4Addr>,
    /// Host name, where known.
    pub name: Option<String>,
    /// Health.
    pub state: NodeState,
    /// Role.
    pub master: MasterState,
    /// Whether it takes its peer to be in another subnet, where known.
    pub inc: Option<bool>,
    /// The release that it runs, where known.
    pub release: Option<String>,
    /// Whether a Primary is kept even if both nodes are unhealthy, where known.
    pub fail_safe: Option<bool>,
    /// State of synchronisation.
    pub sync: SyncState,
    /// Whether commands are propagated, where known.
    pub propagation: Option<bool>,
    /// Interfaces in use, where known.
    pub enabled_interfaces: Option<Vec<String>>,
    /// Interfaces taken out of use, where known.
    pub disabled_interfaces: Option<Vec<String>>,
    /// Interfaces whose carrier is the node's health, where known.
    pub monitored_interfaces: Option<Vec<String>>,
    /// Interfaces on which heartbeats are not sent, where known.
    pub heartbeat_off_interfaces: Option<Vec<String>>,
    /// HA links on which the other node was not heard for a dead interval, where known.
    pub silent_interfaces: Option<Vec<String>>,
    /// Monitored interfaces that fail, once they have been judged.
    pub failed_interfaces: Option<Vec<String>>,
    /// Time between heartbeats; known of this node.
    pub hello_interval: Option<Duration>,
    /// Silence after which the other node is dead; known of this node.
    pub dead_interval: Option<Duration>,
    /// Time in the present role; known of this node.
    pub in_master_state_for: Option<Duration>,
}

/// One HA link as this node sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkStatus {
    /// Its interface.
    pub interface: String,
    /// Whether the peer answers on it.
    pub heard: bool,
    /// Time since the peer's last answer on it; none if there was none.
    pub last_heard: Option<Duration>,
    /// Smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// Whether the peer says that it hears this node on it, if it has spoken on it.
    pub peer_hears: Option<bool>,
    /// The last requests, about a thousand at most.
    pub sent: u64,
    /// Those of them that were never answered.
    pub lost: u64,
    /// What has come and gone on it so far.
    pub counts: LinkCounts,
}

/// Heartbeats on one HA link, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkCounts {
    /// Requests that left.
    pub requests_sent: u64,
    /// Requests of the peer that were answered.
    pub requests: u64,
    /// Answers of the peer.
    pub answers: u64,
    /// Frames under a key that is not known here.
    pub unknown_keys: u64,
    /// Frames with a wrong tag.
    pub bad_tags: u64,
    /// Frames that were no news: recordings, repetitions, of a former life.
    pub stale: u64,
    /// This node's own frames that came back.
    pub looped: u64,
    /// Frames from this node's own address that another machine sent.
    pub duplicates: u64,
    /// Frames of a peer that has this interface's own MAC address.
    pub twins: u64,
}

/// Why a node changed its role or health.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// When.
    pub when: SystemTime,
    /// The state before, as `show` words it.
    pub from: String,
    /// The state after.
    pub to: String,
    /// The event and the rule that decided.
    pub cause: String,
    /// What was known at that moment.
    pub evidence: String,
}

impl NodeStatus {
    /// Returns the local block as far as the configuration knows it: up, Primary as long as no peer exists, time not known.
    pub fn local(config: &Config) -> Self {
        let ha = config.ha();
        let names = |wanted: fn(&crate::config::Interface) -> bool| {
            config
                .interfaces()
                .filter(|interface| wanted(interface))
                .map(|interface| interface.name.clone())
                .collect::<Vec<String>>()
        };
        let names = |wanted| Some(names(wanted));
        Self {
            id: 0,
            ip: config.nsip(),
            name: config.node().host_name.clone(),
            state: match ha.status {
                HaStatus::Disabled => NodeState::Disabled,
                HaStatus::StaySecondary => NodeState::StaySecondary,
                HaStatus::Enabled | HaStatus::StayPrimary => NodeState::Up,
            },
            master: if config.peer().is_some() { MasterState::Unknown } else { MasterState::Primary },
            inc: Some(config.peer().is_some_and(|peer| peer.inc)),
            release: Some(public::release_text(public::RELEASE)),
            fail_safe: Some(ha.fail_safe),
            sync: if ha.sync { SyncState::Enabled } else { SyncState::Disabled },
            propagation: Some(ha.propagation),
            enabled_interfaces: names(|interface| interface.enabled),
            disabled_interfaces: names(|interface| !interface.enabled),
            monitored_interfaces: names(|interface| interface.enabled && interface.monitor),
            heartbeat_off_interfaces: names(|interface| interface.enabled && !interface.heartbeat),
            silent_interfaces: Some(Vec::new()),
            failed_interfaces: Some(Vec::new()),
            hello_interval: Some(ha.hello_interval),
            dead_interval: Some(ha.dead_interval),
            in_master_state_for: None,
        }
    }

    /// Returns the block of a peer of which nothing is known yet but what `add ha node` said.
    pub fn unheard_peer(config: &Config) -> Option<Self> {
        let peer = config.peer()?;
        Some(Self {
            id: peer.id,
            ip: Some(peer.ip),
            name: None,
            state: NodeState::Unknown,
            master: MasterState::Unknown,
            inc: None,
            release: None,
            fail_safe: None,
            sync: SyncState::Unknown,
            propagation: None,
            enabled_interfaces: None,
            disabled_interfaces: None,
            monitored_interfaces: None,
            heartbeat_off_interfaces: None,
            silent_interfaces: None,
            failed_interfaces: None,
            hello_interval: None,
            dead_interval: None,
            in_master_state_for: None,
        })
    }
}

/// Whether something can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// Not probed yet.
    Unknown,
    /// Disabled by the operator.
    OutOfService,
    /// Disabled by the operator: the connections that it has go on for a while.
    GoingOutOfService,
}

/// What the monitor knows of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceState {
    /// Whether it can be used.
    pub health: Health,
    /// How long it has been so.
    pub since: Option<Duration>,
    /// Probes sent.
    pub probes: u64,
    /// Probes that failed.
    pub failed: u64,
    /// What the last probe met, in words.
    pub last_response: Option<String>,
}

/// The connections of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceLoad {
    /// Open now; those of virtual servers that keep no table of connections are not known.
    pub open: u64,
    /// The most that were open at once.
    pub peak: u64,
    /// They may go on although the service was taken out of use.
    pub leaving: bool,
    /// So long at most, if there is an end to it.
    pub left: Option<Duration>,
}

/// Clients that stay with a service.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionStatus {
    /// The virtual server.
    pub vserver: String,
    /// The client's address, as far as it counts; none if it does not.
    pub source: Option<IpAddr>,
    /// The address that it speaks to, as far as it counts; none if it does not.
    pub destination: Option<IpAddr>,
    /// The service; none if it has gone.
    pub service: Option<String>,
    /// Time until it ends unless a connection comes or goes on.
    pub left: Duration,
}

/// What the kernel knows of an interface.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfaceState {
    /// Its index.
    pub index: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has carrier.
    pub carrier: bool,
    /// Largest payload of a frame, in bytes.
    pub mtu_bytes: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// What the driver says of the link.
    pub media: Media,
    /// Its flags, and what it has carried.
    pub traffic: Traffic,
    /// How packets are taken in: `native XDP`, `generic XDP`, or nothing yet.
    pub attached: Option<String>,
}
