//! How many ICMP messages, replies to echo and errors, relayed ones among them, and how many TCP resets a node sends: whoever sends floods may not make this node send one.
//!
//! All CPUs share a bucket. They write it as often as they may send, and once in each tick: who is refused only reads. Where two are at it in the same
//! nanoseconds one message is sent too many; to count that exactly would cost every message more.
//!
//! The clock costs as much as all else that becomes of a ping, so it is read once in each tick of the kernel: a flood is refused for less.

use crate::abi::IcmpBudget;
use crate::tables::Tables;
use crate::time::Nanos;

/// Takes one ICMP message out of the bucket, if there is one in it.
#[inline(never)]
pub fn draw<T: Tables>(tables: &T) -> bool {
    let cost = tables.node().map_or(0, |node| node.icmp_cost);
    cost == 0 || tables.icmp_budget().is_some_and(|mut budget| take(tables, &mut budget, cost))
}

/// Takes one TCP reset out of their bucket, if there is one in it.
#[inline(always)]
pub fn draw_reset<T: Tables>(tables: &T) -> bool {
    let cost = tables.node().map_or(0, |node| node.reset_cost);
    cost == 0 || tables.reset_budget().is_some_and(|mut budget| take(tables, &mut budget, cost))
}

#[inline(always)]
fn take<T: Tables>(tables: &T, budget: &mut IcmpBudget, cost: u64) -> bool {
    let tick = tables.ticks();
    if budget.refilled_in != tick {
        budget.refilled_in = tick;
        refill(budget, tables.now());
    }
    spend(budget, cost)
}

#[inline(always)]
fn refill(budget: &mut IcmpBudget, now: Nanos) {
    let credit = budget.credit.saturating_add(now.0.saturating_sub(budget.refilled_at.0));
    budget.credit = if credit > IcmpBudget::WINDOW { IcmpBudget::WINDOW } else { credit };
    budget.refilled_at = now;
}

#[inline(always)]
fn spend(budget: &mut IcmpBudget, cost: u64) -> bool {
    let enough = budget.credit >= cost;
    if enough {
        budget.credit -= cost;
    }
    enough
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Node;
    use crate::tables::HostTables;
    use crate::time::Ticks;

    const MILLI: u64 = 1_000_000;
    /// A tick of the slowest kernels but one.
    const TICK: u64 = 4 * MILLI;

    /// A node that sends `allowed` messages in a window.
    fn node(allowed: u64) -> HostTables {
        HostTables { node: Node { icmp_cost: IcmpBudget::WINDOW / allowed, ..Node::default() }, ..HostTables::default() }
    }

    /// How many of `asked` messages, one every `distance` from `start`, are sent.
    fn sent(tables: &HostTables, start: u64, distance: u64, asked: u64) -> u64 {
        let draws = (0..asked).map(|number| {
            let now = start + number * distance;
            tables.now.set(Nanos(now));
            tables.ticks.set(Ticks(now / TICK));
            draw(tables)
        });
        draws.filter(|sent| *sent).count() as u64
    }

    #[test]
    fn a_burst_is_as_large_as_what_a_window_allows_however_long_it_was_quiet() {
        let node = node(100);
        let start = 1_000_000 * TICK;
        assert_eq!(sent(&node, start, 0, 1_000), 100);
        assert_eq!(sent(&node, start + TICK - 1, 0, 1_000), 0, "nothing is gained within a tick");
        assert_eq!(sent(&node, start + TICK, 0, 1_000), 40, "what four milliseconds gain");
    }

    #[test]
    fn over_a_second_as_many_are_sent_as_the_rate_says_without_loss_by_rounding() {
        for allowed in [2, 3, 7, 100] {
            let node = node(allowed);
            assert_eq!(sent(&node, TICK, 0, 2 * allowed), 4 * allowed / 10, "what was gained since the beginning of time");
            let sent = sent(&node, TICK, 1_000, 1_004_000);
            assert!((100 * allowed..=100 * allowed + 1).contains(&sent), "{sent} at {allowed}");
        }
    }

    #[test]
    fn what_stays_below_the_rate_is_all_sent() {
        assert_eq!(sent(&node(100), 1_000 * TICK, MILLI / 10, 100_000), 100_000);
    }

    #[test]
    fn a_clock_that_lags_gains_nothing() {
        let node = node(100);
        *node.icmp_budget.borrow_mut() = IcmpBudget { credit: 0, refilled_at: Nanos(9 * TICK), refilled_in: Ticks(9) };
        assert_eq!(sent(&node, 8 * TICK, 0, 10), 0);
    }

    #[test]
    fn nothing_costs_nothing() {
        assert_eq!(sent(&HostTables::default(), TICK, 0, 100_000), 100_000);
    }
}
