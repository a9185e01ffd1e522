//! `DIRECTORY`: what the pair's addresses, virtual servers and backends are looked up in first.
//!
//! A look-up in one of the kernel's hash tables costs about as much as all else that becomes of a packet of a known flow. Nearly every key
//! is also here, in an array whose index follows from the key: two slots in one cache line. The hash tables hold every key, these
//! slots as many as find room; what is not found here is looked up there.
//!
//! The daemon is the only writer. A slot is valid while its last word, [`Slot::mark`], names a kind of key. To fill one, the mark is written
//! last; to empty one, only the mark is cleared; and a slot that was emptied rests until every packet that may have seen its mark has left.

#![allow(unsafe_code)] // a value is a record of two words

use super::{Address, AddressKey, FilterBit, FilterKind, Ip, Owner, ServiceKey};
use crate::wire::Be16;

/// Binary logarithm of the number of buckets.
const BUCKETS_LOG2: u32 = 16;

/// Elements of `DIRECTORY`.
pub const BUCKETS: usize = 1 << BUCKETS_LOG2;

/// Slots in a bucket.
pub const SLOTS: usize = 2;

/// Value of `DIRECTORY`: a cache line. Array, memory-mapped. Writer: daemon. Reader: XDP, egress guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// Its slots.
    pub slots: [Slot; SLOTS],
}

/// A key, and what is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Slot {
    /// The key's address.
    pub addr: Ip,
    /// [`Address`], [`Owner`], or the index of a vserver and zero.
    pub value: [u32; 2],
    /// The key's VLAN.
    pub domain: u32,
    /// The rest of the key, and of which kind it is; zero: the slot is empty.
    pub mark: u32,
}

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirectoryKey {
    /// Its address.
    pub addr: Ip,
    /// VLAN that it lives in; 0 is untagged.
    pub domain: u32,
    /// See [`Slot::mark`].
    pub mark: u32,
}

impl DirectoryKey {
    /// Of one end of a conversation, in the table that `kind` is about.
    #[inline(always)]
    #[must_use]
    pub const fn service(kind: FilterKind, key: &ServiceKey) -> Self {
        DirectoryKey { addr: key.addr, domain: key.domain, mark: Self::mark(kind, key.port, key.protocol) }
    }

    /// Of an address.
    #[inline(always)]
    #[must_use]
    pub const fn address(key: &AddressKey) -> Self {
        DirectoryKey { addr: key.addr, domain: key.domain, mark: Self::mark(FilterKind::Address, Be16::new(0), 0) }
    }

    /// IP protocols have one byte: the other one says the kind, and is never zero.
    #[inline(always)]
    const fn mark(kind: FilterKind, port: Be16, protocol: u16) -> u32 {
        (port.raw() as u32) << 16 | (kind as u32 + 1) << 8 | (protocol & 0xff) as u32
    }
}

impl FilterBit {
    /// The bucket of the key that this bit is of.
    #[inline(always)]
    #[must_use]
    pub const fn bucket(self) -> u32 {
        (self.raw() >> (64 - BUCKETS_LOG2)) as u32
    }
}

impl Slot {
    /// Whether it is `key`'s, without a branch per word.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, key: &DirectoryKey) -> bool {
        let (Ip(a), Ip(b)) = (&self.addr, &key.addr);
        let addr = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
        addr | (self.domain ^ key.domain) | (self.mark ^ key.mark) == 0
    }

    /// What it says of an address.
    #[inline(always)]
    #[must_use]
    pub const fn to_address(&self) -> &Address {
        // SAFETY: two words, `repr(C)`, of the same size and alignment, as asserted below.
        unsafe { &*core::ptr::from_ref(&self.value).cast() }
    }

    /// What it says of a backend.
    #[inline(always)]
    #[must_use]
    pub const fn to_owner(&self) -> &Owner {
        // SAFETY: as above.
        unsafe { &*core::ptr::from_ref(&self.value).cast() }
    }
}

impl Bucket {
    /// The slot of `key`.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, key: &DirectoryKey) -> Option<&Slot> {
        let [first, second] = &self.slots;
        if first.is(key) {
            return Some(first);
        }
        if second.is(key) {
            return Some(second);
        }
        None
    }
}

const _: () = assert!(size_of::<Slot>() == 32);
const _: () = assert!(size_of::<Bucket>() == 64);
const _: () = assert!(size_of::<Address>() == 8 && align_of::<Address>() == 4);
const _: () = assert!(size_of::<Owner>() == 8 && align_of::<Owner>() == 4);
