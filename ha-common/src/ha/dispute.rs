//! What a kernel decides on a heartbeat: who stops, who may start.
//!
//! Called by the pipeline for every fresh, authenticated frame of the peer, whether or not this node's daemon is alive.
//! Five rules, each a fact that the frame proves:
//!
//! 1. **Proof** — the peer has heard of this node's claim and does not serve, and its last term is the one this node is armed over:
//!    this node serves from now on.
//! 2. **Claim** — the peer is armed over this node's term, and this node has consented or its controller is hung: this node stops.
//!    It is the only one who can know either.
//! 3. **Absence** — both serve, the peer under a newer term that it took, as it says, because it heard nothing of this node; yet this node
//!    heard the peer a moment ago, or, if that was long ago, its controller stood still as well: no cut, this machine was away (its host
//!    paused it), and stops. It is the only one who can know. (A newer term that the peer took for another reason, late, because its daemon
//!    was stopped between a decision and its deed, says nothing about this node: rule 4 judges that.)
//! 4. **Verdict** — both serve. The node with the lower id compares once per pair of terms, as soon as the peer has heard of its own, keeps
//!    the loser and carries it in every frame; the other obeys and never compares (two nodes that compared different snapshots could both
//!    stop, or both go on).
//! 5. **Deaf peer** — the peer serves, is connected, and hears nothing of this node on any link, not even the echoes of what it
//!    asks: this node is the only one who can know that both serve, and stops. (Right after a cut both say that they hear
//!    nothing, and are about to: that is no deafness, and rule 4 decides.)
//!
//! Rules 4 and 5 must not cross on a link that just begins to work, or both would stop. So a node that hears such a thing *doubts*
//! until the peer has proved that it hears it, and says so; while either doubts, the lower id keeps no verdict and makes none. Who
//! doubts stops only after longer than a frame takes: by then what was decided before has arrived.

use core::time::Duration;

use crate::abi::{Fence, Node, NodeGroup, Term};
use crate::time::Nanos;
use crate::wire::heartbeat::{Extension, flags, kind};
use crate::word::{compare_exchange, load, store};

/// How long a frame may be on its way: what a peer that says it hears nothing has not heard by then, it does not hear.
const DEAF_PATIENCE: Duration = Duration::from_millis(5);

/// How long this node must have served to conclude that it was away. A younger role may have been taken in the same moment as the peer's, by
/// a daemon that was stopped between its decision and its deed: rule 4 judges that.
const SETTLED: Duration = Duration::from_millis(50);

/// What a frame has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Ruling {
    /// Nothing.
    Stands,
    /// The armed term came into force (rule 1).
    Granted(Term),
    /// This node stopped for a claim (rule 2).
    Yielded(Term),
    /// This node stopped because it lost a dispute (rule 4).
    Lost(Term),
    /// The peer was told to stop (rule 4).
    Won(Term),
    /// This node stopped because its peer serves and cannot hear it (rule 5).
    Unheard(Term),
    /// This node stopped because its peer took over while this machine was away (rule 3).
    Overslept(Term),
}

/// What was known of the peer before the frame that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// When the peer was last heard, by the own clock.
    pub heard_at: Nanos,
    /// The term under which it said that it serves.
    pub term: Term,
}

/// Applies the rules to `frame` for `group`, at `now`.
#[inline(always)]
pub fn judge(node: &Node, fence: &Fence, frame: &Extension, group: usize, now: Nanos, before: Before) -> Ruling {
    let (Some(own), Some(theirs)) = (node.groups.get(group), frame.groups.get(group)) else {
        return Ruling::Stands;
    };
    let mine = fence.serving_term(node, group);
    if mine.is_none() || theirs.term.is_none() {
        store(&fence.deaf_since, 0);
    }
    if mine.is_none() {
        let armed = !own.armed_term.is_none() && frame.standing.last_term == own.armed_over;
        // Two nodes that are armed over each other: only the one that goes before the other takes the proof.
        let rival = !theirs.armed_term.is_none() && theirs.armed_over == node.standing.last_term;
        let first = !rival || node.standing.goes_before(Term::NONE, &frame.standing, Term::NONE);
        // What the peer said before it heard of the claim is no proof: it may have taken the role since.
        let answers = frame.heard_at >= own.since.0;
        if armed && answers && first && theirs.term.is_none() {
            fence.grant(group, own.armed_term);
            return Ruling::Granted(own.armed_term);
        }
        return Ruling::Stands;
    }
    if frame.kind == kind::CLAIM && theirs.armed_over == mine && !theirs.armed_term.is_none() {
        let hung = now.since(node.controller_at).as_nanos() as u64 > node.controller_dead;
        if own.consent == mine || hung {
            fence.stop(group, mine);
            return Ruling::Yielded(mine);
        }
    }
    if theirs.term.is_none() {
        return Ruling::Stands;
    }
    if was_away(node, own, frame, theirs.term, now, before) {
        fence.stop(group, mine);
        return Ruling::Overslept(mine);
    }
    let hearing = hearing(node, fence, frame, group, now);
    if matches!(hearing, Hearing::Deaf) {
        fence.stop(group, mine);
        return Ruling::Unheard(mine);
    }
    if node.node_id > node.peer_id {
        if theirs.stopped_term == mine {
            fence.stop(group, mine);
            return Ruling::Lost(mine);
        }
        return Ruling::Stands;
    }
    // What the peer said before it heard that this node serves is no ground: it may have stopped since.
    let answers = frame.heard_at >= own.since.0;
    if !answers || matches!(hearing, Hearing::Doubtful) || frame.flags & flags::DOUBTS != 0 {
        return Ruling::Stands;
    }
    decide(node, fence, frame, group, mine, theirs.term)
}

/// Whether the peer began to serve while this machine was away. Only the first frame that says so can tell: later ones follow upon it.
#[inline(always)]
fn was_away(node: &Node, own: &NodeGroup, frame: &Extension, theirs: Term, now: Nanos, before: Before) -> bool {
    let mine = own.role_term;
    let settled = own.since.0 <= now.0 && now.since(own.since) >= SETTLED;
    if theirs < mine || before.term == theirs || !settled || frame.flags & flags::OVER_SILENCE == 0 {
        return false;
    }
    let stood_still = before.heard_at != Nanos::NEVER && (now.since(before.heard_at).as_nanos() as u64) < node.dead;
    let asleep =
        now.since(node.controller_at).as_nanos() as u64 >= node.dead || node.said_flags & u32::from(flags::WAS_AWAY) != 0;
    stood_still || asleep
}

/// Whether the peer, which serves as well, hears this node.
enum Hearing {
    Proved,
    Doubtful,
    Deaf,
}

/// Judges it by what both sides say and, once one of them has said that it hears nothing, by proof: that the peer names something
/// that this kernel said since. What it can always name is the echo of its own request, so doubts begin with a request.
#[inline(always)]
fn hearing(node: &Node, fence: &Fence, frame: &Extension, group: usize, now: Nanos) -> Hearing {
    let since = load(&fence.deaf_since);
    let asks = frame.kind != kind::ECHO;
    if since == 0 {
        if !asks || frame.hears != 0 && node.hears != 0 {
            return Hearing::Proved;
        }
        store(&fence.deaf_since, now.0);
        // The verdict may have been lost on its way, and must not arrive once this node has stopped itself.
        if let Some(verdict) = fence.stopped_term.get(group) {
            store(verdict, Term::NONE.0);
        }
        return Hearing::Doubtful;
    }
    if frame.heard_at >= since {
        store(&fence.deaf_since, 0);
        return Hearing::Proved;
    }
    if !asks || frame.hears != 0 || frame.flags & flags::ISOLATED != 0 || now.since(Nanos(since)) < DEAF_PATIENCE {
        return Hearing::Doubtful;
    }
    if node.hears == 0 {
        // Nothing that the peer asked came here lately: the link may just have begun to work, in both directions.
        store(&fence.deaf_since, now.0);
        return Hearing::Doubtful;
    }
    Hearing::Deaf
}

/// The lower id's comparison: once per pair of terms.
#[inline(always)]
fn decide(node: &Node, fence: &Fence, frame: &Extension, group: usize, mine: Term, theirs: Term) -> Ruling {
    let Some(verdict) = fence.stopped_term.get(group) else {
        return Ruling::Stands;
    };
    let seen = load(verdict);
    if seen == theirs.0 {
        return Ruling::Stands;
    }
    if seen == mine.0 {
        fence.stop(group, mine);
        return Ruling::Lost(mine);
    }
    let win = node.standing.goes_before(mine, &frame.standing, theirs);
    let stopped = if win { theirs } else { mine };
    // Another CPU may have decided in between: then its verdict stands, and the next frame finds it.
    if compare_exchange(verdict, seen, stopped.0).is_err() {
        return Ruling::Stands;
    }
    if win {
        return Ruling::Won(theirs);
    }
    fence.stop(group, mine);
    Ruling::Lost(mine)
}

#[cfg(test)]
mod tests;
