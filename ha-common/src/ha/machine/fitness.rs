//! Is this node fit to serve? Interfaces, routes, reach; and what failSafe and maxFlips make of it.
//!
//! * A node is *well* when its monitored interfaces work and, where they are judged, its monitored routes are there. Without INC, routes are
//!   judged on the Primary only, and not before `route_hold` after it became Primary or a monitor was added: a Secondary always counts
//!   as well, so two nodes without the route change places each `route_hold` until `max_flips` or `max_flip_time` ends that
//!   (*sticky Primary*: it serves, NOT UP, until its routes are back; the next failure counts anew).
//! * A node is *isolated* when no leg of clients has carrier, or nothing was heard on any for `isolation_hold` although an address there is
//!   probed. That is no matter of health: when both nodes are isolated (spanning tree), nothing moves.
//! * Without failSafe a node of a pair that is not well does not serve, even if its peer cannot either. With it, the last Primary stays, and
//!   of two nodes that do not serve the first in the one order takes over.

use super::*;

/// What a node is fit for now; kept because what it says of itself must not change between two looks at the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Fitness {
    /// Interfaces and judged routes work.
    pub well: bool,
    /// Somebody is reached on a leg of clients.
    pub connected: bool,
    /// Nothing has been heard there for half the hold: about to be isolated.
    pub quiet: bool,
    /// A judged route is missing.
    pub routes_missing: bool,
}

/// Failovers for missing routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Flips {
    /// How often this node has left the role for them.
    pub count: u32,
    /// When routes first went missing since the count began; [`Nanos::NEVER`] if they have not.
    pub since: Nanos,
    /// Both limits are void until the routes are back.
    pub sticky: bool,
}

impl Machine {
    /// Looks at the own state anew.
    pub(super) fn assess(&mut self, now: Nanos) {
        let Some(health) = self.health else { return };
        let silence = self.reached.map_or(Duration::ZERO, |at| now.since(at));
        let hold = self.settings.isolation_hold;
        let missing = !health.routes && self.judges_routes(now);
        let was = self.fitness;
        self.fitness = Fitness {
            well: health.interfaces == Interfaces::Work && !missing,
            connected: health.connected && silence < hold,
            quiet: silence >= hold / 2,
            routes_missing: missing,
        };
        if !(self.fitness.well && self.fitness.connected) {
            self.well_since = now;
        }
        self.count_flips(now, was.routes_missing);
    }

    fn judges_routes(&self, now: Nanos) -> bool {
        self.routes_judged(now) == Judged::Now
    }

    fn count_flips(&mut self, now: Nanos, were_missing: bool) {
        let serves = matches!(self.role, Role::Primary { .. } | Role::HandingOver { .. });
        if !self.fitness.routes_missing {
            // Back: the next failure counts anew.
            if serves && self.flips.sticky && self.judges_routes(now) {
                self.flips = Flips::default();
            }
            return;
        }
        if !were_missing && self.flips.since == Nanos::NEVER {
            self.flips.since = now;
        }
        let Settings { max_flips, max_flip_time, inc, .. } = self.settings;
        let spent = max_flips > 0 && self.flips.count >= max_flips;
        let over = !max_flip_time.is_zero() && now.since(self.flips.since) >= max_flip_time;
        self.flips.sticky = serves && !inc && (spent || over);
    }

    /// Whether this node serves on although routes are missing.
    pub(super) fn is_sticky(&self) -> bool {
        self.flips.sticky && self.fitness.routes_missing
    }

    pub(super) fn well(&self) -> bool {
        self.fitness.well
    }

    pub(super) fn connected(&self) -> bool {
        self.fitness.connected
    }

    /// Why this node, which serves, is not fit to; nothing is known against one that has just come up.
    pub(super) fn unfit(&self) -> Option<Cause> {
        let interfaces = self.health?.interfaces;
        match self.fitness {
            Fitness { connected: false, .. } => Some(Cause::Isolated),
            _ if interfaces != Interfaces::Work => Some(Cause::Unhealthy),
            Fitness { routes_missing: true, .. } if !self.flips.sticky => Some(Cause::RouteMissing),
            _ => None,
        }
    }

    /// Whether this node, which serves and has nobody to hand over to, must stop all the same. A missing route alone does not: without
    /// INC it would not be judged any more, and the role would come straight back.
    pub(super) fn must_not_serve(&self) -> bool {
        let broken = self.health.is_some_and(|health| health.interfaces != Interfaces::Work);
        let routeless = self.settings.inc && self.fitness.routes_missing;
        self.settings.paired && !self.settings.fail_safe && (broken || routeless)
    }

    /// Whether failSafe lets this node take over although it is not well, if its peer is no better.
    pub(super) fn last_resort(&self) -> bool {
        self.willing() && self.settings.fail_safe && self.health.is_some() && !self.fitness.well
    }

    /// Public number of the node state.
    pub(super) fn node_state(&self, now: Nanos) -> u8 {
        match (self.settings.status, self.health.map(|health| health.interfaces)) {
            (HaStatus::StaySecondary, _) => node_state::DUMB,
            (HaStatus::Disabled, _) => node_state::DISABLED,
            (_, None) => node_state::INIT,
            (_, Some(Interfaces::AllFail)) => node_state::COMPLETE_FAIL,
            (_, Some(Interfaces::SomeFail)) => node_state::PARTIAL_FAIL,
            (_, Some(Interfaces::Work)) if self.fitness.routes_missing => node_state::ROUTE_MONITOR_FAIL,
            (_, Some(Interfaces::Work)) => {
                let joins = self.settings.paired && self.role == Role::Secondary && self.peer_alive(now).is_none();
                if joins { node_state::INIT } else { node_state::UP }
            }
        }
    }
}

/// Public numbers of the node state.
mod node_state {
    pub const INIT: u8 = 1;
    pub const UP: u8 = 3;
    pub const PARTIAL_FAIL: u8 = 4;
    pub const COMPLETE_FAIL: u8 = 7;
    pub const DUMB: u8 = 8;
    pub const DISABLED: u8 = 9;
    pub const ROUTE_MONITOR_FAIL: u8 = 11;
}
