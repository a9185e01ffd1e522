//! `FILTERS`: can a packet concern anything of this pair at all?
//!
//! Most of what a leg receives is not for the pair. A look-up in a hash table costs tens of nanoseconds to say so; a bit that is not set
//! costs two. The daemon sets the bit of every key before the key itself, and clears it after: a bit that is clear is a proof, one that
//! is set is a reason to look.

use super::{AddressKey, Ip, ServiceKey};

/// What a filter is about: its index in `FILTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum FilterKind {
    /// Keys of `VSERVER_INDEX`.
    Vserver = 0,
    /// Keys of `BACKEND_INDEX`.
    Owner = 1,
    /// Keys of `ADDRESSES`.
    Address = 2,
}

impl FilterKind {
    /// All of them.
    pub const ALL: [FilterKind; 3] = [FilterKind::Vserver, FilterKind::Owner, FilterKind::Address];
}

/// Binary logarithm of the number of 64-bit words in a filter.
const WORDS_LOG2: u32 = 14;

/// Words in a filter.
pub const FILTER_WORDS: usize = 1 << WORDS_LOG2;

/// Value of `FILTERS`: one bit per hash. Array, memory-mapped. Writer: daemon. Reader: XDP.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Filter {
    /// The bits.
    pub words: [u64; FILTER_WORDS],
}

/// Where the bit of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterBit(u64);

impl FilterBit {
    /// Odd, with bits that look random: the golden ratio, and a prime of MurmurHash.
    const SPREAD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xff51_afd7_ed55_8ccd];

    #[inline(always)]
    const fn of(addr: &Ip, domain: u32, rest: u32) -> Self {
        let high = (addr.0[0] as u64) << 32 | addr.0[1] as u64;
        let low = (addr.0[2] as u64) << 32 | addr.0[3] as u64;
        let mixed = (high ^ low).wrapping_mul(Self::SPREAD[0]) ^ (low >> 29);
        let mixed = mixed.wrapping_add((rest as u64) << 20 ^ domain as u64);
        FilterBit((mixed ^ (mixed >> 31)).wrapping_mul(Self::SPREAD[1]))
    }

    /// Of one end of a conversation.
    #[inline(always)]
    #[must_use]
    pub const fn service(key: &ServiceKey) -> Self {
        Self::of(&key.addr, key.domain, (key.port.raw() as u32) << 16 | key.protocol as u32)
    }

    /// Of an address.
    #[inline(always)]
    #[must_use]
    pub const fn address(key: &AddressKey) -> Self {
        Self::of(&key.addr, key.domain, 0)
    }

    /// All that it was made from.
    #[inline(always)]
    #[must_use]
    pub(super) const fn raw(self) -> u64 {
        self.0
    }

    /// Index of its word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> usize {
        (self.0 >> (64 - WORDS_LOG2)) as usize
    }

    /// The bit within its word.
    #[inline(always)]
    #[must_use]
    pub const fn mask(self) -> u64 {
        1 << ((self.0 >> 40) & 63)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wire::Be16;

    #[test]
    fn keys_that_look_alike_spread_over_the_filter() {
        let mut bits = HashSet::new();
        for n in 0..10_000u32 {
            let addr = Ipv4Addr::from_bits(0x0a02_0000 + n / 4).into();
            let key = ServiceKey { addr, domain: 0, port: Be16::new(8080 + (n % 4) as u16), protocol: 6 };
            let bit = FilterBit::service(&key);
            bits.insert((bit.word(), bit.mask()));
        }
        // A million bits: fifty of ten thousand meet by chance.
        assert!(bits.len() > 9_800, "{}", bits.len());
    }
}
