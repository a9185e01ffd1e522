//! Which slot does a client fall into? The same on both nodes, today and after an upgrade: `explain` and the peer rely on it.

use crate::abi::{Ip, hash_kind};
use crate::wire::Be16;

/// The finaliser of SplitMix64: every bit of the input changes half of the bits of the output.
#[inline(always)]
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The client's hash, by what `kind` (see [`hash_kind`]) takes of it.
#[inline(always)]
#[must_use]
pub const fn client_hash(kind: u8, addr: &Ip, port: Be16) -> u32 {
    let port = if kind == hash_kind::SOURCE { 0 } else { port.get() as u64 };
    let high = (addr.0[0] as u64) << 32 | addr.0[1] as u64;
    let low = (addr.0[2] as u64) << 32 | addr.0[3] as u64;
    // The prefix of an IPv4 address is the same for all of them: one round would do, and two cost a nanosecond more.
    mix(mix(high ^ (port << 48 | port)).wrapping_add(low)) as u32
}

/// The hash of a client's flow with a vserver: [`client_hash`], unless the address that it speaks to, `destination`, counts as well.
#[inline(always)]
#[must_use]
pub fn flow_hash(kind: u8, client: &Ip, port: Be16, destination: &Ip) -> u32 {
    if kind >= hash_kind::DESTINATION {
        return with_destination(kind, client, destination);
    }
    client_hash(kind, client, port)
}

#[inline(never)]
fn with_destination(kind: u8, client: &Ip, destination: &Ip) -> u32 {
    let hash = client_hash(hash_kind::SOURCE, destination, Be16::new(0));
    if kind == hash_kind::DESTINATION {
        return hash;
    }
    mix(u64::from(hash) << 32 | u64::from(client_hash(hash_kind::SOURCE, client, Be16::new(0)))) as u32
}

/// Another hash for the same client: its `n`th choice.
#[inline(always)]
#[must_use]
pub const fn rehash(hash: u32, n: u32) -> u32 {
    mix((hash as u64) << 32 | n as u64) as u32
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn hash_is_what_both_nodes_agreed_on() {
        let v4 = Ip::from("10.1.0.1".parse::<IpAddr>().unwrap());
        let v6 = Ip::from("2001:db8::1".parse::<IpAddr>().unwrap());
        assert_eq!(client_hash(hash_kind::SOURCE_PORT, &v4, Be16::new(40000)), 0xb132_1036);
        assert_eq!(client_hash(hash_kind::SOURCE_PORT, &v6, Be16::new(40000)), 0xdbde_41cd);
        assert_eq!(client_hash(hash_kind::SOURCE, &v4, Be16::new(1)), client_hash(hash_kind::SOURCE, &v4, Be16::new(2)));
    }

    #[test]
    fn each_method_looks_at_its_own_part_of_a_flow() {
        let [a, b, c, d] = [1, 2, 3, 4].map(|last| Ip::from(Ipv4Addr::new(10, 1, 0, last)));
        let differs = |kind: u8, one: (&Ip, u16, &Ip), other: (&Ip, u16, &Ip)| {
            let [one, other] = [one, other].map(|(client, port, to)| flow_hash(kind, client, Be16::new(port), to));
            one != other
        };
        use hash_kind::{DESTINATION, SOURCE, SOURCE_DESTINATION, SOURCE_PORT};
        for (kind, client, port, to) in [
            (SOURCE_PORT, true, true, false),
            (SOURCE, true, false, false),
            (DESTINATION, false, false, true),
            (SOURCE_DESTINATION, true, false, true),
        ] {
            assert_eq!(differs(kind, (&a, 1, &c), (&b, 1, &c)), client, "{kind}: client");
            assert_eq!(differs(kind, (&a, 1, &c), (&a, 2, &c)), port, "{kind}: port");
            assert_eq!(differs(kind, (&a, 1, &c), (&a, 1, &d)), to, "{kind}: destination");
        }
        assert!(differs(SOURCE_DESTINATION, (&a, 1, &b), (&b, 1, &a)), "the two ends are no pair without order");
    }

    #[test]
    fn neighbouring_clients_spread_evenly() {
        const SLOTS: usize = 256;
        let mut hits = [0u32; SLOTS];
        for last in 0..=255u8 {
            for port in 0..256u16 {
                let addr = Ip::from(Ipv4Addr::new(10, 1, 0, last));
                hits[client_hash(hash_kind::SOURCE_PORT, &addr, Be16::new(32_768 + port)) as usize % SLOTS] += 1;
            }
        }
        // 256 expected in each; five standard deviations.
        assert!(hits.iter().all(|&n| (176..=336).contains(&n)), "{hits:?}");
    }
}
