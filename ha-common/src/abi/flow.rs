//! `FLOWS`, `EMBRYONIC`, `EXCEPTIONS`, `REVERSE`, `REVERSE_EMBRYONIC`: what is known of one conversation?
//!
//! A flow is recorded at its first segment without SYN. A SYN leaves no more than an entry in `EMBRYONIC`, a small table that
//! evicts: which backend it went to, and where its answer has to go. So a flood of SYNs cannot fill `FLOWS`, and a connection
//! whose embryo was evicted is placed by the ring again. None of the other tables ever evicts: established flows win, and what
//! finds no room is placed by the ring alone and counted.

use super::{Ip, Nat, NextHop};
use crate::time::{Ticks, Ticks32};
use crate::wire::Be16;

/// Key of `FLOWS` and `EXCEPTIONS`: a client's end of a conversation with a vserver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Index into `VSERVERS`: the pair's, so that a mirrored flow means the same on both nodes.
    pub vserver: u16,
    /// The port that the client speaks to, where the vserver takes any ([`super::vserver_flags::ANY_PORT`]); else zero.
    pub service_port: Be16,
    /// The client's address.
    pub addr: Ip,
    /// The client's port.
    pub port: Be16,
    /// IP protocol number; in its upper half, for vservers with [`super::vserver_flags::L2_CONN`], where the client is.
    pub protocol: u16,
}

/// [`FlowKey::vserver`] of a flow that nobody knows: no vserver has this index.
pub const NO_VSERVER: u16 = u16::MAX;

impl FlowKey {
    /// A copy in the caller's own frame: before Linux 6.4 tables take their keys from there, and not from a record that a step of the
    /// pipeline was given ([`crate::pipeline::Steps`]).
    #[inline(always)]
    #[must_use]
    pub fn here(&self) -> FlowKey {
        // The compiler must not see that it is the same: it would pass the one that was given.
        FlowKey { vserver: crate::word::opaque(self.vserver.into()) as u16, ..*self }
    }

    /// IP protocol number.
    #[inline(always)]
    #[must_use]
    pub const fn transport(&self) -> u8 {
        self.protocol as u8
    }

    /// Whether it is `other`, without a branch per field: the verifier would walk what follows once for each.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, other: &FlowKey) -> bool {
        let (Ip(a), Ip(b)) = (&self.addr, &other.addr);
        let addr = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
        let rest = (self.port.raw() ^ other.port.raw()) | (self.protocol ^ other.protocol);
        let vserver = (self.vserver ^ other.vserver) | (self.service_port.raw() ^ other.service_port.raw());
        addr | (rest | vserver) as u32 == 0
    }

    /// Index into `VSERVERS`.
    #[inline(always)]
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.vserver as u32
    }
}

/// Bits of [`Flow::flags`].
pub mod flow_flags {
    /// Not where the present ring says: placed by a second choice, or under an older ring.
    pub const EXCEPTION: u16 = 1;
    /// Its close was told to the daemon.
    pub const CLOSE_TOLD: u16 = 1 << 1;
    /// Counted among the open connections of its source.
    pub const COUNTED: u16 = 1 << 8;
}

/// Bits of [`Flow::client_tcp`] and [`Flow::server_tcp`]: what a side of a TCP conversation has sent.
pub mod tcp_seen {
    /// FIN.
    pub const FIN: u8 = 1;
    /// RST.
    pub const RST: u8 = 1 << 1;
}

/// Value of `FLOWS`. Hash, preallocated, size set by the loader. Writers: XDP, daemon (mirror, ageing). Readers: both.
///
/// The kernel puts 48 bytes and the key in front of the value: with 120 bytes an element is three cache lines, and the first two
/// hold all that a packet of an established flow touches. Each direction's counters are written by the receive queue that its
/// packets come in on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Flow {
    /// Index into `BACKENDS`.
    pub backend: u32,
    /// Packets from the client, modulo 2^32.
    pub client_packets: u32,
    /// Packets from the backend, modulo 2^32.
    pub server_packets: u32,
    /// How to reach the client: where its packets came from.
    pub client_hop: NextHop,
    /// Bytes from the client, as they arrived, from the Ethernet header on.
    pub client_bytes: u64,
    /// Bytes from the backend, as they arrived, from the Ethernet header on.
    pub server_bytes: u64,
    /// When its last packet came.
    pub seen: Ticks32,
    /// What the backend sees in place of the client.
    pub nat: Nat,
    /// When it was recorded.
    pub opened: Ticks,
    /// [`super::Vserver::generation`] that placed it.
    pub generation: u32,
    /// See [`flow_flags`].
    pub flags: u16,
    /// What the client's side has sent, see [`tcp_seen`].
    pub client_tcp: u8,
    /// What the backend's side has sent, see [`tcp_seen`].
    pub server_tcp: u8,
    /// Zero.
    pub reserved_words: [u64; 6],
}

/// Set in [`Flow::backend`] of a conversation that was cut off because its backend, or its vserver, went down. `BACKENDS` has no such
/// index, so the common path finds no backend and needs not ask.
pub const CUT_OFF: u32 = 1 << 31;

impl Flow {
    /// Whether it was cut off.
    #[inline(always)]
    #[must_use]
    pub const fn is_cut_off(&self) -> bool {
        self.backend & CUT_OFF != 0
    }

    /// Index into `BACKENDS`, cut off or not.
    #[inline(always)]
    #[must_use]
    pub const fn placed_at(&self) -> u32 {
        self.backend & !CUT_OFF
    }

    /// Why the conversation is over, as far as its segments say.
    #[inline(always)]
    #[must_use]
    pub const fn close_reason(&self) -> Option<CloseReason> {
        if self.client_tcp & tcp_seen::RST != 0 {
            Some(CloseReason::ClientReset)
        } else if self.server_tcp & tcp_seen::RST != 0 {
            Some(CloseReason::ServerReset)
        } else if self.client_tcp & self.server_tcp & tcp_seen::FIN != 0 {
            Some(CloseReason::Finished)
        } else {
            None
        }
    }
}

/// Value of `EMBRYONIC`, by [`FlowKey`]: a connection of which only the SYN was seen. LRU hash. Writer and reader: XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Embryo {
    /// Index into `BACKENDS`.
    pub backend: u32,
    /// How to reach the client.
    pub client_hop: NextHop,
    /// What the backend sees in place of the client.
    pub nat: Nat,
    /// When its last SYN came.
    pub seen: Ticks32,
}

/// Value of `EXCEPTIONS`: a flow that is not where the ring says and has no entry in `FLOWS` (hash-only vserver, or no room).
/// Hash, never evicts. Writers: XDP, daemon. Reader: XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Exception {
    /// Index into `BACKENDS`.
    pub backend: u32,
    /// [`super::Vserver::generation`] that placed it.
    pub generation: u32,
    /// When its last packet from the client came.
    pub seen: Ticks,
}

/// Key of `REVERSE` (→ [`FlowKey`]): an answer of a backend whose flow cannot be told from the packet alone. Hash, never evicts.
/// `REVERSE_EMBRYONIC` is the same for connections of which only the SYN was seen, and evicts. Writers: XDP, daemon. Reader: XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ReverseKey {
    /// Index into `BACKENDS` of the sender.
    pub backend: u32,
    /// Destination address of the answer.
    pub addr: Ip,
    /// Destination port of the answer.
    pub port: Be16,
    /// IP protocol number.
    pub protocol: u16,
}

/// Why a flow is over ([`super::Event::detail`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseReason {
    /// Both sides sent FIN.
    Finished = 1,
    /// The client sent RST.
    ClientReset = 2,
    /// The backend sent RST.
    ServerReset = 3,
    /// Nothing came for too long (told by the daemon, which ages flows out).
    Idle = 4,
}

const _: () = assert!(size_of::<FlowKey>() == 24);
const _: () = assert!(size_of::<Flow>() == 120);
const _: () = assert!(core::mem::offset_of!(Flow, opened) == 56);
const _: () = assert!(size_of::<Embryo>() == 32);
const _: () = assert!(size_of::<Exception>() == 16);
const _: () = assert!(size_of::<ReverseKey>() == 24);
