//! Announces floating addresses on their own segments: the thread that sends what the [`Schedule`] says.
//!
//! The real-time thread that decides who serves only stores a number and queues a message; it never waits for a frame.
//! Stopping takes effect at that store: a frame that is being sent at that very moment is the last one, and the kernel's
//! egress guard has the final word on it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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

/// What there is to log of this. The thread itself never does: whoever reads the log may be slow, and every frame would wait for it.
#[derive(Debug)]
pub enum News {
    /// A roll of so many frames is announced from now on.
    Begun(usize),
    /// The first frame of a roll that could not be sent, and why.
    Failed(Announcement, io::Error),
}

impl News {
    /// Writes it to the log.
    pub fn log(&self) {
        match self {
            News::Begun(frames) => info!(frames, "announcing floating addresses"),
            News::Failed(Announcement { ifindex, subject }, error) => {
                warn!(?subject, ifindex, %error, "cannot announce an address; it is tried again, later failures are only counted");
            }
        }
    }
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
    Start { epoch: u64, roll: Arc<Roll>, term: Term, outcome: Outcome },
    Hold(bool),
    Wake,
}

impl Gratuitous {
    /// Begins the thread in this thread's network namespace, with nothing to announce; `tell` gets what is to be logged, and must
    /// not wait.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn spawn(pace: Pace, tell: impl Fn(News) + Send + 'static) -> io::Result<Self> {
        Self::spawn_on(pace, Sockets::default(), tell)
    }

    fn spawn_on(pace: Pace, wire: impl Wire, tell: impl Fn(News) + Send + 'static) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let worker = Worker::new(pace, wire, Box::new(tell));
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
    fn announce(&self, term: Term, roll: &Arc<Roll>, outcome: Outcome) {
        let epoch = self.shared.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        self.order(Order::Start { epoch, roll: Arc::clone(roll), term, outcome });
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

/// What frames leave by.
trait Wire: Send + 'static {
    fn send(&mut self, ifindex: u32, frame: &[u8]) -> io::Result<()>;

    /// Nothing leaves on other interfaces than `legs` any more. May take tens of milliseconds.
    fn keep(&mut self, _legs: &BTreeMap<u32, [[u8; 6]; 2]>) {}
}

/// By interface index; opened at the first frame.
#[derive(Default)]
struct Sockets(BTreeMap<u32, RawSocket>);

impl Wire for Sockets {
    fn send(&mut self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let socket = match self.0.entry(ifindex) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => place.insert(RawSocket::open(ifindex)?),
        };
        let sent = socket.send(frame);
        if sent.is_err() {
            // The interface may have gone and come back; the next frame finds out.
            self.0.remove(&ifindex);
        }
        sent
    }

    fn keep(&mut self, legs: &BTreeMap<u32, [[u8; 6]; 2]>) {
        self.0.retain(|ifindex, _| legs.contains_key(ifindex));
    }
}

struct Worker<W> {
    schedule: Schedule,
    roll: Arc<Roll>,
    wire: W,
    epoch: u64,
    report: Option<Report>,
    tell: Box<dyn Fn(News) + Send>,
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
    /// Whether a failure was logged.
    logged: bool,
}

impl Report {
    /// Counts a frame that failed; whether it was the first of the roll.
    fn fail(&mut self) -> bool {
        self.failed += 1;
        !std::mem::replace(&mut self.logged, true)
    }

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

impl<W: Wire> Worker<W> {
    fn new(pace: Pace, wire: W, tell: Box<dyn Fn(News) + Send>) -> Self {
        Worker { schedule: Schedule::new(pace), roll: Arc::default(), wire, epoch: 0, report: None, tell }
    }

    fn run(mut self, orders: &Receiver<Order>, shared: &Shared) {
        while !shared.ends.load(Ordering::SeqCst) {
            let now = clock::now();
            let wait = self.schedule.poll_timeout().map_or(IDLE, |due| due.since(now).min(IDLE));
            match orders.recv_timeout(wait) {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.send_due(shared);
        }
    }

    fn take(&mut self, order: Order) {
        let now = clock::now();
        match order {
            // Overtaken by a newer one.
            Order::Start { epoch, .. } if epoch < self.epoch => {}
            Order::Start { epoch, roll, term, outcome } => {
                self.epoch = epoch;
                self.schedule.start(now, roll.announcements.clone());
                (self.tell)(News::Begun(roll.announcements.len()));
                let mut report = Report { term, outcome, failed: 0, rounds: 0, told: None, logged: false };
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
                // Only now: the kernel takes tens of milliseconds to close a socket.
                self.wire.keep(&self.roll.macs);
                return;
            };
            match self.send(announcement) {
                Ok(()) => shared.sent.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    if self.report.as_mut().is_some_and(Report::fail) {
                        (self.tell)(News::Failed(announcement, error));
                    }
                    shared.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
            if let Some(report) = &mut self.report {
                report.judge(self.schedule.rounds_done());
            }
        }
    }

    fn send(&mut self, Announcement { ifindex, subject }: Announcement) -> io::Result<()> {
        let macs = self.roll.macs.get(&ifindex).ok_or(io::ErrorKind::NotFound)?;
        let frame = match subject {
            Subject::Mac(mac) => frame::moved(mac),
            Subject::Address(address) => frame_of(macs, address, self.roll.form),
        };
        self.wire.send(ifindex, &frame)
    }
}

/// Longest wait for an order; nothing depends on it, orders wake the thread.
const IDLE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::*;
    use crate::net::announce::Announcers;

    const TERM: Term = Term::new(1, 1);

    fn roll(count: u32) -> Arc<Roll> {
        let loopback = nix::net::if_::if_nametoindex("lo").expect("there is a loopback interface");
        let address = |n| Subject::Address(Ipv4Addr::from_bits(0x7f00_1000 + n).into());
        let announcements = (0..count).map(|n| Announcement { ifindex: loopback, subject: address(n) });
        let macs = [(loopback, [[2, 0, 0, 0, 0, 9]; 2])].into();
        Arc::new(Roll { announcements: announcements.collect(), macs, ..Roll::default() })
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
        let announcements = Gratuitous::spawn(Pace { burst: 1, ..Pace::default() }, drop).unwrap();
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

    fn outcome_of(roll: &Arc<Roll>) -> (Term, bool) {
        let (told, outcome) = mpsc::channel();
        let announcements = Gratuitous::spawn(Pace::default(), drop).unwrap();
        announcements.announce(TERM, roll, Arc::new(move |term, done| told.send((term, done)).expect("is listened to")));
        outcome.recv_timeout(Duration::from_secs(5)).expect("told after the first round")
    }

    #[test]
    fn a_round_that_left_is_done_and_one_on_an_interface_that_is_not_there_has_failed() {
        assert_eq!(outcome_of(&Arc::default()), (TERM, true), "nothing to announce");
        let mut nowhere = roll(3);
        Arc::make_mut(&mut nowhere).announcements[1].ifindex = 9_999;
        assert_eq!(outcome_of(&nowhere), (TERM, false));
    }

    const GOOD: u32 = 1;
    const BAD: u32 = 2;

    /// Tells of each frame on which leg it left; one leg refuses them as long as it shall.
    #[derive(Clone)]
    struct Legs {
        left: Sender<u32>,
        refuses: Arc<AtomicBool>,
    }

    impl Wire for Legs {
        fn send(&mut self, ifindex: u32, _: &[u8]) -> io::Result<()> {
            if ifindex == BAD && self.refuses.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::NetworkDown.into());
            }
            let _ = self.left.send(ifindex);
            Ok(())
        }
    }

    fn legs() -> (Legs, Receiver<u32>) {
        let (left, on) = mpsc::channel();
        (Legs { left, refuses: Arc::new(AtomicBool::new(true)) }, on)
    }

    fn roll_on(legs: &[u32]) -> Arc<Roll> {
        let subject = Subject::Address(Ipv4Addr::new(10, 1, 0, 100).into());
        let announcements = legs.iter().map(|&ifindex| Announcement { ifindex, subject }).collect();
        Arc::new(Roll { announcements, macs: legs.iter().map(|&leg| (leg, [[2; 6]; 2])).collect(), ..Roll::default() })
    }

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_leg_that_refuses_frames_keeps_no_other_from_its_rounds_and_its_refresh_and_is_done_when_it_recovers() {
        let (wire, on) = legs();
        let refuses = Arc::clone(&wire.refuses);
        let pace = Pace { round_gap: Duration::from_millis(5), refresh: Duration::from_millis(20), ..Pace::default() };
        let (told, outcome) = mpsc::channel();
        let (news, logged) = mpsc::channel();
        let gratuitous = Gratuitous::spawn_on(pace, wire, move |told| news.send(told).unwrap()).unwrap();
        let all = Announcers::new(vec![Box::new(gratuitous)], Arc::new(move |term, done| told.send((term, done)).unwrap()));
        let roll = roll_on(&[BAD, GOOD]);
        all.announce(TERM, &roll);
        assert_eq!(outcome.recv_timeout(PATIENCE), Ok((TERM, false)));
        for _ in 0..pace.rounds + 3 {
            assert_eq!(on.recv_timeout(PATIENCE), Ok(GOOD));
            // As the machine does each second after a failure.
            all.announce(TERM, &roll);
        }
        refuses.store(false, Ordering::SeqCst);
        assert_eq!(outcome.recv_timeout(PATIENCE), Ok((TERM, true)));
        drop(all);
        let logged: Vec<News> = logged.iter().collect();
        assert!(matches!(logged[..], [News::Begun(2), News::Failed(Announcement { ifindex: BAD, .. }, _)]), "{logged:?}");
    }

    #[test]
    fn an_order_that_was_overtaken_does_not_silence_the_newer_one() {
        let (wire, on) = legs();
        let mut worker = Worker::new(Pace::default(), wire, Box::new(drop));
        let shared = Shared { epoch: AtomicU64::new(2), ..Shared::default() };
        let start = |epoch, roll| Order::Start { epoch, roll, term: TERM, outcome: nobody() };
        worker.take(start(2, roll_on(&[GOOD])));
        worker.take(start(1, roll_on(&[GOOD, GOOD])));
        worker.send_due(&shared);
        assert_eq!(on.try_iter().count(), 1);
        assert!(worker.schedule.poll_timeout().is_some(), "there are rounds to come");
    }
}
