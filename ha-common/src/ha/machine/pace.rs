//! When to ask, and when to look again.

use super::*;

impl Machine {
    pub(super) fn patience(&self) -> Duration {
        self.liveness.patience(self.settings.dead)
    }

    pub(super) fn change_span(&self) -> Duration {
        CHANGE_MIN.max(self.settings.dead)
    }

    /// The pace at which requests should leave now; `None` when the steady hello is enough.
    pub(super) fn pace(&self, now: Nanos) -> Option<Duration> {
        if !self.settings.paired {
            return None;
        }
        // Nothing leaves: no link works, and asking more often is of no use.
        if self.tried_at > self.sent_at {
            return Some(self.settings.hello);
        }
        let disputed = matches!(self.role, Role::Primary { .. }) && !self.view.term().is_none();
        let changing = matches!(self.role, Role::Claiming { .. } | Role::HandingOver { .. });
        if changing || disputed && self.peer_alive(now) == Some(true) {
            return Some(CHANGE_PACE);
        }
        // About to be isolated: whether the peer is, too, must be known by then.
        let falls_silent = self.fitness.quiet && self.fitness.connected && matches!(self.role, Role::Primary { .. });
        let quiet = falls_silent.then(|| (self.settings.isolation_hold / 16).max(CHANGE_PACE / 2));
        let undecided = now >= self.liveness.urgent_from(self.settings.dead) && !self.liveness.is_dead(now, self.settings.dead);
        let urgent = undecided.then(|| self.patience());
        quiet.into_iter().chain(urgent).min()
    }

    pub(super) fn ask(&mut self, now: Nanos) {
        if self.pace(now).is_some_and(|pace| now >= self.tried_at + pace) {
            self.tried_at = now;
            self.actions.push_back(Action::Send);
        }
    }

    pub(super) fn next_turn(&self, now: Nanos) -> Nanos {
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
        let hold = self.settings.isolation_hold;
        let silences = self.reached.map_or([Nanos::NEVER; 2], |at| [at + hold / 2, at + hold]);
        let asks_at = if self.settings.witness { self.may_ask_from() } else { Nanos::NEVER };
        let own = [self.retry_at, self.announce_again, asks_at].into_iter().chain(silences);
        for end in marks.map(|at| at + dead).chain(own) {
            if end > now {
                next = next.min(end);
            }
        }
        next.max(now)
    }
}
