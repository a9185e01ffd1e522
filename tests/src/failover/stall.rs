//! Stalls of the machine itself: times at which a CPU ran not even the most urgent thread.
//!
//! One thread per CPU, pinned, SCHED_FIFO above everything else, sleeps in short steps. Where it wakes late nothing that a program can do
//! would have run either: the hypervisor gave the CPU away, or the kernel did not let go of it. A takeover while that lasted longer than
//! the dead interval is no mistake of whoever took over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::harness::rt;

/// Distance of two looks at the clock.
const STEP: Duration = Duration::from_micros(500);
/// Lateness below this is not worth a record: no dead interval is as short.
const LEAST: Duration = Duration::from_millis(2);
/// The highest there is.
const PRIORITY: i32 = 99;

/// A time during which a CPU ran nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The CPU.
    pub cpu: usize,
    /// When the thread should have woken.
    pub from: Duration,
    /// When it did.
    pub to: Duration,
}

impl Stall {
    /// How long it lasted.
    pub fn span(&self) -> Duration {
        self.to - self.from
    }

    /// Whether it accounts for a takeover at `at` by a node that waits for `dead`.
    ///
    /// Which CPU would have carried the answer cannot be known from outside: packets run where their sender does. So any will do, for
    /// every system alike.
    pub fn explains(&self, at: Duration, dead: Duration) -> bool {
        self.span() > dead && self.from <= at && at <= self.to + dead
    }
}

/// Watches every CPU; ends when dropped.
pub struct StallWatch {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Stall>>>,
}

impl StallWatch {
    /// Starts watching.
    pub fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut watch = Self { stop: stop.clone(), threads: Vec::new() };
        for cpu in 0..std::thread::available_parallelism()?.get() {
            let stop = stop.clone();
            let thread = std::thread::Builder::new().name(format!("stall-{cpu}"));
            watch.threads.push(thread.spawn(move || observe(cpu, &stop)).context("start a watch over a CPU")?);
        }
        Ok(watch)
    }

    /// Ends the watch; what it saw.
    pub fn finish(mut self) -> Vec<Stall> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn observe(cpu: usize, stop: &AtomicBool) -> Vec<Stall> {
    if let Err(error) = rt::make_realtime(PRIORITY).and_then(|()| pin(cpu)) {
        eprintln!("bench: stalls of CPU {cpu} are not told from load: {error:#}");
        return Vec::new();
    }
    let mut stalls = Vec::with_capacity(4096);
    let mut due = rt::now() + STEP;
    while !stop.load(Ordering::Relaxed) {
        rt::sleep_until(due);
        let now = rt::now();
        if now.saturating_sub(due) >= LEAST {
            stalls.push(Stall { cpu, from: due, to: now });
        }
        due = now + STEP;
    }
    stalls
}

fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).with_context(|| format!("pin a thread to CPU {cpu}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stall_longer_than_the_dead_interval_and_near_explains() {
        let ms = Duration::from_millis;
        let stall = Stall { cpu: 0, from: ms(100), to: ms(110) };
        assert!(stall.explains(ms(107), ms(6)) && stall.explains(ms(114), ms(6)));
        assert!(!stall.explains(ms(107), ms(10)), "as long as the interval is not longer");
        assert!(!stall.explains(ms(99), ms(6)), "before it began");
        assert!(!stall.explains(ms(117), ms(6)), "an interval after it ended");
    }
}
