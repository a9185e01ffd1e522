//! `LOADS`, `TURNS`: how many flows has each backend, and whose turn is it?

use core::sync::atomic::AtomicU64;

use crate::time::Ticks;
use crate::word;

/// Value of `LOADS`. Array, memory-mapped, by index into `BACKENDS`. Writers: XDP, which counts the flows that it records and those that it
/// sees end; daemon, which counts those that it forgets. Readers: both. Counted are the flows of `FLOWS`, not those of vservers that keep none.
///
/// Two sums that only grow: whoever counts anew finds out by how much they may have changed meanwhile.
///
/// `TURNS` is an array of words, memory-mapped, by index into `VSERVERS`: the newcomers that a vserver has placed in turn so far.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Load {
    /// Flows that began.
    pub opened: AtomicU64,
    /// Flows that ended or were forgotten.
    pub closed: AtomicU64,
    /// The most that were open at once.
    pub peak: AtomicU64,
    /// Newcomers that were sent there in one moment (see [`Load::expected`]), and above them which one that was.
    pub lately: AtomicU64,
}

/// A moment has 2^6 ticks: between a 16th and half of a second.
const MOMENT_BITS: u32 = 6;

impl Clone for Load {
    /// What it holds now, word by word.
    fn clone(&self) -> Load {
        let word = |cell: &AtomicU64| AtomicU64::new(word::load(cell));
        Load { opened: word(&self.opened), closed: word(&self.closed), peak: word(&self.peak), lately: word(&self.lately) }
    }
}

impl Load {
    /// Flows that are open now. Never less than none, whatever two CPUs make of one flow.
    #[inline(always)]
    #[must_use]
    pub fn open(&self) -> u64 {
        Load::difference(word::load(&self.opened), word::load(&self.closed))
    }

    /// How many of `opened` flows are open when `closed` have ended.
    #[inline(always)]
    #[must_use]
    pub const fn difference(opened: u64, closed: u64) -> u64 {
        let open = opened.wrapping_sub(closed);
        // Without a branch: the verifier would walk what follows once more.
        open & !((open as i64 >> 63) as u64)
    }

    /// One more.
    #[inline(always)]
    pub fn open_one(&self) {
        word::add(&self.opened, 1);
        let open = self.open();
        if open > word::load(&self.peak) {
            word::store(&self.peak, open);
        }
    }

    /// Newcomers that were sent there in this moment. Of most of them nothing is recorded yet: whoever looks at records alone sends all that comes
    /// within a round trip to one backend.
    #[inline(always)]
    #[must_use]
    pub fn expected(&self, now: Ticks) -> u64 {
        let lately = word::load(&self.lately);
        // All ones if it is the same moment. Without a branch, as above.
        let same = 0u64.wrapping_sub(word::opaque((lately >> 32 ^ moment(now)).wrapping_sub(1) >> 63));
        lately & 0xffff_ffff & same
    }

    /// One more of them. Two CPUs may count one together: it is an estimate.
    #[inline(always)]
    pub fn expect_one(&self, now: Ticks) {
        word::store(&self.lately, moment(now) << 32 | (self.expected(now) + 1) & 0xffff_ffff);
    }

    /// One less.
    #[inline(always)]
    pub fn close_one(&self) {
        word::add(&self.closed, 1);
    }
}

#[inline(always)]
const fn moment(now: Ticks) -> u64 {
    now.0 >> MOMENT_BITS & 0xffff_ffff
}

const _: () = assert!(size_of::<Load>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_are_expected_for_a_moment() {
        let load = Load::default();
        let (now, then) = (Ticks(6_400), Ticks(6_464));
        load.expect_one(now);
        load.expect_one(Ticks(6_463));
        assert_eq!((load.expected(now), load.expected(then)), (2, 0));
        load.expect_one(then);
        assert_eq!((load.expected(now), load.expected(then)), (0, 1));
    }

    #[test]
    fn more_ends_than_beginnings_are_no_flows() {
        assert_eq!([Load::difference(3, 1), Load::difference(3, 4), Load::difference(1, u64::MAX)], [2, 0, 2]);
    }
}
