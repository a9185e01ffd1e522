//! The search.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::bounds::Bounds;
use super::heal::{self, Good};
use super::next::possible;
use super::pair::Pair;
use super::rule::{self, Rule};
use super::step::Step;

/// Where a search ends although it is not done.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads to search with.
    pub threads: usize,
    /// Time to search for.
    pub time: Duration,
}

/// What a search came to.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// States generated, the same ones again included.
    pub generated: usize,
    /// Steps of the longest history without a detour.
    pub depth: usize,
    /// Different healed states that were followed to their end.
    pub healed: usize,
    /// How long it took.
    pub took: Duration,
    /// Whether all states were visited.
    pub complete: bool,
    /// What was found that must not be.
    pub violation: Option<Violation>,
}

/// A history that must not be, the shortest one.
#[derive(Debug)]
pub struct Violation {
    /// What is wrong at its end.
    pub what: &'static str,
    /// Its steps.
    pub steps: usize,
    /// All of it.
    pub history: String,
}

struct Schedules {
    bounds: Bounds,
    off: Option<Rule>,
    good: Arc<Good>,
    tabled: Arc<Good>,
    deadline: Instant,
}

impl Model for Schedules {
    type State = Pair;
    type Action = Step;

    fn init_states(&self) -> Vec<Pair> {
        let mut off = Pair::off(self.bounds);
        for id in 0..2 {
            rule::before_all(off.node_mut(id), self.off);
        }
        vec![running(off.clone()), off]
    }

    fn actions(&self, pair: &Pair, steps: &mut Vec<Step>) {
        // The search ends by running out of steps.
        if Instant::now() < self.deadline {
            possible(pair, self.off, steps);
        }
    }

    fn next_state(&self, pair: &Pair, step: Step) -> Option<Pair> {
        let mut next = pair.after(step, self.off);
        if next.wrong.is_none() && matches!(step, Step::Tick { broken_off: None }) {
            // The state that time leaves is judged with it: every other leads to one.
            next.wrong = heal::heal(pair, &self.good, self.off);
            if next.wrong.is_none() && (self.bounds.monitors > 0 || self.bounds.legs > 0 || self.bounds.setup.stays) {
                next.wrong = heal::table(pair, &self.tabled, self.off);
            }
            if next.wrong.is_some() {
                next.settle(super::canon::NOW);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("invariants", |_, pair: &Pair| pair.wrong.is_none())]
    }
}

/// A pair that has been running for a while; the first node came up first.
fn running(mut pair: Pair) -> Pair {
    let bounds = pair.left;
    pair = pair.after(Step::PowerOn(0), None);
    for round in 0..20 {
        if round == 8 {
            pair = pair.after(Step::PowerOn(1), None);
        }
        pair = heal::round(pair, None);
    }
    pair.left = bounds;
    pair
}

/// Visits every state within `bounds`, without rule `off`.
#[must_use]
pub fn check(bounds: Bounds, off: Option<Rule>, limits: Limits) -> Report {
    let begin = Instant::now();
    let good = Arc::new(Good::default());
    let checker = Schedules { bounds, off, good: Arc::clone(&good), tabled: Arc::default(), deadline: begin + limits.time }
        .checker()
        .threads(limits.threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let violation = checker.discovery("invariants").map(|path| {
        let what = path.last_state().wrong.unwrap_or("nothing");
        let path = path.into_vec();
        Violation { what, steps: path.len() - 1, history: history(path, what, off) }
    });
    Report {
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        healed: good.len(),
        took: begin.elapsed(),
        complete: violation.is_none() && begin.elapsed() < limits.time,
        violation,
    }
}

/// What happened, step by step, with the changes of role in between.
fn history(path: Vec<(Pair, Option<Step>)>, wrong: &'static str, off: Option<Rule>) -> String {
    let mut text = String::new();
    let mut last = None;
    for (pair, step) in path {
        let Some(step) = step else { continue };
        tell(&mut text, &pair, step, off);
        last = Some((pair, step));
    }
    if let Some((pair, step)) = last
        && pair.after(step, off).wrong.is_none()
    {
        let _ = writeln!(text, "instead of that tick, healed:");
        for (pair, step) in heal::history(&pair, off) {
            tell(&mut text, &pair, step, off);
        }
    }
    let _ = writeln!(text, "violation: {wrong}");
    text
}

fn tell(text: &mut String, pair: &Pair, step: Step, off: Option<Rule>) {
    let mut changes = Vec::new();
    let after = pair.after_noting(step, off, &mut changes);
    let _ = writeln!(text, "{pair:?}\n  -> {step:?}");
    for (id, change) in changes {
        let (counter, node) = (change.term.counter(), change.term.node_id());
        let _ = writeln!(text, "     {}: {} -> {} {counter}.{node} ({})", id + 1, change.from, change.to, change.cause);
    }
    if let Some(wrong) = after.wrong {
        let _ = writeln!(text, "{after:?}");
        let _ = writeln!(text, "     wrong: {wrong}");
    }
}
