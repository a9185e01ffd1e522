//! Which services are usable? One TCP monitor per service.
//!
//! Each service has a task of its own that owns a [`Monitor`] and does what it says. Probes leave from whatever address the
//! kernel chooses; a node that has no route or address to ask from learns nothing, and the verdict stands.
//!
//! A service that is new starts UNKNOWN, which is forwarded to: its first probe leaves within 100 ms, and one
//! outcome decides. (The public product keeps a service DOWN until probed. In a pair that would make every takeover by a
//! node that had no way to ask an outage.) A service that was known before a restart starts with that verdict.

use std::collections::HashMap;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ha_common::health::{Monitor, Outcome, Settings, Step, Verdict};
use ha_common::time::Nanos;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tracing::info;

use crate::clock;

/// Probes under way at once, over all services.
const PROBES_MAX: usize = 256;

/// First probes of new services are spread over this time.
const FIRST_SPREAD: Duration = Duration::from_millis(100);

/// What to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to connect to.
    pub address: SocketAddr,
    /// When, and what makes a verdict.
    pub settings: Settings,
}

/// The verdict on a service has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Name of the service.
    pub service: String,
    /// What is known now.
    pub verdict: Verdict,
}

/// What a monitor has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Probes begun.
    pub probes: u64,
    /// Probes that were refused or not answered in time.
    pub failed: u64,
    /// What the last one met, in words.
    pub last_response: Option<String>,
}

/// All monitors of this node. Dropping it ends them.
#[derive(Debug)]
pub struct Monitors {
    running: HashMap<String, Running>,
    changes: mpsc::UnboundedSender<Change>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Running {
    target: Target,
    hurry: Arc<Notify>,
    stats: Arc<Mutex<Stats>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Monitors {
    /// No monitors yet; `changes` will be told of every verdict that changes.
    #[must_use]
    pub fn new(changes: mpsc::UnboundedSender<Change>) -> Self {
        Monitors { running: HashMap::new(), changes, permits: Arc::new(Semaphore::new(PROBES_MAX)) }
    }

    /// Watches exactly `targets`. A service that is watched already goes on undisturbed, unless its target has changed; one
    /// that is new starts with what `known` says of it. Must be called in a tokio runtime.
    pub fn watch(&mut self, targets: &HashMap<String, Target>, known: impl Fn(&str) -> Verdict) {
        self.running.retain(|service, running| targets.get(service) == Some(&running.target));
        for (service, &target) in targets {
            if !self.running.contains_key(service) {
                let running = self.start(service, target, known(service));
                self.running.insert(service.clone(), running);
            }
        }
    }

    /// Probes every service at once instead of at its next turn: this node's reach has changed (takeover, carrier).
    pub fn hurry(&self) {
        for running in self.running.values() {
            running.hurry.notify_one();
        }
    }

    /// What the monitor of `service` has done; `None` if it has none.
    #[must_use]
    pub fn stats(&self, service: &str) -> Option<Stats> {
        self.running.get(service).map(|running| lock(&running.stats).clone())
    }

    fn start(&self, service: &str, target: Target, verdict: Verdict) -> Running {
        let hurry = Arc::new(Notify::new());
        let stats = Arc::new(Mutex::new(Stats::default()));
        let driver = Driver {
            monitor: Monitor::new(target.settings, verdict, clock::now() + spread(service)),
            service: service.to_owned(),
            address: target.address,
            hurry: Arc::clone(&hurry),
            stats: Arc::clone(&stats),
            permits: Arc::clone(&self.permits),
            changes: self.changes.clone(),
        };
        Running { target, hurry, stats, task: tokio::spawn(driver.run()) }
    }
}

/// A share of [`FIRST_SPREAD`] that depends on the name alone: services probed together do not stay together by chance.
fn spread(service: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    service.hash(&mut hasher);
    FIRST_SPREAD * (hasher.finish() >> 48) as u32 / (1 << 16)
}

struct Driver {
    monitor: Monitor,
    service: String,
    address: SocketAddr,
    hurry: Arc<Notify>,
    stats: Arc<Mutex<Stats>>,
    permits: Arc<Semaphore>,
    changes: mpsc::UnboundedSender<Change>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let due = self.monitor.poll_timeout();
            tokio::select! {
                () = sleep_until(due) => self.turn().await,
                () = self.hurry.notified() => self.monitor.hurry(clock::now()),
            }
        }
    }

    async fn turn(&mut self) {
        let Ok(_permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return pending().await; // the semaphore is never closed
        };
        let mut step = self.monitor.handle_timeout(clock::now());
        if step == Step::Probe {
            step = self.probe().await;
        }
        if let Step::Changed(verdict) = step {
            info!(service = self.service, address = %self.address, ?verdict, "service state changed");
            let _ = self.changes.send(Change { service: self.service.clone(), verdict });
        }
    }
}

impl Driver {
    async fn probe(&mut self) -> Step {
        lock(&self.stats).probes += 1;
        let (outcome, response, step) = tokio::select! {
            (outcome, response) = connect(self.address) => {
                (outcome, response, self.monitor.handle_outcome(clock::now(), outcome))
            }
            () = sleep_until(self.monitor.poll_timeout()) => {
                let response = "Failure - time out during TCP connection establishment";
                (Outcome::Bad, response.to_owned(), self.monitor.handle_timeout(clock::now()))
            }
        };
        let mut stats = lock(&self.stats);
        stats.failed += u64::from(outcome == Outcome::Bad);
        stats.last_response = Some(response);
        step
    }
}

/// Nobody panics while holding the lock; if somebody did, numbers are still numbers.
fn lock(stats: &Mutex<Stats>) -> MutexGuard<'_, Stats> {
    stats.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until the clock shows `due`, rounded up to the runtime's milliseconds.
async fn sleep_until(due: Nanos) {
    while clock::now() < due {
        tokio::time::sleep(due.since(clock::now())).await;
    }
}

/// One TCP handshake, ended by a reset so that neither side keeps the connection; and what it met, in words.
async fn connect(address: SocketAddr) -> (Outcome, String) {
    match TcpStream::connect(address).await {
        Ok(stream) => {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            (Outcome::Good, "Success - TCP syn+ack received".into())
        }
        Err(error) => match outcome_of(error.kind()) {
            Outcome::NotAsked => (Outcome::NotAsked, format!("Not probed - {error}")),
            outcome => (outcome, format!("Failure - {error}")),
        },
    }
}

fn outcome_of(error: ErrorKind) -> Outcome {
    match error {
        // The answer of this host's own stack: nothing was sent. (An unreachable *host* is the neighbour's silence.)
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable | ErrorKind::PermissionDenied | ErrorKind::OutOfMemory => {
            Outcome::NotAsked
        }
        _ => Outcome::Bad,
    }
}

#[cfg(test)]
mod tests;
