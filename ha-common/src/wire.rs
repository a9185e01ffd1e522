//! Bytes shared with the network.

pub(crate) mod be;
pub mod heartbeat;
pub mod siphash;

pub use be::Be16;
