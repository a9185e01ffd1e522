//! IPv6 (RFC 8200).
#![allow(unsafe_code)] // marks the layout below as plain bytes

use super::Be16;
use crate::packet::Wire;

/// An IPv6 header.
///
/// ```text
/// 0 version 6, class, flow label · 4 payload length · 6 next header · 7 hop limit · 8 source · 24 destination
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv6 {
    /// Version 6 in the upper four bits of the first byte.
    pub version_class_label: [u8; 4],
    /// Length of what follows this header, in bytes.
    pub payload_length: Be16,
    /// Protocol of the payload.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address, as it lies in the packet.
    pub source: [u32; 4],
    /// Destination address, as it lies in the packet.
    pub destination: [u32; 4],
}

/// Length of the header, in bytes.
pub const LEN: usize = 40;
/// Offset of the hop limit.
pub const HOP_LIMIT: usize = 7;
/// Offset of the source address.
pub const SOURCE: usize = 8;
/// Offset of the destination address.
pub const DESTINATION: usize = 24;
/// Whether `header` is an extension header that a packet may carry in front of its payload: hop-by-hop, routing, authentication,
/// destination options, mobility.
#[inline(always)]
#[must_use]
pub const fn is_extension(header: u8) -> bool {
    matches!(header, 0 | 43 | 51 | 60 | 135)
}

/// Extension header of a fragment.
pub const FRAGMENT: u8 = 44;

const _: () = assert!(size_of::<Ipv6>() == LEN);

// SAFETY: integers without padding, as the size assertion shows.
unsafe impl Wire for Ipv6 {}
