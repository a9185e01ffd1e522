//! Which bits of `FILTERS` are set.

use std::sync::Arc;

use ha_common::abi::{FILTER_WORDS, FilterBit, FilterKind};

use super::desired::Desired;

/// The bits of every filter.
#[derive(Clone, PartialEq, Eq)]
pub struct Filters(Arc<[Vec<u64>; FilterKind::ALL.len()]>);

impl Default for Filters {
    fn default() -> Self {
        Filters(Arc::new(std::array::from_fn(|_| vec![0; FILTER_WORDS])))
    }
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = self.0.iter().map(|words| words.iter().map(|word| word.count_ones()).sum::<u32>());
        f.debug_tuple("Filters").field(&set.collect::<Vec<_>>()).finish()
    }
}

impl Filters {
    /// Of words as the kernel holds them: by filter, then by place.
    #[must_use]
    pub fn of_words(word: impl Fn(FilterKind, usize) -> u64) -> Self {
        Filters(Arc::new(FilterKind::ALL.map(|kind| (0..FILTER_WORDS).map(|place| word(kind, place)).collect())))
    }

    /// The bits of everything that `desired` knows.
    #[must_use]
    pub fn of(desired: &Desired) -> Self {
        let mut filters: [Vec<u64>; FilterKind::ALL.len()] = std::array::from_fn(|_| vec![0; FILTER_WORDS]);
        let mut add = |kind: FilterKind, bit: FilterBit| filters[kind as usize][bit.word()] |= bit.mask();
        for vserver in desired.vservers.values() {
            vserver.keys().for_each(|key| add(FilterKind::Vserver, FilterBit::service(&key)));
        }
        for key in desired.owners().keys() {
            add(FilterKind::Owner, FilterBit::service(key));
        }
        for key in desired.addresses.keys() {
            add(FilterKind::Address, FilterBit::address(key));
        }
        Filters(Arc::new(filters))
    }

    /// Follows a write.
    pub fn set(&mut self, kind: FilterKind, word: u32, bits: u64) {
        if let Some(place) = Arc::make_mut(&mut self.0)[kind as usize].get_mut(word as usize) {
            *place = bits;
        }
    }

    /// The writes that add the bits of `other`.
    #[must_use]
    pub fn with(&self, other: &Filters) -> Vec<(FilterKind, u32, u64)> {
        self.writes(other, |own, other| own | other)
    }

    /// The writes that make these bits the ones of `other`.
    #[must_use]
    pub fn until(&self, other: &Filters) -> Vec<(FilterKind, u32, u64)> {
        self.writes(other, |_, other| other)
    }

    fn writes(&self, other: &Filters, wanted: impl Fn(u64, u64) -> u64) -> Vec<(FilterKind, u32, u64)> {
        let mut writes = Vec::new();
        for kind in FilterKind::ALL {
            let pairs = self.0[kind as usize].iter().zip(&other.0[kind as usize]);
            for (place, (&own, &other)) in pairs.enumerate() {
                let bits = wanted(own, other);
                if bits != own {
                    writes.push((kind, place as u32, bits));
                }
            }
        }
        writes
    }
}
