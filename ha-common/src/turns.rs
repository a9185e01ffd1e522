//! Backends and weights → list: whose turn is it, and who is there at all?
//!
//! What [`crate::maglev`] is for methods that follow from the client, this is for those that do not: `ROUNDROBIN` walks a list in which each
//! backend is as often as its weight says, as evenly spread as can be; `LEASTCONNECTION` looks at one in which each is once.

use crate::abi::Choice;
use crate::maglev::Member;

/// Weights are 1 to this.
pub const WEIGHT_MAX: u32 = 100;

/// One whole round: each member as often as its weight says (all divided by what they have in common), its turns as far from one another as the
/// others' allow.
#[must_use]
pub fn round(members: &[Member]) -> Vec<Choice> {
    let members = ordered(members);
    let common = members.iter().fold(0, |common, member| greatest_common_divisor(common, member.weight));
    // The middle of the `n`th of `weight` parts of a round: (2n + 1) / (2 weight).
    let mut turns: Vec<(u32, u32, usize)> = Vec::new();
    for (place, member) in members.iter().enumerate() {
        let weight = member.weight / common;
        turns.extend((0..weight).map(|n| (2 * n + 1, weight, place)));
    }
    turns.sort_by(|(a, of_a, place_a), (b, of_b, place_b)| {
        let (a, b) = (u64::from(*a) * u64::from(*of_b), u64::from(*b) * u64::from(*of_a));
        a.cmp(&b).then(place_a.cmp(place_b))
    });
    turns.into_iter().map(|(.., place)| choice(&members[place])).collect()
}

/// Each member once.
#[must_use]
pub fn each(members: &[Member]) -> Vec<Choice> {
    ordered(members).iter().map(choice).collect()
}

/// Those with a weight, in an order that is the same on both nodes.
fn ordered(members: &[Member]) -> Vec<Member> {
    let mut members: Vec<Member> = members.iter().copied().filter(|member| member.weight > 0).collect();
    members.sort_unstable();
    members
}

fn choice(member: &Member) -> Choice {
    Choice::new(member.backend, member.weight.min(WEIGHT_MAX) as u8)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::wire::Be16;

    fn members(weights: &[u32]) -> Vec<Member> {
        let member = |(n, &weight): (usize, &u32)| Member {
            addr: Ipv4Addr::new(10, 2, 0, n as u8).into(),
            port: Be16::new(80),
            protocol: 6,
            weight,
            backend: n as u32,
        };
        weights.iter().enumerate().map(member).collect()
    }

    fn turns(weights: &[u32]) -> Vec<u32> {
        round(&members(weights)).into_iter().map(Choice::backend).collect()
    }

    #[test]
    fn a_round_gives_each_its_weight_as_evenly_as_can_be() {
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(turns(&[50, 50]), [0, 1], "what weights have in common makes a round no longer");
        assert_eq!(turns(&[2, 1]), [0, 1, 0]);
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 0, 1, 2, 0, 0], "ties go by order");
        assert_eq!(turns(&[0, 3]), [1], "no weight, no turn");
        assert_eq!(turns(&[]), [] as [u32; 0]);
        let many = turns(&[100, 99, 7]);
        assert_eq!([0, 1, 2].map(|n| many.iter().filter(|&&turn| turn == n).count()), [100, 99, 7]);
        let sevenths: Vec<usize> = many.iter().enumerate().filter(|(_, turn)| **turn == 2).map(|(at, _)| at).collect();
        assert!(sevenths.windows(2).all(|pair| (29..=30).contains(&(pair[1] - pair[0]))), "{sevenths:?}");
    }

    #[test]
    fn each_is_listed_once_with_its_weight_whatever_the_order_of_configuration() {
        let mut all = members(&[3, 100, 0]);
        let listed = |members: &[Member]| -> Vec<(u32, u32)> {
            each(members).into_iter().map(|choice| (choice.backend(), choice.weight())).collect()
        };
        assert_eq!(listed(&all), [(0, 3), (1, 100)]);
        let round_before = round(&all);
        all.reverse();
        assert_eq!(listed(&all), [(0, 3), (1, 100)]);
        assert_eq!(round(&all), round_before);
    }
}
