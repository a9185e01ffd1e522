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
//! Secondary is *armed* and claims, the Primary's kernel obeys the claim and says so in the echo, and that echo (or any stray packet
//! that the old Primary passes on) brings the armed term into force in the new Primary's kernel. No daemon is on that path.
//!
//! The caller feeds facts ([`Machine::handle_event`]), calls [`Machine::handle_timeout`] when [`Machine::poll_timeout`] says so, and
//! carries out [`Machine::poll_action`] in order. Time is an argument throughout.

mod canonical;

use core::time::Duration;
use std::collections::VecDeque;

pub use canonical::Canon;

use super::Term;
use super::dispute::Ruling;
use super::event::{Action, Cause, Event, Health, Refusal, RoleName, Said, Transition};
use super::liveness::Liveness;
use super::order::{Standing, merits};
use super::settings::{HaStatus, Settings};
use super::view::PeerView;
use crate::time::Nanos;
use crate::wire::heartbeat::{Extension, flags};

/// Term counters that are reserved on disk at a time, so that a claim never waits for a disk.
pub const TERM_BLOCK: u64 = 1024;

/// How long a STAYPRIMARY node is well before it takes the role back.
const PREFERENCE_HOLD: Duration = Duration::from_secs(30);

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
enum Role {
    Secondary,
    Claiming { term: Term, over: Term, until: Nanos },
    Primary { term: Term },
    HandingOver { term: Term, until: Nanos },
}

/// A command of the operator that waits for its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
pub struct Machine {
    settings: Settings,
    role: Role,
    since: Nanos,
    /// Why the role that is being taken or left is.
    cause: Cause,
    view: PeerView,
    liveness: Liveness,
    listening_since: Nanos,
    unknown_since: Nanos,
    serving: Term,
    ruled: Option<Ruling>,
    /// Unknown until the driver has looked.
    health: Option<Health>,
    well_since: Nanos,
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
            listening_since: now,
            unknown_since: Nanos::NEVER,
            serving: Term::NONE,
            ruled: None,
            health: None,
            well_since: Nanos::NEVER,
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
                self.liveness.asked(at);
            }
            Event::Ruled(ruling) => self.ruled = Some(ruling),
            Event::Health(health) => {
                if !(health.healthy && health.connected) {
                    self.well_since = now;
                }
                self.linked_since = if health.linked { self.linked_since.min(now) } else { Nanos(u64::MAX) };
                self.health = Some(health);
            }
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
        (self.view.said.is_some() && !stale).then_some(true)
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
        self.view = view;
        self.serving = serving;
        if !self.peer_unknown(now) {
            self.unknown_since = Nanos::NEVER;
        } else if self.unknown_since == Nanos::NEVER {
            self.unknown_since = now;
        }
        self.reserve();
    }

    fn set(&mut self, now: Nanos, settings: Settings) {
        let pair_changed = settings.paired != self.settings.paired || settings.node_id != self.settings.node_id;
        self.settings = settings;
        if !pair_changed {
            return;
        }
        self.liveness = Liveness::new(now);
        self.listening_since = now;
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

    fn force(&mut self, now: Nanos, force: bool) {
        let until = now + self.change_span();
        self.expire_pending(now);
        match self.refusal(now, force) {
            Some(refusal) => self.actions.push_back(Action::Answer(Err(refusal))),
            None => self.pending = Some(Pending::Force { force, until }),
        }
    }

    fn refusal(&self, now: Nanos, force: bool) -> Option<Refusal> {
        if !self.settings.paired {
            return Some(Refusal::Standalone);
        }
        let (is_primary, busy) = match self.role {
            Role::Primary { .. } => (true, false),
            Role::Secondary => (false, false),
            Role::Claiming { .. } | Role::HandingOver { .. } => (false, true),
        };
        if busy || self.pending.is_some() {
            return Some(Refusal::Busy);
        }
        let own_prefers = self.settings.status == HaStatus::StayPrimary;
        let peer_prefers = self.view.said.is_some_and(|said| said.standing.merits & merits::STAYS_PRIMARY != 0);
        if own_prefers || peer_prefers {
            return Some(Refusal::StayPrimary);
        }
        let could_take = self.may_take() || force && self.willing();
        if !is_primary && !could_take {
            return Some(if self.engine_on() { Refusal::OwnState } else { Refusal::StaySecondary });
        }
        if self.peer_unknown(now) && self.peer_alive(now) != Some(true) {
            return (is_primary || !force).then_some(Refusal::PeerUnknown);
        }
        if self.peer_alive(now) != Some(true) {
            return Some(Refusal::PeerDown);
        }
        if is_primary {
            if self.view.says(flags::STAYS_SECONDARY) || self.view.says(flags::ENGINE_OFF) {
                return Some(Refusal::StaySecondary);
            }
            if !force && !self.peer_well() {
                return Some(Refusal::PeerNotUp);
            }
        }
        None
    }

    fn stop(&mut self, now: Nanos, force: bool) {
        match self.role {
            Role::Secondary => {
                self.stopped = true;
                self.actions.push_back(Action::Answer(Ok(())));
            }
            Role::Claiming { .. } => self.actions.push_back(Action::Answer(Err(Refusal::Busy))),
            Role::Primary { term } | Role::HandingOver { term, .. } => {
                if self.peer_fit(now, force) {
                    self.pending = Some(Pending::Stop { force, until: now + self.change_span() * 2 });
                } else if force {
                    self.stopped = true;
                    self.leave(now, term, Cause::Stopped);
                    self.actions.push_back(Action::Answer(Ok(())));
                } else {
                    let refusal = if self.settings.paired { Refusal::PeerDown } else { Refusal::Standalone };
                    self.actions.push_back(Action::Answer(Err(refusal)));
                }
            }
        }
    }

    /// Applies the rules until nothing changes any more. Every rule leaves the state it starts from, so a few rounds do.
    fn decide(&mut self, now: Nanos) {
        for _ in 0..4 {
            let before = self.role;
            match self.role {
                Role::Secondary => self.as_secondary(now),
                Role::Claiming { term, over, until } => self.as_claiming(now, term, over, until),
                Role::Primary { term } => self.as_primary(now, term),
                Role::HandingOver { term, until } => self.as_handing_over(now, term, until),
            }
            if self.role == before {
                break;
            }
        }
        self.publish(now);
    }

    fn as_secondary(&mut self, now: Nanos) {
        if !self.serving.is_none() {
            // The kernel kept serving while no daemon ran.
            let term = self.serving;
            self.seen = self.seen.max(term.counter());
            self.actions.push_back(Action::SetRole(term));
            self.actions.push_back(Action::Disarm);
            self.become_primary(now, term, Cause::Adopted);
            return;
        }
        self.expire_pending(now);
        let Some(ground) = self.ground(now) else { return };
        let over = self.view.said.map_or(Term::NONE, |said| said.standing.last_term);
        let term = self.next_term();
        self.cause = ground.cause.clone();
        self.granted_over = if ground.granted { over } else { Term::NONE };
        if ground.alone {
            self.publish_as(now, master_state::PRIMARY);
            self.actions.push_back(Action::SetRole(term));
            self.actions.push_back(Action::Send);
            self.become_primary(now, term, ground.cause);
            return;
        }
        self.enter(now, Role::Claiming { term, over, until: now + self.change_span() }, term, ground.cause);
        self.publish(now);
        self.actions.push_back(Action::Arm { term, over });
        self.actions.push_back(Action::Send);
    }

    fn as_claiming(&mut self, now: Nanos, term: Term, over: Term, until: Nanos) {
        if self.serving == term {
            self.actions.push_back(Action::SetRole(term));
            self.actions.push_back(Action::Disarm);
            self.become_primary(now, term, self.cause.clone());
        } else if !self.may_take() && !self.must_take() {
            self.disarm(now, term, Cause::Ineligible);
        } else if self.liveness.is_dead(now, self.settings.dead) && !self.vetoed(now) && !self.peer_unknown(now) {
            self.actions.push_back(Action::SetRole(term));
            self.actions.push_back(Action::Disarm);
            self.actions.push_back(Action::Send);
            self.become_primary(now, term, Cause::PeerDead { silence: self.liveness.silence(now) });
        } else if !self.view.term().is_none() && self.view.term() != over {
            self.disarm(now, term, Cause::Overtaken);
        } else if matches!(self.cause, Cause::PeerHung { .. }) && !self.peer_hung() && !self.view.says(flags::HANDS_OVER) {
            self.disarm(now, term, Cause::PeerRecovered);
        } else if now >= until {
            self.disarm(now, term, Cause::TimedOut);
        }
    }

    fn as_primary(&mut self, now: Nanos, term: Term) {
        if self.serving.is_none() {
            let cause = self.fenced_by();
            let pending = self.pending.take();
            self.leave(now, term, cause);
            // What the operator wanted has come about, by another way.
            if let Some(pending) = pending {
                self.stopped = matches!(pending, Pending::Stop { .. });
                self.actions.push_back(Action::Answer(Ok(())));
            }
            return;
        }
        self.expire_pending(now);
        let after_dispute = self.settings.paired
            && self.peer_alive(now) == Some(true)
            && self.view.term().is_none()
            && self.view.said.is_some_and(|said| said.standing.last_term > term);
        if after_dispute {
            self.raise(now, Cause::DisputeWon);
            return;
        }
        let Some((cause, force)) = self.reason_to_leave() else { return };
        if self.peer_fit(now, force) && now >= self.retry_at {
            self.cause = cause.clone();
            self.enter(now, Role::HandingOver { term, until: now + self.change_span() }, term, cause);
            self.publish(now);
            self.actions.push_back(Action::Drain);
            self.actions.push_back(Action::Send);
        }
    }

    fn as_handing_over(&mut self, now: Nanos, term: Term, until: Nanos) {
        if self.serving.is_none() {
            let pending = self.pending.take();
            self.leave(now, term, self.cause.clone());
            if let Some(pending) = pending {
                self.stopped = matches!(pending, Pending::Stop { .. });
                self.actions.push_back(Action::Answer(Ok(())));
            }
        } else if now >= until || self.peer_alive(now) != Some(true) {
            self.withdraw_consent();
            self.retry_at = now + self.change_span();
            self.raise(now, Cause::TimedOut);
            if self.pending.take().is_some() {
                self.actions.push_back(Action::Answer(Err(Refusal::TimedOut)));
            }
        }
    }

    /// Why this node, which does not serve, should.
    fn ground(&self, now: Nanos) -> Option<Ground> {
        if !self.settings.paired {
            return (!self.stopped).then_some(Ground { cause: Cause::Standalone, alone: true, granted: false });
        }
        if !(self.may_take() || self.must_take()) || now < self.retry_at {
            return None;
        }
        let forced = matches!(self.pending, Some(Pending::Force { .. }));
        if self.peer_unknown(now) && self.peer_alive(now) != Some(true) {
            return self.ground_beside_unknown(now, forced);
        }
        if self.liveness.is_dead(now, self.settings.dead) {
            let silence = self.liveness.silence(now);
            let never = self.view.echo_at == Nanos::NEVER;
            if never && !self.has_listened(now) {
                return None;
            }
            let cause = if never { Cause::PeerNeverHeard { silence } } else { Cause::PeerDead { silence } };
            return (!self.vetoed(now)).then_some(Ground { cause, alone: true, granted: false });
        }
        let said = self.view.said?;
        let hung = self.peer_hung();
        if !self.view.term().is_none() {
            if said.flags & flags::HANDS_OVER != 0 {
                let cause = if forced { Cause::Forced } else { Cause::PeerHandsOver };
                return Some(Ground { cause, alone: false, granted: true });
            }
            return hung.then(|| Ground { cause: Cause::PeerHung { age: self.peer_age() }, alone: false, granted: true });
        }
        let peer_may = said.flags & flags::ELIGIBLE != 0 && !hung;
        let peer_takes = !said.groups[0].armed_term.is_none() && said.groups[0].armed_over == self.last_term;
        if peer_may && peer_takes {
            return None;
        }
        let first = self.standing().goes_before(Term::NONE, &said.standing, Term::NONE);
        (!peer_may || first).then_some(Ground { cause: Cause::Election, alone: false, granted: false })
    }

    /// The peer's frames come with an unknown key: somebody is alive there, so nothing is claimed, unless the operator insists or
    /// both have been waiting for each other.
    fn ground_beside_unknown(&self, now: Nanos, forced: bool) -> Option<Ground> {
        let waited = now.since(self.unknown_since) >= self.settings.dead * 3;
        let both_wait = waited && !self.view.unknown_key_serves && self.settings.node_id == 1;
        let cause = if forced { Cause::Forced } else { Cause::Election };
        (forced || both_wait).then_some(Ground { cause, alone: true, granted: false })
    }

    /// Whether something proves that the peer serves although no echo comes: its own requests still arrive.
    fn vetoed(&self, now: Nanos) -> bool {
        let asks = self.recent(self.view.request_at, now) && !self.view.term().is_none() && !self.view.says(flags::ISOLATED);
        asks || self.recent(self.view.unproved_at, now)
    }

    fn recent(&self, at: Nanos, now: Nanos) -> bool {
        at != Nanos::NEVER && now.since(at) < self.settings.dead
    }

    /// Why this node, which serves, should not; and whether an unwell peer will do.
    fn reason_to_leave(&self) -> Option<(Cause, bool)> {
        match self.pending {
            Some(Pending::Force { force, .. }) => return Some((Cause::Forced, force)),
            Some(Pending::Stop { force, .. }) => return Some((Cause::Stopped, force)),
            None => {}
        }
        if !self.settings.paired {
            return None;
        }
        if !self.may_serve() {
            return Some((Cause::Status, false));
        }
        if self.view.says(flags::WANTS_ROLE) {
            let prefers = self.view.said.is_some_and(|said| said.standing.merits & merits::STAYS_PRIMARY != 0);
            let cause = if prefers { Cause::PeerPrefers } else { Cause::Forced };
            return Some((cause, self.view.says(flags::FORCED)));
        }
        match self.health? {
            Health { connected: false, .. } => Some((Cause::Isolated, false)),
            Health { healthy: false, .. } => Some((Cause::Unhealthy, false)),
            Health { healthy: true, connected: true, .. } => None,
        }
    }

    /// Whether the peer could take over now. `force`: even if it is not well.
    fn peer_fit(&self, now: Nanos, force: bool) -> bool {
        let ready =
            self.view.says(flags::ELIGIBLE) && self.view.says(flags::MIRROR_READY) && self.peer_well() && !self.peer_hung();
        self.peer_alive(now) == Some(true) && self.view.says(flags::WILLING) && (ready || force)
    }

    fn peer_well(&self) -> bool {
        let well = merits::HEALTHY | merits::CONNECTED;
        self.view.said.is_some_and(|said: Extension| said.standing.merits & well == well)
    }

    /// How long ago the peer's controller completed a loop, when the peer last said something.
    fn peer_age(&self) -> Duration {
        Duration::from_millis(self.view.said.map_or(0, |said| said.controller_age_ms.into()))
    }

    fn peer_hung(&self) -> bool {
        self.peer_age() >= self.settings.controller_dead
    }

    fn engine_on(&self) -> bool {
        matches!(self.settings.status, HaStatus::Enabled | HaStatus::StayPrimary)
    }

    /// Whether haStatus lets this node serve beside a peer.
    fn may_serve(&self) -> bool {
        !self.settings.paired || self.engine_on()
    }

    /// Whether settings and operator let this node take over.
    fn willing(&self) -> bool {
        self.may_serve() && !self.stopped
    }

    /// Whether this node could take over now.
    fn may_take(&self) -> bool {
        self.willing() && self.healthy() && self.connected()
    }

    /// Whether the Primary hands over to this node although it may not be well: the operator insists.
    fn must_take(&self) -> bool {
        self.willing() && self.view.says(flags::HANDS_OVER) && self.view.says(flags::FORCED)
    }

    /// Whether a peer that was never heard would have been, had it been there.
    fn has_listened(&self, now: Nanos) -> bool {
        let linked = self.linked_since <= now && now.since(self.linked_since) >= self.settings.dead;
        linked || now.since(self.listening_since) >= JOIN_MIN.max(self.settings.dead)
    }

    fn healthy(&self) -> bool {
        self.health.is_some_and(|health| health.healthy)
    }

    fn connected(&self) -> bool {
        self.health.is_some_and(|health| health.connected)
    }

    fn fenced_by(&self) -> Cause {
        match self.ruled {
            Some(Ruling::Yielded(_)) => Cause::Yielded,
            Some(Ruling::Unheard(_)) => Cause::Unheard,
            Some(Ruling::Stands | Ruling::Granted(_) | Ruling::Lost(_) | Ruling::Won(_)) | None => Cause::DisputeLost,
        }
    }

    fn expire_pending(&mut self, now: Nanos) {
        let Some(Pending::Force { until, .. } | Pending::Stop { until, .. }) = self.pending else { return };
        if now >= until {
            self.pending = None;
            self.actions.push_back(Action::Answer(Err(Refusal::TimedOut)));
        }
    }

    fn become_primary(&mut self, now: Nanos, term: Term, cause: Cause) {
        self.last_term = term;
        self.serving = term;
        self.enter(now, Role::Primary { term }, term, cause);
        if let Some(Pending::Force { .. }) = self.pending.take() {
            self.actions.push_back(Action::Answer(Ok(())));
        }
        self.publish(now);
        self.actions.push_back(Action::Send);
        self.actions.push_back(Action::Announce);
    }

    /// Goes on serving under a new term above everything seen.
    fn raise(&mut self, now: Nanos, cause: Cause) {
        let term = self.next_term();
        self.granted_over = Term::NONE;
        self.last_term = term;
        self.serving = term;
        self.actions.push_back(Action::SetRole(term));
        self.enter(now, Role::Primary { term }, term, cause);
        self.publish(now);
        self.actions.push_back(Action::Send);
        self.actions.push_back(Action::Announce);
    }

    fn leave(&mut self, now: Nanos, term: Term, cause: Cause) {
        self.actions.push_back(Action::SetRole(Term::NONE));
        self.actions.push_back(Action::Consent(Term::NONE));
        self.actions.push_back(Action::Withdraw);
        self.serving = Term::NONE;
        self.ruled = None;
        self.enter(now, Role::Secondary, term, cause);
        self.publish(now);
        self.actions.push_back(Action::Send);
    }

    fn disarm(&mut self, now: Nanos, term: Term, cause: Cause) {
        self.actions.push_back(Action::Disarm);
        self.granted_over = Term::NONE;
        self.retry_at = now + self.settings.hello;
        self.enter(now, Role::Secondary, term, cause);
    }

    fn withdraw_consent(&mut self) {
        self.actions.push_back(Action::Consent(Term::NONE));
    }

    fn enter(&mut self, now: Nanos, role: Role, term: Term, cause: Cause) {
        let from = self.role().0;
        self.role = role;
        self.since = now;
        let to = self.role().0;
        self.actions.push_back(Action::Record(Transition { at: now, from, to, term, cause }));
    }

    fn next_term(&mut self) -> Term {
        self.seen += 1;
        self.reserve();
        Term::new(self.seen, self.settings.node_id)
    }

    /// Keeps at least half a block of counters reserved ahead.
    fn reserve(&mut self) {
        if self.seen + TERM_BLOCK / 2 > self.reserved {
            self.reserved = self.seen + TERM_BLOCK;
            self.actions.push_back(Action::Reserve(self.reserved));
        }
    }

    fn standing(&self) -> Standing {
        let mut bits = 0;
        for (holds, bit) in [
            (self.configured, merits::CONFIGURED),
            (self.healthy(), merits::HEALTHY),
            (self.connected(), merits::CONNECTED),
            (self.settings.status == HaStatus::StayPrimary, merits::STAYS_PRIMARY),
        ] {
            if holds {
                bits |= bit;
            }
        }
        Standing {
            granted_over: self.granted_over,
            merits: bits,
            commit_term: self.commit.0,
            commit_incarnation: self.commit.1,
            last_term: self.last_term,
            id: self.settings.node_id.into(),
        }
    }

    fn prefers(&self, now: Nanos) -> bool {
        let peer_alike = self.view.said.is_some_and(|said| said.standing.merits & merits::STAYS_PRIMARY != 0);
        self.settings.status == HaStatus::StayPrimary
            && !peer_alike
            && self.may_take()
            && self.mirror_ready
            && now.since(self.well_since) >= PREFERENCE_HOLD
            && now.since(self.listening_since) >= PREFERENCE_HOLD
    }

    fn publish(&mut self, now: Nanos) {
        self.publish_as(
            now,
            match self.role {
                Role::Secondary if self.settings.status == HaStatus::StaySecondary => master_state::ALWAYS_SECONDARY,
                Role::Secondary => master_state::SECONDARY,
                Role::Claiming { .. } if matches!(self.pending, Some(Pending::Force { .. })) => master_state::FORCE_CHANGE,
                Role::Claiming { .. } => master_state::CLAIMING,
                Role::Primary { .. } | Role::HandingOver { .. } => master_state::PRIMARY,
            },
        );
    }

    fn publish_as(&mut self, now: Nanos, master_state: u8) {
        let wanted = matches!(self.pending, Some(Pending::Force { .. }));
        let insisted = matches!(self.pending, Some(Pending::Force { force: true, .. } | Pending::Stop { force: true, .. }));
        let secondary = matches!(self.role, Role::Secondary);
        let mut bits = 0;
        for (holds, bit) in [
            (!self.connected(), flags::ISOLATED),
            (matches!(self.role, Role::HandingOver { .. }), flags::HANDS_OVER),
            (secondary && (wanted || self.prefers(now)), flags::WANTS_ROLE),
            (insisted, flags::FORCED),
            (self.willing(), flags::WILLING),
            (self.may_take(), flags::ELIGIBLE),
            (self.mirror_ready, flags::MIRROR_READY),
            (self.settings.status == HaStatus::Disabled, flags::ENGINE_OFF),
            (self.settings.status == HaStatus::StaySecondary, flags::STAYS_SECONDARY),
        ] {
            if holds {
                bits |= bit;
            }
        }
        let mut hears = 0;
        for (link, &at) in self.view.heard_at.iter().enumerate() {
            hears |= u8::from(self.recent(at, now)) << link;
        }
        let said = Said { flags: bits, hears, standing: self.standing(), node_state: self.node_state(now), master_state };
        if said != self.published {
            self.published = said.clone();
            self.actions.push_back(Action::Publish(said));
        }
    }

    fn node_state(&self, now: Nanos) -> u8 {
        match self.settings.status {
            HaStatus::StaySecondary => 8,
            HaStatus::Disabled => 9,
            HaStatus::Enabled | HaStatus::StayPrimary if !self.connected() => 7,
            HaStatus::Enabled | HaStatus::StayPrimary if !self.healthy() => 4,
            HaStatus::Enabled | HaStatus::StayPrimary => {
                let joining = self.settings.paired && self.role == Role::Secondary && self.peer_alive(now).is_none();
                if joining { 1 } else { 3 }
            }
        }
    }

    fn patience(&self) -> Duration {
        self.liveness.patience(self.settings.dead)
    }

    fn change_span(&self) -> Duration {
        CHANGE_MIN.max(self.settings.dead)
    }

    /// The pace at which requests should leave now; `None` when the steady hello is enough.
    fn pace(&self, now: Nanos) -> Option<Duration> {
        if !self.settings.paired {
            return None;
        }
        let disputed = matches!(self.role, Role::Primary { .. }) && !self.view.term().is_none();
        let changing = matches!(self.role, Role::Claiming { .. } | Role::HandingOver { .. });
        if changing || disputed && self.peer_alive(now) == Some(true) {
            return Some(CHANGE_PACE);
        }
        let undecided = now >= self.liveness.urgent_from(self.settings.dead) && !self.liveness.is_dead(now, self.settings.dead);
        undecided.then(|| self.patience())
    }

    fn ask(&mut self, now: Nanos) {
        if self.pace(now).is_some_and(|pace| now >= self.tried_at + pace) {
            self.tried_at = now;
            self.actions.push_back(Action::Send);
        }
    }

    fn next_turn(&self, now: Nanos) -> Nanos {
        let mut next = now + TURN_MAX.min(self.settings.hello);
        if !self.settings.paired {
            return next;
        }
        let dead = self.settings.dead;
        if let Some(pace) = self.pace(now) {
            next = next.min(self.tried_at + pace);
        } else if !self.liveness.is_dead(now, dead) {
            next = next.min(self.liveness.urgent_from(dead));
        }
        if let Some(at) = self.liveness.dead_at(dead).filter(|&at| at > now) {
            next = next.min(at);
        }
        match self.role {
            Role::Claiming { until, .. } | Role::HandingOver { until, .. } => next = next.min(until),
            Role::Secondary | Role::Primary { .. } => {}
        }
        // What is recent now will not be for ever: a veto, an unknown key and a link that is heard all end.
        let marks =
            [self.view.request_at, self.view.unproved_at, self.view.unknown_key_at].into_iter().chain(self.view.heard_at);
        for end in marks.map(|at| at + dead).chain([self.retry_at]) {
            if end > now {
                next = next.min(end);
            }
        }
        next.max(now)
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
