//! Heartbeats: what the nodes of a pair tell each other, kernel to kernel.
//!
//! An Ethernet II frame, IPv4 without options, UDP port 3003, checksum 0. The payload's first 136 bytes follow the layout that the
//! public product uses since its release 7.0 (version 10; Wireshark's `nstrace.ha` dissector reads it); an authenticated
//! extension follows. Everything from the payload on is little-endian.
//!
//! ```text
//!   0  signature u32 · version u8 (10) · app u8 (0) · type u8 (0 message, 1 "go to INIT") · node state u8
//!   8  start time u32 · sequence u32 · master state u32 · release u32 · flags u32 · incarnation u32 · sync state u32
//!  36  per-interface information, 96 bytes · 132 derived incarnation u32
//! 136  Extension (see there)
//! 304  tag: SipHash-2-4-128 over bytes 0..304
//! ```
//!
//! A *request* asks the peer's kernel for an *echo*, which XDP writes into the same frame with its own node's state. A *claim* is
//! a request that also asks the peer's kernel to stop serving (see [`crate::ha::dispute`]).
#![allow(unsafe_code)] // marks the layouts below as plain bytes

use crate::abi::{GROUPS, Term};
use crate::ha::Standing;
use crate::packet::Wire;
use crate::wire::siphash::Tag;

/// UDP port of heartbeats, source and destination.
pub const PORT: u16 = 3003;

/// Length of the public first part, in bytes.
pub const PUBLIC_LEN: usize = 136;

/// Length of the whole UDP payload, in bytes.
pub const PAYLOAD_LEN: usize = PUBLIC_LEN + size_of::<Extension>() + size_of::<Tag>();

/// Length of the bytes under the tag.
pub const SIGNED_LEN: usize = PAYLOAD_LEN - size_of::<Tag>();

/// Where the payload starts in the frame: Ethernet 14, IPv4 20, UDP 8.
pub const PAYLOAD_OFFSET: usize = 42;

/// Length of the whole frame.
pub const FRAME_LEN: usize = PAYLOAD_OFFSET + PAYLOAD_LEN;

/// First bytes of the extension: `USHA`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"USHA");

/// Version of the extension.
pub const VERSION: u8 = 1;

/// Where the release stands in the public part.
pub const PUBLIC_RELEASE: usize = 20;

/// Where the flags stand in the public part.
pub const PUBLIC_FLAGS: usize = 24;

/// Bits of the flags in the public part, as the public product uses them.
pub mod public_flags {
    /// No card for TLS is there.
    pub const NO_SSL_DEVICE: u32 = 0x200;
    /// The nodes are in different subnets (INC).
    pub const INC: u32 = 0x1000;
    /// Commands are not propagated.
    pub const NO_PROPAGATION: u32 = 0x2000;
    /// The sender prefers to be Primary.
    pub const STAYS_PRIMARY: u32 = 0x4000;
    /// The sender sees another release at its peer.
    pub const VERSION_MISMATCH: u32 = 0x8000;
}

/// What a frame wants of its receiver ([`Extension::kind`]).
pub mod kind {
    /// Echo me.
    pub const REQUEST: u8 = 1;
    /// The receiver's own request, answered by the sender's kernel.
    pub const ECHO: u8 = 2;
    /// Echo me, and stop serving under `armed_over` if you have grounds to.
    pub const CLAIM: u8 = 3;
}

/// Bits of [`Extension::flags`].
pub mod flags {
    /// The sender's legs reach nobody.
    pub const ISOLATED: u16 = 1;
    /// The sender, which serves, wants its peer to take over.
    pub const HANDS_OVER: u16 = 1 << 1;
    /// The sender, which does not serve, was told to take over (forced failover given on it).
    pub const WANTS_ROLE: u16 = 1 << 2;
    /// The sender takes part in elections and may take over.
    pub const ELIGIBLE: u16 = 1 << 3;
    /// The operator insists (`-force`): whoever takes over need not be well, nor its mirror complete.
    pub const FORCED: u16 = 1 << 4;
    /// Everything the sender should know of its peer's flows has arrived.
    pub const MIRROR_READY: u16 = 1 << 5;
    /// The sender's HA engine is switched off (haStatus DISABLED).
    pub const ENGINE_OFF: u16 = 1 << 6;
    /// The sender shall not take over (haStatus STAYSECONDARY).
    pub const STAYS_SECONDARY: u16 = 1 << 7;
    /// The sender could take over if the operator insisted: its settings allow it, well or not.
    pub const WILLING: u16 = 1 << 8;
    /// Nothing was heard on the sender's legs of clients for half its isolationHold: it may be about to be isolated.
    pub const QUIET: u16 = 1 << 9;
    /// The sender is not well and would serve all the same, if its peer is no better (failSafe).
    pub const LAST_RESORT: u16 = 1 << 10;
    /// The sender's machine stood still for a dead interval or longer, and it has not heard of its peer since.
    pub const WAS_AWAY: u16 = 1 << 11;
    /// The sender's daemon has just started and has not looked at its interfaces yet: that it is not well says nothing so far.
    pub const UNJUDGED: u16 = 1 << 12;
    /// The sender took the role that it has because it heard nothing of the receiver.
    pub const OVER_SILENCE: u16 = 1 << 13;
    /// Both serve, and the sender's kernel has no proof yet that the receiver hears it. Set by the kernel, not the daemon.
    pub const DOUBTS: u16 = 1 << 15;
}

/// A group's part of the extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(C)]
pub struct GroupState {
    /// Term under which the sender's kernel serves; none when it does not.
    pub term: Term,
    /// Term that the sender is ready to take.
    pub armed_term: Term,
    /// The receiver's term that it would follow.
    pub armed_over: Term,
    /// The sender's decision about two terms that served at once: this one stops.
    pub stopped_term: Term,
}

/// The authenticated extension: 168 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(C)]
pub struct Extension {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub version: u8,
    /// See [`kind`].
    pub kind: u8,
    /// The sender's id in the pair.
    pub sender: u8,
    /// The receiver's id in the pair.
    pub receiver: u8,
    /// Names the key of the tag.
    pub key_id: u64,
    /// See [`flags`].
    pub flags: u16,
    /// The sender's number of the link that this left on.
    pub link: u8,
    /// Bit by link: the sender hears the receiver on it.
    pub hears: u8,
    /// Milliseconds since the sender's HA driver completed its last loop.
    pub controller_age_ms: u32,
    /// The sender's life.
    pub sender_nonce: u64,
    /// The receiver's life, as far as the sender has proof; zero when it has none.
    pub receiver_nonce: u64,
    /// One sequence over all links and frames of the requester; an echo repeats it.
    pub seq: u64,
    /// When the request left, by the requester's clock, in nanoseconds; an echo repeats it.
    pub stamp: u64,
    /// When the sender wrote its own state into this frame, by its own clock, in nanoseconds: orders what it says over all links.
    pub said_at: u64,
    /// The newest [`Self::said_at`] that the sender has heard of the receiver, by the receiver's clock: proves to the receiver's
    /// kernel, without help of its daemon, that this frame is no older than that.
    pub heard_at: u64,
    /// How the sender stands in the one order.
    pub standing: Standing,
    /// Name of the sender's configuration.
    pub config_identity: u64,
    /// How far the sender has acknowledged the receiver's flow records.
    pub sync_watermark: u64,
    /// By group.
    pub groups: [GroupState; GROUPS],
}

const _: () = assert!(size_of::<Extension>() == 88 + 48 + 32 * GROUPS);
const _: () = assert!(PAYLOAD_LEN.is_multiple_of(8));

// SAFETY: `repr(C)` integers without padding, as the size assertion shows.
unsafe impl Wire for Extension {}
// SAFETY: two words.
unsafe impl Wire for Tag {}
