//! The HA machine of one node: who serves, and why.
//!
//! ```text
//!                 peer dead, or no peer
//!        ┌──────────────────────────────────────────────┐
//!        │                                              ▼
//!   Secondary ── peer hands over, hung, election ──▶ Claiming ── peer proved not to serve ──▶ Primary ◀─┐
//!    ▲   ▲  ◀── overtaken, timed out, ineligible ────────┘                                    │   │    │ peer did
//!    │   └───────────────────── fenced by its own kernel ─────────────────────────────────────┘   │    │ not follow
//!    └───────────────────────── claim obeyed ──────────────────────────── HandingOver ◀───────────┘────┘
//! ```
//!
//! A role changes hands between two living nodes without a gap and without an overlap: the Primary *consents* (or is hung), the
//! Secondary is *armed* and claims, the Primary's kernel obeys the claim and says so in the echo, and that
//! echo brings the armed term into force in the new Primary's kernel. No daemon is on that path.
//!
//! The caller feeds facts ([`Machine::handle_event`]), calls [`Machine::handle_timeout`] when [`Machine::poll_timeout`] says so, and
//! carries out [`Machine::poll_action`] in order. Time is an argument throughout.

mod alarms;
mod canonical;
mod change;
mod command;
mod fitness;
mod outlook;
mod pace;
mod rules;
mod said;
mod witness;

use core::time::Duration;
use std::collections::VecDeque;

pub use canonical::Canon;
use fitness::{Fitness, Flips};
pub use outlook::Judged;
use witness::Consultation;

use super::Term;
use super::dispute::Ruling;
use super::event::{Action, Cause, Event, Health, Interfaces, Refusal, RoleName, Said, Testimony, Transition};
use super::liveness::Liveness;
use super::order::{Standing, merits};
use super::settings::{HaStatus, Settings};
use super::view::PeerView;
use crate::time::Nanos;
use crate::wire::heartbeat::{Extension, flags};

/// Term counters that are reserved on disk at a time, so that a claim never waits for a disk.
pub const TERM_BLOCK: u64 = 1024;

/// How long a STAYPRIMARY node is well before it takes the role back; doubled whenever it loses the role again within
/// [`PREFERENCE_MEMORY`], up to that.
const PREFERENCE_HOLD: Duration = Duration::from_secs(30);

/// How long a loss of the preferred role is held against a node.
const PREFERENCE_MEMORY: Duration = Duration::from_secs(3600);

/// How long after a failed announcement the next one is tried.
const ANNOUNCE_RETRY: Duration = Duration::from_secs(1);

/// How long one side waits at least for the other in a change of role.
const CHANGE_MIN: Duration = Duration::from_secs(1);

/// Pace of requests while a change of role or a dispute is open.
const CHANGE_PACE: Duration = Duration::from_millis(1);

/// The machine looks again at least this often: its turn renews the controller age that the peer sees.
const TURN_MAX: Duration = Duration::from_millis(20);

/// How long a node that comes up waits for a peer that it never heard, unless an HA link has had carrier for a dead interval:
/// attaching to an interface may reset it, and a switch takes its time to forward.
const JOIN_MIN: Duration = Duration::from_secs(3);

/// A turn that comes this late means that the machine it runs on was away.
const STALL: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Role {
    Secondary,
    Claiming { term: Term, over: Term, until: Nanos },
    Primary { term: Term },
    HandingOver { term: Term, until: Nanos },
}

/// A command of the operator that waits for its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Pending {
    Force { force: bool, until: Nanos },
    Stop { force: bool, until: Nanos },
}

/// The reason for a claim that needs (or, `alone`, does not need) the peer's answer.
struct Ground {
    cause: Cause,
    alone: bool,
    granted: bool,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Machine {
    settings: Settings,
    role: Role,
    since: Nanos,
    /// Why the role that is being taken or left is.
    cause: Cause,
    view: PeerView,
    liveness: Liveness,
    /// When this machine came back after it had stood still, while nothing has been heard since; [`Nanos::NEVER`] otherwise.
    back_at: Nanos,
    /// Since when the peer says that it reaches somebody on its legs; [`Nanos::NEVER`] while it does not, or may soon not.
    peer_reaches_since: Nanos,
    listening_since: Nanos,
    unknown_since: Nanos,
    serving: Term,
    /// Whether the role was taken because nothing was heard of the peer.
    over_silence: bool,
    ruled: Option<Ruling>,
    /// Unknown until the driver has looked.
    health: Option<Health>,
    /// When somebody was last heard on a leg of clients; `None` while silence there says nothing.
    reached: Option<Nanos>,
    /// When a route monitor was last added.
    routes_since: Nanos,
    fitness: Fitness,
    flips: Flips,
    well_since: Nanos,
    /// How long this node, if it prefers to be Primary, must be well first; and when it last lost the role.
    preference: (Duration, Nanos),
    consultation: Consultation,
    /// When to announce once more, because it failed; [`Nanos::NEVER`] if it did not.
    announce_again: Nanos,
    mirror_ready: bool,
    configured: bool,
    commit: (Term, u64),
    last_term: Term,
    granted_over: Term,
    seen: u64,
    reserved: u64,
    pending: Option<Pending>,
    retry_at: Nanos,
    /// When a request was last wanted: it may not have left.
    tried_at: Nanos,
    /// When one last left.
    sent_at: Nanos,
    linked_since: Nanos,
    due: Nanos,
    stopped: bool,
    adopted: bool,
    published: Said,
    actions: VecDeque<Action>,
}

impl Machine {
    /// A machine that starts at `now`, Secondary. Term counters up to `used` may have been used before, those up to `reserved` are
    /// this machine's own; `last_term` is the term under which this node was Primary last.
    #[must_use]
    pub fn new(now: Nanos, settings: Settings, used: u64, reserved: u64, last_term: Term) -> Machine {
        let mut machine = Machine {
            settings,
            role: Role::Secondary,
            since: now,
            cause: Cause::Ineligible,
            view: PeerView::default(),
            liveness: Liveness::new(now),
            back_at: Nanos::NEVER,
            peer_reaches_since: Nanos::NEVER,
            listening_since: now,
            unknown_since: Nanos::NEVER,
            serving: Term::NONE,
            over_silence: false,
            ruled: None,
            health: None,
            reached: None,
            routes_since: now,
            fitness: Fitness::default(),
            flips: Flips::default(),
            well_since: Nanos::NEVER,
            preference: (PREFERENCE_HOLD, Nanos::NEVER),
            consultation: Consultation::default(),
            announce_again: Nanos::NEVER,
            mirror_ready: false,
            configured: false,
            commit: (Term::NONE, 0),
            last_term,
            granted_over: Term::NONE,
            seen: used.max(last_term.counter()),
            reserved,
            pending: None,
            retry_at: Nanos::NEVER,
            tried_at: Nanos::NEVER,
            sent_at: Nanos::NEVER,
            linked_since: Nanos(u64::MAX),
            due: Nanos(u64::MAX),
            stopped: false,
            adopted: false,
            published: Said::default(),
            actions: VecDeque::new(),
        };
        machine.reserve();
        machine.publish(now);
        machine
    }

    /// Takes in what happened and draws the consequences.
    ///
    /// Every action that came out before must have been carried out when [`Event::Heard`] is fed: it tells what the kernel
    /// made of them.
    pub fn handle_event(&mut self, now: Nanos, event: Event) {
        self.notice_stall(now);
        // The others are drawn into account at the next look at the kernel, or the timeout that follows it: a rule that ran on what was
        // read a turn ago could take a peer for dead whose echo is there, or undo what the kernel has decided since.
        let decides = matches!(event, Event::Heard { .. } | Event::Settings(_) | Event::Force { .. } | Event::Stop { .. });
        match event {
            Event::Heard { view, serving } => self.heard(now, *view, serving),
            Event::Asked(at) => {
                self.tried_at = self.tried_at.max(at);
                self.sent_at = self.sent_at.max(at);
                self.liveness.asked(at);
            }
            Event::Ruled(ruling) => self.ruled = Some(ruling),
            Event::Health(health) => {
                self.linked_since = if health.linked { self.linked_since.min(now) } else { Nanos(u64::MAX) };
                self.health = Some(health);
                self.assess(now);
            }
            Event::Reached(at) => self.reached = at.map(|at| at.max(self.reached.unwrap_or(now))),
            Event::Witness(testimony) => self.testified(testimony),
            Event::Announced { term, done } => {
                if term == self.last_term {
                    self.announce_again = if done { Nanos::NEVER } else { now + ANNOUNCE_RETRY };
                }
            }
            Event::TooLate => self.too_late(now),
            Event::Settings(settings) => self.set(now, settings),
            Event::Committed { term, incarnation, configured } => {
                self.commit = (term, incarnation);
                self.configured = configured;
            }
            Event::MirrorReady(ready) => self.mirror_ready = ready,
            Event::Drained => {
                if let Role::HandingOver { term, .. } = self.role {
                    self.actions.push_back(Action::Consent(term));
                }
            }
            Event::Reserved(upto) => self.reserved = self.reserved.max(upto),
            Event::Force { force } => self.force(now, force),
            Event::Stop { force } => self.stop(now, force),
        }
        if decides {
            self.decide(now);
        }
    }

    /// Draws the consequences of time alone.
    pub fn handle_timeout(&mut self, now: Nanos) {
        self.notice_stall(now);
        self.ask(now);
        self.decide(now);
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&mut self, now: Nanos) -> Nanos {
        self.due = self.next_turn(now);
        self.due
    }

    /// What to do next, if anything.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The role, since when it is held, and the term that goes with it.
    #[must_use]
    pub fn role(&self) -> (RoleName, Nanos, Term) {
        match self.role {
            Role::Secondary => (RoleName::Secondary, self.since, Term::NONE),
            Role::Claiming { term, .. } => (RoleName::Claiming, self.since, term),
            Role::Primary { term } => (RoleName::Primary, self.since, term),
            Role::HandingOver { term, .. } => (RoleName::HandingOver, self.since, term),
        }
    }

    /// What is known of the peer.
    #[must_use]
    pub fn view(&self) -> &PeerView {
        &self.view
    }

    /// What this node says of itself.
    #[must_use]
    pub fn said(&self) -> &Said {
        &self.published
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How the peer is: `None` before anything could be known.
    #[must_use]
    pub fn peer_alive(&self, now: Nanos) -> Option<bool> {
        if self.liveness.is_dead(now, self.settings.dead) {
            return Some(false);
        }
        // Nothing could be asked for so long that old words say nothing either.
        let stale = self.liveness.silence(now) > self.settings.dead * 3 && !self.recent(self.view.request_at, now);
        // What the kernel remembers of the time before this daemon, or before this pair, says nothing of now.
        let heard = self.view.heard_at.iter().any(|&at| at > self.listening_since);
        (self.view.said.is_some() && heard && !stale).then_some(true)
    }

    /// Whether the peer's frames come with an unknown key.
    #[must_use]
    pub fn peer_unknown(&self, now: Nanos) -> bool {
        self.recent(self.view.unknown_key_at, now)
    }

    /// A turn that is long overdue: this machine, or its daemon, was away, and what it asked before proves nothing.
    fn notice_stall(&mut self, now: Nanos) {
        if now.since(self.due) > STALL.max(self.patience() * 2) {
            self.liveness.stalled();
            if now.since(self.due) >= self.settings.dead {
                self.back_at = now;
            }
            // The time that this machine was away is no silence.
            let away = now.since(self.due);
            self.reached = self.reached.map(|at| (at + away).min(now));
            self.due = now;
        }
    }

    fn heard(&mut self, now: Nanos, view: PeerView, serving: Term) {
        if !self.adopted {
            self.adopted = true;
            // What a former daemon left half done in the kernel's record.
            self.actions.push_back(Action::Consent(Term::NONE));
            if serving.is_none() {
                self.actions.extend([Action::SetRole(Term::NONE), Action::Disarm]);
            }
        }
        self.liveness.echoed(view.echo_at, view.rtt);
        if let Some(said) = &view.said {
            let group = &said.groups[0];
            for term in [group.term, group.armed_term, said.standing.last_term] {
                self.seen = self.seen.max(term.counter());
            }
        }
        if view.heard_at.iter().any(|&at| at > self.back_at) {
            self.back_at = Nanos::NEVER;
        }
        self.view = view;
        self.serving = serving;
        let cut_off = self.view.said.is_none() || self.view.says(flags::QUIET) || self.view.says(flags::ISOLATED);
        if cut_off {
            self.peer_reaches_since = Nanos::NEVER;
        } else if self.peer_reaches_since == Nanos::NEVER {
            self.peer_reaches_since = now;
        }
        if !self.peer_unknown(now) {
            self.unknown_since = Nanos::NEVER;
        } else if self.unknown_since == Nanos::NEVER {
            self.unknown_since = now;
        }
        self.reserve();
    }

    /// The driver was stopped between a decision to take the role and its execution, and did not execute it.
    fn too_late(&mut self, now: Nanos) {
        match self.role {
            Role::Primary { term } | Role::HandingOver { term, .. } => self.leave(now, term, Cause::TooLate),
            Role::Claiming { term, .. } => self.disarm(now, term, Cause::TooLate),
            Role::Secondary => {}
        }
    }

    fn set(&mut self, now: Nanos, settings: Settings) {
        let pair_changed = settings.paired != self.settings.paired || settings.node_id != self.settings.node_id;
        if settings.route_monitors != self.settings.route_monitors {
            self.routes_since = now;
        }
        if pair_changed || (settings.witness, settings.witness_id) != (self.settings.witness, self.settings.witness_id) {
            self.consultation = Consultation::default();
        }
        self.settings = settings;
        if !pair_changed {
            return;
        }
        self.liveness = Liveness::new(now);
        self.listening_since = now;
        self.back_at = Nanos::NEVER;
        self.view = PeerView::default();
        // A term names its node: one taken under another id could be the peer's, too.
        match self.role {
            Role::Primary { .. } | Role::HandingOver { .. } if self.may_serve() => {
                self.withdraw_consent();
                self.raise(now, Cause::PairChanged);
            }
            Role::Primary { term } | Role::HandingOver { term, .. } => self.leave(now, term, Cause::Status),
            Role::Claiming { term, .. } => self.disarm(now, term, Cause::PairChanged),
            Role::Secondary => {}
        }
    }
}

/// Public numbers of the master state.
mod master_state {
    pub const SECONDARY: u8 = 0;
    pub const CLAIMING: u8 = 1;
    pub const PRIMARY: u8 = 2;
    pub const ALWAYS_SECONDARY: u8 = 3;
    pub const FORCE_CHANGE: u8 = 4;
}

#[cfg(test)]
mod tests;
