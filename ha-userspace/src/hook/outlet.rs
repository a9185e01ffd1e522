//! One way out: a bounded queue, a thread, counts.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;

use tracing::warn;

use super::ledger::Ledger;
use super::{Notice, Settings};

/// Notices that wait for one way out; more are lost, and counted.
pub const QUEUE_MAX: usize = 256;

/// What became of the notices for one way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Delivered.
    pub delivered: u64,
    /// Given up: refused, failed or not in time.
    pub failed: u64,
    /// Lost because the queue was full.
    pub lost: u64,
    /// Why the last one that failed did.
    pub last_error: Option<String>,
}

/// Delivers one notice, before which so many were lost; the error says what failed on what. One that is not configured any more has
/// nothing to do.
pub type Deliver = fn(&Notice, u64, &Settings) -> Result<(), String>;

#[derive(Debug)]
pub struct Outlet {
    queue: SyncSender<Arc<Notice>>,
    tally: Arc<Tally>,
    ledger: Arc<Ledger>,
}

#[derive(Debug, Default)]
struct Tally {
    delivered: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Outlet {
    /// Starts the thread, which ends with this.
    pub fn spawn(name: &str, settings: Arc<RwLock<Settings>>, ledger: Arc<Ledger>, deliver: Deliver) -> io::Result<Outlet> {
        let (queue, waiting) = sync_channel::<Arc<Notice>>(QUEUE_MAX);
        let tally = Arc::new(Tally::default());
        let (counted, closed) = (Arc::clone(&tally), Arc::clone(&ledger));
        let run = move || {
            let mut told_lost = 0;
            while let Ok(notice) = waiting.recv() {
                let settings = settings.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
                counted.deliver(&notice, &mut told_lost, &settings, deliver);
                closed.close();
            }
        };
        thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Outlet { queue, tally, ledger })
    }

    /// Queues a notice, or counts it as lost. Never waits.
    pub fn put(&self, notice: Arc<Notice>) {
        // Before the thread can close it.
        self.ledger.open();
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(notice) {
            self.ledger.close();
            self.tally.lost.fetch_add(1, Relaxed);
        }
    }

    pub fn counts(&self) -> Counts {
        let Tally { delivered, failed, lost, last_error } = &*self.tally;
        let last_error = last_error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        Counts { delivered: delivered.load(Relaxed), failed: failed.load(Relaxed), lost: lost.load(Relaxed), last_error }
    }
}

impl Tally {
    fn deliver(&self, notice: &Notice, told_lost: &mut u64, settings: &Settings, deliver: Deliver) {
        let lost = self.lost.load(Relaxed);
        match deliver(notice, lost - *told_lost, settings) {
            Ok(()) => {
                *told_lost = lost;
                self.delivered.fetch_add(1, Relaxed);
            }
            Err(error) => {
                self.failed.fetch_add(1, Relaxed);
                warn!(error, notice = notice.text(), "hook");
                *self.last_error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{LazyLock, Mutex};
    use std::time::Duration;

    use super::super::notice::tests::transition;
    use super::*;

    /// What the slow delivery below is given, and what it waits for.
    static LOST: LazyLock<(Sender<u64>, Mutex<Receiver<u64>>)> = LazyLock::new(|| {
        let (sender, receiver) = channel();
        (sender, Mutex::new(receiver))
    });
    static GATE: Mutex<()> = Mutex::new(());

    fn slow(_: &Notice, lost: u64, _: &Settings) -> Result<(), String> {
        LOST.0.send(lost).unwrap();
        drop(GATE.lock());
        Ok(())
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_with_the_next_one_that_is_delivered() {
        let lost = LOST.1.lock().unwrap();
        let closed = GATE.lock().unwrap();
        let outlet = Outlet::spawn("slow", Arc::default(), Arc::default(), slow).unwrap();
        let notice = Arc::new(transition());
        outlet.put(Arc::clone(&notice));
        let within = Duration::from_secs(10);
        assert_eq!(lost.recv_timeout(within), Ok(0), "one is in the thread's hands");
        for _ in 0..QUEUE_MAX + 7 {
            outlet.put(Arc::clone(&notice));
        }
        assert_eq!(outlet.counts().lost, 7);
        drop(closed);
        assert_eq!(lost.recv_timeout(within), Ok(7));
        for _ in 1..QUEUE_MAX {
            assert_eq!(lost.recv_timeout(within), Ok(0), "told once");
        }
    }
}
