//! `NODE[0]`: what userspace tells the kernel about this node. Written by userspace only.

use super::{GROUPS, Term};
use crate::ha::Standing;
use crate::time::Nanos;

/// Bits of [`Node::flags`].
pub mod node_flags {
    /// The lab's control run: a fenced node goes on forwarding (and says in its frames that it does not). Never set outside of it.
    pub const FENCE_IGNORED: u32 = 1;
    /// Some of `INTERFACES` are members of bonds.
    pub const BONDS: u32 = 2;
    /// Some vserver takes any port, or any address.
    pub const ANY_PORT: u32 = 1 << 16;
    /// Somebody may be tracing: see [`super::super::Trace`]. Set and cleared by whoever does, so other writers leave it as it is.
    pub const TRACED: u32 = 1 << 31;
}

/// A SipHash-2-4 key with the number that names it in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Key {
    /// First half.
    pub k0: u64,
    /// Second half.
    pub k1: u64,
    /// Names the key on the wire; derived from it one way. Zero: no key.
    pub id: u64,
}

/// A group's part of [`Node`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct NodeGroup {
    /// The term under which this node is Primary; none while it is not. One word, so that taking and leaving the role are
    /// single stores.
    pub role_term: Term,
    /// The term that this node is ready to take, as soon as the peer is proved not to serve under [`Self::armed_over`].
    pub armed_term: Term,
    /// The peer's term that [`Self::armed_term`] would follow.
    pub armed_over: Term,
    /// When it became ready, or took the role: only what the peer says after it heard of that says anything about it. The far future
    /// while that is being written.
    pub since: Nanos,
    /// Own term that this node consents to give up: a claim over it is obeyed at once.
    pub consent: Term,
}

/// The record itself. Key: 0. Writer: the daemon's HA and heartbeat threads. Readers: XDP, egress guard. Memory-mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Node {
    /// [`super::ABI_VERSION`] of the writer.
    pub abi_version: u32,
    /// See [`node_flags`].
    pub flags: u32,
    /// Own address that heartbeats come from, network byte order.
    pub nsip: u32,
    /// The peer's; zero while there is no peer.
    pub peer_nsip: u32,
    /// Own id in the pair: 1 for the lower NSIP, 2 for the higher, 0 standalone.
    pub node_id: u32,
    /// The peer's id in the pair.
    pub peer_id: u32,
    /// Random number of this node's life; survives a restart of the daemon, not one of the machine.
    pub boot_nonce: u64,
    /// Highest sequence number that a heartbeat of this node was given.
    pub sent_seq: u64,
    /// When the HA driver last completed its loop.
    pub controller_at: Nanos,
    /// Nanoseconds after which a controller that has not is hung, and a claim over it is obeyed.
    pub controller_dead: u64,
    /// The dead interval, in nanoseconds: a peer that was heard within it was not silent.
    pub dead: u64,
    /// What an ICMP message costs of the [`super::IcmpBudget`], in nanoseconds; zero for nothing.
    pub icmp_cost: u64,
    /// What a TCP reset costs of the [`super::IcmpBudget`] for resets, in nanoseconds; zero for nothing.
    pub reset_cost: u64,
    /// By group.
    pub groups: [NodeGroup; GROUPS],
    /// How this node stands in the one order.
    pub standing: Standing,
    /// What the daemon says of itself in every frame, echoes too: `wire::heartbeat::flags`.
    pub said_flags: u32,
    /// Bit by link: the peer is heard on it.
    pub hears: u32,
    /// 64-bit name of the node-independent configuration.
    pub config_identity: u64,
    /// How far flow replication is acknowledged.
    pub sync_watermark: u64,
    /// Signs what this node sends.
    pub tx_key: Key,
    /// Verify what the peer sends: the present one, and the one before it until the peer has used the present one.
    pub rx_keys: [Key; 2],
    /// The public first part of a heartbeat, as it stands in echoes.
    pub public: [u32; crate::wire::heartbeat::PUBLIC_LEN / 4],
}

const _: () = assert!(size_of::<Node>() == 80 + 40 * GROUPS + 48 + 24 + 24 + 48 + 136);

impl Default for Node {
    fn default() -> Self {
        Node {
            abi_version: super::ABI_VERSION,
            flags: 0,
            nsip: 0,
            peer_nsip: 0,
            node_id: 0,
            peer_id: 0,
            boot_nonce: 0,
            sent_seq: 0,
            controller_at: Nanos::NEVER,
            controller_dead: 0,
            dead: 0,
            icmp_cost: 0,
            reset_cost: 0,
            groups: [NodeGroup::default(); GROUPS],
            standing: Standing::default(),
            said_flags: 0,
            hears: 0,
            config_identity: 0,
            sync_watermark: 0,
            tx_key: Key::default(),
            rx_keys: [Key::default(); 2],
            public: [0; crate::wire::heartbeat::PUBLIC_LEN / 4],
        }
    }
}
