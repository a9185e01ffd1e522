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

/// A dead interval is at least this many round trips: below it, three requests in a row need not be answered in time.
pub const ROUNDS: u32 = 8;

/// Echoes over which the shortest round trip is taken.
const WINDOW: u8 = 16;

/// What has been asked since the last echo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Liveness {
    /// Last echo, or the start of listening.
    last: Nanos,
    /// When the first [`ASKED`] requests after it left.
    asked: [Nanos; ASKED],
    /// Smoothed round trip, in nanoseconds (RFC 6298 weights).
    srtt: u64,
    /// Shortest round trip of the present window and of the one before it: what the path takes, whatever a busy machine adds.
    shortest: [u64; 2],
    /// Echoes in the present window.
    seen: u8,
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
        let [present, former] = self.shortest;
        self.shortest =
            if self.seen == 0 { [rtt, if present == 0 { rtt } else { present }] } else { [present.min(rtt), former] };
        self.seen = (self.seen + 1) % WINDOW;
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

    /// The dead interval in force: as set, unless the path is too long for it.
    #[must_use]
    pub fn interval(&self, dead: Duration) -> Duration {
        dead.max(Duration::from_nanos(self.shortest[0].min(self.shortest[1])) * ROUNDS)
    }

    /// When requests start to leave at the pace of [`Self::patience`].
    #[must_use]
    pub fn urgent_from(&self, dead: Duration) -> Nanos {
        self.last + self.interval(dead) / 2
    }

    /// When the peer will be dead if nothing more is heard; `None` while too little was asked to say.
    #[must_use]
    pub fn dead_at(&self, dead: Duration) -> Option<Nanos> {
        let third = self.asked[ASKED - 1];
        if third == Nanos::NEVER {
            return None;
        }
        Some((self.last + self.interval(dead)).max(third + self.patience(dead)))
    }

    /// Whether the peer is dead at `now`.
    #[must_use]
    pub fn is_dead(&self, now: Nanos, dead: Duration) -> bool {
        self.dead_at(dead).is_some_and(|at| now >= at)
    }

    /// Shows every instant in here to `visit`, with the age past which nothing depends on it any more.
    #[cfg(any(test, feature = "std"))]
    pub(crate) fn instants(&mut self, mut visit: impl FnMut(&mut Nanos, Duration), dead: Duration) {
        // Where every round takes as long as the other, so does the shortest.
        self.seen = 1;
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
    fn dead_interval_is_at_least_eight_round_trips_of_the_path() {
        let mut peer = Liveness::new(T0);
        for n in 0..40 {
            // One echo in ten comes quickly; a busy machine holds up the others.
            let rtt = if n % 10 == 5 { ms(5) } else { ms(50) };
            peer.echoed(T0 + ms(100 * (n + 1)), rtt.as_nanos() as u64);
        }
        assert_eq!(peer.interval(DEAD), ms(40));
        assert_eq!(peer.interval(ms(100)), ms(100));
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
