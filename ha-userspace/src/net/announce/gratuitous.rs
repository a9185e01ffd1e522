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
            News::Failed(Announcement { ifindex, vlan, subject }, error) => {
                warn!(?subject, ifindex, vlan, %error, "cannot announce an address; it is tried again, later failures are only counted");
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
        self.conclude(done);
    }

    /// Everything that failed has left by now.
    fn mend(&mut self) {
        self.failed = 0;
        // A round that is under way for the first time has its own end.
        if self.told.is_some() {
            self.conclude(true);
        }
    }

    fn conclude(&mut self, done: bool) {
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
            let was_failing = self.schedule.failed() > 0;
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
                    self.schedule.fail(clock::now(), announcement);
                    shared.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
            if let Some(report) = &mut self.report {
                report.judge(self.schedule.rounds_done());
                if was_failing && self.schedule.failed() == 0 {
                    report.mend();
                }
            }
        }
    }

    fn send(&mut self, Announcement { ifindex, vlan, subject }: Announcement) -> io::Result<()> {
        let macs = self.roll.macs.get(&ifindex).ok_or(io::ErrorKind::NotFound)?;
        let frame = match subject {
            Subject::Mac(mac) => frame::moved(mac),
            Subject::Address(address) => frame_of(macs, address, self.roll.form),
        };
        self.wire.send(ifindex, &frame::tagged(frame, vlan))
    }
}

/// Longest wait for an order; nothing depends on it, orders wake the thread.
const IDLE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
