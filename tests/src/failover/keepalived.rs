//! The pair of keepalived, at the settings that are compared.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::event::Event;
use super::pair::Pair;
use crate::harness::keepalived::{Keepalived, Settings, State};
use crate::harness::run::Run;
use crate::harness::topology::{Host, Leg, Topology};

/// How long the pair may take until a is master and b backup.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);
/// How long both must have been so.
const CALM: Duration = Duration::from_millis(200);
/// Distance of two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The nodes' own network on the HA link.
const HA_PREFIX: &str = "10.9.1";

/// One setting, with the events that it is made for.
pub struct Variant {
    /// Its word on the command line and in results.
    pub name: &'static str,
    /// What is set.
    pub settings: Settings,
    /// Events that say something about it.
    pub events: &'static [Event],
}

const ALL: &[Event] = &[Event::CarrierLoss, Event::SilentCut, Event::DaemonKilled, Event::Graceful, Event::Stopped];

const DEFAULT: Settings = Settings { real_time: false, down_timer_adverts: 3, priorities: [200, 100], over: Leg::Client };
const REAL_TIME: Settings = Settings { real_time: true, ..DEFAULT };
/// Priorities next to each other and at the top: the least skew that there is.
const LEAST_SKEW: [u8; 2] = [254, 253];

/// keepalived at 10 ms adverts, from untuned to its fastest.
pub static VARIANTS: [Variant; 5] = [
    Variant { name: "default", settings: DEFAULT, events: ALL },
    Variant { name: "real-time", settings: REAL_TIME, events: ALL },
    // Less skew and one advert only is faster still, but the pair then flaps on an idle machine.
    Variant { name: "real-time-dta1", settings: Settings { down_timer_adverts: 1, ..REAL_TIME }, events: ALL },
    Variant {
        name: "real-time-dta2",
        settings: Settings { down_timer_adverts: 2, priorities: LEAST_SKEW, ..REAL_TIME },
        events: ALL,
    },
    Variant {
        name: "real-time-ha-link",
        settings: Settings { priorities: LEAST_SKEW, over: Leg::Ha0, ..REAL_TIME },
        events: &[Event::CarrierLoss],
    },
];

/// Two nodes that run keepalived; a is the preferred master.
pub struct KeepalivedPair {
    nodes: [Keepalived; 2],
    topology: Topology,
    _run: Run,
}

impl KeepalivedPair {
    /// Raises a pair and waits until it has settled.
    pub fn raise(settings: &Settings) -> Result<Self> {
        let run = Run::start()?;
        let topology = Topology::raise(&run, 0)?;
        for host in Host::BOTH {
            let address = format!("addr add {HA_PREFIX}.{}/24 dev {}\n", 1 + host as u8, Leg::Ha0.interface());
            topology.site(host).netns.ip(&address)?;
        }
        let node = |host| Keepalived::new(&run, &topology.site(host).netns, host, settings);
        let mut pair = Self { nodes: [node(Host::A)?, node(Host::B)?], topology, _run: run };
        pair.nodes.iter_mut().try_for_each(Keepalived::start)?;
        pair.wait_settled()?;
        Ok(pair)
    }

    fn node(&mut self, host: Host) -> &mut Keepalived {
        &mut self.nodes[host as usize]
    }
}

impl Pair for KeepalivedPair {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn wait_settled(&self) -> Result<Host> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        let mut since = Instant::now();
        loop {
            let [a, b] = &self.nodes;
            if (a.state(), b.state()) != (Some(State::Master), Some(State::Backup)) {
                since = Instant::now();
            } else if since.elapsed() >= CALM {
                return Ok(Host::A);
            }
            ensure!(
                Instant::now() < deadline,
                "keepalived did not settle within {SETTLE_WITHIN:?}: a {:?}, b {:?}\n{}",
                a.state(),
                b.state(),
                self.logs()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn kill(&mut self, host: Host) -> Result<()> {
        self.node(host).kill()
    }

    fn stop(&mut self, host: Host) -> Result<()> {
        self.node(host).terminate()
    }

    fn start(&mut self, host: Host) -> Result<()> {
        self.node(host).start()
    }

    fn hand_over(&mut self, host: Host) -> Result<()> {
        self.node(host).demote(true)
    }

    fn end_hand_over(&mut self, host: Host) -> Result<()> {
        self.node(host).demote(false)
    }

    /// Only what b takes: that a, which is preferred, takes it back is no second mistake.
    fn takeovers(&self) -> Result<Vec<Duration>> {
        let of_b = self.nodes[Host::B as usize].states();
        Ok(of_b.into_iter().filter(|(_, state)| *state == State::Master).map(|(at, _)| at).collect())
    }

    fn logs(&self) -> String {
        const LINES: usize = 40;
        let tail = |node: &Keepalived| {
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        };
        Host::BOTH.map(|host| format!("--- log of node {}\n{}\n", host.name(), tail(&self.nodes[host as usize]))).concat()
    }
}
