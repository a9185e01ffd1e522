//! Terms: under which claim does a node serve?

/// A claim's number: `counter << 8 | node id`, so no two nodes ever hold the same one. Zero is "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(transparent)]
pub struct Term(pub u64);

impl Term {
    /// No term: not serving, nothing seen.
    pub const NONE: Term = Term(0);

    /// The term of node `id` with this counter.
    #[inline(always)]
    #[must_use]
    pub const fn new(counter: u64, id: u8) -> Term {
        Term(counter << 8 | id as u64)
    }

    /// How many claims (of anybody) lie before this one.
    #[inline(always)]
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.0 >> 8
    }

    /// Which node claims under it: its id in the pair.
    #[inline(always)]
    #[must_use]
    pub const fn node_id(self) -> u8 {
        self.0 as u8
    }

    /// Whether there is none.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The smallest fence that keeps this term from serving.
    #[inline(always)]
    #[must_use]
    pub const fn fence_above(self) -> Term {
        Term(self.0 + 1)
    }
}
