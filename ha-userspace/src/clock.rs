//! The daemon's clock: `CLOCK_MONOTONIC`, the same one that XDP stamps with.

use ha_common::time::Nanos;
use nix::time::{ClockId, clock_gettime};

/// Now.
///
/// # Panics
/// Never: Linux always has this clock.
#[must_use]
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has CLOCK_MONOTONIC");
    Nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
