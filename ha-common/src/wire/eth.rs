//! Ethernet II.
//!
//! ```text
//! 0 destination MAC · 6 source MAC · 12 type
//! ```

/// Length of the header, in bytes.
pub const LEN: usize = 14;

/// Offset of the type.
pub const TYPE: usize = 12;

/// Both MAC addresses, as three words: destination, then source.
pub type Macs = [u32; 3];

/// Values of the type.
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// 802.1ad outer tag.
    pub const VLAN_OUTER: u16 = 0x88a8;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// Puts two addresses together as they lie in front of a frame.
#[inline(always)]
#[must_use]
pub const fn macs(destination: [u8; 6], source: [u8; 6]) -> Macs {
    let [a, b, c, d, e, f] = destination;
    let [g, h, i, j, k, l] = source;
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]), u32::from_ne_bytes([i, j, k, l])]
}

/// The same frame on its way back: source and destination swapped.
#[inline(always)]
#[must_use]
pub const fn swapped(macs: Macs) -> Macs {
    let [a, b, c, d] = macs[0].to_ne_bytes();
    let [e, f, g, h] = macs[1].to_ne_bytes();
    let [i, j, k, l] = macs[2].to_ne_bytes();
    [u32::from_ne_bytes([g, h, i, j]), u32::from_ne_bytes([k, l, a, b]), u32::from_ne_bytes([c, d, e, f])]
}

/// The destination of a frame with these addresses.
#[inline(always)]
#[must_use]
pub const fn destination(macs: Macs) -> [u8; 6] {
    let [a, b, c, d] = macs[0].to_ne_bytes();
    let [e, f, ..] = macs[1].to_ne_bytes();
    [a, b, c, d, e, f]
}

/// The source of a frame with these addresses.
#[inline(always)]
#[must_use]
pub const fn source(macs: Macs) -> [u8; 6] {
    destination(swapped(macs))
}

/// Whether the destination is a group of stations.
#[inline(always)]
#[must_use]
pub const fn to_group(macs: Macs) -> bool {
    macs[0].to_ne_bytes()[0] & 1 != 0
}

/// A MAC address as three words.
#[inline(always)]
#[must_use]
pub const fn halves(mac: [u8; 6]) -> [u16; 3] {
    let [a, b, c, d, e, f] = mac;
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])]
}

/// The reverse of [`halves`].
#[inline(always)]
#[must_use]
pub const fn from_halves(halves: [u16; 3]) -> [u8; 6] {
    let [[a, b], [c, d], [e, f]] = [halves[0].to_ne_bytes(), halves[1].to_ne_bytes(), halves[2].to_ne_bytes()];
    [a, b, c, d, e, f]
}

/// Whether `mac` is one of those that VRRP gives to virtual routers (RFC 9568, 7.3).
#[inline(always)]
#[must_use]
pub const fn is_virtual(mac: [u8; 6]) -> bool {
    let [a, b, c, d, e, _] = mac;
    u32::from_ne_bytes([a, b, c, d]) == u32::from_ne_bytes([0, 0, 0x5e, 0]) && (e == 1 || e == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart_as_they_were_put_together() {
        let (a, b) = ([2, 1, 2, 3, 4, 5], [0x33, 7, 8, 9, 10, 11]);
        assert_eq!(destination(macs(a, b)), a);
        assert_eq!(source(macs(a, b)), b);
        assert_eq!(swapped(macs(a, b)), macs(b, a));
        assert!(to_group(macs(b, a)) && !to_group(macs(a, b)));
    }
}
