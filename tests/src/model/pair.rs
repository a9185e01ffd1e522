//! A state of the pair.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use ha_common::abi::Term;
use ha_common::ha::settings::{HaStatus, Settings};
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::Extension;
use ha_common::witness::{Record, Wish};

use super::bounds::{Bounds, QUEUES};
use super::canon::{NOW, canonical};
use super::judge::Ghost;
use crate::sim::node::SimNode;

/// Two nodes, the frames between them, and what may still go wrong.
#[derive(Clone)]
pub struct Pair {
    pub(super) nodes: [Arc<SimNode>; 2],
    /// By queue: frames in the order in which they left.
    pub(super) wires: [Vec<Extension>; QUEUES],
    /// By queue: a frame that is held back, or recorded.
    pub(super) late: [Option<Box<Extension>>; QUEUES],
    /// By queue: whether what leaves is lost.
    pub(super) cut: [bool; QUEUES],
    /// Whether the daemon was told to look.
    pub(super) woken: [bool; 2],
    /// Whether the daemon is stopped.
    pub(super) stalled: [bool; 2],
    /// Whether the node signs with a key that its peer does not know.
    pub(super) strange: [bool; 2],
    /// What the witness remembers.
    pub(super) record: Record,
    pub(super) left: Bounds,
    pub(super) ghost: Ghost,
    /// What must not be, if it has come to that.
    pub(super) wrong: Option<&'static str>,
    name: u64,
}

impl Pair {
    /// Two nodes that are off.
    #[must_use]
    pub fn off(left: Bounds) -> Pair {
        let node = |id: u8| {
            let setup = left.setup;
            let status = if setup.stays && id == 2 { HaStatus::StaySecondary } else { HaStatus::Enabled };
            let (witness, fail_safe) = (setup.witness, setup.fail_safe);
            let settings = Settings { node_id: id, status, witness, fail_safe, ..super::settings() };
            let mut node = SimNode::new(settings, 3 - id);
            node.wired = left.links.into();
            Arc::new(node)
        };
        let mut pair = Pair {
            nodes: [node(1), node(2)],
            wires: Default::default(),
            late: Default::default(),
            cut: [false; QUEUES],
            woken: [false; 2],
            stalled: [false; 2],
            strange: [false; 2],
            record: Record::default(),
            left,
            ghost: Ghost::default(),
            wrong: None,
            name: 0,
        };
        pair.settle(NOW);
        pair
    }

    /// What must not be, if it has come to that.
    #[must_use]
    pub fn wrong(&self) -> Option<&'static str> {
        self.wrong
    }

    /// The terms under which the kernels serve.
    #[must_use]
    pub fn serving(&self) -> [Term; 2] {
        [self.nodes[0].serving(), self.nodes[1].serving()]
    }

    /// Equal states have equal names.
    pub(super) fn name(&self) -> u64 {
        self.name
    }

    pub(super) fn node_mut(&mut self, node: usize) -> &mut SimNode {
        Arc::make_mut(&mut self.nodes[node])
    }

    /// Whether the daemon runs.
    pub(super) fn runs(&self, node: usize) -> bool {
        self.nodes[node].powered && self.nodes[node].machine.is_some() && !self.stalled[node]
    }

    /// Whether a frame is under way or a daemon has to look before time goes on.
    pub(super) fn is_busy(&self) -> bool {
        self.wires.iter().any(|frames| !frames.is_empty())
            || (0..2).any(|node| self.woken[node] && self.runs(node) || self.asks(node))
    }

    /// Whether something is on its way from a node to the witness.
    pub(super) fn asks(&self, node: usize) -> bool {
        !self.nodes[node].wishes.is_empty()
    }

    /// Whether `link` carries frames both ways.
    pub(super) fn is_open(&self, link: usize) -> bool {
        link < self.left.links.into() && !self.cut[link * 2] && !self.cut[link * 2 + 1]
    }

    /// Whether `link` carries frames in a direction at least.
    pub(super) fn carries(&self, link: usize) -> bool {
        !self.cut[link * 2] || !self.cut[link * 2 + 1]
    }

    /// Renames all numbers, of a pair whose present is `now`, and names the state.
    pub(super) fn settle(&mut self, now: Nanos) {
        for id in 0..2 {
            let stopped = !self.runs(id);
            let node = self.node_mut(id);
            node.next_hello = Nanos::NEVER;
            node.due = Nanos::NEVER;
            debug_assert!(node.asked.is_none(), "every hello is followed by a turn");
            node.transitions.clear();
            node.answers.clear();
            // Of several, the last is what the witness goes by, as it answers the last.
            let spare = node.wishes.len().saturating_sub(1);
            node.wishes.drain(..spare);
            if node.machine.is_none() {
                self.woken[id] = false;
                self.stalled[id] = false;
            } else if stopped {
                self.woken[id] = true;
            }
        }
        canonical(self, now);
        let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
        for node in &self.nodes {
            hash_node(node, &mut hasher);
        }
        (&self.wires, &self.late, self.cut, self.woken, self.stalled, self.strange).hash(&mut hasher);
        (self.record, self.left, &self.ghost, self.wrong).hash(&mut hasher);
        self.name = hasher.finish();
    }
}

fn hash_node(node: &SimNode, hasher: &mut impl Hasher) {
    use std::sync::atomic::Ordering::Relaxed;
    let asks = node.wishes.last().map(|wish| *wish == Wish::Ask);
    (asks, &node.testimonies, node.too_late).hash(hasher);
    (node.powered, &node.disk, node.health, &node.rulings).hash(hasher);
    if !node.powered {
        return;
    }
    node.kernel.hash(hasher);
    let fence = &node.fence;
    for words in [&fence.fence_term, &fence.granted_term, &fence.stopped_term] {
        words[0].load(Relaxed).hash(hasher);
    }
    let lives = [&fence.peer_nonce_seq, &fence.peer_nonce, &fence.peer_nonce_at];
    let words = [&fence.peer_said_at, &fence.peer_heard_at, &fence.peer_term, &fence.deaf_since];
    for word in lives.into_iter().chain(words) {
        word.load(Relaxed).hash(hasher);
    }
    node.links[..node.wired].hash(hasher);
    node.machine.hash(hasher);
}

impl Hash for Pair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Pair) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.nodes.iter().enumerate() {
            let role = match (&node.machine, node.powered) {
                (_, false) => "off".to_owned(),
                (None, true) => "no daemon".to_owned(),
                (Some(machine), true) => machine.role().0.to_string(),
            };
            let (group, fence) = (&node.kernel.groups[0], &node.fence);
            let term = |term: Term| format!("{}.{}", term.counter(), term.node_id());
            let word = |cell: &std::sync::atomic::AtomicU64| cell.load(std::sync::atomic::Ordering::Relaxed);
            write!(
                f,
                "[{} {role}{}{}: serves {} role {} armed {} over {} consent {} fence {:x} verdict {} last {}] ",
                id + 1,
                if self.stalled[id] { " stalled" } else { "" },
                if node.health.connected { "" } else { " isolated" },
                term(node.serving()),
                term(group.role_term),
                term(group.armed_term),
                term(group.armed_over),
                term(group.consent),
                word(&fence.fence_term[0]),
                term(Term(word(&fence.stopped_term[0]))),
                term(node.kernel.standing.last_term),
            )?;
        }
        if self.left.setup.witness {
            write!(f, "witness: {} holds, {:02b} released ", self.record.holder, self.record.released)?;
            for node in &self.nodes {
                write!(f, "{:?} {:?} ", node.wishes, node.testimonies)?;
            }
        }
        for (queue, frames) in self.wires.iter().enumerate() {
            for frame in frames {
                write!(f, "q{queue}:{} ", brief(frame))?;
            }
        }
        for (queue, frame) in self.late.iter().enumerate() {
            if let Some(frame) = frame {
                write!(f, "late{queue}:{} ", brief(frame))?;
            }
        }
        if self.cut.contains(&true) {
            write!(f, "cut {:?} ", self.cut)?;
        }
        if let Some(wrong) = self.wrong {
            write!(f, "WRONG: {wrong}")?;
        }
        Ok(())
    }
}

fn brief(frame: &Extension) -> String {
    let kind = ["?", "request", "echo", "claim"][usize::from(frame.kind.min(3))];
    let group = &frame.groups[0];
    let term = |term: Term| format!("{}.{}", term.counter(), term.node_id());
    format!(
        "{kind}#{}(serves {} armed {} over {} hears {} said {} heard {} to life {})",
        frame.seq,
        term(group.term),
        term(group.armed_term),
        term(group.armed_over),
        frame.hears,
        frame.said_at % 1_000_000,
        frame.heard_at % 1_000_000,
        frame.receiver_nonce
    )
}
