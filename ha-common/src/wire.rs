//! Bytes shared with the network.

pub mod arp;
pub(crate) mod be;
pub mod checksum;
pub mod eth;
pub mod heartbeat;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod siphash;
pub mod stray;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vrrp;

pub use be::Be16;
