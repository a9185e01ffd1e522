//! Bytes shared with the network.

pub mod heartbeat;
pub mod siphash;
