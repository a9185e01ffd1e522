//! What can happen, and what comes of it.

use std::time::Duration;

use ha_common::abi::Term;
use ha_common::ha::event::{Health, Interfaces, Testimony, Transition};
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::{Extension, kind};
use ha_common::witness::{self, Wish};

use super::bounds::QUEUES;
use super::canon::{NOW, TICK};
use super::pair::Pair;
use super::rule::{self, Rule};

/// Times that both nodes are heard within one tick: longer exchanges never end.
pub const EXCHANGE_MAX: usize = 40;

/// One thing that happens. Queues are numbered `link * 2 + sender`, nodes 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The first frame of a queue arrives.
    Deliver(usize),
    /// The frame that was held back arrives.
    DeliverLate(usize),
    /// A daemon that was told to look takes a turn.
    Turn(usize),
    /// Every frame arrives, one of each sender after the other, this one first, and every daemon looks that is told to.
    Exchange(usize),
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
    /// The witness hears a node, which hears its answer.
    Witness(usize),
    /// It does not.
    Mute(usize),
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
    /// It goes on, and notices that it was stopped between a decision and its execution.
    WakeLate(usize),
    /// A daemon is killed.
    Kill(usize),
    /// It is started.
    Start(usize),
    /// The legs of a node lose carrier, or find it again.
    Legs(usize),
    /// A monitored interface of a node fails, or works again.
    Monitor(usize),
    /// A node's key changes to one that its peer does not know, or back.
    Key(usize),
    /// The operator forces a failover.
    Force(usize),
}

impl Pair {
    /// The state after `step`, without rule `off`.
    #[must_use]
    pub fn after(&self, step: Step, off: Option<Rule>) -> Pair {
        self.after_noting(step, off, &mut Vec::new())
    }

    /// The same, and the changes of role that it brings.
    pub(super) fn after_noting(&self, step: Step, off: Option<Rule>, changes: &mut Vec<(usize, Transition)>) -> Pair {
        if let Step::Exchange(first) = step {
            return self.after_exchange(first, off, changes);
        }
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

    fn after_exchange(&self, first: usize, off: Option<Rule>, changes: &mut Vec<(usize, Transition)>) -> Pair {
        let mut pair = self.clone();
        for _ in 0..EXCHANGE_MAX {
            if !pair.is_busy() || pair.wrong.is_some() {
                return pair;
            }
            for queue in (0..QUEUES).map(|queue| queue ^ first) {
                if !pair.wires[queue].is_empty() {
                    pair = pair.after_noting(Step::Deliver(queue), off, changes);
                }
            }
            for id in [first, 1 - first] {
                if pair.asks(id) {
                    pair = pair.after_noting(Step::Witness(id), off, changes);
                }
                if pair.woken[id] && pair.runs(id) {
                    pair = pair.after_noting(Step::Turn(id), off, changes);
                }
            }
        }
        pair.fail("an exchange without end");
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
            Step::Monitor(_) => &mut left.monitors,
            Step::Mute(_) => &mut left.mutes,
            Step::Key(_) => &mut left.keys,
            Step::Force(_) => &mut left.forces,
            Step::Deliver(_)
            | Step::Exchange(_)
            | Step::DeliverLate(_)
            | Step::Turn(_)
            | Step::Tick { broken_off: None }
            | Step::PowerOn(_)
            | Step::Wake(_)
            | Step::WakeLate(_)
            | Step::Witness(_)
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
            Step::Exchange(_) => {}
            Step::Witness(id) => self.hear_witness(id, off),
            Step::Mute(id) => {
                self.ghost.split_ticks = 0;
                let node = self.node_mut(id);
                if node.wishes.drain(..).any(|wish| wish == Wish::Ask) {
                    node.testimonies.push(Testimony::Silent);
                    self.woken[id] = true;
                }
            }
            Step::Monitor(id) => {
                let health = self.nodes[id].health;
                let works = health.interfaces == Interfaces::Work;
                let interfaces = if works { Interfaces::SomeFail } else { Interfaces::Work };
                self.node_mut(id).set_health(Health { interfaces, ..health });
                self.woken[id] = true;
            }
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
            Step::Wake(id) | Step::WakeLate(id) => {
                self.node_mut(id).too_late = step == Step::WakeLate(id);
                self.stalled[id] = false;
                self.ghost.slept[id] = false;
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

    fn hear_witness(&mut self, id: usize, off: Option<Rule>) {
        let name = id as u8 + 1;
        for wish in std::mem::take(&mut self.node_mut(id).wishes) {
            match wish {
                Wish::Release => {
                    self.record.release(name);
                }
                Wish::Ask => {
                    let granted = self.record.ask(name) == witness::kind::GRANTED || off == Some(Rule::Witness);
                    let testimony = if granted { Testimony::Granted } else { Testimony::Refused };
                    self.node_mut(id).testimonies.push(testimony);
                    self.woken[id] = true;
                }
            }
        }
    }

    fn turn(&mut self, id: usize, now: Nanos, off: Option<Rule>) {
        let health = self.nodes[id].health;
        rule::before_turn(self.node_mut(id), off);
        let frames = self.node_mut(id).turn(now);
        self.node_mut(id).health = health;
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
