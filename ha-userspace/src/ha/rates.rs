//! How many heartbeats come and go per second?

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over how long a rate is taken.
const WINDOW: Duration = Duration::from_secs(7);

/// Looks kept: one a second, and room for those that come early.
const LOOKS_MAX: usize = 16;

/// Received and sent so far.
type Totals = [u64; 2];

/// Totals as they were at the last looks.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    looks: VecDeque<(Instant, Totals)>,
}

impl Rates {
    /// So many have been received and sent until now. Counts that go back begin anew.
    pub fn look(&mut self, now: Instant, totals: Totals) {
        if self.looks.back().is_some_and(|(_, last)| totals[0] < last[0] || totals[1] < last[1]) {
            self.looks.clear();
        }
        let is_old = |&(at, _): &(Instant, Totals)| now.saturating_duration_since(at) >= WINDOW;
        while self.looks.get(1).is_some_and(is_old) || self.looks.len() >= LOOKS_MAX {
            self.looks.pop_front();
        }
        self.looks.push_back((now, totals));
    }

    /// Per second, from the oldest look that counts until now; zero before there is one that is old enough to tell.
    #[must_use]
    pub fn per_second(&self, now: Instant, totals: Totals) -> [f64; 2] {
        let Some(&(then, known)) = self.looks.front() else { return [0.0; 2] };
        let span = now.saturating_duration_since(then).as_secs_f64();
        if span == 0.0 {
            return [0.0; 2];
        }
        [0, 1].map(|count| totals[count].saturating_sub(known[count]) as f64 / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_rate_is_of_the_last_seven_seconds() {
        let (begin, mut rates) = (Instant::now(), Rates::default());
        assert_eq!(rates.per_second(begin, [5, 5]), [0.0, 0.0], "nothing to compare with");
        for n in 0..20 {
            // 100 a second at first, 10 a second from the tenth on.
            let received = if n < 10 { n * 100 } else { 1_000 + (n - 10) * 10 };
            rates.look(begin + second(n), [received, received * 2]);
        }
        assert_eq!(rates.per_second(begin + second(20), [1_100, 2_200]), [10.0, 20.0]);
    }

    #[test]
    fn counts_that_go_back_begin_anew() {
        let (begin, mut rates) = (Instant::now(), Rates::default());
        rates.look(begin, [1_000, 1_000]);
        rates.look(begin + second(1), [10, 10]);
        assert_eq!(rates.per_second(begin + second(2), [30, 10]), [20.0, 0.0]);
    }
}
