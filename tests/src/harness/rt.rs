//! Real-time threads and the clock all measurements share (CLOCK_MONOTONIC).
#![allow(unsafe_code)]

use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

/// Time since boot, without suspend.
pub fn now() -> Duration {
    ClockId::CLOCK_MONOTONIC.now().map(Duration::from).unwrap_or_default()
}

/// What must be taken from a wall-clock stamp to get [`now`]'s scale.
pub fn wall_offset() -> Duration {
    let wall = ClockId::CLOCK_REALTIME.now().map(Duration::from).unwrap_or_default();
    wall.saturating_sub(now())
}

/// Sleeps until `at` on [`now`]'s scale.
pub fn sleep_until(at: Duration) {
    let at = TimeSpec::from(at);
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at) == Err(Errno::EINTR) {}
}

/// Makes the calling thread SCHED_FIFO with `priority` and keeps the process's memory resident.
pub fn make_realtime(priority: i32) -> Result<()> {
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).context("lock memory")?;
    set_fifo(0, priority)
}

/// Gives the task `pid` (0: the calling thread) SCHED_FIFO with `priority`.
pub fn set_fifo(pid: i32, priority: i32) -> Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel only reads `parameter`, which lives across the call.
    let result = unsafe { libc::sched_setscheduler(pid, libc::SCHED_FIFO, &raw const parameter) };
    Errno::result(result).with_context(|| format!("give task {pid} SCHED_FIFO priority {priority}")).map(drop)
}

/// Gives the task `pid` this nice value.
pub fn set_nice(pid: i32, nice: i32) -> Result<()> {
    // SAFETY: takes three integers and touches no memory.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, pid as libc::id_t, nice) };
    Errno::result(result).with_context(|| format!("give task {pid} the nice value {nice}")).map(drop)
}
