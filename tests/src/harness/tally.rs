//! What became of each probe: written by prober and tap while it happens, read by screen and report.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::frame::ASKERS;
use super::topology::Host;

/// Most probes of one tally: 20 minutes at one per millisecond.
pub const MAX_PROBES: usize = 1_200_000;

/// A question asked with each probe, and who may answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Unicast ICMP echo.
    Echo = 0,
    /// Broadcast ARP request.
    Arp = 1,
    /// Neighbour solicitation.
    Neighbor = 2,
}

/// The client received the echo reply in time.
const ANSWERED: u8 = 1 << 6;

/// All probes by index.
pub struct Tally {
    sent: AtomicU32,
    late_max: AtomicU64,
    /// Time of sending, ns on the monotonic clock.
    times: Box<[AtomicU64]>,
    /// Bit `2 * question + host`: the switch saw this host answer; [`ANSWERED`].
    marks: Box<[AtomicU8]>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            sent: AtomicU32::new(0),
            late_max: AtomicU64::new(0),
            times: (0..MAX_PROBES).map(|_| AtomicU64::new(0)).collect(),
            marks: (0..MAX_PROBES).map(|_| AtomicU8::new(0)).collect(),
        }
    }
}

impl Tally {
    /// Notes that the next probe is about to be sent, `late` after its time; its index, unless the tally is full.
    pub fn send(&self, at: Duration, late: Duration) -> Option<u32> {
        let index = self.sent.load(Ordering::Relaxed);
        self.times.get(index as usize)?.store(at.as_nanos() as u64, Ordering::Relaxed);
        self.late_max.fetch_max(late.as_nanos() as u64, Ordering::Relaxed);
        self.sent.store(index + 1, Ordering::Release);
        Some(index)
    }

    /// Notes that the client received the answer to probe `index`.
    pub fn answered(&self, index: u32) {
        self.mark(index, ANSWERED);
    }

    /// Notes that the switch saw `host` answer `question` of probe `index`.
    pub fn seen(&self, index: u32, question: Question, host: Host) {
        self.mark(index, bit(question, host));
    }

    /// Number of probes sent so far; also the next one's index.
    pub fn sent(&self) -> u32 {
        self.sent.load(Ordering::Acquire)
    }

    /// The prober's worst lateness since this was last asked.
    pub fn take_late_max(&self) -> Duration {
        Duration::from_nanos(self.late_max.swap(0, Ordering::Relaxed))
    }

    /// When probe `index` was sent.
    pub fn time(&self, index: u32) -> Duration {
        Duration::from_nanos(self.times[index as usize].load(Ordering::Relaxed))
    }

    /// Whether the client received the answer to probe `index`.
    pub fn is_answered(&self, index: u32) -> bool {
        self.marks(index) & ANSWERED != 0
    }

    /// Whether `host` answered `question` of probe `index`.
    pub fn is_seen(&self, index: u32, question: Question, host: Host) -> bool {
        self.marks(index) & bit(question, host) != 0
    }

    /// Whether both hosts answered one and the same question of probe `index`.
    pub fn is_answered_by_both(&self, index: u32) -> bool {
        let marks = self.marks(index);
        [Question::Echo, Question::Arp, Question::Neighbor]
            .iter()
            .any(|question| Host::BOTH.iter().all(|host| marks & bit(*question, *host) != 0))
    }

    /// The probe whose broadcast question `asker` asked last at or before `at`.
    pub fn asked_by(&self, asker: u32, at: Duration) -> Option<u32> {
        let sent = self.sent();
        let recent = sent.saturating_sub(1000)..sent;
        recent.rev().find(|index| index % ASKERS == asker && self.time(*index) <= at)
    }

    fn marks(&self, index: u32) -> u8 {
        self.marks[index as usize].load(Ordering::Relaxed)
    }

    fn mark(&self, index: u32, mark: u8) {
        if index < self.sent() {
            self.marks[index as usize].fetch_or(mark, Ordering::Relaxed);
        }
    }
}

fn bit(question: Question, host: Host) -> u8 {
    1 << (2 * question as u8 + host as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_questions_answered_by_different_hosts_are_no_conflict() {
        let tally = Tally::default();
        let index = tally.send(Duration::from_millis(1), Duration::ZERO).unwrap();
        tally.seen(index, Question::Arp, Host::A);
        tally.seen(index, Question::Neighbor, Host::B);
        assert!(!tally.is_answered_by_both(index));
        tally.seen(index, Question::Arp, Host::B);
        assert!(tally.is_answered_by_both(index));
    }

    #[test]
    fn late_answer_is_credited_to_the_question_before_it() {
        let tally = Tally::default();
        for ms in 0..100 {
            tally.send(Duration::from_millis(ms), Duration::ZERO).unwrap();
        }
        assert_eq!(tally.asked_by(3, Duration::from_millis(70)), Some(67));
        assert_eq!(tally.asked_by(3, Duration::from_millis(66)), Some(35));
    }
}
