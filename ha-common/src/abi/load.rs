//! `LOADS`, `TURNS`: how many flows has each backend, and whose turn is it?

use core::sync::atomic::AtomicU64;

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
    /// Zero.
    pub reserved: AtomicU64,
}

impl Clone for Load {
    /// What it holds now, word by word.
    fn clone(&self) -> Load {
        let word = |cell: &AtomicU64| AtomicU64::new(word::load(cell));
        Load { opened: word(&self.opened), closed: word(&self.closed), peak: word(&self.peak), reserved: word(&self.reserved) }
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

    /// One less.
    #[inline(always)]
    pub fn close_one(&self) {
        word::add(&self.closed, 1);
    }
}

const _: () = assert!(size_of::<Load>() == 32);
