//! Golden vectors: tables, a frame, and what must become of both.
//!
//! Every vector runs through the pipeline on the host and through the loaded programs. Both must agree with the vector (action,
//! reason, the frame that leaves, the one counter that moves) and with each other over every table that they may change.

use std::fmt::Debug;

use ha_common::abi::{Counter, Event, Reason};
use ha_common::packet::HostPacket;
use ha_common::pipeline::{self, Action, Egress, Ingress};
use ha_common::tables::{HostTables, Tables};
use ha_common::time::Nanos;

mod any_port;
mod bad;
mod between;
mod direct;
mod echo;
mod egress;
mod forward;
mod fragments;
pub mod frames;
mod guard;
pub mod heartbeat;
mod host;
mod l2;
mod life;
pub mod loaded;
pub mod namespace;
mod neighbour;
mod outcome;
mod placing;
mod refuse;
mod relay;
mod returning;
mod selection;
mod source;
mod strays;
mod tunnel;
mod vlan;
mod vmac;
pub mod world;

pub use outcome::{Changes, Outcome};

/// Where the frame of a vector is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It comes in on this interface.
    Ingress(u32),
    /// The host's stack sends it.
    Egress,
}

/// What changes the tables before the frame comes.
type SetUp = Box<dyn Fn(&mut HostTables)>;

/// One vector. Built by its methods, in the order of a sentence.
pub struct Vector {
    /// What it claims.
    pub name: &'static str,
    set_up: Vec<SetUp>,
    place: Place,
    frame: Vec<u8>,
    action: Action,
    reason: Reason,
    left: Option<Vec<u8>>,
    changes: Changes,
    sessions: [i64; 2],
    counted: Vec<(u32, u64)>,
}

impl Vector {
    /// A vector that claims `name`.
    pub fn new(name: &'static str) -> Self {
        Vector {
            name,
            set_up: Vec::new(),
            place: Place::Egress,
            frame: Vec::new(),
            action: Action::Pass,
            reason: Reason::NotConfigured,
            left: None,
            changes: Changes::default(),
            sessions: [0; 2],
            counted: Vec::new(),
        }
    }

    /// With these tables.
    pub fn with(mut self, set_up: impl Fn(&mut HostTables) + 'static) -> Self {
        self.set_up.push(Box::new(set_up));
        self
    }

    /// This frame comes in on interface `ifindex`.
    pub fn received(mut self, ifindex: u32, frame: Vec<u8>) -> Self {
        self.place = Place::Ingress(ifindex);
        self.frame = frame;
        self
    }

    /// The host's stack sends this frame.
    pub fn sent(mut self, frame: Vec<u8>) -> Self {
        self.place = Place::Egress;
        self.frame = frame;
        self
    }

    /// The host takes it as it came.
    pub fn passes(mut self, reason: Reason) -> Self {
        (self.action, self.reason) = (Action::Pass, reason);
        self
    }

    /// Nobody gets it.
    pub fn drops(mut self, reason: Reason) -> Self {
        (self.action, self.reason) = (Action::Drop, reason);
        self
    }

    /// This leaves.
    pub fn leaves(mut self, action: Action, reason: Reason, frame: Vec<u8>) -> Self {
        (self.action, self.reason, self.left) = (action, reason, Some(frame));
        self
    }

    /// As many entries come and go.
    pub fn changing(mut self, changes: Changes) -> Self {
        self.changes = changes;
        self
    }

    /// As many sessions come and go, of confirmed clients and of others.
    pub fn sessions(mut self, confirmed: i64, others: i64) -> Self {
        self.sessions = [confirmed, others];
        self
    }

    /// Backend `index` has so many open flows then.
    pub fn counting(mut self, index: u32, open: u64) -> Self {
        self.counted.push((index, open));
        self
    }

    /// The same tables and place, with another frame; it claims nothing.
    pub fn mutilated(&self, frame: Vec<u8>) -> Mutilated<'_> {
        Mutilated { vector: self, frame }
    }

    /// Where its frame is met.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Its frame.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Its tables at `now`.
    pub fn tables(&self, now: Nanos) -> HostTables {
        let mut tables = world::pair(now);
        for set_up in &self.set_up {
            set_up(&mut tables);
        }
        tables
    }

    /// Runs it through the pipeline on the host, with `tables`.
    pub fn run_on_host(&self, tables: &HostTables) -> Outcome {
        self.run(&self.frame, tables)
    }

    fn run(&self, frame: &[u8], tables: &HostTables) -> Outcome {
        let mut packet = HostPacket::new(frame);
        let verdict = match self.place {
            Place::Ingress(ifindex) => pipeline::process(&mut packet, tables, Ingress { ifindex }),
            Place::Egress => pipeline::egress(&mut packet, tables, Egress { ifindex: world::SENDS_ON, vlan: 0 }),
        };
        tables.count(verdict.reason(), frame.len());
        let counters = tables.counters.borrow().iter().map(|(&reason, &counter)| (reason, counter)).collect();
        Outcome::new(verdict.action(), packet.frame().to_vec(), counters, tables)
    }

    /// Whether `outcome`, which began with the tables `before`, is what the vector says.
    ///
    /// # Errors
    /// With what differs.
    pub fn check(&self, before: &HostTables, outcome: &Outcome) -> Result<(), String> {
        let bytes = self.frame.len() as u64;
        let counted: Vec<(Reason, Counter)> = vec![(self.reason, Counter { packets: 1, bytes })];
        self.same("counters", &outcome.counters, &counted)?;
        self.same("action", &outcome.action, &self.action)?;
        let untouched = (self.action == Action::Pass).then_some(&self.frame);
        if let Some(frame) = self.left.as_ref().or(untouched) {
            self.same("frame that leaves", &hex(&outcome.frame), &hex(frame))?;
        }
        if matches!(self.action, Action::Transmit | Action::Redirect(_)) {
            frames::check_sums(&outcome.frame).map_err(|error| format!("{}: {error}", self.name))?;
        }
        for &(index, open) in &self.counted {
            self.same(&format!("open flows of backend {index}"), &outcome.loads[index as usize].0, &open)?;
        }
        let gained = |now: usize, before: usize| now as i64 - before as i64;
        let sessions = [
            gained(outcome.sessions.len(), before.sessions.borrow().len()),
            gained(outcome.session_embryos.len(), before.session_embryos.borrow().len()),
        ];
        self.same("sessions gained", &sessions, &self.sessions)?;
        self.same("entries gained", &outcome.changes(before), &self.changes)
    }

    /// Whether `found` is `expected`.
    ///
    /// # Errors
    /// With both.
    pub fn same<T: PartialEq + Debug>(&self, what: &str, found: &T, expected: &T) -> Result<(), String> {
        if found == expected {
            return Ok(());
        }
        Err(format!("{}: {what}:\n  {found:?} instead of\n  {expected:?}", self.name))
    }
}

/// A vector with a frame that it says nothing about: only that host and kernel agree is claimed.
pub struct Mutilated<'v> {
    /// Its tables and its place.
    pub vector: &'v Vector,
    /// Its frame.
    pub frame: Vec<u8>,
}

impl Mutilated<'_> {
    /// Runs it through the pipeline on the host, with `tables`.
    pub fn run_on_host(&self, tables: &HostTables) -> Outcome {
        self.vector.run(&self.frame, tables)
    }
}

/// Bytes as they are written in messages.
pub fn hex(bytes: &[u8]) -> String {
    bytes.chunks(2).map(|pair| pair.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + " ").collect()
}

/// Events without the time at which they happened.
pub fn timeless(events: &[Event]) -> Vec<Event> {
    events.iter().map(|event| Event { at: Nanos::NEVER, ..*event }).collect()
}

/// All vectors.
pub fn all() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for theme in [
        forward::vectors,
        returning::vectors,
        direct::vectors,
        placing::vectors,
        vlan::vectors,
        any_port::vectors,
        echo::vectors,
        neighbour::vectors,
        host::vectors,
        bad::vectors,
        egress::vectors,
        strays::vectors,
        between::vectors,
        vmac::vectors,
        source::vectors,
        tunnel::vectors,
        refuse::vectors,
        life::vectors,
        selection::vectors,
        guard::vectors,
        l2::vectors,
        relay::vectors,
        fragments::vectors,
    ] {
        vectors.extend(theme());
    }
    vectors
}
