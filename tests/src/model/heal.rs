//! Healed, does the pair come to exactly one Primary?

use std::collections::HashSet;
use std::sync::Mutex;

use ha_common::ha::event::{Health, RoleName};

use super::bounds::{Bounds, QUEUES};
use super::pair::Pair;
use super::rule::Rule;
use super::step::Step;

/// Ticks in which it must: an unknown key's three dead intervals, twice a change of role, a claim over a hung controller.
const TICKS_MAX: usize = 40;

/// Times that every frame under way arrives and every daemon looks, within one tick: longer exchanges never end.
const ROUNDS_MAX: usize = 40;

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
    let mut healed = healed(pair);
    let mut path = Vec::new();
    for _ in 0..TICKS_MAX {
        let name = healed.name();
        if good.holds(name) || path.last() == Some(&name) && is_one(&healed) {
            good.add(&path);
            return None;
        }
        if path.contains(&name) && !is_one(&healed) {
            return Some("healed, and stuck without exactly one Primary");
        }
        path.push(name);
        healed = round(healed, off);
        if healed.wrong.is_some() {
            return healed.wrong;
        }
    }
    Some("healed, and not settled with exactly one Primary")
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
    let mut healed = pair.clone();
    healed.left = Bounds { links: pair.left.links, ..Bounds::NONE };
    healed.cut = [false; QUEUES];
    healed.late = Default::default();
    healed.strange = [false; 2];
    healed.stalled = [false; 2];
    for id in 0..2 {
        healed.woken[id] = true;
        healed.node_mut(id).set_health(Health::WELL);
    }
    let (claimed, fenced, off_ticks) = (pair.ghost.claimed, pair.ghost.fenced, pair.ghost.off_ticks);
    healed.ghost = super::judge::Ghost { claimed, fenced, off_ticks, ..Default::default() };
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
    let mut rounds = 0;
    while pair.is_busy() && pair.wrong.is_none() {
        rounds += 1;
        if rounds > ROUNDS_MAX {
            pair.fail("healed, and an exchange without end");
        }
        for queue in 0..QUEUES {
            if !pair.wires[queue].is_empty() {
                take(&mut pair, Step::Deliver(queue));
            }
        }
        for id in 0..2 {
            if pair.woken[id] && pair.runs(id) {
                take(&mut pair, Step::Turn(id));
            }
        }
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
