//! How many ICMP messages, replies to echo and errors, a CPU sends: whoever sends floods may not make this node send one.

use crate::abi::IcmpBudget;
use crate::tables::Tables;
use crate::time::Nanos;

/// Takes one ICMP message out of this CPU's bucket, if there is one in it.
#[inline(never)]
pub fn draw<T: Tables>(tables: &T) -> bool {
    let cost = tables.node().map_or(0, |node| node.icmp_cost);
    if cost == 0 {
        return true;
    }
    match tables.icmp_budget() {
        Some(mut budget) => spend(&mut budget, cost, tables.now()),
        None => false,
    }
}

#[inline(always)]
fn spend(budget: &mut IcmpBudget, cost: u64, now: Nanos) -> bool {
    let credit = budget.credit.saturating_add(now.0.saturating_sub(budget.refilled_at.0));
    let credit = if credit > IcmpBudget::WINDOW { IcmpBudget::WINDOW } else { credit };
    let enough = credit >= cost;
    budget.credit = if enough { credit - cost } else { credit };
    budget.refilled_at = now;
    enough
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    /// How many of `asked` messages, one every `distance` from `start`, are sent.
    fn sent(budget: &mut IcmpBudget, cost: u64, start: u64, distance: u64, asked: u64) -> usize {
        (0..asked).filter(|number| spend(budget, cost, Nanos(start + number * distance))).count()
    }

    #[test]
    fn a_burst_is_as_large_as_what_a_window_allows_however_long_it_was_quiet() {
        let cost = IcmpBudget::WINDOW / 100;
        let budget = &mut IcmpBudget::default();
        assert_eq!(sent(budget, cost, u64::MAX / 2, 0, 1_000), 100);
        assert_eq!(sent(budget, cost, u64::MAX / 2 + 3 * MILLI, 0, 1_000), 30, "what three milliseconds gain");
    }

    #[test]
    fn over_a_second_as_many_are_sent_as_the_rate_says_without_loss_by_rounding() {
        for allowed in [1, 3, 7, 100] {
            let cost = IcmpBudget::WINDOW / allowed;
            let budget = &mut IcmpBudget { credit: 0, refilled_at: Nanos(MILLI) };
            let sent = sent(budget, cost, MILLI, 1_000, 1_000_000) as u64;
            assert!((100 * allowed - 1..=100 * allowed).contains(&sent), "{sent} at {allowed}");
        }
    }

    #[test]
    fn what_stays_below_the_rate_is_all_sent() {
        let budget = &mut IcmpBudget::default();
        assert_eq!(sent(budget, IcmpBudget::WINDOW / 100, 1_000 * MILLI, MILLI / 10, 100_000), 100_000);
    }

    #[test]
    fn a_clock_that_lags_gains_nothing() {
        let budget = &mut IcmpBudget { credit: 5, refilled_at: Nanos(100) };
        assert!(!spend(budget, 6, Nanos(50)));
        assert!(spend(budget, 5, Nanos(50)));
    }
}
