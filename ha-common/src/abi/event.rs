//! `EVENTS` and `RULINGS`: what does the kernel tell the daemon?
//!
//! Two ring buffers of the same record: what the HA driver must not miss has one of its own, which no flood of flows can fill.

use super::FlowKey;
use crate::time::Nanos;

/// What an [`Event`] is about.
pub mod event_kind {
    /// A flow of a logged vserver was recorded.
    pub const FLOW_OPENED: u32 = 1;
    /// A flow of a logged vserver is over; `detail` is a [`super::super::CloseReason`].
    pub const FLOW_CLOSED: u32 = 2;
    /// A packet found no way to `flow.addr`, in VLAN `detail`.
    pub const NEXT_HOP_WANTED: u32 = 3;
    /// What the peer says of itself has changed; `detail` is the link.
    pub const PEER_CHANGED: u32 = 4;
    /// The kernel decided about a role; `detail` says which way, `words` hold the terms.
    pub const RULING: u32 = 5;
    /// On a leg, another station said that it has the floating address `flow.addr` of VLAN `detail`; `words[0]` is its MAC address.
    pub const ADDRESS_CLAIMED: u32 = 6;
    /// On a leg, another router advertised a VRID that this pair uses: `flow.addr` is its address, `words[0]` its MAC address,
    /// `detail` the VRID, and its priority above that.
    pub const FOREIGN_VRRP: u32 = 7;

    /// Whether a record of this kind goes to `RULINGS`.
    #[inline(always)]
    #[must_use]
    pub const fn is_ruling(kind: u32) -> bool {
        matches!(kind, PEER_CHANGED | RULING)
    }
}

/// A record of either ring buffer, the same size for every kind; what a kind does not use is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Event {
    /// See [`event_kind`].
    pub kind: u32,
    /// By kind.
    pub detail: u32,
    /// When it happened.
    pub at: Nanos,
    /// The flow that it is about.
    pub flow: FlowKey,
    /// Index of the flow's backend.
    pub backend: u32,
    /// Interface that the packet came in on.
    pub ifindex: u32,
    /// Flows: packets from the client, packets from the backend, bytes from the client, bytes from the backend. Rulings: terms. A station: its
    /// MAC address, as [`super::mac_word`] gives it.
    pub words: [u64; 4],
}

/// Events that found no room, a number for each ring buffer: `LOST`. Per-CPU array. Writer: XDP. Reader: daemon.
pub mod lost {
    /// Of `EVENTS`.
    pub const EVENTS: u32 = 0;
    /// Of `RULINGS`.
    pub const RULINGS: u32 = 1;
    /// How many numbers there are.
    pub const LEN: usize = 2;
}

const _: () = assert!(size_of::<Event>() == 80);
