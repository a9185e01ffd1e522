//! VRRP, versions 2 and 3 (RFC 3768, RFC 9568): the part that both have in common.
//!
//! ```text
//! 0 version << 4 | type · 1 virtual router id · 2 priority · 3 number of addresses
//! ```

/// IP protocol.
pub const PROTOCOL: u8 = 112;

/// The first bytes of a packet.
pub type Head = [u8; 4];

/// The only type: an advertisement.
pub const ADVERTISEMENT: u8 = 1;

/// Time to live of every packet: it has crossed no router.
pub const TTL: u8 = 255;
