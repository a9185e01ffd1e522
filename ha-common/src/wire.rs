//! Bytes shared with the network.

mod be;
pub mod heartbeat;
pub mod siphash;

pub use be::Be16;
