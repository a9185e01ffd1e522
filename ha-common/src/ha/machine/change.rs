//! What a change of role does, in the order in which it must take effect.

use super::*;

impl Machine {
    pub(super) fn become_primary(&mut self, now: Nanos, term: Term, cause: Cause) {
        self.last_term = term;
        self.serving = term;
        self.enter(now, Role::Primary { term }, term, cause);
        if let Some(Pending::Force { .. }) = self.pending.take() {
            self.actions.push_back(Action::Answer(Ok(())));
        }
        self.publish(now);
        self.actions.push_back(Action::Send);
        self.actions.push_back(Action::Announce(term));
    }

    /// Goes on serving under a new term above everything seen.
    pub(super) fn raise(&mut self, now: Nanos, cause: Cause) {
        let term = self.next_term();
        self.granted_over = Term::NONE;
        self.last_term = term;
        self.serving = term;
        // Before the kernel says that it serves under it.
        self.over_silence = false;
        self.publish_as(now, master_state::PRIMARY);
        self.actions.push_back(Action::SetRole(term));
        self.enter(now, Role::Primary { term }, term, cause);
        self.publish(now);
        self.actions.push_back(Action::Send);
        self.actions.push_back(Action::Announce(term));
    }

    /// Announces once more what could not be announced.
    pub(super) fn announce_if_due(&mut self, now: Nanos) {
        if self.announce_again == Nanos::NEVER || now < self.announce_again {
            return;
        }
        if let Role::Primary { term } = self.role {
            self.announce_again = now + ANNOUNCE_RETRY;
            self.actions.push_back(Action::Announce(term));
        }
    }

    /// Leaves the role to nobody. A command that waited for a hand-over is over: who was to be stopped is, roles were not swapped.
    pub(super) fn leave_alone(&mut self, now: Nanos, term: Term, cause: Cause) {
        let pending = self.pending.take();
        self.leave(now, term, cause);
        if let Some(pending) = pending {
            self.stopped |= matches!(pending, Pending::Stop { .. });
            let swapped = matches!(pending, Pending::Force { .. });
            self.actions.push_back(Action::Answer(if swapped { Err(Refusal::OwnState) } else { Ok(()) }));
        }
    }

    pub(super) fn leave(&mut self, now: Nanos, term: Term, cause: Cause) {
        if cause == Cause::RouteMissing {
            self.flips.count = self.flips.count.saturating_add(1);
        }
        self.note_loss(now);
        self.announce_again = Nanos::NEVER;
        self.actions.push_back(Action::SetRole(Term::NONE));
        self.actions.push_back(Action::Consent(Term::NONE));
        self.actions.push_back(Action::Withdraw);
        self.serving = Term::NONE;
        self.over_silence = false;
        self.ruled = None;
        self.enter(now, Role::Secondary, term, cause);
        self.publish(now);
        self.actions.push_back(Action::Send);
    }

    /// A node that prefers the role and loses it again soon waits longer the next time.
    fn note_loss(&mut self, now: Nanos) {
        if self.settings.status != HaStatus::StayPrimary {
            return;
        }
        // Whatever it was lost for, being well counts from now on.
        self.well_since = now;
        let (hold, lost_at) = self.preference;
        let again = lost_at != Nanos::NEVER && now.since(lost_at) < PREFERENCE_MEMORY;
        self.preference = (if again { (hold * 2).min(PREFERENCE_MEMORY) } else { PREFERENCE_HOLD }, now);
    }

    pub(super) fn disarm(&mut self, now: Nanos, term: Term, cause: Cause) {
        self.actions.push_back(Action::Disarm);
        self.granted_over = Term::NONE;
        self.retry_at = now + self.settings.hello;
        self.enter(now, Role::Secondary, term, cause);
    }

    pub(super) fn withdraw_consent(&mut self) {
        self.actions.push_back(Action::Consent(Term::NONE));
    }

    pub(super) fn enter(&mut self, now: Nanos, role: Role, term: Term, cause: Cause) {
        let from = self.role().0;
        self.role = role;
        self.since = now;
        let to = self.role().0;
        self.actions.push_back(Action::Record(Transition { at: now, from, to, term, cause }));
    }

    pub(super) fn next_term(&mut self) -> Term {
        self.seen += 1;
        self.reserve();
        Term::new(self.seen, self.settings.node_id)
    }

    /// Keeps at least half a block of counters reserved ahead.
    pub(super) fn reserve(&mut self) {
        if self.seen + TERM_BLOCK / 2 > self.reserved {
            self.reserved = self.seen + TERM_BLOCK;
            self.actions.push_back(Action::Reserve(self.reserved));
        }
    }
}
