//! The one clock: `CLOCK_MONOTONIC`, as `bpf_ktime_get_ns` reads it, passed in by whoever calls.

use core::ops::{Add, Sub};
use core::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`. Zero means "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The instant that never was: a record that nobody has written yet.
    pub const NEVER: Nanos = Nanos(0);

    /// Time from `earlier` to here; zero if `earlier` lies ahead (two CPUs may disagree by a little).
    #[inline(always)]
    #[must_use]
    pub const fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Nanos {
    type Output = Nanos;
    #[inline(always)]
    fn add(self, span: Duration) -> Nanos {
        Nanos(self.0.saturating_add(nanos_of(span)))
    }
}

impl Sub<Duration> for Nanos {
    type Output = Nanos;
    #[inline(always)]
    fn sub(self, span: Duration) -> Nanos {
        Nanos(self.0.saturating_sub(nanos_of(span)))
    }
}

/// `span` in nanoseconds; 584 years at most, which every span here stays far below.
#[inline(always)]
#[must_use]
pub const fn nanos_of(span: Duration) -> u64 {
    span.as_nanos() as u64
}

/// A coarse time in the kernel's own ticks (`jiffies64`), which cost nothing to read and are good enough for "last seen".
///
/// How many of them make a second differs between kernels: the daemon measures it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ticks(pub u64);

impl Ticks {
    /// Its lower half.
    #[inline(always)]
    #[must_use]
    pub const fn low(self) -> Ticks32 {
        Ticks32(self.0 as u32)
    }
}

/// The lower half of [`Ticks`]: tells what is at most 2^31 ticks ago (24 days at a thousand a second), in half the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Ticks32(pub u32);

impl Ticks32 {
    /// Ticks from this to `now`; zero if it is later.
    #[inline(always)]
    #[must_use]
    pub const fn until(self, now: Ticks) -> u32 {
        let passed = (now.0 as u32).wrapping_sub(self.0);
        if passed > i32::MAX as u32 { 0 } else { passed }
    }
}
