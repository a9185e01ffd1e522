//! Backends and weights → ring: which backend owns which slot?
//!
//! Maglev hashing (Eisenbud et al., NSDI 2016, 3.4): every backend lists all slots in an order of its own, and the backends take
//! turns, each taking the first slot on its list that is still free. A backend that comes or goes moves little more than its
//! own share. Lists depend on address, port and protocol alone, never on an index, a name or the order of configuration:
//! two nodes that know the same backends have the same ring, slot by slot.
//!
//! The length is a power of two (hash to slot is one AND in the data plane); a list then is a permutation whenever its stride
//! is odd.

use crate::abi::{Ip, Key, NO_BACKEND};
use crate::wire::Be16;
use crate::wire::siphash::SipHash;

/// A backend's part in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Its address.
    pub addr: Ip,
    /// Its port.
    pub port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    /// Its share relative to the others'; zero has none.
    pub weight: u32,
    /// What its slots hold: an index into `BACKENDS`.
    pub backend: u32,
}

/// Slots per backend, at least: a ring's shares are then even to about one percent, and a backend that comes or goes moves one to two percent of all
/// slots more than its own share. With 400 that is less than one percent, and a pool of rings has room for a quarter of the vservers.
const SLOTS_PER_MEMBER: usize = 100;

/// The smallest ring has `2^8` slots.
const LOG2_LEN_MIN: u32 = 8;

/// The largest ring has `2^18` slots.
pub const LOG2_LEN_MAX: u32 = 18;

/// Members that a ring can have.
pub const MEMBERS_MAX: usize = (1 << LOG2_LEN_MAX) / SLOTS_PER_MEMBER;

/// The key is part of the layout: both nodes and every version must build the same ring.
const KEY: Key = Key { k0: 0x756e_6465_7273_7475, k1: 0x6479_206d_6167_6c65, id: 1 };

/// Binary logarithm of the length of a ring for so many members.
///
/// Rings come in steps of four: a change of length moves nearly every slot, so it must be rare.
#[must_use]
pub fn log2_len(members: usize) -> u32 {
    let wanted = (members.max(1) * SLOTS_PER_MEMBER).next_power_of_two().ilog2();
    wanted.next_multiple_of(2).clamp(LOG2_LEN_MIN, LOG2_LEN_MAX)
}

/// The ring of `members`, of the length that [`log2_len`] gives for those with a weight. All [`NO_BACKEND`] if there are none.
#[must_use]
pub fn ring(members: &[Member]) -> Vec<u32> {
    let mut lists: Vec<List> = members.iter().filter(|member| member.weight > 0).map(List::of).collect();
    lists.sort_unstable_by_key(|list| (list.start, list.stride, list.member));
    let mut ring = vec![NO_BACKEND; 1 << log2_len(lists.len())];
    let heaviest = u64::from(lists.iter().map(|list| list.member.weight).max().unwrap_or(1));
    let mut free = ring.len();
    while free > 0 && !lists.is_empty() {
        for list in &mut lists {
            if free == 0 || !list.has_turn(heaviest) {
                continue;
            }
            let slot = list.first_free(&ring);
            ring[slot] = list.member.backend;
            free -= 1;
        }
    }
    ring
}

/// A member's list of slots, and how far it has been read.
struct List {
    member: Member,
    start: u64,
    stride: u64,
    next: u64,
    /// Turns saved up, in units of the heaviest member's weight.
    credit: u64,
}

impl List {
    fn of(member: &Member) -> Self {
        let Ip([a, b, c, d]) = member.addr;
        let mut hash = SipHash::new(&KEY);
        // As the bytes lie in memory, so that the ring does not depend on the machine.
        hash.word(u64::from(u32::from_be(a)) << 32 | u64::from(u32::from_be(b)));
        hash.word(u64::from(u32::from_be(c)) << 32 | u64::from(u32::from_be(d)));
        hash.word(u64::from(member.port.get()) << 8 | u64::from(member.protocol));
        let tag = hash.finish();
        List { member: *member, start: tag.0, stride: tag.1 | 1, next: 0, credit: 0 }
    }

    /// Whether it takes a slot in this round: the heaviest in every one, others in proportion.
    fn has_turn(&mut self, heaviest: u64) -> bool {
        self.credit += u64::from(self.member.weight);
        let turn = self.credit >= heaviest;
        self.credit -= if turn { heaviest } else { 0 };
        turn
    }

    /// Reads on to the first free slot; there is one.
    fn first_free(&mut self, ring: &[u32]) -> usize {
        let mask = ring.len() as u64 - 1;
        loop {
            let slot = (self.start.wrapping_add(self.next.wrapping_mul(self.stride)) & mask) as usize;
            self.next += 1;
            if ring[slot] == NO_BACKEND {
                return slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn member(n: u32) -> Member {
        Member {
            addr: Ipv4Addr::from_bits(0x0a02_0000 + n).into(),
            port: Be16::new(80),
            protocol: 6,
            weight: 1,
            backend: 1000 + n,
        }
    }

    fn members(count: u32) -> Vec<Member> {
        (0..count).map(member).collect()
    }

    fn share(ring: &[u32], backend: u32) -> f64 {
        ring.iter().filter(|&&slot| slot == backend).count() as f64 / ring.len() as f64
    }

    /// Fraction of slots that differ.
    fn moved(a: &[u32], b: &[u32]) -> f64 {
        a.iter().zip(b).filter(|(a, b)| a != b).count() as f64 / a.len() as f64
    }

    #[test]
    fn length_is_at_least_a_hundred_slots_per_member() {
        assert_eq!([0, 1, 2, 3, 10, 11, 40, 41, 2_621].map(log2_len), [8, 8, 8, 10, 10, 12, 12, 14, 18]);
        assert!((1..=MEMBERS_MAX).all(|count| 1 << log2_len(count) >= count * SLOTS_PER_MEMBER));
    }

    #[test]
    fn shares_are_even() {
        for count in [1, 3, 7, 40, 100] {
            let ring = ring(&members(count));
            for n in 0..count {
                let share = share(&ring, 1000 + n) * f64::from(count);
                assert!((0.97..1.03).contains(&share), "{n} of {count}: {share}");
            }
        }
    }

    #[test]
    fn shares_follow_weights_and_zero_has_none() {
        let mut members = members(4);
        for (member, weight) in members.iter_mut().zip([1, 2, 5, 0]) {
            member.weight = weight;
        }
        let ring = ring(&members);
        for (n, wanted) in [(0, 0.125), (1, 0.25), (2, 0.625), (3, 0.0)] {
            assert!((share(&ring, 1000 + n) - wanted).abs() < 0.005);
        }
    }

    #[test]
    fn a_member_that_leaves_moves_little_more_than_its_share() {
        let all = ring(&members(40));
        let without = ring(&[members(39), vec![Member { weight: 0, ..member(39) }]].concat());
        assert_eq!(all.len(), without.len());
        assert!(moved(&all, &without) < 2.5 / 40.0, "{}", moved(&all, &without));
    }

    /// Slots that more than the unavoidable moved when members and weights became others: those whose owner has gone or lost share, and no more.
    fn moved_beyond_the_unavoidable(before: &[Member], after: &[Member]) -> f64 {
        let (before, after) = (ring(before), ring(after));
        assert_eq!(before.len(), after.len());
        let owners: std::collections::BTreeSet<u32> = before.iter().chain(&after).copied().collect();
        let unavoidable: f64 = owners.iter().map(|&owner| (share(&before, owner) - share(&after, owner)).max(0.0)).sum();
        moved(&before, &after) - unavoidable
    }

    #[test]
    fn weighted_backends_that_come_and_go_move_about_two_percent_more_than_they_must() {
        for (count, weights) in [(5, [1, 1, 1]), (12, [1, 2, 3]), (30, [10, 1, 100]), (30, [7, 50, 93]), (100, [1, 4, 2])] {
            let mut all = members(count);
            for (member, weight) in all.iter_mut().zip(weights.into_iter().cycle()) {
                member.weight = weight;
            }
            for leaver in [0, 1, 2, count as usize - 1] {
                let mut without = all.clone();
                without[leaver].weight = 0;
                // A ring whose number of members asks for another length is another ring.
                if log2_len(count as usize) != log2_len(count as usize - 1) {
                    continue;
                }
                for (before, after) in [(&all, &without), (&without, &all)] {
                    let more = moved_beyond_the_unavoidable(before, after);
                    assert!(more <= 0.022, "{count} members with {weights:?}, number {leaver}: {more}");
                }
            }
        }
    }

    #[test]
    fn nobody_owns_the_slots_of_an_empty_ring() {
        assert!(ring(&[]).iter().all(|&slot| slot == NO_BACKEND));
    }

    #[test]
    fn ring_is_part_of_the_protocol_between_versions() {
        let ring = ring(&members(3));
        let sum = ring.iter().fold(0u32, |sum, &slot| sum.wrapping_mul(31).wrapping_add(slot));
        assert_eq!(sum, 2_062_106_385, "a ring that differs from the last version's sends a peer's flows elsewhere");
    }

    proptest! {
        #[test]
        fn ring_depends_neither_on_order_nor_on_indices(count in 1u32..30, seed: u64) {
            let forward = members(count);
            let mut other = forward.clone();
            other.rotate_left((seed % u64::from(count)) as usize);
            for member in &mut other {
                member.backend += 7;
            }
            let shifted: Vec<u32> = ring(&forward).iter().map(|slot| slot + 7).collect();
            prop_assert_eq!(shifted, ring(&other));
        }
    }
}
