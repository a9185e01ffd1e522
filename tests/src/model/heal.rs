//! Healed, does the pair come to exactly one Primary?

use std::collections::HashSet;
use std::sync::Mutex;

use ha_common::ha::event::{Health, Interfaces, RoleName};
use ha_common::ha::settings::HaStatus;

use super::bounds::{Bounds, QUEUES};
use super::pair::Pair;
use super::rule::Rule;
use super::step::Step;

/// Ticks in which it must: an unknown key's three dead intervals, twice a change of role, a claim over a hung controller; and two rounds
/// of what is said to a witness again and again.
const TICKS_MAX: usize = 100;

/// Names of healed states from which it does. They are met again and again, from most states of a search.
#[derive(Default)]
pub struct Good(Mutex<HashSet<u64>>);

impl Good {
    fn holds(&self, name: u64) -> bool {
        self.0.lock().is_ok_and(|names| names.contains(&name))
    }

    fn add(&self, names: &[u64]) {
        if let Ok(mut known) = self.0.lock() {
            known.extend(names);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().map_or(0, |names| names.len())
    }
}

/// Heals `pair`, whose wires are empty, and lets time pass: what is wrong with what comes of it, if anything.
pub fn heal(pair: &Pair, good: &Good, off: Option<Rule>) -> Option<&'static str> {
    settle(healed(pair), good, off, is_one, "healed, and not settled with exactly one Primary")
}

/// Mends everything but interfaces, and lets time pass: does the pair come to what the failSafe table says, and stay there?
pub fn table(pair: &Pair, good: &Good, off: Option<Rule>) -> Option<&'static str> {
    settle(mended(pair, false), good, off, is_in_table, "mended, and not settled as the failSafe table says")
}

/// Lets time pass until nothing new happens any more: every state of what goes on for ever must be `right`.
fn settle(
    mut pair: Pair,
    good: &Good,
    off: Option<Rule>,
    right: fn(&Pair) -> bool,
    else_wrong: &'static str,
) -> Option<&'static str> {
    let mut path = Vec::new();
    let mut rights = Vec::new();
    for _ in 0..TICKS_MAX {
        let name = pair.name();
        let begin = path.iter().position(|&known| known == name);
        if good.holds(name) || begin.is_some_and(|begin| rights[begin..].iter().all(|&is| is)) {
            good.add(&path);
            return None;
        }
        if begin.is_some() {
            return Some(else_wrong);
        }
        path.push(name);
        rights.push(right(&pair));
        pair = round(pair, off);
        if pair.wrong.is_some() {
            return pair.wrong;
        }
    }
    Some(else_wrong)
}

/// Whether who serves is who should, as the nodes' interfaces and settings are.
fn is_in_table(pair: &Pair) -> bool {
    let fit = |id: usize| {
        let node = &pair.nodes[id];
        node.health.interfaces == Interfaces::Work && node.settings.status != HaStatus::StaySecondary
    };
    let serves = pair.serving().map(|term| !term.is_none());
    let one = serves[0] != serves[1];
    match [fit(0), fit(1)] {
        [true, true] => one,
        [true, false] => serves == [true, false],
        [false, true] => serves == [false, true],
        [false, false] if !pair.left.setup.fail_safe => serves == [false; 2],
        [false, false] => one && !(pair.left.setup.stays && serves[1]),
    }
}

/// The steps that [`heal`] takes from `pair`, each with the state before it.
pub fn history(pair: &Pair, off: Option<Rule>) -> Vec<(Pair, Step)> {
    let mut steps = Vec::new();
    let mut healed = healed(pair);
    for _ in 0..TICKS_MAX {
        if healed.wrong.is_some() {
            break;
        }
        let before = healed.name();
        healed = round_with(healed, off, &mut |pair, step| steps.push((pair.clone(), step)));
        if healed.name() == before {
            break;
        }
    }
    steps
}

/// `pair` with nothing wrong any more.
pub fn healed(pair: &Pair) -> Pair {
    mended(pair, true)
}

/// The same; but unless `well`, what is wrong with interfaces stays.
fn mended(pair: &Pair, well: bool) -> Pair {
    let mut healed = pair.clone();
    healed.left = Bounds { links: pair.left.links, setup: pair.left.setup, ..Bounds::NONE };
    healed.cut = [false; QUEUES];
    healed.late = Default::default();
    healed.strange = [false; 2];
    healed.stalled = [false; 2];
    for id in 0..2 {
        healed.woken[id] = true;
        if well {
            healed.node_mut(id).set_health(Health::WELL);
        }
    }
    let super::judge::Ghost { claimed, fenced, off_ticks, broken_off, .. } = pair.ghost;
    healed.ghost = super::judge::Ghost { claimed, fenced, off_ticks, broken_off, ..Default::default() };
    healed.settle(super::canon::NOW);
    healed
}

/// One tick, in which every frame arrives and every daemon looks when it is told to.
pub fn round(pair: Pair, off: Option<Rule>) -> Pair {
    round_with(pair, off, &mut |_, _| {})
}

fn round_with(mut pair: Pair, off: Option<Rule>, note: &mut impl FnMut(&Pair, Step)) -> Pair {
    let mut take = |pair: &mut Pair, step| {
        note(pair, step);
        *pair = pair.after(step, off);
    };
    for id in 0..2 {
        if pair.nodes[id].powered && pair.nodes[id].machine.is_none() {
            take(&mut pair, Step::Start(id));
        } else if !pair.nodes[id].powered && u64::from(pair.ghost.off_ticks[id]) >= super::canon::PROOF_TICKS {
            take(&mut pair, Step::PowerOn(id));
        }
    }
    take(&mut pair, Step::Tick { broken_off: None });
    if pair.is_busy() && pair.wrong.is_none() {
        take(&mut pair, Step::Exchange(0));
    }
    pair
}

fn is_one(pair: &Pair) -> bool {
    let role = |id: usize| pair.nodes[id].machine.as_ref().map(|machine| machine.role().0);
    let serves = pair.serving().map(|term| !term.is_none());
    (0..2).any(|id| {
        let roles = (role(id), role(1 - id)) == (Some(RoleName::Primary), Some(RoleName::Secondary));
        roles && serves[id] && !serves[1 - id]
    })
}
