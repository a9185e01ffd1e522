//! `BACKENDS`, `BACKEND_INDEX`: where do packets of a service go, and whose answer is this?

use super::Ip;
use crate::wire::Be16;
use crate::wire::eth::{self, Macs};

/// The link-layer way to somewhere, ready to be stored in front of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct NextHop {
    /// Destination and source MAC, as the first twelve bytes of the frame.
    pub macs: Macs,
    /// Interface that the frame leaves on.
    pub ifindex: u32,
    /// VLAN that it leaves in; 0 is untagged.
    pub vlan: u32,
}

impl NextHop {
    /// The way over `ifindex` in `vlan` (0: untagged) from `source` to `destination`.
    #[inline(always)]
    #[must_use]
    pub const fn new(destination: [u8; 6], source: [u8; 6], ifindex: u32, vlan: u32) -> Self {
        NextHop { macs: eth::macs(destination, source), ifindex, vlan }
    }

    /// Whether nobody knows it yet.
    #[inline(always)]
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.ifindex == 0
    }
}

/// Bits of [`Backend::flags`].
pub mod backend_flags {
    /// Takes packets. Cleared at once when it fails; the ring is rebuilt later.
    pub const UP: u32 = 1;
    /// Belongs to several vservers: its answers are told apart by `REVERSE`.
    pub const SHARED: u32 = 1 << 1;
    /// Does not see its clients' addresses (USIP off): new flows get a source of [`super::Backend::snips`], and their answers
    /// are told apart by `REVERSE`.
    pub const SNAT: u32 = 1 << 2;
    /// While it is down its conversations are cut off (`-downStateFlush ENABLED`).
    pub const CUTS_OFF: u32 = 1 << 16;
    /// While it is down its conversations go on (`-downStateFlush DISABLED`), if their vserver says so, too.
    pub const KEEPS: u32 = 1 << 17;
    /// Leaves: the flows that it has go on, newcomers go elsewhere.
    pub const LEAVING: u32 = 1 << 8;
    /// Has so many connections that new ones are let through one by one: `THROTTLES`.
    pub const THROTTLED: u32 = 1 << 24;
}

/// Value of `BACKENDS`. Array, memory-mapped; the index is the pair's and is not reused while either node has a flow to it.
/// Writer: daemon. Reader: XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Backend {
    /// See [`backend_flags`].
    pub flags: u32,
    /// Counts what this index has stood for.
    pub generation: u32,
    /// Its address.
    pub addr: Ip,
    /// Its port; zero: the one that the client speaks to.
    pub port: Be16,
    /// The largest IP packet that the way to it takes, in bytes.
    pub mtu: u16,
    /// The way to it, kept fresh from the neighbour table; unknown while it is being resolved.
    pub next_hop: NextHop,
    /// Index into `SNIPS` of the first address that this pair speaks to it from.
    pub snips: u32,
    /// How many such addresses follow one another there; zero: none.
    pub snip_count: u32,
    /// Flows that it takes at once (see `LOADS`); zero: any number.
    pub flows_max: u32,
    /// Zero.
    pub reserved: u32,
}

/// Value of `BACKEND_INDEX`: who answers from an address and port. Hash by [`super::ServiceKey`]. Writer: daemon. Reader: XDP.
///
/// Holds only backends whose answers return through the pair (mode NAT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Owner {
    /// Index into `BACKENDS`.
    pub backend: u32,
    /// Index of the one vserver that it belongs to, or [`AMBIGUOUS`].
    pub vserver: u32,
}

/// [`Owner::vserver`] of a backend that belongs to several vservers: `REVERSE` knows which.
pub const AMBIGUOUS: u32 = u32::MAX;

const _: () = assert!(size_of::<Backend>() == 64);
const _: () = assert!(size_of::<Owner>() == 8);
