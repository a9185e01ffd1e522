//! `SNIPS`: what stands in for a client's address and port towards a backend?

use super::Ip;
use crate::wire::Be16;

/// Addresses that source translation can use at once.
pub const SNIPS: usize = 4096;

/// Value of `SNIPS`: a floating address towards backends, with the ports that this node may give out on it. Array, memory-mapped.
/// Writer: daemon. Reader: XDP.
///
/// The two nodes have disjoint ranges, so that none gives out what the other has mirrored; neither overlaps the range from which
/// the kernel takes ports for the host's own connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Snip {
    /// The address.
    pub addr: Ip,
    /// The first port, as a number.
    pub first_port: u16,
    /// How many there are.
    pub ports: u16,
    /// Zero.
    pub reserved: u32,
}

/// What a backend sees as the source of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Nat {
    /// Index into `SNIPS`.
    pub snip: u16,
    /// The port; zero if the backend sees the client's own address and port.
    pub port: Be16,
}

impl Nat {
    /// The backend sees the client itself.
    pub const NONE: Nat = Nat { snip: 0, port: Be16::new(0) };

    /// Whether the backend sees the client itself.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.port.raw() == 0
    }
}

const _: () = assert!(size_of::<Snip>() == 24);
const _: () = assert!(size_of::<Nat>() == 4);
