//! `ICMP[0]`, `RESETS[0]`: may this node send one more ICMP message, or one more TCP reset?

use crate::time::{Nanos, Ticks};

/// Token bucket of the node's ICMP messages, in time: each costs [`super::Node::icmp_cost`]. A second one is for TCP resets, each of which costs
/// [`super::Node::reset_cost`]: whoever provokes the ones shall not silence the others. Arrays, key 0. Writer and reader: XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct IcmpBudget {
    /// Nanoseconds that may be spent before the next refill.
    pub credit: u64,
    /// When the bucket was last refilled.
    pub refilled_at: Nanos,
    /// The tick in which it was: it is refilled once in each.
    pub refilled_in: Ticks,
}

impl IcmpBudget {
    /// What the bucket holds, in nanoseconds: the time for which messages are counted.
    pub const WINDOW: u64 = 10_000_000;
}

const _: () = assert!(size_of::<IcmpBudget>() == 24);
