//! Announces floating addresses: the thread that sends what the [`Announcer`] schedules.
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

use ha_common::ha::announce::{Announcement, Announcer, Pace};
use tracing::{info, warn};

use super::{frame, raw::RawSocket};
use crate::{clock, realtime};

/// What to announce: addresses in the order of sending, and the MAC address of each leg among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// Busiest address first.
    pub announcements: Vec<Announcement>,
    /// MAC address by interface index: what the leg's frames say.
    pub macs: BTreeMap<u32, [u8; 6]>,
}

/// Frames since the thread began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the kernel.
    pub sent: u64,
    /// Refused by the kernel (leg down, queue full).
    pub failed: u64,
}

/// The thread's end in the hands of others. Dropping it ends the thread.
#[derive(Debug)]
pub struct Announcements {
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

#[derive(Debug)]
enum Order {
    Start { epoch: u64, roll: Roll },
    Hold(bool),
    Wake,
}

impl Announcements {
    /// Begins the thread in this thread's network namespace, with nothing to announce.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn spawn(pace: Pace) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let worker = Worker { announcer: Announcer::new(pace), roll: Roll::default(), sockets: BTreeMap::new(), epoch: 0 };
        let thread = realtime::spawn("announce", realtime::ANNOUNCE_PRIORITY, {
            let shared = Arc::clone(&shared);
            move || worker.run(&received, &shared)
        })?;
        Ok(Announcements { orders, shared, thread: Some(thread) })
    }

    /// Announces `roll` from the first round on, instead of what was announced before.
    pub fn start(&self, roll: Roll) {
        let epoch = self.shared.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        self.order(Order::Start { epoch, roll });
    }

    /// Sends nothing any more, whatever was queued. Does not wait.
    pub fn stop(&self) {
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.order(Order::Wake);
    }

    /// Pauses or resumes the slow refresh. See [`Announcer::hold_refresh`].
    pub fn hold_refresh(&self, held: bool) {
        self.order(Order::Hold(held));
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

impl Drop for Announcements {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    announcer: Announcer,
    roll: Roll,
    /// By interface index; opened at the first frame.
    sockets: BTreeMap<u32, RawSocket>,
    epoch: u64,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>, shared: &Shared) {
        while !shared.ends.load(Ordering::SeqCst) {
            let now = clock::now();
            let wait = self.announcer.poll_timeout().map_or(IDLE, |due| due.since(now).min(IDLE));
            match orders.recv_timeout(wait) {
                Ok(order) => {
                    let begun = matches!(order, Order::Start { .. });
                    self.take(order);
                    self.send_due(shared);
                    // Only now: whoever reads the log may be slow.
                    if begun {
                        info!(addresses = self.roll.announcements.len(), "announcing floating addresses");
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
            Order::Start { epoch, roll } => {
                self.epoch = epoch;
                self.announcer.start(now, roll.announcements.clone());
                self.roll = roll;
            }
            Order::Hold(held) => self.announcer.hold_refresh(now, held),
            Order::Wake => {}
        }
    }

    fn send_due(&mut self, shared: &Shared) {
        loop {
            if shared.epoch.load(Ordering::SeqCst) != self.epoch {
                self.announcer.stop();
                return;
            }
            let Some(announcement) = self.announcer.poll_frame(clock::now()) else {
                // Only now: the kernel takes tens of milliseconds to close such a socket.
                self.sockets.retain(|ifindex, _| self.roll.macs.contains_key(ifindex));
                return;
            };
            match self.send(announcement) {
                Ok(()) => shared.sent.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    if shared.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                        let Announcement { ifindex, address } = announcement;
                        warn!(%address, ifindex, %error, "cannot announce an address; later failures are only counted");
                    }
                    0
                }
            };
        }
    }

    fn send(&mut self, Announcement { ifindex, address }: Announcement) -> io::Result<()> {
        let mac = *self.roll.macs.get(&ifindex).ok_or(io::ErrorKind::NotFound)?;
        let socket = match self.sockets.entry(ifindex) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(RawSocket::open(ifindex)?),
        };
        let sent = socket.send(&frame::announcement(mac, address));
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

    fn roll(count: u32) -> Roll {
        let loopback = nix::net::if_::if_nametoindex("lo").expect("there is a loopback interface");
        let announcements =
            (0..count).map(|n| Announcement { ifindex: loopback, address: Ipv4Addr::from_bits(0x7f00_1000 + n).into() });
        Roll { announcements: announcements.collect(), macs: [(loopback, [2, 0, 0, 0, 0, 9])].into() }
    }

    fn handled(announcements: &Announcements) -> u64 {
        let Counts { sent, failed } = announcements.counts();
        sent + failed
    }

    fn wait_for(announcements: &Announcements, count: u64) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while handled(announcements) < count {
            assert!(Instant::now() < deadline, "only {} of {count} frames in five seconds", handled(announcements));
            std::thread::yield_now();
        }
    }

    /// Frames count as handled whether or not this test may open raw sockets.
    #[test]
    fn stopping_leaves_the_queue_unsent_and_starting_begins_anew() {
        let announcements = Announcements::spawn(Pace { burst: 1, ..Pace::default() }).unwrap();
        announcements.start(roll(5_000));
        wait_for(&announcements, 3);
        announcements.stop();
        let after_stop = handled(&announcements);
        assert!(after_stop < 5_000);
        announcements.start(roll(1));
        // At most the one frame that was in the thread's hands when it was stopped, then the new list's first.
        wait_for(&announcements, after_stop + 1);
        assert!(handled(&announcements) <= after_stop + 2);
    }
}
