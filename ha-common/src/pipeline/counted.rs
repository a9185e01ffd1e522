//! Which backend has its turn, or the fewest flows? For newcomers only: nothing of a flow says later where it went, so these are recorded.

use crate::abi::{CANDIDATES, Choice, NO_BACKEND, Vserver, backend_flags, vserver_flags};
use crate::tables::Tables;
use crate::word::opaque;

use super::hash::rehash;
use super::placement::{self, welcome};

/// More flows than anybody has, shifted by this: so many as if a backend that takes no newcomer had.
const NEVER_BITS: u32 = 48;

/// The backend of a newcomer of vserver `index`; [`NO_BACKEND`] if none of those that were looked at takes it.
#[inline(always)]
pub fn choose<T: Tables>(tables: &T, vserver: &Vserver, index: u32) -> u32 {
    let turn = tables.turn(index);
    if vserver.flags & vserver_flags::LEAST == 0 {
        return next(tables, vserver, turn);
    }
    let backend = least(tables, vserver, turn);
    if let Some(load) = tables.load(backend) {
        load.expect_one(tables.ticks());
    }
    backend
}

/// The slot in `RINGS` of the choice that comes `step` after number `first`.
#[inline(always)]
fn slot(vserver: &Vserver, first: u64, step: u32) -> u32 {
    let number = first.wrapping_add(step.into()).checked_rem(vserver.choices.count().into()).unwrap_or(0);
    vserver.choices.base().wrapping_add(number as u32)
}

/// The first that takes a newcomer, from the one whose turn it is.
#[inline(never)]
fn next<T: Tables>(tables: &T, vserver: &Vserver, turn: u64) -> u32 {
    let count = vserver.choices.count();
    for step in 0..CANDIDATES {
        // Opaque: of the two bounds the compiler would make one that the verifier of Linux 6.1 does not know.
        if opaque(step.into()) >= count.into() {
            break;
        }
        let backend = Choice::of(tables.ring(slot(vserver, turn, step))).backend();
        if welcome(tables, backend) == placement::TAKES {
            return backend;
        }
    }
    NO_BACKEND
}

/// The one that will have the fewest flows for its weight, with those that may come of newcomers of late. Of equals the first, from the one whose
/// turn it is. Of many only some are looked at, any of them as likely as another.
#[inline(never)]
fn least<T: Tables>(tables: &T, vserver: &Vserver, turn: u64) -> u32 {
    let count = vserver.choices.count();
    let first = if count > CANDIDATES { u64::from(rehash(turn as u32, 0)) } else { turn };
    let mut best = u64::from(NO_BACKEND);
    let (mut best_flows, mut best_weight) = (1u64 << NEVER_BITS, 1u64);
    for step in 0..CANDIDATES {
        if step >= count {
            break;
        }
        let choice = Choice::of(tables.ring(slot(vserver, first, step)));
        let (backend, weight) = (u64::from(choice.backend()), u64::from(choice.weight()));
        let flows = flows_with_one_more(tables, choice.backend());
        // Compared and taken over without a branch: the verifier would walk the rest of the loop once for each answer.
        let less = (flows.wrapping_mul(best_weight)).wrapping_sub(best_flows.wrapping_mul(weight)) >> 63;
        let take = 0u64.wrapping_sub(opaque(less));
        best ^= (best ^ backend) & take;
        best_flows ^= (best_flows ^ flows) & take;
        best_weight ^= (best_weight ^ weight) & take;
    }
    let none = 0u64.wrapping_sub(opaque(best_flows >> NEVER_BITS & 1));
    (best | none) as u32
}

/// The flows that `backend` would have with the newcomer, or more than anybody has.
#[inline(always)]
fn flows_with_one_more<T: Tables>(tables: &T, backend: u32) -> u64 {
    let Some(known) = tables.backend(backend) else {
        return 1 << NEVER_BITS;
    };
    let Some(load) = tables.load(backend) else {
        return 1 << NEVER_BITS;
    };
    let open = load.open() & ((1 << 40) - 1);
    let expected = load.expected(tables.ticks());
    let away = u64::from(known.flags & (backend_flags::UP | backend_flags::LEAVING) ^ backend_flags::UP);
    let limited = u64::from(known.flows_max);
    // Each one bit: it does not take newcomers, it has a limit, its flows reach it.
    let away = opaque(0u64.wrapping_sub(away) >> 63);
    let full = opaque(0u64.wrapping_sub(limited) >> 63) & !opaque(open.wrapping_sub(limited) >> 63) & 1;
    (open + expected + 1) & ((1 << NEVER_BITS) - 1) | (away | full) << NEVER_BITS
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::abi::{Backend, Choices, Load};
    use crate::tables::HostTables;

    /// A vserver with these backends: weight, open flows, most flows.
    fn tables(members: &[(u8, u64, u32)]) -> (HostTables, Vserver) {
        let mut tables = HostTables { turns: vec![Cell::new(0)], ..HostTables::default() };
        for (index, &(weight, open, flows_max)) in members.iter().enumerate() {
            tables.backends.push(Backend { flags: backend_flags::UP, flows_max, ..Backend::default() });
            tables.loads.push(Load { opened: open.into(), ..Load::default() });
            tables.rings.push(Choice::new(index as u32, weight).slot());
        }
        let choices = Choices::new(0, members.len() as u32);
        (tables, Vserver { flags: vserver_flags::LEAST, choices, ..Vserver::default() })
    }

    fn chosen(members: &[(u8, u64, u32)]) -> u32 {
        let (tables, vserver) = tables(members);
        choose(&tables, &vserver, 0)
    }

    #[test]
    fn the_fewest_flows_for_its_weight_win() {
        assert_eq!(chosen(&[(1, 5, 0), (1, 4, 0), (1, 6, 0)]), 1);
        assert_eq!(chosen(&[(1, 5, 0), (10, 40, 0), (1, 4, 0)]), 1, "4.1 to a unit of weight are fewer than five");
        assert_eq!(chosen(&[(1, 5, 0), (10, 60, 0), (1, 4, 0)]), 2, "and 6.1 are more");
        assert_eq!(chosen(&[(100, 1 << 39, 0), (99, 1 << 39, 0)]), 0, "large numbers are compared as well");
    }

    #[test]
    fn who_takes_no_newcomers_is_not_chosen_however_idle() {
        assert_eq!(chosen(&[(1, 2, 2), (1, 9, 0)]), 1, "it is full");
        assert_eq!(chosen(&[(1, 2, 3), (1, 9, 0)]), 0, "there is room for one");
        assert_eq!(chosen(&[(1, 2, 2), (9, 9, 3)]), NO_BACKEND);
        for flags in [0, backend_flags::UP | backend_flags::LEAVING] {
            let (mut tables, vserver) = tables(&[(1, 0, 0), (1, 9, 0)]);
            tables.backends[0].flags = flags;
            assert_eq!(choose(&tables, &vserver, 0), 1);
        }
        assert_eq!(chosen(&[]), NO_BACKEND);
    }

    #[test]
    fn equals_are_taken_in_turn() {
        let (tables, vserver) = tables(&[(1, 0, 0), (1, 0, 0), (1, 0, 0)]);
        assert_eq!([(); 6].map(|()| choose(&tables, &vserver, 0)), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn newcomers_that_are_not_recorded_yet_count_for_a_while() {
        let (tables, vserver) = tables(&[(1, 10, 0), (1, 0, 0)]);
        let first: Vec<u32> = (0..30).map(|_| choose(&tables, &vserver, 0)).collect();
        assert_eq!([0, 1].map(|backend| first.iter().filter(|&&chosen| chosen == backend).count()), [10, 20]);
        tables.ticks.set(crate::time::Ticks(1 << 20));
        assert_eq!([(); 5].map(|()| choose(&tables, &vserver, 0)), [1; 5], "nothing came of them");
    }

    #[test]
    fn of_many_backends_all_are_used_and_none_gets_far_ahead() {
        let (tables, vserver) = tables(&[(1, 0, 0); 100]);
        for _ in 0..10_000 {
            let backend = choose(&tables, &vserver, 0);
            tables.loads[backend as usize].open_one();
        }
        let open: Vec<u64> = tables.loads.iter().map(Load::open).collect();
        let (least, most) = (open.iter().min().unwrap(), open.iter().max().unwrap());
        assert!(*least >= 95 && *most <= 105, "{least} to {most}");
    }

    #[test]
    fn turns_go_round_and_pass_over_who_takes_nobody() {
        let (mut tables, vserver) = tables(&[(1, 0, 0), (1, 7, 7), (1, 0, 0)]);
        let vserver = Vserver { flags: vserver_flags::IN_TURN, ..vserver };
        assert_eq!([(); 6].map(|()| choose(&tables, &vserver, 0)), [0, 2, 2, 0, 2, 2]);
        tables.backends[1].flows_max = 0;
        assert_eq!([(); 6].map(|()| choose(&tables, &vserver, 0)), [0, 1, 2, 0, 1, 2]);
        tables.backends.iter_mut().for_each(|backend| backend.flags = 0);
        assert_eq!(choose(&tables, &vserver, 0), NO_BACKEND);
    }
}
