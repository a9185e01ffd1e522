//! Bytes shared with kernel maps.
//!
//! Every record here is `repr(C)`, free of padding and of a size that a test asserts; a change of any layout is a change of
//! [`ABI_VERSION`], which names the directory that maps are pinned in.
//!
//! Role, term and fence are arrays by *group*: group 0 is the whole node and the only one today.

mod address;
mod backend;
mod directory;
mod event;
mod fence;
mod filter;
mod flow;
mod fragment;
mod guard;
mod icmp;
mod interface;
mod link;
mod load;
mod nat;
mod node;
mod reason;
mod session;
mod stray;
mod term;
mod trace;
mod vrid;
mod vserver;

pub use address::{Address, AddressKey, Ip, address_flags};
pub use backend::{AMBIGUOUS, Backend, NextHop, Owner, backend_flags};
pub use directory::{BUCKETS, Bucket, DirectoryKey, SLOTS, Slot};
pub use event::{Event, event_kind, lost};
pub use fence::Fence;
pub use filter::{FILTER_WORDS, Filter, FilterBit, FilterKind};
pub use flow::{CUT_OFF, CloseReason, Embryo, Exception, Flow, FlowKey, NO_VSERVER, ReverseKey, flow_flags, tcp_seen};
pub use fragment::{Fragment, FragmentKey, FragmentRoom};
pub use guard::{Pace, PrefixKey, SOURCE_WINDOW, Source, SourceKey, SourceLimits, Throttle, prefix_action};
pub use icmp::IcmpBudget;
pub use interface::{Interface, interface_flags};
pub use link::Link;
pub use load::Load;
pub use nat::{Nat, SNIPS, Snip};
pub use node::{Key, Node, NodeGroup, node_flags};
pub use reason::{Counter, Reason};
pub use session::{Session, SessionKey};
pub use stray::StrayBudget;
pub use term::Term;
pub use trace::{TRACED_BYTES, Trace, TraceBudget, TraceFilter, Traced, traced_as};
pub use vrid::{VRIDS, vrid_flags};
pub use vserver::{
    CANDIDATES, Choice, Choices, FULL_BACKENDS, NO_BACKEND, Ring, ServiceKey, Vserver, hash_kind, mode, vserver_flags,
};

/// Version of everything in this module. Maps are pinned under it; another version's maps are never adopted.
pub const ABI_VERSION: u32 = 4;

/// Number of failover groups in every array by group.
pub const GROUPS: usize = 1;

/// Heartbeat links that a node can have.
pub const MAX_LINKS: usize = 8;

/// Legs that a node can have.
pub const MAX_LEGS: usize = 64;

/// A MAC address as records hold it: its six bytes as the lower ones of a big-endian word.
#[inline(always)]
#[must_use]
pub const fn mac_word(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The reverse of [`mac_word`].
#[inline(always)]
#[must_use]
pub const fn mac_of(word: u64) -> [u8; 6] {
    let [_, _, a, b, c, d, e, f] = word.to_be_bytes();
    [a, b, c, d, e, f]
}

/// How often a packet looks for another backend by rehashing before it walks the ring.
pub const REHASHES: u32 = 4;

/// Slots that it walks then, at most.
pub const RING_WALK: u32 = 64;
