//! The one order: of two nodes, which should serve?

use crate::abi::Term;

/// Bits of [`Standing::merits`], the weightiest first. A node with the larger word goes before the other.
pub mod merits {
    /// Has a configuration of its own: a blank replacement never goes before a configured node.
    pub const CONFIGURED: u64 = 1 << 5;
    /// Its health checks pass.
    pub const HEALTHY: u64 = 1 << 4;
    /// Its legs reach somebody.
    pub const CONNECTED: u64 = 1 << 3;
    /// Served clients lately.
    pub const SERVING_CLIENTS: u64 = 1 << 2;
    /// haStatus STAYPRIMARY.
    pub const STAYS_PRIMARY: u64 = 1 << 1;
}

/// A node's place in the one order, the same for election and dispute, carried in every frame. Compared word by word:
/// a valid grant, [`merits`], the newer commit, who was Primary last (in a dispute: the lower term), the lower id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(C)]
pub struct Standing {
    /// The peer's term that this node's term was granted over (forced failover, hung controller); counts against no other.
    pub granted_over: Term,
    /// See [`merits`].
    pub merits: u64,
    /// Term of the last configuration commit.
    pub commit_term: Term,
    /// Its number within that term.
    pub commit_incarnation: u64,
    /// The last term under which this node was Primary.
    pub last_term: Term,
    /// Own id in the pair (1: lower NSIP).
    pub id: u64,
}

impl Standing {
    /// Whether a node that stands like this goes before one that stands like `other`.
    ///
    /// `term` and `other_term` are the terms under which they serve; [`Term::NONE`] in an election. The relation is total and
    /// antisymmetric for nodes with different ids, so two kernels never disagree over the same two snapshots.
    #[inline(always)]
    #[must_use]
    pub fn goes_before(&self, term: Term, other: &Standing, other_term: Term) -> bool {
        let granted = !other_term.is_none() && self.granted_over == other_term;
        let other_granted = !term.is_none() && other.granted_over == term;
        if granted != other_granted {
            return granted;
        }
        if self.merits != other.merits {
            return self.merits > other.merits;
        }
        if self.commit_term != other.commit_term {
            return self.commit_term > other.commit_term;
        }
        if self.commit_incarnation != other.commit_incarnation {
            return self.commit_incarnation > other.commit_incarnation;
        }
        let dispute = !term.is_none() && !other_term.is_none();
        if dispute && term != other_term {
            return term < other_term;
        }
        if !dispute && self.last_term != other.last_term {
            return self.last_term > other.last_term;
        }
        self.id < other.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Term = Term::new(4, 1);
    const NEW: Term = Term::new(5, 2);

    fn node(id: u64) -> Standing {
        Standing { merits: merits::CONFIGURED | merits::HEALTHY | merits::CONNECTED, id, ..Standing::default() }
    }

    #[test]
    fn blank_node_never_goes_before_a_configured_one() {
        let blank =
            Standing { merits: merits::HEALTHY | merits::CONNECTED | merits::STAYS_PRIMARY, commit_incarnation: 9, ..node(1) };
        assert!(node(2).goes_before(NEW, &blank, OLD));
        assert!(!blank.goes_before(OLD, &node(2), NEW));
    }

    #[test]
    fn grant_counts_only_against_the_term_it_names() {
        let granted = Standing { granted_over: OLD, ..node(2) };
        assert!(granted.goes_before(NEW, &node(1), OLD));
        assert!(!granted.goes_before(NEW, &node(1), Term::new(3, 1)));
    }

    #[test]
    fn older_claim_wins_a_dispute_and_the_later_primary_an_election() {
        let first = Standing { last_term: OLD, ..node(1) };
        let second = Standing { last_term: NEW, ..node(2) };
        assert!(first.goes_before(OLD, &second, NEW));
        assert!(second.goes_before(Term::NONE, &first, Term::NONE));
    }

    #[test]
    fn order_is_total_and_antisymmetric() {
        let terms = [Term::NONE, OLD, NEW];
        let mut shapes = Vec::new();
        for bits in 0..64 {
            for commit in 0..2 {
                for last_term in terms {
                    for granted_over in terms {
                        shapes.push(Standing { merits: bits, commit_incarnation: commit, last_term, granted_over, ..node(0) });
                    }
                }
            }
        }
        for a in shapes.iter().step_by(7) {
            for b in shapes.iter().step_by(11) {
                let (a, b) = (Standing { id: 1, ..*a }, Standing { id: 2, ..*b });
                for (ta, tb) in [(Term::NONE, Term::NONE), (OLD, NEW), (NEW, OLD)] {
                    assert_ne!(a.goes_before(ta, &b, tb), b.goes_before(tb, &a, ta), "{a:?} {b:?}");
                }
            }
        }
    }
}
