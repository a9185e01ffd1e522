//! Bytes shared with kernel maps.
//!
//! Every record here is `repr(C)`, free of padding and of a size that a test asserts; a change of any layout is a change of
//! [`ABI_VERSION`], which names the directory that maps are pinned in.
//!
//! Role, term and fence are arrays by *group*: group 0 is the whole node and the only one today.

mod fence;
mod interface;
mod link;
mod node;
mod term;

pub use fence::Fence;
pub use interface::{Interface, interface_flags};
pub use link::Link;
pub use node::{Key, Node, NodeGroup, node_flags};
pub use term::Term;

/// Version of everything in this module. Maps are pinned under it; another version's maps are never adopted.
pub const ABI_VERSION: u32 = 1;

/// Number of failover groups in every array by group.
pub const GROUPS: usize = 1;

/// Heartbeat links that a node can have.
pub const MAX_LINKS: usize = 8;
