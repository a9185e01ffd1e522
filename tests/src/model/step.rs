//! What can happen next, and what comes of it.

use std::time::Duration;

use ha_common::abi::Term;
use ha_common::ha::event::{Health, Interfaces, Transition};
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::{Extension, kind};

use super::bounds::QUEUES;
use super::canon::{NOW, PROOF_TICKS, TICK};
use super::pair::Pair;
use super::rule::{self, Rule};

/// One thing that happens. Queues are numbered `link * 2 + sender`, nodes 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The first frame of a queue arrives.
    Deliver(usize),
    /// The frame that was held back arrives.
    DeliverLate(usize),
    /// A daemon that was told to look takes a turn.
    Turn(usize),
    /// A tick passes: every running daemon asks and takes a turn. That of `broken_off` stops in the middle of its.
    #[expect(missing_docs, reason = "said above")]
    Tick { broken_off: Option<usize> },
    /// The first frame of a queue is lost.
    Lose(usize),
    /// The first frame of a queue is held back.
    Delay(usize),
    /// The first frame of a queue will come once more.
    Record(usize),
    /// A direction of a link is cut.
    Cut(usize),
    /// It works again.
    Join(usize),
    /// A link is cut in both directions, or joined.
    Part(usize),
    /// Loss of power.
    PowerOff(usize),
    /// Power is back.
    PowerOn(usize),
    /// A daemon stops between two turns.
    Stall(usize),
    /// A daemon stops in the middle of a turn.
    BreakOff(usize),
    /// It goes on.
    Wake(usize),
    /// A daemon is killed.
    Kill(usize),
    /// It is started.
    Start(usize),
    /// The legs of a node lose carrier, or find it again.
    Legs(usize),
    /// A node's key changes to one that its peer does not know, or back.
    Key(usize),
    /// The operator forces a failover.
    Force(usize),
}

/// Steps that may follow on `pair`.
pub fn possible(pair: &Pair, steps: &mut Vec<Step>) {
    if pair.wrong.is_some() {
        return;
    }
    let (left, busy) = (&pair.left, pair.is_busy());
    for queue in 0..QUEUES {
        if !pair.wires[queue].is_empty() {
            steps.push(Step::Deliver(queue));
            offer(steps, left.losses, Step::Lose(queue));
            if pair.late[queue].is_none() {
                offer(steps, left.lates, Step::Delay(queue));
                offer(steps, left.lates, Step::Record(queue));
            }
        }
        if pair.late[queue].is_some() {
            steps.push(Step::DeliverLate(queue));
        }
        let held = pair.cut[queue] || left.coarse && busy;
        if !held {
            offer(steps, left.cuts[queue], Step::Cut(queue));
        }
        if pair.cut[queue] && !busy {
            offer(steps, left.cuts[queue], Step::Join(queue));
        }
    }
    for id in 0..2 {
        let woken = pair.woken[id] && pair.runs(id);
        if woken {
            steps.push(Step::Turn(id));
            offer(steps, left.stalls, Step::BreakOff(id));
        }
        if pair.runs(id) && (woken || !busy) {
            offer(steps, left.stalls, Step::Stall(id));
            offer(steps, left.kills, Step::Kill(id));
        }
        if pair.nodes[id].powered && !(left.coarse && busy) {
            offer(steps, left.crashes, Step::PowerOff(id));
        }
    }
    if !busy {
        quiet(pair, steps);
    }
}

/// Steps that wait until all frames of a tick have arrived.
fn quiet(pair: &Pair, steps: &mut Vec<Step>) {
    let left = &pair.left;
    steps.push(Step::Tick { broken_off: None });
    for link in 0..usize::from(left.links) {
        if pair.cut[link * 2] == pair.cut[link * 2 + 1] {
            offer(steps, left.parts, Step::Part(link));
        }
    }
    for id in 0..2 {
        let node = &pair.nodes[id];
        if pair.runs(id) {
            offer(steps, left.stalls, Step::Tick { broken_off: Some(id) });
            offer(steps, left.forces, Step::Force(id));
        }
        if pair.stalled[id] {
            steps.push(Step::Wake(id));
        }
        if !node.powered && u64::from(pair.ghost.off_ticks[id]) >= PROOF_TICKS {
            steps.push(Step::PowerOn(id));
        }
        if node.powered && node.machine.is_none() {
            steps.push(Step::Start(id));
        }
        if node.powered {
            offer(steps, left.legs, Step::Legs(id));
            offer(steps, left.keys, Step::Key(id));
        }
    }
}

fn offer(steps: &mut Vec<Step>, left: u8, step: Step) {
    if left > 0 {
        steps.push(step);
    }
}

impl Pair {
    /// The state after `step`, without rule `off`.
    #[must_use]
    pub fn after(&self, step: Step, off: Option<Rule>) -> Pair {
        self.after_noting(step, off, &mut Vec::new())
    }

    /// The same, and the changes of role that it brings.
    pub(super) fn after_noting(&self, step: Step, off: Option<Rule>, changes: &mut Vec<(usize, Transition)>) -> Pair {
        let mut pair = self.clone();
        let before = pair.serving();
        pair.spend(step);
        let now = match step {
            Step::Tick { .. } => NOW + TICK,
            _ => NOW,
        };
        pair.take(step, now, off);
        pair.judge(before, changes);
        pair.settle(now);
        pair
    }

    fn spend(&mut self, step: Step) {
        let left = &mut self.left;
        let bound = match step {
            Step::Lose(_) => &mut left.losses,
            Step::Delay(_) | Step::Record(_) => &mut left.lates,
            Step::Cut(queue) | Step::Join(queue) => &mut left.cuts[queue],
            Step::Part(_) => &mut left.parts,
            Step::PowerOff(_) => &mut left.crashes,
            Step::Stall(_) | Step::BreakOff(_) | Step::Tick { broken_off: Some(_) } => &mut left.stalls,
            Step::Kill(_) => &mut left.kills,
            Step::Legs(_) => &mut left.legs,
            Step::Key(_) => &mut left.keys,
            Step::Force(_) => &mut left.forces,
            Step::Deliver(_)
            | Step::DeliverLate(_)
            | Step::Turn(_)
            | Step::Tick { broken_off: None }
            | Step::PowerOn(_)
            | Step::Wake(_)
            | Step::Start(_) => return,
        };
        *bound = bound.saturating_sub(1);
    }

    fn take(&mut self, step: Step, now: Nanos, off: Option<Rule>) {
        match step {
            Step::Deliver(queue) => {
                let frame = self.wires[queue].remove(0);
                self.deliver(queue, &frame, now, off);
            }
            Step::DeliverLate(queue) => {
                self.ghost.disturbed = true;
                if let Some(frame) = self.late[queue].take() {
                    self.deliver(queue, &frame, now, off);
                }
            }
            Step::Lose(queue) => {
                self.ghost.disturbed = true;
                self.wires[queue].remove(0);
            }
            Step::Delay(queue) => {
                self.ghost.disturbed = true;
                self.late[queue] = Some(Box::new(self.wires[queue].remove(0)));
            }
            Step::Record(queue) => self.late[queue] = Some(Box::new(self.wires[queue][0])),
            Step::Turn(id) => self.turn(id, now, off),
            Step::Tick { broken_off } => self.tick(broken_off, now, off),
            Step::Cut(queue) => self.cut(queue),
            Step::Join(queue) => self.cut[queue] = false,
            Step::Part(link) => {
                let cut = self.cut[link * 2];
                for queue in [link * 2, link * 2 + 1] {
                    if cut { self.cut[queue] = false } else { self.cut(queue) }
                }
            }
            Step::PowerOff(id) => {
                self.node_mut(id).power_off();
                self.ghost.open_ticks = 0;
                self.ghost.heard_ticks = [0; 2];
                self.stalled[id] = false;
            }
            Step::PowerOn(id) => {
                // Any number that no living record holds: it is renamed at once.
                self.node_mut(id).power_on(now, u64::MAX);
                self.woken[id] = true;
            }
            Step::Stall(id) => self.stalled[id] = true,
            Step::BreakOff(id) => {
                self.break_off(id, now, off);
            }
            Step::Wake(id) => {
                self.stalled[id] = false;
                self.woken[id] = true;
            }
            Step::Kill(id) => self.node_mut(id).kill_daemon(),
            Step::Start(id) => {
                self.node_mut(id).start_daemon(now);
                self.woken[id] = true;
            }
            Step::Legs(id) => {
                let well = !self.nodes[id].health.connected;
                self.node_mut(id).set_health(if well {
                    Health::WELL
                } else {
                    Health { interfaces: Interfaces::AllFail, connected: false, ..Health::WELL }
                });
                self.woken[id] = true;
            }
            Step::Key(id) => {
                self.strange[id] = !self.strange[id];
                self.ghost.open_ticks = 0;
            }
            Step::Force(id) => {
                self.node_mut(id).force(now);
                self.woken[id] = true;
            }
        }
    }

    fn cut(&mut self, queue: usize) {
        self.cut[queue] = true;
        if !(0..2).any(|link| self.is_open(link)) {
            self.ghost.open_ticks = 0;
        }
        self.ghost.disturbed = true;
    }

    fn tick(&mut self, broken_off: Option<usize>, now: Nanos, off: Option<Rule>) {
        self.judge_tick();
        for id in 0..2 {
            if !self.runs(id) {
                continue;
            }
            let frames = self.node_mut(id).hello(now);
            rule::after_hello(self.node_mut(id), now, off);
            self.send(id, frames);
            let later = now + Duration::from_nanos(100);
            if broken_off == Some(id) {
                self.break_off(id, later, off);
            } else {
                self.turn(id, later, off);
            }
        }
    }

    fn turn(&mut self, id: usize, now: Nanos, off: Option<Rule>) {
        rule::before_turn(self.node_mut(id), off);
        let frames = self.node_mut(id).turn(now);
        self.send(id, frames);
        self.woken[id] = false;
        self.ghost.idle_ticks[id] = 0;
    }

    fn break_off(&mut self, id: usize, now: Nanos, off: Option<Rule>) {
        rule::before_turn(self.node_mut(id), off);
        let frames = self.node_mut(id).break_off(now);
        self.send(id, frames);
        self.stalled[id] = true;
        self.ghost.broken_off[id] = true;
    }

    fn send(&mut self, from: usize, frames: Vec<(usize, Extension)>) {
        for (link, frame) in frames {
            let queue = link * 2 + from;
            if !self.cut[queue] {
                self.wires[queue].push(Extension { key_id: self.strange[from].into(), ..frame });
            }
        }
    }

    fn deliver(&mut self, queue: usize, frame: &Extension, now: Nanos, off: Option<Rule>) {
        let (from, to, link) = (queue % 2, 1 - queue % 2, queue / 2);
        if !self.nodes[to].powered {
            return;
        }
        let serves = !frame.groups[0].term.is_none();
        if frame.kind != kind::ECHO && serves && self.nodes[from].health.connected {
            self.ghost.heard_now[to] = true;
        }
        let node = self.node_mut(to);
        if frame.key_id != 0 {
            node.links[link].unknown_key_at = now;
            node.links[link].unknown_key_serves = serves.into();
            return;
        }
        let consented = node.kernel.groups[0].consent;
        let verdict = Term(*node.fence.stopped_term[0].get_mut());
        let received = rule::receive(node, now, link, frame, off);
        self.woken[to] |= received.news && self.nodes[to].machine.is_some();
        self.judge_ruling(to, received.ruling, frame, consented, verdict);
        if let Some(echo) = received.echo {
            self.send(to, vec![(link, echo)]);
        }
    }
}
