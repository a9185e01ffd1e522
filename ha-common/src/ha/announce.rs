//! In which order and at which pace are floating addresses announced?
//!
//! A node that has taken over tells every switch and neighbour where its addresses are now: at once for the first (busiest)
//! ones, then at a pace that switches do not police away, in a few rounds because any frame may be lost, then slowly for
//! ever because tables age. A node that stops serving sends nothing that was still queued.
//!
//! Where a virtual MAC goes with the role, a single frame from it moves all its addresses at once: it goes first.
//!
//! ```text
//!  start ─▶ round 1 ── 1 s ──▶ round 2 ── 1 s ──▶ round 3 ─▶ refresh, spread over 60 s ─▶ refresh …
//!            burst, then 1 frame per 1/rate                        │ hold: pauses here (somebody else announces them too)
//!  stop  ─▶ empty
//! ```
//!
//! A frame that fails before the last round is made up for by the next one. Later it would be missed for a whole refresh, so it is tried again
//! by itself: after a second, then ever more rarely while it goes on failing.

use core::net::IpAddr;
use core::time::Duration;
use std::vec::Vec;

use crate::time::Nanos;

/// How long after a frame of the last round or of the refresh has failed it is tried again; doubled each time that it fails again.
const RETRY: Duration = Duration::from_secs(1);

/// What one frame announces. Order of the list is order of sending: virtual MACs, then addresses, busiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// Interface index of the leg that it leaves on.
    pub ifindex: u32,
    /// VLAN that it leaves in; 0 is untagged.
    pub vlan: u16,
    /// What is there.
    pub subject: Subject,
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A virtual MAC address, to switches.
    Mac([u8; 6]),
    /// A floating address, to everybody.
    Address(IpAddr),
}

/// Pace and number of announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Frames per second, over all legs; at least one. Switches police ARP: with [`Self::burst`] it makes up what they see in a second.
    pub rate: u32,
    /// Frames that may leave back to back before the rate holds; at least one.
    pub burst: u32,
    /// Rounds over all addresses after [`Schedule::start`]; at least one.
    pub rounds: u32,
    /// From the start of one round to the start of the next, unless a round takes longer.
    pub round_gap: Duration,
    /// One more round is spread over each such period, from the end of the last round on: no address waits longer for its next frame.
    /// Zero switches it off.
    pub refresh: Duration,
}

impl Default for Pace {
    /// No second holds more than 1,000 frames: what is policed away would be missed until the next round.
    fn default() -> Self {
        Pace { rate: 968, burst: 32, rounds: 3, round_gap: Duration::from_secs(1), refresh: Duration::from_secs(60) }
    }
}

/// The schedule. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    pace: Pace,
    queue: Vec<Announcement>,
    /// Place in `queue` of the next frame.
    next: usize,
    /// Rounds begun, the present one included; more than `pace.rounds` is a refresh.
    round: u32,
    round_began: Nanos,
    /// The next frame is not due before.
    due: Nanos,
    /// Theoretical arrival time of the rate limiter (GCRA): how far ahead of the rate the burst has run.
    arrival: Nanos,
    held: bool,
    /// Frames that failed and are tried again: at most one for each of `queue`.
    failed: Vec<Failed>,
    /// What was handed out last, if it was one of them: the pause before it.
    again: Option<Duration>,
}

/// A frame that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Failed {
    frame: Announcement,
    due: Nanos,
    pause: Duration,
}

impl Schedule {
    /// A schedule with nothing to announce.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Schedule {
            pace,
            queue: Vec::new(),
            next: 0,
            round: 0,
            round_began: Nanos::NEVER,
            due: Nanos::NEVER,
            arrival: Nanos::NEVER,
            held: false,
            failed: Vec::new(),
            again: None,
        }
    }

    /// Announces `queue` from now on, from the first round, instead of what was announced before.
    pub fn start(&mut self, now: Nanos, queue: Vec<Announcement>) {
        self.queue = queue;
        self.failed.clear();
        self.next = 0;
        self.round = 1;
        self.round_began = now;
        self.due = now;
    }

    /// Rounds that are over since the start.
    #[must_use]
    pub fn rounds_done(&self) -> u32 {
        self.round.saturating_sub(1)
    }

    /// Announces nothing any more: whatever was queued is gone when this returns.
    pub fn stop(&mut self) {
        self.queue.clear();
        self.failed.clear();
        self.next = 0;
    }

    /// Pauses (or resumes) refreshing, when another node announces the same addresses: two announcers would tear at every
    /// table in the segment. The rounds after a claim are not held: that claim was decided.
    pub fn hold_refresh(&mut self, now: Nanos, held: bool) {
        if self.held && !held && self.is_refreshing() {
            self.due = self.due.max(now);
        }
        self.held = held;
    }

    /// When [`Self::poll_frame`] has the next frame; `None` when there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Nanos> {
        let refreshing = self.is_refreshing();
        if self.queue.is_empty() || refreshing && self.held {
            return None;
        }
        let round = (!refreshing || !self.pace.refresh.is_zero()).then_some(self.due);
        let due = round.into_iter().chain(self.failed.iter().map(|failed| failed.due)).min()?;
        let ahead = self.gap().saturating_mul(self.pace.burst.max(1) - 1);
        Some(due.max(self.arrival - ahead))
    }

    /// The frame to send at `now`, if one is due.
    pub fn poll_frame(&mut self, now: Nanos) -> Option<Announcement> {
        if self.poll_timeout()? > now {
            return None;
        }
        let again = self.failed.iter().position(|failed| failed.due <= now).map(|place| self.failed.swap_remove(place));
        self.again = again.map(|failed| failed.pause);
        self.arrival = self.arrival.max(now) + self.gap();
        if let Some(failed) = again {
            return Some(failed.frame);
        }
        let frame = *self.queue.get(self.next)?;
        self.next += 1;
        if self.next == self.queue.len() {
            self.finish_round(now);
        } else if self.is_refreshing() {
            self.due = now + self.refresh_gap();
        }
        Some(frame)
    }

    /// `frame`, which [`Self::poll_frame`] gave last, could not be sent.
    pub fn fail(&mut self, now: Nanos, frame: Announcement) {
        let is_made_up_for = self.round < self.pace.rounds.max(1);
        if is_made_up_for || self.failed.iter().any(|failed| failed.frame == frame) {
            return;
        }
        let pause = self.again.map_or(RETRY, |pause| (pause * 2).min(self.pace.refresh.max(RETRY)));
        self.failed.push(Failed { frame, due: now + pause, pause });
    }

    /// Frames that failed and wait to be tried again.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed.len()
    }

    fn finish_round(&mut self, now: Nanos) {
        self.next = 0;
        self.round = self.round.saturating_add(1);
        self.due =
            if self.is_refreshing() { now + self.refresh_gap() } else { (self.round_began + self.pace.round_gap).max(now) };
        self.round_began = self.due;
    }

    fn is_refreshing(&self) -> bool {
        self.round > self.pace.rounds.max(1)
    }

    /// Time that the rate gives each frame.
    fn gap(&self) -> Duration {
        Duration::from_secs(1) / self.pace.rate.max(1)
    }

    /// Time between two frames of a refresh.
    fn refresh_gap(&self) -> Duration {
        self.pace.refresh / u32::try_from(self.queue.len()).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    const START: Nanos = Nanos(5_000_000_000);

    fn addresses(count: u32) -> Vec<Announcement> {
        let subject = |n| Subject::Address(Ipv4Addr::from_bits(0x0a00_0000 + n).into());
        (0..count).map(|n| Announcement { ifindex: 7, vlan: 0, subject: subject(n) }).collect()
    }

    fn started(count: u32) -> Schedule {
        let mut schedule = Schedule::new(Pace::default());
        schedule.start(START, addresses(count));
        schedule
    }

    /// Every frame until `end`, with the time since the start at which an exact driver would send it.
    fn frames(schedule: &mut Schedule, end: Duration) -> Vec<(Duration, Announcement)> {
        let mut sent = Vec::new();
        while let Some(due) = schedule.poll_timeout().map(|due| due.max(START)).filter(|due| due.since(START) <= end) {
            let frame = schedule.poll_frame(due).expect("a frame is due when the timeout says so");
            sent.push((due.since(START), frame));
            assert!(sent.len() < 100_000, "endless");
        }
        sent
    }

    #[test]
    fn one_address_goes_out_at_once_three_times_a_second_apart_then_each_minute() {
        let at: Vec<u64> = frames(&mut started(1), Duration::from_secs(125)).iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(at, [0, 1, 2, 62, 122]);
    }

    #[test]
    fn busiest_addresses_leave_in_the_burst_and_in_order() {
        let sent = frames(&mut started(100), Duration::from_millis(900));
        assert_eq!(sent.iter().map(|(_, frame)| *frame).collect::<Vec<_>>(), addresses(100));
        assert!(sent[..32].iter().all(|(at, _)| at.is_zero()));
        let gap = Duration::from_secs(1) / Pace::default().rate;
        assert!(sent[32..].windows(2).all(|pair| pair[1].0 - pair[0].0 == gap));
    }

    #[test]
    fn rate_holds_over_rounds_that_overlap_the_gap() {
        let sent = frames(&mut started(2_500), Duration::from_secs(5));
        for window in sent.windows(1_001) {
            assert!(window[1_000].0 - window[0].0 >= Duration::from_secs(1), "more than 1,000 in a second");
        }
        assert_eq!(started(1).rounds_done(), 0);
        assert_eq!(sent[2_500].1, addresses(1)[0], "the next round follows the first without a pause");
    }

    #[test]
    fn a_late_driver_gets_no_more_than_the_burst_at_once() {
        let mut schedule = started(1_000);
        let late = START + Duration::from_millis(500);
        let at_once = core::iter::from_fn(|| schedule.poll_frame(late)).count();
        assert_eq!(at_once, 32);
    }

    #[test]
    fn refresh_is_spread_over_its_period() {
        let sent = frames(&mut started(600), Duration::from_secs(185));
        let refresh = &sent[3 * 600 - 1..];
        assert!(refresh.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(100)));
        assert!(refresh.len() > 3 * 600, "three periods are over");
    }

    #[test]
    fn no_address_waits_longer_than_one_period() {
        let sent = frames(&mut started(600), Duration::from_secs(185));
        for address in addresses(600) {
            let at: Vec<Duration> = sent.iter().filter(|(_, frame)| *frame == address).map(|(at, _)| *at).collect();
            assert!(
                at.len() > 5 && at.windows(2).all(|pair| pair[1] - pair[0] <= Pace::default().refresh),
                "{address:?}: {at:?}"
            );
        }
    }

    #[test]
    fn a_stopped_node_sends_nothing_that_was_queued() {
        let mut schedule = started(1_000);
        assert!(schedule.poll_frame(START).is_some());
        schedule.stop();
        assert_eq!(schedule.poll_timeout(), None);
        assert_eq!(schedule.poll_frame(START + Duration::from_secs(100)), None);
    }

    #[test]
    fn holding_stops_the_refresh_but_not_the_rounds_after_a_claim() {
        let mut schedule = started(1);
        schedule.hold_refresh(START, true);
        assert_eq!(frames(&mut schedule, Duration::from_secs(300)).len(), 3);
        schedule.hold_refresh(START + Duration::from_secs(300), false);
        assert_eq!(schedule.poll_timeout(), Some(START + Duration::from_secs(300)));
    }

    #[test]
    fn a_frame_that_fails_in_the_last_round_is_tried_again_soon_and_then_ever_more_rarely() {
        let mut schedule = started(2);
        let (bad, good) = (addresses(2)[0], addresses(2)[1]);
        let mut tried = Vec::new();
        while let Some(due) = schedule.poll_timeout().filter(|due| due.since(START) < Duration::from_secs(40)) {
            let frame = schedule.poll_frame(due).unwrap();
            if frame == bad {
                tried.push(due.since(START).as_secs());
                schedule.fail(due, frame);
            } else {
                assert_eq!(frame, good);
            }
        }
        assert_eq!(tried, [0, 1, 2, 3, 5, 9, 17, 32, 33], "three rounds, tries after 1, 2, 4, 8, 16 s, the refresh at 32 s");
    }

    #[test]
    fn frames_that_failed_keep_the_rate_and_are_forgotten_with_the_role() {
        let mut schedule = started(500);
        let mut sent: Vec<Duration> = Vec::new();
        while let Some(due) = schedule.poll_timeout().filter(|due| due.since(START) < Duration::from_secs(8)) {
            let frame = schedule.poll_frame(due).unwrap();
            schedule.fail(due, frame);
            sent.push(due.since(START));
        }
        for window in sent.windows(1_001) {
            assert!(window[1_000] - window[0] >= Duration::from_secs(1), "more than 1,000 in a second");
        }
        assert_eq!(schedule.failed(), 500, "each waits once");
        schedule.hold_refresh(START, true);
        assert_eq!(schedule.poll_timeout(), None, "somebody else announces them");
        schedule.hold_refresh(START, false);
        schedule.stop();
        assert_eq!((schedule.failed(), schedule.poll_timeout()), (0, None));
    }

    #[test]
    fn starting_again_begins_with_the_first_round_of_the_new_list() {
        let mut schedule = started(10);
        schedule.poll_frame(START);
        schedule.start(START, addresses(1));
        assert_eq!(frames(&mut schedule, Duration::from_secs(3)).len(), 3);
    }
}
