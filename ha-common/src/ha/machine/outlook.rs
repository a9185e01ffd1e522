//! What this node waits for, and what it has counted: for the operator, nothing is decided here but when routes are judged.

use super::*;

/// Whether monitored routes count for this node's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judged {
    /// They do.
    #[default]
    Now,
    /// They will, when routeHold is over.
    In(Duration),
    /// They do on the Primary alone, and this node is not it.
    Elsewhere,
}

impl Machine {
    /// Failovers for missing routes that count against maxFlips, and since when, if any.
    #[must_use]
    pub fn flips(&self) -> (u32, Option<Nanos>) {
        (self.flips.count, (self.flips.since != Nanos::NEVER).then_some(self.flips.since))
    }

    /// Whether routes are judged at `now`.
    #[must_use]
    pub fn routes_judged(&self, now: Nanos) -> Judged {
        if self.settings.inc {
            return Judged::Now;
        }
        if !matches!(self.role, Role::Primary { .. } | Role::HandingOver { .. }) {
            return Judged::Elsewhere;
        }
        let rest = self.settings.route_hold.saturating_sub(now.since(self.since.max(self.routes_since)));
        if rest.is_zero() { Judged::Now } else { Judged::In(rest) }
    }

    /// How long a STAYPRIMARY node that stands by must still be well before it takes the role back from a peer that serves; none if
    /// it does not wait for that.
    #[must_use]
    pub fn preference_left(&self, now: Nanos) -> Option<Duration> {
        let stands_by = self.settings.paired && self.role == Role::Secondary && self.peer_alive(now) == Some(true);
        (stands_by && self.has_preference()).then(|| self.preference_rest(now))
    }

    /// Whether this node has looked at its own interfaces: before that it is neither well nor unwell.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.health.is_some()
    }
}
