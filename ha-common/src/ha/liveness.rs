//! Is the peer dead, or is it only this machine that was away?
//!
//! Silence alone does not count: the peer is dead when the dead interval has passed since the last echo on any link *and* at
//! least [`ASKED`] requests that really left since then went unanswered for a patience each. A pause of this machine makes its
//! own view stale, not the peer dead: after one, asking starts anew, so it costs a round of asking instead of a failover.

use core::time::Duration;

use crate::time::Nanos;

/// Unanswered requests that a verdict takes.
pub const ASKED: usize = 3;

/// The least patience with one request: below it an echo may simply still be on its way.
const PATIENCE_MIN: Duration = Duration::from_micros(300);

/// What has been asked since the last echo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Liveness {
    /// Last echo, or the start of listening.
    last: Nanos,
    /// When the first [`ASKED`] requests after it left.
    asked: [Nanos; ASKED],
    /// Smoothed round trip, in nanoseconds (RFC 6298 weights).
    srtt: u64,
}

impl Liveness {
    /// Listening starts at `now`.
    #[must_use]
    pub fn new(now: Nanos) -> Liveness {
        Liveness { last: now, ..Liveness::default() }
    }

    /// An echo came at `at`, with this round trip.
    pub fn echoed(&mut self, at: Nanos, rtt: u64) {
        if at <= self.last {
            return;
        }
        self.last = at;
        self.asked = [Nanos::NEVER; ASKED];
        self.srtt = if self.srtt == 0 { rtt } else { self.srtt - self.srtt / 8 + rtt / 8 };
    }

    /// A request left at `at`.
    pub fn asked(&mut self, at: Nanos) {
        if at <= self.last {
            return;
        }
        if let Some(free) = self.asked.iter_mut().find(|slot| **slot == Nanos::NEVER) {
            *free = at;
        }
    }

    /// This machine was away: what it asked before proves nothing.
    pub fn stalled(&mut self) {
        self.asked = [Nanos::NEVER; ASKED];
    }

    /// How long to wait for one echo.
    #[must_use]
    pub fn patience(&self, dead: Duration) -> Duration {
        Duration::from_nanos(self.srtt.saturating_mul(4)).clamp(PATIENCE_MIN.min(dead), dead)
    }

    /// Silence up to `now`.
    #[must_use]
    pub fn silence(&self, now: Nanos) -> Duration {
        now.since(self.last)
    }

    /// When requests start to leave at the pace of [`Self::patience`].
    #[must_use]
    pub fn urgent_from(&self, dead: Duration) -> Nanos {
        self.last + dead / 2
    }

    /// When the peer will be dead if nothing more is heard; `None` while too little was asked to say.
    #[must_use]
    pub fn dead_at(&self, dead: Duration) -> Option<Nanos> {
        let third = self.asked[ASKED - 1];
        if third == Nanos::NEVER {
            return None;
        }
        Some((self.last + dead).max(third + self.patience(dead)))
    }

    /// Whether the peer is dead at `now`.
    #[must_use]
    pub fn is_dead(&self, now: Nanos, dead: Duration) -> bool {
        self.dead_at(dead).is_some_and(|at| now >= at)
    }

    /// Shows every instant in here to `visit`, with the age past which nothing depends on it any more.
    #[cfg(any(test, feature = "std"))]
    pub(crate) fn instants(&mut self, mut visit: impl FnMut(&mut Nanos, Duration), dead: Duration) {
        let patience = self.patience(dead);
        visit(&mut self.last, dead * 3);
        for at in &mut self.asked {
            visit(at, patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: Duration = Duration::from_millis(30);
    const T0: Nanos = Nanos(1_000_000_000);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn silence_without_asking_is_not_death() {
        assert!(!Liveness::new(T0).is_dead(T0 + ms(10_000), DEAD));
    }

    #[test]
    fn three_unanswered_requests_and_the_interval_are() {
        let mut peer = Liveness::new(T0);
        for n in [10, 20, 29] {
            peer.asked(T0 + ms(n));
        }
        assert!(!peer.is_dead(T0 + ms(29) + ms(1), DEAD) || peer.silence(T0 + ms(30)) >= DEAD);
        assert!(!peer.is_dead(T0 + ms(29), DEAD));
        assert!(peer.is_dead(T0 + ms(30), DEAD));
    }

    #[test]
    fn a_stall_of_this_machine_starts_the_asking_anew() {
        let mut peer = Liveness::new(T0);
        for n in [1, 2, 3] {
            peer.asked(T0 + ms(n));
        }
        peer.stalled();
        assert!(!peer.is_dead(T0 + ms(500), DEAD));
        for n in [500, 501, 502] {
            peer.asked(T0 + ms(n));
        }
        assert!(peer.is_dead(T0 + ms(503), DEAD));
    }

    #[test]
    fn an_echo_forgets_what_was_asked_before() {
        let mut peer = Liveness::new(T0);
        for n in [1, 2, 3] {
            peer.asked(T0 + ms(n));
        }
        peer.echoed(T0 + ms(4), 20_000);
        assert_eq!(peer.dead_at(DEAD), None);
        assert_eq!(peer.patience(DEAD), PATIENCE_MIN);
    }
}
