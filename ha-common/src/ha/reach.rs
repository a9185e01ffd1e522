//! How long has nobody been heard on the legs of clients, although they were asked?
//!
//! The daemon's probe thread owns a [`Listening`]: it sends what [`Listening::ask_due`] asks for, and says at each of its turns what it
//! heard. What counts is silence that was *observed*: while the thread, or the whole machine, was away nobody was asked, so the time
//! until its next turn says nothing.

use core::time::Duration;

use crate::time::Nanos;

/// Probes in one hold: that many must go unanswered.
const PROBES_PER_HOLD: u32 = 6;

/// Shortest distance of two probes.
const PACE_MIN: Duration = Duration::from_millis(2);

/// Longest distance of two probes.
const PACE_MAX: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    hold: Duration,
    silence: Duration,
    looked_at: Nanos,
    asked_at: Nanos,
}

impl Listening {
    /// Begins at `now`; silence is judged against `hold` (the isolationHold).
    #[must_use]
    pub fn new(now: Nanos, hold: Duration) -> Listening {
        Listening { hold, silence: Duration::ZERO, looked_at: now, asked_at: Nanos::NEVER }
    }

    /// Goes on with another hold.
    #[must_use]
    pub fn with_hold(self, hold: Duration) -> Listening {
        Listening { hold, ..self }
    }

    /// Distance of two probes.
    #[must_use]
    pub fn pace(&self) -> Duration {
        (self.hold / PROBES_PER_HOLD).clamp(PACE_MIN, PACE_MAX)
    }

    /// When the next probes are to leave.
    #[must_use]
    pub fn ask_due(&self) -> Nanos {
        if self.asked_at == Nanos::NEVER { self.looked_at } else { self.asked_at + self.pace() }
    }

    /// When to look next: for the next probes, or because silence will then have lasted for the hold.
    #[must_use]
    pub fn due(&self) -> Nanos {
        let left = self.hold.saturating_sub(self.silence);
        let crossing = if left.is_zero() { Nanos(u64::MAX) } else { self.looked_at + left };
        self.ask_due().min(crossing)
    }

    /// Probes left at `now`.
    pub fn asked(&mut self, now: Nanos) {
        self.asked_at = now;
    }

    /// Nobody could be asked: the time until `now` says nothing.
    pub fn idle(&mut self, now: Nanos) {
        self.looked_at = now;
    }

    /// The thread looked at `now`, and had `heard` somebody since its last look. Whether this made or ended isolation.
    pub fn look(&mut self, now: Nanos, heard: bool) -> bool {
        let was = self.is_isolated();
        let awake = now.since(self.looked_at).min(self.pace() * 2);
        self.looked_at = now;
        self.silence = if heard { Duration::ZERO } else { self.silence.saturating_add(awake) };
        self.is_isolated() != was
    }

    /// How long nobody has been heard.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// Whether that is long enough to mean something.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.silence >= self.hold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Asks and looks whenever that is due, answered until `cut_at` in milliseconds; when isolation was found, in milliseconds.
    fn isolated_at(hold_ms: u64, cut_at: u64, pauses: &[(u64, u64)]) -> Option<u64> {
        let mut now = Nanos(MS);
        let mut listening = Listening::new(now, Duration::from_millis(hold_ms));
        let mut answered = false;
        while now.0 < 100_000 * MS {
            if listening.look(now, core::mem::take(&mut answered)) {
                return Some(now.0 / MS - 1);
            }
            if now >= listening.ask_due() {
                listening.asked(now);
                answered = now.0 < cut_at * MS;
            }
            now = listening.due().max(now + Duration::from_micros(1));
            for (from, until) in pauses {
                if (from * MS..until * MS).contains(&now.0) {
                    now = Nanos(until * MS);
                }
            }
        }
        None
    }

    #[test]
    fn answers_at_every_pace_are_no_isolation() {
        assert_eq!(isolated_at(30, u64::MAX / MS, &[]), None);
    }

    #[test]
    fn silence_for_the_hold_is_isolation_no_sooner_and_not_much_later() {
        for hold in [12, 30, 100, 3_000] {
            let at = isolated_at(hold, 500, &[]).unwrap() as i64 - 500;
            let pace = (hold / 6).max(2) as i64;
            assert!((hold as i64 - pace..=hold as i64 + pace + 1).contains(&at), "hold {hold}: after {at} ms");
        }
    }

    #[test]
    fn a_pause_of_this_machine_is_no_silence() {
        let pauses = [(100, 400), (500, 900), (1_000, 1_500), (2_000, 5_000)];
        assert_eq!(isolated_at(30, u64::MAX / MS, &pauses), None);
    }

    #[test]
    fn somebody_heard_ends_isolation_at_once() {
        let mut listening = Listening::new(Nanos(MS), Duration::from_millis(12));
        for turn in 2..14 {
            listening.look(Nanos(turn * MS), false);
        }
        assert!(listening.is_isolated());
        assert!(listening.look(Nanos(20 * MS), true) && !listening.is_isolated());
        assert_eq!(listening.silence(), Duration::ZERO);
    }

    #[test]
    fn probes_leave_six_times_in_a_hold_within_bounds() {
        let pace = |hold| Listening::new(Nanos(1), Duration::from_millis(hold)).pace().as_millis();
        assert_eq!([3, 12, 30, 3_000, 60_000].map(pace), [2, 2, 5, 500, 1_000]);
    }
}
