//! `VRIDS[vrid]`: which virtual router ids does this pair use? Array of `u32`, key 0 to 255. Writer: daemon. Reader: XDP.

/// Bits of a value of `VRIDS`.
pub mod vrid_flags {
    /// Used for IPv4.
    pub const V4: u32 = 1;
    /// Used for IPv6.
    pub const V6: u32 = 1 << 1;
}

/// Entries of `VRIDS`.
pub const VRIDS: usize = 256;
