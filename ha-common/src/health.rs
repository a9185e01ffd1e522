//! Is this service usable? Rise and fall of one monitor.
//!
//! A [`Monitor`] says when to probe and turns outcomes into a [`Verdict`]. Its driver owns the sockets and the clock.
//!
//! ```text
//!             first good                    `retries` bad in a row
//!   UNKNOWN ─────────────▶ UP ─────────────────────────────────────────▶ DOWN, next probe after `down_time`
//!      └── first bad ──▶ DOWN ◀─────────────────────────────────────────┘
//!                          └── `success_retries` good in a row ──▶ UP
//! ```
//!
//! UNKNOWN lasts until the first probe is decided and is left by a single outcome: neither is a service without a history
//! given the benefit of three bad answers, nor does one that nobody could ask yet count as dead.

use core::time::Duration;

use crate::time::Nanos;

/// When to probe, and how many outcomes make a verdict. The defaults are those of the public TCP monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// A probe without an answer for this long is bad.
    pub response_timeout: Duration,
    /// Bad outcomes in a row that turn UP into DOWN; at least one.
    pub retries: u32,
    /// From the outcome that made it DOWN to the next probe.
    pub down_time: Duration,
    /// Good outcomes in a row that turn DOWN into UP; at least one.
    pub success_retries: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            interval: Duration::from_secs(5),
            response_timeout: Duration::from_secs(2),
            retries: 3,
            down_time: Duration::from_secs(30),
            success_retries: 1,
        }
    }
}

/// Whether a service is usable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// No probe has been decided yet. Forwarded to, so that a node that could not ask before it took over does not start
    /// by refusing everybody; the first outcome decides.
    #[default]
    Unknown,
    /// Usable.
    Up,
    /// Not usable.
    Down,
}

impl Verdict {
    /// Whether new connections may be sent there.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        !matches!(self, Verdict::Down)
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered in time, as wanted.
    Good,
    /// Refused, or not answered in time.
    Bad,
    /// This node could not ask (no route, no address, no socket). Says nothing of the service: the verdict stands.
    NotAsked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Waiting { until: Nanos },
    Probing { since: Nanos },
}

/// One monitor of one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Monitor {
    settings: Settings,
    verdict: Verdict,
    /// Outcomes in a row that speak against `verdict`.
    contrary: u32,
    phase: Phase,
}

impl Monitor {
    /// A monitor that first probes at `first` and until then says `verdict` (what was known before a restart, or UNKNOWN).
    #[must_use]
    pub fn new(settings: Settings, verdict: Verdict, first: Nanos) -> Self {
        Monitor { settings, verdict, contrary: 0, phase: Phase::Waiting { until: first } }
    }

    /// What is known.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Nanos {
        match self.phase {
            Phase::Waiting { until } => until,
            Phase::Probing { since } => since + self.settings.response_timeout,
        }
    }

    /// Time has come to `now`: whether a probe shall start, and whether an unanswered one has changed the verdict.
    pub fn handle_timeout(&mut self, now: Nanos) -> Step {
        if now < self.poll_timeout() {
            return Step::Nothing;
        }
        match self.phase {
            Phase::Waiting { .. } => {
                self.phase = Phase::Probing { since: now };
                Step::Probe
            }
            Phase::Probing { .. } => self.handle_outcome(now, Outcome::Bad),
        }
    }

    /// The running probe ended like this. An outcome that nobody waits for (the probe had timed out) is ignored.
    pub fn handle_outcome(&mut self, now: Nanos, outcome: Outcome) -> Step {
        let Phase::Probing { since } = self.phase else {
            return Step::Nothing;
        };
        let before = self.verdict;
        self.judge(outcome);
        let pause = match (before, self.verdict) {
            (Verdict::Up | Verdict::Unknown, Verdict::Down) => now + self.settings.down_time,
            _ => (since + self.settings.interval).max(now),
        };
        self.phase = Phase::Waiting { until: pause };
        if self.verdict == before { Step::Nothing } else { Step::Changed(self.verdict) }
    }

    /// Probes at `now` instead of waiting on (the node's own reach has changed: a takeover, a carrier).
    pub fn hurry(&mut self, now: Nanos) {
        if let Phase::Waiting { until } = &mut self.phase {
            *until = now.min(*until);
        }
    }

    fn judge(&mut self, outcome: Outcome) {
        let (against, needed) = match (self.verdict, outcome) {
            (_, Outcome::NotAsked) => return,
            (Verdict::Up, Outcome::Good) | (Verdict::Down, Outcome::Bad) => {
                self.contrary = 0;
                return;
            }
            (Verdict::Unknown, Outcome::Good) => (Verdict::Up, 1),
            (Verdict::Unknown, Outcome::Bad) => (Verdict::Down, 1),
            (Verdict::Up, Outcome::Bad) => (Verdict::Down, self.settings.retries),
            (Verdict::Down, Outcome::Good) => (Verdict::Up, self.settings.success_retries),
        };
        self.contrary += 1;
        if self.contrary >= needed {
            self.verdict = against;
            self.contrary = 0;
        }
    }
}

/// What a call to a [`Monitor`] leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Start a probe and report its [`Outcome`].
    Probe,
    /// The verdict is another one now.
    Changed(Verdict),
}

#[cfg(test)]
mod tests;
