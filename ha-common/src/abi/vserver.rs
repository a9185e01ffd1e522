//! `VSERVER_INDEX`, `VSERVERS`, `RINGS`: what is offered at an address and port, and how is a backend chosen?

#![allow(unsafe_code)] // one record is the beginning of another

use core::mem::offset_of;

use super::{AddressKey, Ip, SourceLimits};
use crate::wire::Be16;

/// Key of `VSERVER_INDEX` (→ index into `VSERVERS`, `u32`) and of `BACKEND_INDEX`: one end of a conversation. Port zero stands for all that
/// have no key of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ServiceKey {
    /// The address.
    pub addr: Ip,
    /// VLAN that it lives in; 0 is untagged.
    pub domain: u32,
    /// Port.
    pub port: Be16,
    /// IP protocol number.
    pub protocol: u16,
}

const _: () = assert!(offset_of!(ServiceKey, addr) == offset_of!(AddressKey, addr));
const _: () = assert!(offset_of!(ServiceKey, domain) == offset_of!(AddressKey, domain));

impl ServiceKey {
    /// A copy in the caller's own frame, see [`super::FlowKey::here`].
    #[inline(always)]
    #[must_use]
    pub fn here(&self) -> ServiceKey {
        ServiceKey { domain: crate::word::opaque(self.domain.into()) as u32, ..*self }
    }

    /// The key of its address: its beginning. No copy: the kernel's stack is small.
    #[inline(always)]
    #[must_use]
    pub const fn address(&self) -> &AddressKey {
        // SAFETY: both are `repr(C)`, and the fields of `AddressKey` lie at the same offsets here, as asserted above.
        unsafe { &*core::ptr::from_ref(self).cast::<AddressKey>() }
    }
}

/// Bits of [`Vserver::flags`].
pub mod vserver_flags {
    /// No backend is up and none may be tried: its packets are dropped.
    pub const DOWN: u32 = 1;
    /// Flows are not recorded: the ring alone decides.
    pub const HASH_ONLY: u32 = 1 << 1;
    /// Opened and closed flows are told to the daemon.
    pub const LOGGED: u32 = 1 << 2;
    /// Some of its flows may be in `EXCEPTIONS`. Set before a backend of it loses its `UP` bit or its ring changes; cleared when
    /// no exception of it is left.
    pub const EXCEPTIONS: u32 = 1 << 3;
    /// [`super::Vserver::previous`] holds the ring before this one, still valid for flows that began under it.
    pub const PREVIOUS: u32 = 1 << 4;
    /// While it is down its conversations are cut off (`-downStateFlush ENABLED`), and those whose backend is down.
    pub const CUTS_OFF: u32 = 1 << 16;
    /// While it is down its conversations go on (`-downStateFlush DISABLED`), and those whose backend is down and
    /// [`super::super::backend_flags::KEEPS`].
    pub const KEEPS: u32 = 1 << 17;
    /// While it is down whoever speaks to it over TCP is reset (`-downStateRST ENABLED`).
    pub const RESETS: u32 = 1 << 18;
    /// Newcomers go to one of [`super::Vserver::choices`] after the other (`ROUNDROBIN`).
    pub const IN_TURN: u32 = 1 << 8;
    /// Newcomers go to the one of [`super::Vserver::choices`] that has the fewest flows for its weight (`LEASTCONNECTION`).
    pub const LEAST: u32 = 1 << 9;
    /// The client's address says which backend had it before: `PERSIST`.
    pub const PERSIST_SOURCE: u32 = 1 << 10;
    /// The address that the client speaks to says so.
    pub const PERSIST_DESTINATION: u32 = 1 << 11;
    /// `PREFIXES` says who is let in.
    pub const LISTED: u32 = 1 << 24;
    /// Whoever is in no prefix is kept out.
    pub const ALLOW_LISTED: u32 = 1 << 25;
    /// [`super::Vserver::limits`] say how many connections a source may open.
    pub const LIMITED: u32 = 1 << 26;
    /// Newcomers are asked something.
    pub const GUARDED: u32 = LISTED | LIMITED;
    /// Clients with the same address and port are told apart by where they are (`-l2Conn ON`).
    pub const L2_CONN: u32 = 1 << 19;
    /// Takes every port that no other vserver of its address has: the port is part of its flows' keys, and [`super::Vserver::port`]
    /// is zero.
    pub const ANY_PORT: u32 = 1 << 20;
    /// Takes them for FTP's data connections only.
    pub const FTP: u32 = 1 << 21;
    /// Takes what passes through this node as a router, for whatever address; [`super::Vserver::vip`] is unspecified.
    pub const ANY_ADDRESS: u32 = 1 << 22;
}

/// How packets of a vserver reach a backend ([`Vserver::mode`]).
pub mod mode {
    /// Destination address and port are rewritten; the client's address stays; answers return through the pair (`-m IP`, USIP).
    pub const NAT: u8 = 0;
    /// Only the link-layer addresses are rewritten; the backend owns the VIP and answers the client itself (`-m MAC`).
    pub const MAC: u8 = 1;
    /// The packet travels to the backend in another one (IP in IP, RFC 2003, 2473 and 4213), from a SNIP; the backend owns the VIP and
    /// answers the client itself (`-m IPTUNNEL`).
    pub const TUNNEL: u8 = 2;
}

/// What of a packet chooses its slot in the ring ([`Vserver::hash`]).
pub mod hash_kind {
    /// Source address and port: `SRCIPSRCPORTHASH`.
    pub const SOURCE_PORT: u8 = 0;
    /// Source address: `SOURCEIPHASH`.
    pub const SOURCE: u8 = 1;
    /// Destination address: `DESTINATIONIPHASH`.
    pub const DESTINATION: u8 = 2;
    /// Source and destination address: `SRCIPDESTIPHASH`.
    pub const SOURCE_DESTINATION: u8 = 3;
}

/// A ring in the pool: where it starts and how many slots it has, in one word so that a change is one store.
///
/// The length is a power of two, so that `hash → slot` is one AND; Maglev's permutations then need an odd stride, no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Ring(u64);

impl Ring {
    /// The ring of `2^log2_len` slots at `base` of the pool.
    #[must_use]
    pub const fn new(base: u32, log2_len: u32) -> Self {
        Ring((((1u64 << log2_len) - 1) << 32) | base as u64)
    }

    /// Index of its first slot in `RINGS`.
    #[inline(always)]
    #[must_use]
    pub const fn base(self) -> u32 {
        self.0 as u32
    }

    /// Number of slots.
    #[inline(always)]
    #[must_use]
    pub const fn len(self) -> u32 {
        (self.0 >> 32) as u32 + 1
    }

    /// Never: the smallest ring has one slot.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Index into `RINGS` of the slot that `hash` falls into.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self, hash: u32) -> u32 {
        (hash & (self.0 >> 32) as u32).wrapping_add(self.0 as u32)
    }
}

/// A backend among [`Vserver::choices`], and its weight, in one slot of `RINGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice(u32);

impl Choice {
    /// Backends have their index in so many bits.
    const INDEX_BITS: u32 = 24;

    /// `backend` with `weight`, 1 to 255.
    #[must_use]
    pub const fn new(backend: u32, weight: u8) -> Self {
        Choice((weight as u32) << Self::INDEX_BITS | backend & ((1 << Self::INDEX_BITS) - 1))
    }

    /// What a slot holds.
    #[inline(always)]
    #[must_use]
    pub const fn of(slot: u32) -> Self {
        Choice(slot)
    }

    /// What is put into the slot.
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.0
    }

    /// Index into `BACKENDS`.
    #[inline(always)]
    #[must_use]
    pub const fn backend(self) -> u32 {
        self.0 & ((1 << Self::INDEX_BITS) - 1)
    }

    /// Its weight.
    #[inline(always)]
    #[must_use]
    pub const fn weight(self) -> u32 {
        self.0 >> Self::INDEX_BITS
    }
}

/// As many of [`Vserver::choices`] are looked at for one newcomer.
pub const CANDIDATES: u32 = 16;

/// A list of [`Choice`]s in `RINGS`: where it starts and how many there are, in one word so that a change is one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Choices(u64);

impl Choices {
    /// `count` slots from `base` on.
    #[must_use]
    pub const fn new(base: u32, count: u32) -> Self {
        Choices((count as u64) << 32 | base as u64)
    }

    /// The list as a word.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Index of its first slot in `RINGS`.
    #[inline(always)]
    #[must_use]
    pub const fn base(self) -> u32 {
        self.0 as u32
    }

    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub const fn count(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Value of `VSERVERS`. Array, memory-mapped; the index is the pair's. Writer: daemon. Reader: XDP.
///
/// `RINGS` is an array of `u32`, memory-mapped: indices into `BACKENDS`, or [`NO_BACKEND`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Vserver {
    /// See [`vserver_flags`].
    pub flags: u32,
    /// Failover group whose server handles it.
    pub group: u32,
    /// The ring that places new flows.
    pub ring: Ring,
    /// The ring before it, while [`vserver_flags::PREVIOUS`] is set.
    pub previous: Ring,
    /// Number of [`Self::ring`] among the rings of this vserver, the same on both nodes.
    pub generation: u32,
    /// Number of [`Self::previous`].
    pub previous_generation: u32,
    /// The address that clients see.
    pub vip: Ip,
    /// The port that clients see; zero: any.
    pub port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    /// See [`mode`].
    pub mode: u8,
    /// See [`hash_kind`].
    pub hash: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Zero.
    pub reserved_words: [u32; 4],
    /// What each source may do.
    pub limits: SourceLimits,
    /// With [`vserver_flags::IN_TURN`] one of these after the other takes a newcomer, with [`vserver_flags::LEAST`] the one that has the
    /// fewest flows for its weight. Those that were up when the list was made.
    pub choices: Choices,
    /// What of an address says that two clients stay together.
    pub session_mask: Ip,
    /// The vserver in the keys of its sessions: itself, or the one that it shares them with.
    pub sessions: u32,
    /// Zero.
    pub reserved_last: u32,
}

/// A slot, or a flow, without a backend.
pub const NO_BACKEND: u32 = u32::MAX;

/// In place of a backend: none takes the newcomer, but some would if they were not full.
pub const FULL_BACKENDS: u32 = u32::MAX - 1;

const _: () = assert!(size_of::<ServiceKey>() == 24);
const _: () = assert!(size_of::<Vserver>() == 128);
