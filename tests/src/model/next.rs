//! What can happen next?

use ha_common::ha::dispute::Ruling;
use ha_common::ha::hearing::{self, Heard};
use ha_common::wire::heartbeat::Extension;

use super::bounds::QUEUES;
use super::canon::{NOW, PROOF_TICKS};
use super::pair::Pair;
use super::rule::Rule;
use super::step::Step;
use crate::sim::node::SimNode;

/// Steps that may follow on `pair`.
pub fn possible(pair: &Pair, off: Option<Rule>, steps: &mut Vec<Step>) {
    if pair.wrong.is_some() {
        return;
    }
    let (left, busy) = (&pair.left, pair.is_busy());
    for id in (0..2).filter(|&id| pair.asks(id)) {
        offer(steps, left.mutes, Step::Mute(id));
        if !left.lockstep {
            steps.push(Step::Witness(id));
        }
    }
    if left.lockstep && busy {
        steps.extend([Step::Exchange(0), Step::Exchange(1)]);
        return;
    }
    if off.is_none()
        && let Some(queue) = (0..QUEUES).find(|&queue| is_ample(pair, queue))
    {
        steps.push(Step::Deliver(queue));
        return;
    }
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

/// Whether it is enough to deliver the first frame of `queue` now, whatever else could happen first (a partial-order reduction).
///
/// It is if the frame wakes nobody and decides nothing, so that no judge sees when it came, and if nothing that may happen before it
/// touches what it touches: the node it goes to, whose daemon is not to look, to which nothing else is under way, and of which neither
/// this frame nor its echo can be lost, held back or cut off any more. The other node's steps only add frames behind it.
fn is_ample(pair: &Pair, queue: usize) -> bool {
    let (to, link, left) = (1 - queue % 2, queue / 2, &pair.left);
    let Some(frame) = pair.wires[queue].first() else { return false };
    let into = |other: usize| other % 2 == queue % 2;
    let alone = (0..QUEUES)
        .filter(|&other| into(other))
        .all(|other| pair.late[other].is_none() && (other == queue || pair.wires[other].is_empty()));
    let loseable = left.losses > 0 || left.lates > 0 || left.cuts[queue ^ 1] > 0 && !pair.cut[queue ^ 1];
    let looks = pair.woken[to] && pair.runs(to) || pair.asks(to);
    let falls = left.crashes > 0 && !left.coarse;
    // Over a second link the other node could be heard before.
    let from = queue % 2;
    let busy = pair.woken[from] && pair.runs(from) || pair.asks(from);
    let quiet = |other: usize| into(other) || pair.late[other].is_none() && pair.wires[other].is_empty();
    let overtaken = left.links > 1 && (busy || !(0..QUEUES).all(quiet));
    alone && !loseable && !looks && !falls && !overtaken && is_calm(&pair.nodes[to], link, frame)
}

/// Whether `frame` decides nothing in the kernel of `node`, and wakes nobody.
fn is_calm(node: &SimNode, link: usize, frame: &Extension) -> bool {
    if !node.powered || frame.key_id != 0 {
        return true;
    }
    let (fence, mut link) = (node.fence.clone(), node.links[link]);
    match hearing::hear(&node.kernel, &fence, &mut link, frame, NOW) {
        Heard::Own | Heard::NotOurs | Heard::Stale => true,
        Heard::Fresh { ruling, news } => ruling == Ruling::Stands && !news,
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
            if pair.ghost.broken_off[id] {
                steps.push(Step::WakeLate(id));
            }
        }
        if !node.powered && u64::from(pair.ghost.off_ticks[id]) >= PROOF_TICKS {
            steps.push(Step::PowerOn(id));
        }
        if node.powered && node.machine.is_none() {
            steps.push(Step::Start(id));
        }
        if node.powered {
            offer(steps, left.legs, Step::Legs(id));
            offer(steps, left.monitors, Step::Monitor(id));
            offer(steps, left.keys, Step::Key(id));
        }
    }
}

fn offer(steps: &mut Vec<Step>, left: u8, step: Step) {
    if left > 0 {
        steps.push(step);
    }
}
