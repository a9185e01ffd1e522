//! Which machines will behave alike? For a model checker, which has to tell.
//!
//! Two situations that differ only in how long ago something was that no rule asks about any more, or in how high the numbers
//! of terms have become, are one. [`Machine::canonical`] shows every such number to a [`Canon`], which replaces it.

use core::time::Duration;

use super::{Machine, Pending, Role};
use crate::abi::Term;
use crate::ha::dispute::Ruling;
use crate::ha::event::{Action, Cause, Said};
use crate::ha::order::Standing;
use crate::ha::settings::HaStatus;
use crate::ha::view::PeerView;
use crate::time::Nanos;
use crate::wire::heartbeat::Extension;

/// Replaces numbers by the ones that stand for them.
pub trait Canon {
    /// An instant of the node's own clock. Once it is older than `horizon`, nothing depends on how much older; with
    /// [`Duration::ZERO`], nothing depends on it at all once it is past.
    fn instant(&mut self, at: &mut Nanos, horizon: Duration);
    /// A term.
    fn term(&mut self, term: &mut Term);
    /// A counter of terms.
    fn counter(&mut self, counter: &mut u64);
    /// What the peer said last.
    fn said(&mut self, frame: &mut Extension);
}

impl Machine {
    /// Shows to `canon` everything in which machines differ that behave alike, and forgets what is only told to the operator.
    pub fn canonical(&mut self, now: Nanos, canon: &mut impl Canon) {
        let dead = self.settings.dead;
        let patience = self.patience();
        let has_linked = self.linked_since <= now && now.since(self.linked_since) >= dead;
        let join = if has_linked { Duration::ZERO } else { super::JOIN_MIN.max(dead) };
        let hold = if self.settings.status == HaStatus::StayPrimary { self.preference.0 } else { Duration::ZERO };
        for (at, horizon) in [
            (&mut self.since, Duration::ZERO),
            (&mut self.back_at, dead),
            (&mut self.peer_reaches_since, self.settings.isolation_hold),
            (&mut self.listening_since, hold.max(join)),
            (&mut self.linked_since, dead),
            (&mut self.well_since, hold),
            (&mut self.retry_at, Duration::ZERO),
            (&mut self.unknown_since, dead * 3),
            (&mut self.tried_at, patience),
            (&mut self.sent_at, patience),
            (&mut self.due, super::STALL.max(patience * 2)),
            (&mut self.routes_since, self.settings.route_hold),
            (&mut self.flips.since, self.settings.max_flip_time),
            (&mut self.preference.1, if hold.is_zero() { hold } else { super::PREFERENCE_MEMORY }),
            (&mut self.consultation.spoken_at, super::witness::RELEASE_PACE),
            (&mut self.announce_again, Duration::ZERO),
        ] {
            canon.instant(at, horizon);
        }
        if let Some(at) = &mut self.reached {
            canon.instant(at, self.settings.isolation_hold);
        }
        self.liveness.instants(|at, horizon| canon.instant(at, horizon), dead);
        match self.role {
            Role::Secondary | Role::Primary { .. } => self.cause = Cause::Ineligible,
            Role::Claiming { .. } | Role::HandingOver { .. } => bare(&mut self.cause),
        }
        self.canonical_role(canon);
        view(&mut self.view, dead, canon);
        for term in [&mut self.serving, &mut self.last_term, &mut self.granted_over, &mut self.commit.0] {
            canon.term(term);
        }
        self.ruled = self.ruled.map(Ruling::kind);
        canon.counter(&mut self.seen);
        canon.counter(&mut self.reserved);
        said(&mut self.published, canon);
        for action in &mut self.actions {
            canonical_action(action, canon);
        }
    }

    fn canonical_role(&mut self, canon: &mut impl Canon) {
        match &mut self.role {
            Role::Secondary => {}
            Role::Claiming { term, over, until } => {
                canon.term(term);
                canon.term(over);
                canon.instant(until, Duration::ZERO);
            }
            Role::Primary { term } => canon.term(term),
            Role::HandingOver { term, until } => {
                canon.term(term);
                canon.instant(until, Duration::ZERO);
            }
        }
        match &mut self.pending {
            Some(Pending::Force { until, .. } | Pending::Stop { until, .. }) => canon.instant(until, Duration::ZERO),
            None => {}
        }
    }
}

/// Takes the evidence off, which no rule reads.
fn bare(cause: &mut Cause) {
    match cause {
        Cause::PeerDead { silence: span } | Cause::PeerNeverHeard { silence: span } | Cause::PeerHung { age: span } => {
            *span = Duration::ZERO;
        }
        _ => {}
    }
}

impl Ruling {
    /// What is remembered of it, which is why this node stopped, if it did.
    #[must_use]
    pub fn kind(self) -> Ruling {
        match self {
            Ruling::Yielded(_) => Ruling::Yielded(Term::NONE),
            Ruling::Unheard(_) => Ruling::Unheard(Term::NONE),
            Ruling::Overslept(_) => Ruling::Overslept(Term::NONE),
            Ruling::Stands | Ruling::Granted(_) | Ruling::Lost(_) | Ruling::Won(_) => Ruling::Stands,
        }
    }
}

fn view(view: &mut PeerView, dead: Duration, canon: &mut impl Canon) {
    for at in view.heard_at.iter_mut().chain([
        &mut view.echo_at,
        &mut view.request_at,
        &mut view.unproved_at,
        &mut view.unknown_key_at,
    ]) {
        canon.instant(at, dead);
    }
    if let Some(frame) = &mut view.said {
        canon.said(frame);
    }
}

fn said(said: &mut Said, canon: &mut impl Canon) {
    let Standing { granted_over, commit_term, last_term, .. } = &mut said.standing;
    for term in [granted_over, commit_term, last_term] {
        canon.term(term);
    }
}

fn canonical_action(action: &mut Action, canon: &mut impl Canon) {
    match action {
        Action::Publish(words) => said(words, canon),
        Action::SetRole(term) | Action::Consent(term) | Action::Announce(term) => canon.term(term),
        Action::Arm { term, over } => {
            canon.term(term);
            canon.term(over);
        }
        Action::Reserve(upto) => canon.counter(upto),
        Action::Record(transition) => {
            canon.instant(&mut transition.at, Duration::ZERO);
            canon.term(&mut transition.term);
            bare(&mut transition.cause);
        }
        Action::Disarm
        | Action::Send
        | Action::Drain
        | Action::Withdraw
        | Action::AskWitness
        | Action::ReleaseWitness
        | Action::Answer(_) => {}
    }
}
