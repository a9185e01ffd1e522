//! `STRAYS[0]`: how much may this CPU still send to the peer? `STRAY_LEGS[leg]`: how much did it send of what came in on each leg?
//!
//! `STRAY_LEGS` is a per-CPU array of `u64` by leg number. Writer: XDP. Reader: daemon.

use crate::time::Nanos;

/// Token bucket of one CPU's strays, and their sequence. Per-CPU array, key 0. Writer and reader: XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct StrayBudget {
    /// Strays that may be sent before the next refill.
    pub tokens: u64,
    /// When the bucket was last refilled.
    pub refilled_at: Nanos,
    /// Strays sent so far.
    pub seq: u64,
}

const _: () = assert!(size_of::<StrayBudget>() == 24);
