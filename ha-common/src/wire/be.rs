//! Integers in network byte order.
#![allow(unsafe_code)] // marks the types below as plain bytes

use crate::packet::Wire;

/// A 16-bit integer as it lies in a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Be16(u16);

impl Be16 {
    /// `value`, in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Be16(value.to_be())
    }

    /// Its value.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The two bytes as this machine reads them: for sums and hashes, which do not care about the order.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// The reverse of [`Be16::raw`].
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u16) -> Self {
        Be16(raw)
    }
}

// SAFETY: one integer.
unsafe impl Wire for Be16 {}
