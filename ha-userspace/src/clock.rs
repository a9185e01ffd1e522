//! The daemon's clock: `CLOCK_MONOTONIC`, the same one that XDP stamps with.

use ha_common::time::Nanos;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_getres, clock_gettime, clock_nanosleep};
use std::time::Duration;

/// Now.
///
/// # Panics
/// Never: Linux always has this clock.
#[must_use]
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has CLOCK_MONOTONIC");
    Nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Sleeps until `at`; returns at once when that is past, or early when a signal comes.
pub fn sleep_until(at: Nanos) {
    let at = TimeSpec::from_duration(Duration::from_nanos(at.0));
    // Interrupted or not, the caller looks at the clock again.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
}

/// How long one of the kernel's ticks (`jiffies64`) is: what its coarse clock moves on by.
///
/// # Panics
/// Never: Linux always has this clock.
#[must_use]
pub fn tick() -> Duration {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).expect("Linux has CLOCK_MONOTONIC_COARSE");
    Duration::new(tick.tv_sec() as u64, tick.tv_nsec() as u32)
}
