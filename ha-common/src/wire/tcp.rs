//! TCP (RFC 9293).
#![allow(unsafe_code)] // marks the layout below as plain bytes

use super::Be16;
use crate::packet::Wire;

/// A TCP header without options.
///
/// ```text
/// 0 source port · 2 destination port · 4 sequence · 8 acknowledgment · 12 length in words << 4 · 13 flags · 14 window
/// 16 checksum · 18 urgent pointer
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub source: Be16,
    /// Destination port.
    pub destination: Be16,
    /// Sequence number, as it lies in the packet.
    pub sequence: u32,
    /// Acknowledgment number, as it lies in the packet.
    pub acknowledgment: u32,
    /// Header length in 32-bit words, in the upper half.
    pub length: u8,
    /// See [`flags`].
    pub flags: u8,
    /// Window.
    pub window: Be16,
    /// Checksum, as it lies in the packet.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: Be16,
}

/// Length of the header, in bytes.
pub const LEN: usize = 20;
/// Offset of the checksum.
pub const CHECKSUM: usize = 16;
/// IP protocol number.
pub const PROTOCOL: u8 = 6;

/// Bits of [`Tcp::flags`].
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// First segment.
    pub const SYN: u8 = 1 << 1;
    /// The connection is no more.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 1 << 4;
}

const _: () = assert!(size_of::<Tcp>() == LEN);

// SAFETY: integers without padding, as the size assertion shows.
unsafe impl Wire for Tcp {}
