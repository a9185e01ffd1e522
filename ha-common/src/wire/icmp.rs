//! ICMP (RFC 792), ICMPv6 (RFC 4443) and neighbour discovery (RFC 4861).
#![allow(unsafe_code)] // marks the layouts below as plain bytes

use crate::packet::Wire;

/// The part that all messages share.
///
/// ```text
/// 0 type · 1 code · 2 checksum · 4 by type
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum, as it lies in the packet.
    pub checksum: u16,
    /// Identifier and sequence, or flags: by type.
    pub rest: u32,
}

/// Length of that part, in bytes.
pub const LEN: usize = 8;
/// IP protocol number of ICMP.
pub const PROTOCOL: u8 = 1;
/// IP protocol number of ICMPv6.
pub const V6_PROTOCOL: u8 = 58;
/// ICMP type and code: too big, and may not be fragmented; the last two bytes are the MTU (RFC 1191).
pub const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
/// ICMP type and code: time to live exceeded in transit.
pub const TIME_EXCEEDED: (u8, u8) = (11, 0);
/// ICMP type and code: no way to the host.
pub const UNREACHABLE: (u8, u8) = (3, 1);
/// ICMPv6 type and code: no way to the address.
pub const V6_UNREACHABLE: (u8, u8) = (1, 3);
/// ICMPv6 type and code: too big; the last four bytes are the MTU.
pub const V6_TOO_BIG: (u8, u8) = (2, 0);
/// ICMPv6 type and code: hop limit exceeded in transit.
pub const V6_TIME_EXCEEDED: (u8, u8) = (3, 0);
/// ICMP echo request.
pub const ECHO_REQUEST: u8 = 8;
/// ICMP echo reply.
pub const ECHO_REPLY: u8 = 0;
/// ICMPv6 echo request.
pub const V6_ECHO_REQUEST: u8 = 128;
/// ICMPv6 echo reply.
pub const V6_ECHO_REPLY: u8 = 129;
/// Whether a message of this type, of ICMPv6 if `v6`, is about a packet, which it quotes. Without two of IPv4: source quench, which nobody
/// sends any more (RFC 6633), and redirects, which are for the link that they are sent on.
#[inline(always)]
#[must_use]
pub const fn is_error(v6: bool, kind: u8) -> bool {
    if v6 { matches!(kind, 1..=4) } else { matches!(kind, 3 | 11 | 12) }
}

/// Neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// Neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;

/// A neighbour solicitation or advertisement, without its options.
///
/// ```text
/// 0 type · 1 code · 2 checksum · 4 flags (advertisement) · 8 target
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Neighbour {
    /// The shared part.
    pub icmp: Icmp,
    /// Target address, as it lies in the packet.
    pub target: [u32; 4],
}

/// An advertisement with its only option: the target's MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Advertisement {
    /// Flags, target.
    pub neighbour: Neighbour,
    /// [`TARGET_MAC`], then the length of the option in units of eight bytes, 1.
    pub option: [u8; 2],
    /// The target's MAC address.
    pub mac: [u8; 6],
}

/// Offset of the checksum.
pub const CHECKSUM: usize = 2;
/// Option: MAC address of the sender.
pub const SOURCE_MAC: u8 = 1;
/// Option: MAC address of the target.
pub const TARGET_MAC: u8 = 2;
/// Advertisement flag: answers a solicitation.
pub const SOLICITED: u32 = 0x4000_0000;
/// Advertisement flag: replaces what the receiver knew.
pub const OVERRIDE: u32 = 0x2000_0000;

const _: () = assert!(size_of::<Icmp>() == LEN);
const _: () = assert!(size_of::<Neighbour>() == 24);
const _: () = assert!(size_of::<Advertisement>() == 32);

// SAFETY: integers without padding, as the size assertions show.
unsafe impl Wire for Icmp {}
// SAFETY: as above.
unsafe impl Wire for Neighbour {}
// SAFETY: as above.
unsafe impl Wire for Advertisement {}
