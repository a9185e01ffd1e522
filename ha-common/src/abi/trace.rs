//! `TRACE`, `TRACED`, `TRACE_ROOM`, `TRACE_BUDGET`: which packets does an operator want to see, and what became of them?
//!
//! While [`super::node_flags::TRACED`] is set in `NODE`, XDP copies the beginning of every packet as it came, and once it is decided
//! puts those that [`TraceFilter`] wants into the ring buffer `TRACED`, if the budget allows. Whoever traces holds a lease,
//! [`Trace::until`], and renews it: after that XDP copies nothing, whatever became of the holder.

use super::{Ip, ServiceKey};
use crate::time::{Nanos, Ticks};
use crate::wire::Be16;

/// How much of a packet is copied, in bytes.
pub const TRACED_BYTES: usize = 128;

/// Which packets: each part that is not set matches all. All parts have to hold for a packet as it came, or as it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TraceFilter {
    /// IP protocol number; zero: any frame.
    pub protocol: u16,
    /// Port of either end; zero: any.
    pub port: Be16,
    /// Address of either end; all zero: any.
    pub host: Ip,
    /// One end is this; a zero protocol: any, a zero address or port within: any such.
    pub vserver: ServiceKey,
}

/// Value of `TRACE`. Array of one, memory-mapped. Writer: whoever traces. Reader: XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Trace {
    /// When the lease ends.
    pub until: Ticks,
    /// Process that holds it.
    pub holder: u64,
    /// What a traced packet costs of each CPU's [`TraceBudget`], in nanoseconds.
    pub cost: u64,
    /// Which packets.
    pub filter: TraceFilter,
    /// Zero.
    pub reserved: u32,
}

/// Value of `TRACE_BUDGET`: how many packets this CPU may still put into the ring, and how many it could not. Per-CPU array, key 0.
/// Writer: XDP. Reader: whoever traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TraceBudget {
    /// Nanoseconds that may be spent before the next refill.
    pub credit: u64,
    /// When the bucket was last refilled.
    pub refilled_at: Nanos,
    /// Packets above the rate.
    pub limited: u64,
    /// Packets that found no room in the ring.
    pub full: u64,
}

impl TraceBudget {
    /// What the bucket holds, in nanoseconds.
    pub const WINDOW: u64 = 100_000_000;

    /// Takes one packet out of the bucket; whether there was one in it. Counted, if not.
    #[inline(always)]
    pub fn draw(&mut self, now: Nanos, cost: u64) -> bool {
        let credit = self.credit.saturating_add(now.0.saturating_sub(self.refilled_at.0));
        self.credit = if credit > Self::WINDOW { Self::WINDOW } else { credit };
        self.refilled_at = now;
        let enough = self.credit >= cost;
        if enough {
            self.credit -= cost;
        } else {
            self.limited += 1;
        }
        enough
    }
}

/// A record of `TRACED`, and the value of `TRACE_ROOM`, where it is put together (per-CPU array, key 0). Writer: XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Traced {
    /// When it was decided.
    pub at: Nanos,
    /// Interface that it came in on; zero in `TRACE_ROOM` while there is none.
    pub ifindex: u32,
    /// Length as it came, in bytes.
    pub len: u32,
    /// Interface that it leaves on; zero: none, or the host takes it.
    pub out_ifindex: u32,
    /// Length as it leaves, in bytes; zero if nobody gets it.
    pub out_len: u32,
    /// Number of the [`super::Reason`].
    pub reason: u16,
    /// See [`traced_as`].
    pub action: u16,
    /// Whether the filter wants it as it came.
    pub wanted: u32,
    /// The beginning of the packet as it came.
    pub came: [u8; TRACED_BYTES],
    /// The beginning of the packet as it leaves.
    pub leaves: [u8; TRACED_BYTES],
}

/// Values of [`Traced::action`].
pub mod traced_as {
    /// Nobody gets it.
    pub const DROP: u16 = 1;
    /// The host takes it.
    pub const PASS: u16 = 2;
    /// It leaves on the interface that it came in on.
    pub const TRANSMIT: u16 = 3;
    /// It leaves on another.
    pub const REDIRECT: u16 = 4;
}

impl Default for Traced {
    fn default() -> Self {
        Traced {
            at: Nanos::NEVER,
            ifindex: 0,
            len: 0,
            out_ifindex: 0,
            out_len: 0,
            reason: 0,
            action: 0,
            wanted: 0,
            came: [0; TRACED_BYTES],
            leaves: [0; TRACED_BYTES],
        }
    }
}

const _: () = assert!(size_of::<TraceFilter>() == 44);
const _: () = assert!(size_of::<Trace>() == 72);
const _: () = assert!(size_of::<TraceBudget>() == 32);
const _: () = assert!(size_of::<Traced>() == 32 + 2 * TRACED_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_what_the_bucket_holds_and_the_rest_is_counted() {
        let cost = TraceBudget::WINDOW / 100;
        let mut budget = TraceBudget::default();
        let drawn = (0..1_000).filter(|_| budget.draw(Nanos(1 << 40), cost)).count();
        assert_eq!((drawn, budget.limited), (100, 900));
        assert!(budget.draw(Nanos((1 << 40) + cost), cost), "time refills it");
    }
}
