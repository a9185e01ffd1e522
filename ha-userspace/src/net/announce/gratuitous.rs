//! Announces floating addresses on their own segments: the thread that sends what the [`Schedule`] says.
//!
//! The real-time thread that decides who serves only stores a number and queues a message; it never waits for a frame.
//! Stopping takes effect at that store: a frame that is being sent at that very moment is the last one, and the kernel's
//! egress guard has the final word on it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use ha_common::abi::Term;
use ha_common::ha::announce::{Announcement, Pace, Schedule, Subject};
use tracing::{info, warn};

use super::{Announcer, Outcome, Roll, frame as frame_of};
use crate::net::frame;
use crate::net::raw::RawSocket;
use crate::{clock, realtime};

/// Frames since the thread began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the kernel.
    pub sent: u64,
    /// Refused by the kernel (leg down, queue full).
    pub failed: u64,
}

/// Gratuitous ARP, unsolicited neighbour advertisements, and a frame from each virtual MAC; done when the first round left. The
/// thread's end in the hands of others: dropping it ends the thread.
#[derive(Debug)]
pub struct Gratuitous {
    orders: Sender<Order>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Counts starts and stops; an order of an older epoch is void.
    epoch: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    ends: AtomicBool,
}

enum Order {
    Start { epoch: u64, roll: Roll, term: Term, outcome: Outcome },
    Hold(bool),
    Wake,
}

impl Gratuitous {
    /// Begins the thread in this thread's network namespace, with nothing to announce.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn spawn(pace: Pace) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let worker =
            Worker { schedule: Schedule::new(pace), roll: Roll::default(), sockets: BTreeMap::new(), epoch: 0, report: None };
        let thread = realtime::spawn("announce", realtime::ANNOUNCE_PRIORITY, {
            let shared = Arc::clone(&shared);
            move || worker.run(&received, &shared)
        })?;
        Ok(Gratuitous { orders, shared, thread: Some(thread) })
    }

    /// Frames so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { sent: self.shared.sent.load(Ordering::Relaxed), failed: self.shared.failed.load(Ordering::Relaxed) }
    }

    fn order(&self, order: Order) {
        // The thread ends only when this is dropped, or by a panic, which the log has shown.
        let _ = self.orders.send(order);
    }
}

impl Announcer for Gratuitous {
    fn announce(&self, term: Term, roll: &Roll, outcome: Outcome) {
        let epoch = self.shared.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        self.order(Order::Start { epoch, roll: roll.clone(), term, outcome });
    }

    fn hold_refresh(&self, held: bool) {
        self.order(Order::Hold(held));
    }

    fn withdraw(&self) {
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.order(Order::Wake);
    }
}

impl Drop for Gratuitous {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.withdraw();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    schedule: Schedule,
    roll: Roll,
    /// By interface index; opened at the first frame.
    sockets: BTreeMap<u32, RawSocket>,
    epoch: u64,
    report: Option<Report>,
}

/// What is to be told of the present roll.
struct Report {
    term: Term,
    outcome: Outcome,
    /// Frames of this round that failed.
    failed: u64,
    /// Rounds that were judged.
    rounds: u32,
    told: Option<bool>,
}

impl Report {
    /// Tells what came of a round that is over.
    fn judge(&mut self, rounds_done: u32) {
        if rounds_done == self.rounds {
            return;
        }
        let done = self.failed == 0;
        (self.rounds, self.failed) = (rounds_done, 0);
        if self.told != Some(done) {
            self.told = Some(done);
            (self.outcome)(self.term, done);
        }
    }
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>, shared: &Shared) {
        while !shared.ends.load(Ordering::SeqCst) {
            let now = clock::now();
            let wait = self.schedule.poll_timeout().map_or(IDLE, |due| due.since(now).min(IDLE));
            match orders.recv_timeout(wait) {
                Ok(order) => {
                    let begun = matches!(order, Order::Start { .. });
                    self.take(order);
                    self.send_due(shared);
                    // Only now: whoever reads the log may be slow.
                    if begun {
                        info!(frames = self.roll.announcements.len(), "announcing floating addresses");
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.send_due(shared),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, order: Order) {
        let now = clock::now();
        match order {
            Order::Start { epoch, roll, term, outcome } => {
                self.epoch = epoch;
                self.schedule.start(now, roll.announcements.clone());
                let mut report = Report { term, outcome, failed: 0, rounds: 0, told: None };
                if roll.announcements.is_empty() {
                    // Nothing to do is done.
                    report.judge(1);
                }
                self.report = Some(report);
                self.roll = roll;
            }
            Order::Hold(held) => self.schedule.hold_refresh(now, held),
            Order::Wake => {}
        }
    }

    fn send_due(&mut self, shared: &Shared) {
        loop {
            if shared.epoch.load(Ordering::SeqCst) != self.epoch {
                self.schedule.stop();
                return;
            }
            let Some(announcement) = self.schedule.poll_frame(clock::now()) else {
                // Only now: the kernel takes tens of milliseconds to close such a socket.
                self.sockets.retain(|ifindex, _| self.roll.macs.contains_key(ifindex));
                return;
            };
            match self.send(announcement) {
                Ok(()) => shared.sent.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    if let Some(report) = &mut self.report {
                        report.failed += 1;
                    }
                    if shared.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                        let Announcement { ifindex, subject } = announcement;
                        warn!(?subject, ifindex, %error, "cannot announce an address; later failures are only counted");
                    }
                    0
                }
            };
            if let Some(report) = &mut self.report {
                report.judge(self.schedule.rounds_done());
            }
        }
    }

    fn send(&mut self, Announcement { ifindex, subject }: Announcement) -> io::Result<()> {
        let macs = *self.roll.macs.get(&ifindex).ok_or(io::ErrorKind::NotFound)?;
        let frame = match subject {
            Subject::Mac(mac) => frame::moved(mac),
            Subject::Address(address) => frame_of(&macs, address, self.roll.form),
        };
        let socket = match self.sockets.entry(ifindex) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(RawSocket::open(ifindex)?),
        };
        let sent = socket.send(&frame);
        if sent.is_err() {
            // The interface may have gone and come back; the next frame finds out.
            self.sockets.remove(&ifindex);
        }
        sent
    }
}

/// Longest wait for an order; nothing depends on it, orders wake the thread.
const IDLE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::*;

    const TERM: Term = Term::new(1, 1);

    fn roll(count: u32) -> Roll {
        let loopback = nix::net::if_::if_nametoindex("lo").expect("there is a loopback interface");
        let address = |n| Subject::Address(Ipv4Addr::from_bits(0x7f00_1000 + n).into());
        let announcements = (0..count).map(|n| Announcement { ifindex: loopback, subject: address(n) });
        Roll { announcements: announcements.collect(), macs: [(loopback, [[2, 0, 0, 0, 0, 9]; 2])].into(), ..Roll::default() }
    }

    fn nobody() -> Outcome {
        Arc::new(|_, _| {})
    }

    fn handled(announcements: &Gratuitous) -> u64 {
        let Counts { sent, failed } = announcements.counts();
        sent + failed
    }

    fn wait_for(announcements: &Gratuitous, count: u64) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while handled(announcements) < count {
            assert!(Instant::now() < deadline, "only {} of {count} frames in five seconds", handled(announcements));
            std::thread::yield_now();
        }
    }

    /// Frames count as handled whether or not this test may open raw sockets.
    #[test]
    fn stopping_leaves_the_queue_unsent_and_starting_begins_anew() {
        let announcements = Gratuitous::spawn(Pace { burst: 1, ..Pace::default() }).unwrap();
        announcements.announce(TERM, &roll(5_000), nobody());
        wait_for(&announcements, 3);
        announcements.withdraw();
        let after_stop = handled(&announcements);
        assert!(after_stop < 5_000);
        announcements.announce(TERM, &roll(1), nobody());
        // At most the one frame that was in the thread's hands when it was stopped, then the new list's first.
        wait_for(&announcements, after_stop + 1);
        assert!(handled(&announcements) <= after_stop + 2);
    }

    fn outcome_of(roll: &Roll) -> (Term, bool) {
        let (told, outcome) = mpsc::channel();
        let announcements = Gratuitous::spawn(Pace::default()).unwrap();
        announcements.announce(TERM, roll, Arc::new(move |term, done| told.send((term, done)).expect("is listened to")));
        outcome.recv_timeout(Duration::from_secs(5)).expect("told after the first round")
    }

    #[test]
    fn a_round_that_left_is_done_and_one_on_an_interface_that_is_not_there_has_failed() {
        assert_eq!(outcome_of(&Roll::default()), (TERM, true), "nothing to announce");
        let mut nowhere = roll(3);
        nowhere.announcements[1].ifindex = 9_999;
        assert_eq!(outcome_of(&nowhere), (TERM, false));
    }
}
