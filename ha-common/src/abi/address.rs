//! `ADDRESSES`: which addresses does this pair answer for, and how?

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address, as four words in the byte order in which they lie in a packet; IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ip(pub [u32; 4]);

impl Ip {
    const V4_PREFIX: u32 = 0xffff_u32.to_be();

    /// An IPv4 address, as the word that lies in a packet.
    #[inline(always)]
    #[must_use]
    pub const fn v4(word: u32) -> Self {
        Ip([0, 0, Self::V4_PREFIX, word])
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == Self::V4_PREFIX
    }

    /// Whether a single station may send from it: neither unspecified, nor loopback, multicast or broadcast.
    #[inline(always)]
    #[must_use]
    pub const fn is_station(&self) -> bool {
        if self.is_v4() {
            let first = self.0[3].to_ne_bytes()[0];
            return first != 0 && first != 127 && first < 224;
        }
        let local = self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0 && (self.0[3] == 0 || self.0[3] == 1_u32.to_be());
        !local && self.0[0].to_ne_bytes()[0] != 0xff
    }

    /// The mask that leaves the first `bits` of an address; an IPv4 address has 96 in front of its own.
    #[must_use]
    pub const fn mask(bits: u32) -> Self {
        let left = 128_u32.saturating_sub(bits);
        let ones = if left == 128 { 0 } else { u128::MAX << left };
        Ip([((ones >> 96) as u32).to_be(), ((ones >> 64) as u32).to_be(), ((ones >> 32) as u32).to_be(), (ones as u32).to_be()])
    }

    /// The address without what `mask` leaves out.
    #[must_use]
    pub const fn masked(&self, mask: &Ip) -> Self {
        let (Ip(own), Ip(mask)) = (self, mask);
        Ip([own[0] & mask[0], own[1] & mask[1], own[2] & mask[2], own[3] & mask[3]])
    }

    /// Whether it is `other`, without a branch per word: the verifier would walk what follows once for each.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, other: &Ip) -> bool {
        let (Ip(a), Ip(b)) = (self, other);
        (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) == 0
    }

    /// Its last word: the whole address if it is IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.0[3]
    }
}

impl From<Ipv4Addr> for Ip {
    fn from(addr: Ipv4Addr) -> Self {
        Ip::v4(u32::from_ne_bytes(addr.octets()))
    }
}

impl From<Ipv6Addr> for Ip {
    fn from(addr: Ipv6Addr) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(addr.octets().chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ip(words)
    }
}

impl From<IpAddr> for Ip {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => addr.into(),
            IpAddr::V6(addr) => addr.into(),
        }
    }
}

impl From<Ip> for IpAddr {
    fn from(ip: Ip) -> Self {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(ip.0) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets).to_canonical()
    }
}

/// Bits of [`Address::flags`].
pub mod address_flags {
    /// Virtual address of clients.
    pub const VIP: u32 = 1;
    /// Floating address towards backends: their gateway.
    pub const SNIP: u32 = 1 << 1;
    /// What no vserver takes is the host's business (a daemon on this machine is bound to it).
    pub const LOCAL: u32 = 1 << 2;
    /// Requests for its link-layer address (ARP, neighbour solicitation) are to be answered now.
    pub const ARP: u32 = 1 << 3;
    /// Echo requests are to be answered now.
    pub const ICMP: u32 = 1 << 4;
    /// Does not float: this machine's own. What a backend sends to it is no answer to a client.
    pub const HOST: u32 = 1 << 5;
    /// There is a vserver here that takes ports that no other one has.
    pub const ANY_PORT: u32 = 1 << 16;
}

/// Key of `ADDRESSES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct AddressKey {
    /// The address.
    pub addr: Ip,
    /// VLAN that it lives in; 0 is untagged.
    pub domain: u32,
}

/// Value of `ADDRESSES`: every floating address, and every other address of this machine's legs. Hash. Writer: daemon. Readers:
/// XDP, egress guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Address {
    /// See [`address_flags`].
    pub flags: u32,
    /// Failover group whose server answers.
    pub group: u32,
}

const _: () = assert!(size_of::<AddressKey>() == 20);
const _: () = assert!(size_of::<Address>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_survives_the_way_there_and_back() {
        for text in ["10.1.0.100", "2001:db8::1", "255.255.255.255"] {
            let addr: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Ip::from(addr)), addr);
            assert_eq!(Ip::from(addr).is_v4(), addr.is_ipv4());
        }
    }

    #[test]
    fn masks_leave_the_first_bits() {
        for (text, bits, left) in [
            ("10.1.2.3", 128, "10.1.2.3"),
            ("10.1.2.3", 96 + 24, "10.1.2.0"),
            ("10.1.255.3", 96 + 17, "10.1.128.0"),
            ("2001:db8:1:2:3::1", 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3::1", 0, "::"),
            ("2001:db8:1:2:3::1", 1, "::"),
        ] {
            let [addr, left] = [text, left].map(|text| Ip::from(text.parse::<IpAddr>().unwrap()));
            assert_eq!(addr.masked(&Ip::mask(bits)), left, "{text}/{bits}");
        }
    }
}
