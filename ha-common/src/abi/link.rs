//! `LINKS[link]`: what the kernel hears of the peer on one heartbeat link. Written by XDP only.

use crate::time::Nanos;
use crate::wire::heartbeat::Extension;

/// The record itself. Key: link number. Writer: XDP, one receive queue at a time. Reader: daemon. Memory-mapped.
///
/// `generation` is odd while the record is being written; a reader that finds it odd or changed reads again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Link {
    /// Sequence lock.
    pub generation: u64,
    /// Source MAC of the last good frame, zero before the first; upper 16 bits unused.
    pub peer_mac: u64,
    /// When the last fresh request of the peer came.
    pub request_at: Nanos,
    /// Its sequence number.
    pub request_seq: u64,
    /// The sender's life that [`Self::request_seq`] counts in.
    pub request_nonce: u64,
    /// When the last fresh echo of an own request came.
    pub echo_at: Nanos,
    /// The sequence number that it echoed.
    pub echo_seq: u64,
    /// Its round trip, in nanoseconds.
    pub rtt: u64,
    /// When an authentic request last came that is newer than all before it in its sender's life and says that its sender
    /// serves, but proves nothing else (it names another life of this node). It only ever keeps this node from claiming.
    pub unproved_at: Nanos,
    /// Its sequence number.
    pub unproved_seq: u64,
    /// Its sender's life.
    pub unproved_nonce: u64,
    /// When a frame with the peer's address but an unknown key last came.
    pub unknown_key_at: Nanos,
    /// Whether such a frame said that its sender serves.
    pub unknown_key_serves: u64,
    /// Good requests, good echoes, unknown keys, bad tags, stale frames, own frames looped back: counted.
    pub requests: u64,
    /// See above.
    pub echoes: u64,
    /// See above.
    pub unknown_keys: u64,
    /// See above.
    pub bad_tags: u64,
    /// See above.
    pub stale: u64,
    /// See above.
    pub looped: u64,
    /// Heartbeats from this node's own address that another machine sent: counted.
    pub duplicates: u64,
    /// When the last one came.
    pub duplicate_at: Nanos,
    /// Its source MAC, as [`super::mac_word`] gives it.
    pub duplicate_mac: u64,
    /// Heartbeats of the peer whose source MAC is this interface's own: counted.
    pub twins: u64,
    /// When the last one came.
    pub twin_at: Nanos,
    /// The public part of the last fresh frame: its sender's release, `major << 16 | minor`.
    pub peer_release: u32,
    /// And the public flags: `wire::heartbeat::public_flags`.
    pub peer_flags: u32,
    /// What the newest fresh frame on this link said.
    pub said: Extension,
}

const _: () = assert!(size_of::<Link>() == 25 * 8 + size_of::<Extension>());
