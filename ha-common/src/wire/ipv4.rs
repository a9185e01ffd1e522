//! IPv4 (RFC 791).
#![allow(unsafe_code)] // marks the layout below as plain bytes

use super::Be16;
use super::checksum::Sum;
use crate::packet::Wire;

/// An IPv4 header without options.
///
/// ```text
///  0 version 4, length in words · 1 service · 2 total length · 4 identification · 6 flags, fragment offset
///  8 time to live · 9 protocol · 10 checksum · 12 source · 16 destination
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ipv4 {
    /// Version 4 in the upper half, header length in 32-bit words in the lower.
    pub version_length: u8,
    /// Type of service.
    pub service: u8,
    /// Length of header and payload, in bytes.
    pub total_length: Be16,
    /// Identification.
    pub identification: Be16,
    /// Flags and fragment offset.
    pub fragment: Be16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Checksum of the header, as it lies in the packet.
    pub checksum: u16,
    /// Source address, as it lies in the packet.
    pub source: u32,
    /// Destination address, as it lies in the packet.
    pub destination: u32,
}

/// Length of the header, in bytes.
pub const LEN: usize = 20;
/// Offset of time to live and protocol, as one 16-bit word.
pub const TTL_PROTOCOL: usize = 8;
/// Offset of the checksum.
pub const CHECKSUM: usize = 10;
/// Offset of the source address.
pub const SOURCE: usize = 12;
/// Offset of the destination address.
pub const DESTINATION: usize = 16;
/// "More fragments", and the fragment offset.
pub const FRAGMENTED: u16 = 0x3fff;
/// The fragment offset, in units of eight bytes.
pub const FRAGMENT_OFFSET: u16 = 0x1fff;
/// "More fragments".
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// "Don't fragment".
pub const DONT_FRAGMENT: Be16 = Be16::new(0x4000);
/// Version 4, no options.
pub const PLAIN: u8 = 0x45;

const _: () = assert!(size_of::<Ipv4>() == LEN);

// SAFETY: integers without padding, as the size assertion shows.
unsafe impl Wire for Ipv4 {}

impl Ipv4 {
    /// The same header with its checksum computed.
    #[inline(always)]
    #[must_use]
    pub const fn summed(self) -> Self {
        let checksum = Sum::new()
            .word16(u16::from_ne_bytes([self.version_length, self.service]))
            .word16(self.total_length.raw())
            .word16(self.identification.raw())
            .word16(self.fragment.raw())
            .word16(u16::from_ne_bytes([self.ttl, self.protocol]))
            .word32(self.source)
            .word32(self.destination)
            .finish();
        Ipv4 { checksum, ..self }
    }
}
