//! What one run showed.

use std::time::Duration;

use serde::Serialize;

use super::tally::{Question, Tally};
use super::tap::Sighting;
use super::topology::Host;

/// One run's figures; serialised as one JSON object per line.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Heartbeat interval of the run.
    pub hello_ms: f64,
    /// Dead interval of the run.
    pub dead_ms: f64,
    /// From the first probe lost to the first answered again: the longest such span; 0 when none was lost.
    pub vip_outage_ms: f64,
    /// From the event to the first probe sent that the new Primary answered; null when no new one did.
    pub until_new_primary_answers_ms: Option<f64>,
    /// Probes sent in the window of the run.
    pub probes_sent: u32,
    /// Those of them that the client got no answer to within 200 ms.
    pub probes_lost: u32,
    /// Worst lateness of the prober itself: bounds the error of all times here.
    pub prober_late_max_ms: f64,
    /// Milliseconds whose question (echo, ARP or neighbour solicitation) was answered from both nodes' switch ports.
    pub both_answered_ms: u32,
    /// From the last thing done (a heal, for instance) to the last such question; 0 when there is none after it.
    pub both_answered_after_ms: f64,
    /// Changes of role that the nodes report, from the event on; a restarted daemon that finds its kernel serving changes nothing.
    pub role_changes: usize,
    /// Those of them by which a node became Primary that was not.
    pub takeovers: usize,
    /// Frames from a floating address that came out of the old Primary after the new one's first such frame.
    pub stale_frames_from_old_primary: u32,
    /// TCP connections open at the event.
    pub connections_open: usize,
    /// Those of them that still exchange right bytes at the end.
    pub connections_kept: usize,
    /// RST segments of the client's connections seen at the switch after the event.
    pub resets_seen: usize,
}

/// The probes of one run: from `first` (index) to the tally's end, with the event in between.
pub struct Window<'a> {
    /// All probes.
    pub tally: &'a Tally,
    /// First probe of the window.
    pub first: u32,
    /// One behind the last probe of the window.
    pub end: u32,
    /// When the fault was thrown.
    pub event: Duration,
}

impl Window<'_> {
    /// Number of probes.
    pub fn sent(&self) -> u32 {
        self.end - self.first
    }

    /// Number of probes without an answer.
    pub fn lost(&self) -> u32 {
        (self.first..self.end).filter(|index| !self.tally.is_answered(*index)).count() as u32
    }

    /// Longest time from the first probe lost to the first answered again.
    pub fn outage(&self) -> Duration {
        let mut longest = Duration::ZERO;
        let mut since = None;
        for index in self.first..self.end {
            match (self.tally.is_answered(index), since) {
                (false, None) => since = Some(self.tally.time(index)),
                (true, Some(start)) => {
                    longest = longest.max(self.tally.time(index).saturating_sub(start));
                    since = None;
                }
                _ => {}
            }
        }
        match since {
            // Never answered again: at least to the end.
            Some(start) => longest.max(self.tally.time(self.end - 1).saturating_sub(start)),
            None => longest,
        }
    }

    /// From the event to the first probe that `host` answered, as the client saw it.
    pub fn until_answer_of(&self, host: Host) -> Option<Duration> {
        let answers = |index: &u32| self.tally.is_seen(*index, Question::Echo, host) && self.tally.is_answered(*index);
        let mut after = (self.first..self.end).filter(|index| self.tally.time(*index) >= self.event);
        after.find(answers).map(|index| self.tally.time(index) - self.event)
    }

    /// Number of probes with a question answered by both nodes.
    pub fn both_answered(&self) -> u32 {
        (self.first..self.end).filter(|index| self.tally.is_answered_by_both(*index)).count() as u32
    }

    /// When the last probe with a question answered by both nodes was sent.
    pub fn last_both_answered(&self) -> Option<Duration> {
        let mut both = (self.first..self.end).rev().filter(|index| self.tally.is_answered_by_both(*index));
        both.next().map(|index| self.tally.time(index))
    }

    /// The node that answered the last probe answered at all.
    pub fn last_answerer(&self) -> Option<Host> {
        let mut answered = (self.first..self.end).rev().filter(|index| self.tally.is_answered(*index));
        answered.find_map(|index| Host::BOTH.into_iter().find(|host| self.tally.is_seen(index, Question::Echo, *host)))
    }
}

/// Frames that `old` sent from a floating address after the first one that its peer sent after the event.
pub fn stale_frames(sightings: &[Sighting], old: Host, event: Duration) -> Vec<Sighting> {
    let of_new = sightings.iter().filter(|frame| frame.host == old.peer() && frame.at >= event);
    let Some(start) = of_new.map(|frame| frame.at).min() else {
        return Vec::new();
    };
    sightings.iter().filter(|frame| frame.host == old && frame.at > start).copied().collect()
}

/// Milliseconds with three decimals.
pub fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::frame::Content;
    use crate::harness::topology::Leg;

    fn tally(answers: &str) -> Tally {
        let tally = Tally::default();
        for (ms, answer) in answers.chars().enumerate() {
            let index = tally.send(Duration::from_millis(ms as u64), Duration::ZERO).unwrap();
            let host = match answer {
                'a' => Host::A,
                'b' => Host::B,
                _ => continue,
            };
            tally.seen(index, Question::Echo, host);
            tally.answered(index);
        }
        tally
    }

    fn window(tally: &Tally) -> Window<'_> {
        Window { tally, first: 0, end: tally.sent(), event: Duration::from_millis(2) }
    }

    #[test]
    fn outage_is_the_longest_gap_not_the_sum() {
        let tally = tally("aaa..a....bb.b");
        let window = window(&tally);
        assert_eq!(window.outage(), Duration::from_millis(4));
        assert_eq!(window.lost(), 7);
        assert_eq!(window.until_answer_of(Host::B), Some(Duration::from_millis(8)));
        assert_eq!(window.last_answerer(), Some(Host::B));
    }

    #[test]
    fn outage_without_end_lasts_to_the_end() {
        let tally = tally("aa.a....");
        assert_eq!(window(&tally).outage(), Duration::from_millis(3));
        assert_eq!(window(&tally).until_answer_of(Host::B), None);
    }

    #[test]
    fn only_frames_behind_the_new_ones_first_are_stale() {
        let sighting = |ms, host| Sighting {
            at: Duration::from_millis(ms),
            host,
            leg: Leg::Client,
            speaker: None,
            content: Content::Other,
        };
        let seen = [(1, Host::B), (5, Host::A), (7, Host::B), (8, Host::A), (9, Host::B), (10, Host::A)];
        let seen = seen.map(|(ms, host)| sighting(ms, host));
        let stale = stale_frames(&seen, Host::A, Duration::from_millis(4));
        assert_eq!(stale.iter().map(|frame| frame.at.as_millis()).collect::<Vec<_>>(), [8, 10]);
    }
}
