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

/// The extension header of a fragment (RFC 8200, 4.5).
///
/// ```text
/// 0 next header · 1 reserved · 2 offset, 2 bits reserved, "more fragments" · 4 identification
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fragment {
    /// Protocol of the payload.
    pub next_header: u8,
    /// Not used.
    pub reserved: u8,
    /// Offset in bytes, with its last three bits used otherwise: "more fragments" is the last one.
    pub offset: Be16,
    /// Identification, as it lies in the packet.
    pub identification: u32,
}

/// Length of the fragment header, in bytes.
pub const FRAGMENT_LEN: usize = 8;
/// The bits of [`Fragment::offset`] that are the offset.
pub const FRAGMENT_OFFSET: u16 = 0xfff8;
/// "More fragments", of [`Fragment::offset`].
pub const MORE_FRAGMENTS: u16 = 1;

const _: () = assert!(size_of::<Ipv6>() == LEN);
const _: () = assert!(size_of::<Fragment>() == FRAGMENT_LEN);

// SAFETY: integers without padding, as the size assertion shows.
unsafe impl Wire for Ipv6 {}
// SAFETY: as above.
unsafe impl Wire for Fragment {}
