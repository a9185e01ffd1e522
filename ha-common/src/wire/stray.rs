//! Strays: frames that reached the node that does not serve, on their way to the one that does.
//!
//! Ethernet II, IPv4 without options from node to node, UDP port 3005, checksum 0, then the [`Header`], then the whole frame.
//! The frame is 56 bytes longer than the one inside; an MTU that is 60 bytes larger than the leg's takes it with a tag.
#![allow(unsafe_code)] // marks the layout below as plain bytes

use crate::packet::Wire;

/// UDP port, source and destination.
pub const PORT: u16 = 3005;

/// Version of the layout, in the upper half of [`Header::version_kind`].
pub const VERSION: u8 = 1;

/// Kind "a frame for a floating address", in the lower half of [`Header::version_kind`].
pub const KIND: u8 = 1;

/// What lies between UDP and the frame.
///
/// ```text
/// 0 tag · 8 sequence · 12 version, kind · 13 leg
/// ```
///
/// The tag is the first word of SipHash-2-4-128 over 64-bit words: the sender's boot nonce, the receiver's boot nonce, the last six
/// bytes of this header followed by the length of the frame inside (16 bits), and the first 56 bytes of that frame (the last
/// word, where they are no whole number of words or the frame is shorter, begins eight bytes before their end).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// The tag, as four 16-bit words.
    pub tag: [u16; 4],
    /// Counts the strays of one CPU of the sender.
    pub sequence: [u16; 2],
    /// See [`VERSION`] and [`KIND`].
    pub version_kind: u8,
    /// Number of the leg that the frame came in on.
    pub leg: u8,
}

/// Length of the header, in bytes.
pub const LEN: usize = 14;

/// How much a frame grows on its way.
pub const OVERHEAD: usize = super::eth::LEN + super::ipv4::LEN + super::udp::LEN + LEN;

/// Bytes of the inner frame under the tag.
pub const SIGNED: usize = 56;

const _: () = assert!(size_of::<Header>() == LEN);
const _: () = assert!(OVERHEAD == 56);

// SAFETY: integers without padding, as the size assertion shows.
unsafe impl Wire for Header {}
