//! ARP over Ethernet and IPv4 (RFC 826).
#![allow(unsafe_code)] // marks the layout below as plain bytes

use super::Be16;
use crate::packet::Wire;

/// An ARP packet.
///
/// ```text
///  0 hardware type (1) · 2 protocol type (0x0800) · 4 address lengths (6, 4) · 6 operation
///  8 sender MAC · 14 sender address · 18 target MAC · 24 target address
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Arp {
    /// [`ETHERNET`].
    pub hardware: Be16,
    /// The EtherType of IPv4.
    pub protocol: Be16,
    /// [`LENGTHS`].
    pub lengths: Be16,
    /// [`REQUEST`] or [`REPLY`].
    pub operation: Be16,
    /// Sender's MAC address.
    pub sender_mac: [u16; 3],
    /// Sender's IPv4 address, as it lies in the packet.
    pub sender: [u16; 2],
    /// Target's MAC address.
    pub target_mac: [u16; 3],
    /// Target's IPv4 address, as it lies in the packet.
    pub target: [u16; 2],
}

/// Hardware type of Ethernet.
pub const ETHERNET: Be16 = Be16::new(1);
/// Lengths of a MAC and an IPv4 address.
pub const LENGTHS: Be16 = Be16::new(0x0604);
/// Who has the target address?
pub const REQUEST: Be16 = Be16::new(1);
/// The sender has the sender address.
pub const REPLY: Be16 = Be16::new(2);

const _: () = assert!(size_of::<Arp>() == 28);

// SAFETY: 16-bit integers without padding, as the size assertion shows.
unsafe impl Wire for Arp {}

/// An address as one word, from its two halves.
#[inline(always)]
#[must_use]
pub const fn word(halves: [u16; 2]) -> u32 {
    let [[a, b], [c, d]] = [halves[0].to_ne_bytes(), halves[1].to_ne_bytes()];
    u32::from_ne_bytes([a, b, c, d])
}
