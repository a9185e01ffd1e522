//! Which bounds are visited: in every test run, and by hand.

use super::bounds::{Bounds, Setup};
use super::rule::Rule;

const WITNESS: Setup = Setup { witness: true, fail_safe: false, stays: false };
const FAIL_SAFE: Setup = Setup { witness: false, fail_safe: true, stays: false };
const STAYS: Setup = Setup { witness: false, fail_safe: false, stays: true };

/// Bounds that take seconds each: every kind of fault, and some pairs.
#[must_use]
pub fn quick() -> Vec<Bounds> {
    let none = Bounds::NONE;
    vec![
        none,
        none.with_cuts(1),
        Bounds { parts: 4, ..none },
        Bounds { crashes: 2, coarse: true, ..none },
        Bounds { stalls: 1, ..none },
        Bounds { kills: 1, ..none },
        Bounds { legs: 2, ..none },
        Bounds { legs: 2, setup: FAIL_SAFE, ..none },
        Bounds { keys: 2, ..none },
        Bounds { forces: 1, ..none },
        Bounds { losses: 2, ..none },
        Bounds { lates: 1, ..none },
        Bounds { monitors: 2, ..none },
        Bounds { monitors: 2, setup: FAIL_SAFE, ..none },
        Bounds { monitors: 2, setup: STAYS, ..none },
        Bounds { monitors: 2, setup: Setup { fail_safe: true, ..STAYS }, ..none },
        Bounds { parts: 2, mutes: 1, lockstep: true, setup: WITNESS, ..none },
        Bounds { lockstep: true, ..none.with_cuts(2) },
        Bounds { crashes: 1, lockstep: true, ..none.with_cuts(1) },
    ]
}

/// Bounds that take up to some minutes each.
#[must_use]
pub fn long() -> Vec<Bounds> {
    let none = Bounds::NONE;
    vec![
        none.with_cuts(2),
        Bounds { crashes: 1, ..none.with_cuts(1) },
        Bounds { stalls: 1, ..none.with_cuts(1) },
        Bounds { keys: 1, stalls: 1, ..none },
        Bounds { losses: 2, stalls: 1, ..none },
        Bounds { legs: 1, stalls: 1, forces: 1, ..none },
        Bounds { kills: 1, stalls: 1, forces: 1, ..none },
        Bounds { links: 2, ..none },
        Bounds { crashes: 2, lockstep: true, ..none.with_cuts(2) },
        Bounds { parts: 2, legs: 1, stalls: 1, lockstep: true, ..none },
    ]
}

impl Rule {
    /// The smallest bounds known in which it is missed when it is taken out.
    #[must_use]
    pub fn missed_within(self) -> Bounds {
        let none = Bounds::NONE;
        match self {
            Rule::Fence | Rule::OneDecision | Rule::Veto | Rule::Doubt => none.with_cuts(1),
            Rule::Deaf => Bounds { parts: 1, ..none.with_cuts(1) },
            Rule::GrantScope => Bounds { parts: 2, legs: 3, lockstep: true, ..none },
            Rule::Absence => Bounds { parts: 2, stalls: 1, lockstep: true, ..none },
            Rule::Isolation => Bounds { legs: 1, ..none },
            Rule::UnknownKey => Bounds { keys: 1, ..none },
            Rule::Rival | Rule::Answer => Bounds { legs: 2, ..none },
            Rule::FailSafe => Bounds { monitors: 2, ..none },
            Rule::Witness => Bounds { parts: 1, lockstep: true, setup: WITNESS, ..none },
            Rule::ThreeAsks => Bounds { kills: 1, losses: 2, ..none },
        }
    }
}
