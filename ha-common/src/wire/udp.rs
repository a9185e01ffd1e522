//! UDP (RFC 768).
#![allow(unsafe_code)] // marks the layout below as plain bytes

use super::Be16;
use crate::packet::Wire;

/// A UDP header.
///
/// ```text
/// 0 source port · 2 destination port · 4 length · 6 checksum
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Udp {
    /// Source port.
    pub source: Be16,
    /// Destination port.
    pub destination: Be16,
    /// Length of header and payload, in bytes.
    pub length: Be16,
    /// Checksum, as it lies in the packet; zero: none (IPv4 only).
    pub checksum: u16,
}

/// Length of the header, in bytes.
pub const LEN: usize = 8;
/// Offset of the checksum.
pub const CHECKSUM: usize = 6;
/// IP protocol number.
pub const PROTOCOL: u8 = 17;

const _: () = assert!(size_of::<Udp>() == LEN);

// SAFETY: integers without padding, as the size assertion shows.
unsafe impl Wire for Udp {}
