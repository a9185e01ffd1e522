//! The record of the HA machine's inputs: kept all the time, bounded, so that what went wrong can be repeated afterwards.
//!
//! ```text
//!   driver ── page of entries (bounded queue, never waits) ──▶ thread "record" ──▶ STATE/record, STATE/record.old
//! ```
//!
//! The driver only collects entries; serialising, compressing and writing are the thread's. A page that the queue does not take is
//! lost and counted, and the next one starts with the machine's whole state, so that it can be replayed by itself. The same happens when
//! a segment is full: the next page begins a new one. No secret is in there: the machine knows of keys only their names.

mod segment;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ha_common::ha::machine::Machine;
use ha_common::ha::record::{Entry, Recorded};
use ha_common::time::Nanos;

use segment::Segments;
pub use segment::{Damaged, read};

use crate::alarm::{Board, Kind};

/// Pages that may wait for the disk.
const QUEUE: usize = 64;

/// How long entries stay with the driver at most.
const PAGE_AGE: Duration = Duration::from_secs(1);

/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(10);

/// What the alarm is about.
const SUBJECT: &str = "record";

/// The way to the thread.
#[derive(Clone, Debug)]
pub struct Pages {
    queue: SyncSender<Vec<Entry>>,
    /// The thread wants a page that a replay can start from.
    wants_state: Arc<AtomicBool>,
}

impl Pages {
    /// Starts the thread, which keeps `megabytes` (of two to the twentieth) in `dir`.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn spawn(dir: &Path, megabytes: u64, board: Board) -> std::io::Result<Pages> {
        let (queue, pages) = sync_channel(QUEUE);
        let wants_state = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            segments: Segments::new(dir, megabytes << 20),
            wants_state: Arc::clone(&wants_state),
            board,
            failed_at: None,
        };
        thread::Builder::new().name("record".into()).spawn(move || writer.run(&pages))?;
        Ok(Pages { queue, wants_state })
    }
}

/// The driver's machine, with the record of it.
#[derive(Debug)]
pub struct Recorder {
    machine: Recorded,
    pages: Option<Pages>,
    /// When the present page was begun.
    since: Nanos,
    lost: u64,
}

impl Recorder {
    /// `machine`, which has just been made, recorded to `pages` if there are any.
    #[must_use]
    pub fn new(now: Nanos, machine: Machine, pages: Option<Pages>) -> Recorder {
        let mut recorder = Recorder { machine: Recorded::new(machine), pages, since: now, lost: 0 };
        if recorder.pages.is_some() {
            recorder.machine.begin_page(now, wall(), true, 0);
        }
        recorder
    }

    /// See [`Machine::poll_timeout`]; between two turns entries are handed over.
    pub fn poll_timeout(&mut self, now: Nanos) -> Nanos {
        let due = self.machine.poll_timeout(now);
        if let Some(pages) = &self.pages {
            let wants_state = pages.wants_state.swap(false, Relaxed);
            if wants_state || self.machine.page_is_due() || now.since(self.since) >= PAGE_AGE {
                self.hand_over(now, wants_state);
            }
        }
        due
    }

    /// Hands over what is left.
    pub fn finish(&mut self, now: Nanos) {
        self.hand_over(now, false);
    }

    fn hand_over(&mut self, now: Nanos, wants_state: bool) {
        let Some(pages) = &self.pages else { return };
        self.since = now;
        let page = self.machine.take_page();
        if page.is_empty() {
            return;
        }
        let entries = page.len() as u64;
        if pages.queue.try_send(page).is_err() {
            self.lost += entries;
            self.machine.begin_page(now, wall(), false, self.lost);
            return;
        }
        self.lost = 0;
        if wants_state {
            self.machine.begin_page(now, wall(), false, 0);
        }
    }
}

impl std::ops::Deref for Recorder {
    type Target = Recorded;
    fn deref(&self) -> &Recorded {
        &self.machine
    }
}

impl std::ops::DerefMut for Recorder {
    fn deref_mut(&mut self) -> &mut Recorded {
        &mut self.machine
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The thread.
struct Writer {
    segments: Segments,
    wants_state: Arc<AtomicBool>,
    board: Board,
    failed_at: Option<Instant>,
}

impl Writer {
    fn run(&mut self, pages: &Receiver<Vec<Entry>>) {
        while let Ok(page) = pages.recv() {
            if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
                continue;
            }
            if self.failed_at.take().is_some() {
                self.segments.give_up();
            }
            match self.segments.append(&page) {
                Ok(wants_state) => {
                    if self.segments.is_open() {
                        self.board.clear(Kind::DiskFailed, SUBJECT);
                    }
                    if wants_state {
                        self.wants_state.store(true, Relaxed);
                    }
                }
                Err(error) => {
                    self.failed_at = Some(Instant::now());
                    self.board.raise(Kind::DiskFailed, SUBJECT, format!("the record of the HA machine is not kept: {error}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
