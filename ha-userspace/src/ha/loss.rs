//! How many of the last requests on a link were not answered?

use std::collections::VecDeque;

/// Requests that are looked back at.
const WINDOW: u64 = 1_000;

/// Samples kept: one at each look, fewer than requests.
const SAMPLES_MAX: usize = 1_024;

/// Counts of one link at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    sent: u64,
    echoed: u64,
}

/// What a [`Losses`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Requests looked back at.
    pub sent: u64,
    /// Those of them that were never answered.
    pub lost: u64,
}

/// Counts of one link, as they were at the last looks.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    samples: VecDeque<Sample>,
}

impl Losses {
    /// So many requests have left until now, and so many were answered. Counts that go back begin anew.
    pub fn look(&mut self, sent: u64, echoed: u64) {
        if self.samples.back().is_some_and(|last| sent < last.sent || echoed < last.echoed) {
            self.samples.clear();
        }
        let oldest_of_use = |second: &Sample| sent.saturating_sub(second.sent) >= WINDOW;
        while self.samples.get(1).is_some_and(oldest_of_use) || self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { sent, echoed });
    }

    /// Of about the last thousand requests.
    #[must_use]
    pub fn recent(&self) -> Loss {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return Loss::default() };
        let sent = last.sent - first.sent;
        // The newest one may still be on its way.
        let lost = sent.saturating_sub(last.echoed - first.echoed).saturating_sub(1);
        Loss { sent, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at every tenth request of `count`, of which those in `lost` were not answered; from `before` counts on.
    fn run(losses: &mut Losses, before: (u64, u64), count: u64, lost: std::ops::Range<u64>) -> (u64, u64) {
        let (mut sent, mut echoed) = before;
        for request in 0..count {
            sent += 1;
            echoed += u64::from(!lost.contains(&request));
            if request % 10 == 9 {
                losses.look(sent, echoed);
            }
        }
        (sent, echoed)
    }

    #[test]
    fn loss_is_that_of_the_last_thousand_requests() {
        let mut losses = Losses::default();
        losses.look(0, 0);
        let counts = run(&mut losses, (0, 0), 500, 0..50);
        assert_eq!(losses.recent(), Loss { sent: 500, lost: 49 });
        let counts = run(&mut losses, counts, 900, 0..0);
        assert!((1_000..=1_010).contains(&losses.recent().sent), "{:?}", losses.recent());
        run(&mut losses, counts, 2_000, 0..0);
        assert_eq!(losses.recent().lost, 0, "what was lost before is forgotten");
    }

    #[test]
    fn counts_of_before_the_daemon_are_not_compared_with_its_own() {
        let mut losses = Losses::default();
        losses.look(0, 5_000);
        run(&mut losses, (0, 5_000), 100, 0..0);
        assert_eq!(losses.recent(), Loss { sent: 100, lost: 0 });
        losses.look(0, 5_100);
        assert_eq!(losses.recent(), Loss::default(), "a link that was opened anew");
    }
}
