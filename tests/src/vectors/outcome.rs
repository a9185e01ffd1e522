//! What a vector did: to the frame, and to the tables.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use ha_common::abi::{
    Counter, Embryo, Event, Exception, Flow, FlowKey, Fragment, FragmentKey, Load, Reason, ReverseKey, Session, SessionKey,
    Source, SourceKey,
};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::{Nanos, Ticks};

use super::timeless;

/// How many entries each table has gained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// `FLOWS`.
    pub flows: i64,
    /// `EMBRYONIC`.
    pub embryonic: i64,
    /// `EXCEPTIONS`.
    pub exceptions: i64,
    /// `REVERSE`.
    pub reverse: i64,
    /// `REVERSE_EMBRYONIC`.
    pub reverse_embryonic: i64,
    /// `SOURCES`.
    pub sources: i64,
    /// `FRAGMENTS`.
    pub fragments: i64,
    /// `EVENTS`.
    pub events: i64,
}

/// What sources have done, without times.
pub fn counts<'s>(sources: impl IntoIterator<Item = (&'s SourceKey, &'s Source)>) -> HashMap<SourceKey, (u32, u32)> {
    sources.into_iter().map(|(key, source)| (*key, (source.opened(), source.open()))).collect()
}

/// The frame, its end, and every table that the pipeline writes, without times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of the frame.
    pub action: Action,
    /// The frame as it was then.
    pub frame: Vec<u8>,
    /// Counters that are not zero.
    pub counters: Vec<(Reason, Counter)>,
    /// `FLOWS`.
    pub flows: HashMap<FlowKey, Flow>,
    /// `EMBRYONIC`.
    pub embryonic: HashMap<FlowKey, Embryo>,
    /// `EXCEPTIONS`.
    pub exceptions: HashMap<FlowKey, Exception>,
    /// `REVERSE`.
    pub reverse: HashMap<ReverseKey, FlowKey>,
    /// `REVERSE_EMBRYONIC`.
    pub reverse_embryonic: HashMap<ReverseKey, FlowKey>,
    /// `LOADS`: open flows and the most of them, by backend.
    pub loads: Vec<(u64, u64)>,
    /// `TURNS`.
    pub turns: Vec<u64>,
    /// `PERSIST`.
    pub sessions: HashMap<SessionKey, Session>,
    /// `PERSIST_EMBRYONIC`.
    pub session_embryos: HashMap<SessionKey, Session>,
    /// `SOURCES`: connections opened and open.
    pub sources: HashMap<SourceKey, (u32, u32)>,
    /// `FRAGMENTS`.
    pub fragments: HashMap<FragmentKey, Fragment>,
    /// `STRAY_LEGS`.
    pub stray_legs: Vec<u64>,
    /// `EVENTS` and `RULINGS`.
    pub events: Vec<Event>,
}

/// Open flows of a backend, and the most of them.
pub fn standing(load: &Load) -> (u64, u64) {
    (load.open(), load.peak.load(Relaxed))
}

impl Outcome {
    /// What became of a frame that `tables` was asked about.
    pub fn new(action: Action, frame: Vec<u8>, counters: Vec<(Reason, Counter)>, tables: &HostTables) -> Self {
        Outcome {
            action,
            frame,
            counters,
            flows: tables.flows.borrow().clone(),
            embryonic: tables.embryonic.borrow().clone(),
            exceptions: tables.exceptions.borrow().clone(),
            reverse: tables.reverse.borrow().clone(),
            reverse_embryonic: tables.reverse_embryonic.borrow().clone(),
            loads: tables.loads.iter().map(standing).collect(),
            turns: tables.turns.iter().map(Cell::get).collect(),
            sessions: tables.sessions.borrow().clone(),
            session_embryos: tables.session_embryos.borrow().clone(),
            sources: counts(&*tables.sources.borrow()),
            fragments: tables.fragments.borrow().clone(),
            stray_legs: tables.stray_legs.iter().map(|sent| *sent.borrow()).collect(),
            events: tables.events.borrow().clone(),
        }
        .without_times()
    }

    /// The same, with every time taken out: two clocks never agree.
    pub fn without_times(mut self) -> Self {
        for flow in self.flows.values_mut() {
            (flow.seen, flow.opened) = (Ticks(0).low(), Ticks(0));
        }
        for embryo in self.embryonic.values_mut() {
            embryo.seen = Ticks(0).low();
        }
        for exception in self.exceptions.values_mut() {
            exception.seen = Ticks(0);
        }
        for session in self.sessions.values_mut().chain(self.session_embryos.values_mut()) {
            session.seen = Ticks(0);
        }
        for fragment in self.fragments.values_mut() {
            fragment.at = Nanos::NEVER;
        }
        self.events = timeless(&self.events);
        self
    }

    /// What came and went since `before`.
    pub fn changes(&self, before: &HostTables) -> Changes {
        let gained = |now: usize, before: usize| now as i64 - before as i64;
        Changes {
            flows: gained(self.flows.len(), before.flows.borrow().len()),
            embryonic: gained(self.embryonic.len(), before.embryonic.borrow().len()),
            exceptions: gained(self.exceptions.len(), before.exceptions.borrow().len()),
            reverse: gained(self.reverse.len(), before.reverse.borrow().len()),
            reverse_embryonic: gained(self.reverse_embryonic.len(), before.reverse_embryonic.borrow().len()),
            sources: gained(self.sources.len(), before.sources.borrow().len()),
            fragments: gained(self.fragments.len(), before.fragments.borrow().len()),
            events: gained(self.events.len(), before.events.borrow().len()),
        }
    }
}
