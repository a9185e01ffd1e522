//! What a node takes from a heartbeat, and what it says in one: the part that both kernels run.
//!
//! [`hear`] judges freshness and applies [`super::dispute`]; [`compose`] writes this node's own state. XDP calls both on the
//! bytes of a frame; the daemon calls `compose` for requests; the simulation calls both on values.
//!
//! **Freshness.** A recording, an own frame that was looped back, an echo of an echo and a frame of the peer's former life must
//! never count. An echo counts only with this node's boot nonce, a sequence number that this node has sent and that is newer than
//! the last one echoed on that link. It also proves the peer's own boot nonce. A request counts only if it names this node's boot
//! nonce, comes from the proved life of the peer and is newer than the last one on that link; a request of another life proves
//! itself by naming something that this kernel said within the last second.

use core::sync::atomic::Ordering::SeqCst;
use core::sync::atomic::compiler_fence;
use core::time::Duration;

use super::dispute::{Before, Ruling, judge};
use crate::abi::{Fence, GROUPS, Link, Node, Term};
use crate::time::Nanos;
use crate::wire::heartbeat::{Extension, GroupState, MAGIC, VERSION, flags, kind};
use crate::word::{load, store};

/// How old the thing may be by whose name a new life of the peer proves itself: longer than a hello and a round trip, shorter
/// than a machine takes to come up.
const PROOF_WINDOW: Duration = Duration::from_secs(1);

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// One of this node's own, come back.
    Own,
    /// Between other nodes than this pair.
    NotOurs,
    /// Authentic, and not fresh: counted, believed in nothing. A request is echoed all the same: that is how a peer that
    /// has just booted learns this node's nonce.
    Stale,
    /// Fresh, and what it changed. `news`: the daemon should look now rather than at its next turn.
    Fresh {
        /// What the kernel decided on it.
        ruling: Ruling,
        /// Whether it says something that the last one on this link did not.
        news: bool,
    },
}

/// Takes in an authenticated `frame` that came on `link` at `now`.
#[inline(always)]
pub fn hear(node: &Node, fence: &Fence, link: &mut Link, frame: &Extension, now: Nanos) -> Heard {
    if u32::from(frame.sender) == node.node_id {
        link.looped += 1;
        return Heard::Own;
    }
    if u32::from(frame.sender) != node.peer_id || u32::from(frame.receiver) != node.node_id {
        return Heard::NotOurs;
    }
    let fresh = frame.receiver_nonce == node.boot_nonce
        && match frame.kind {
            kind::ECHO => fresh_echo(node, fence, link, frame, now),
            _ => fresh_request(fence, link, frame, now),
        };
    if !fresh {
        link.stale += 1;
        note_unproved(link, frame, now);
        return Heard::Stale;
    }
    // Odd while it is being written, and even afterwards whatever another writer did.
    let generation = link.generation | 1;
    link.generation = generation;
    compiler_fence(SeqCst);
    if frame.kind == kind::ECHO {
        link.echo_at = now;
        link.echo_seq = frame.seq;
        link.rtt = now.0.saturating_sub(frame.stamp);
        link.echoes += 1;
    } else {
        link.request_at = now;
        link.request_seq = frame.seq;
        link.request_nonce = frame.sender_nonce;
        link.requests += 1;
    }
    let newest = frame.said_at >= load(&fence.peer_said_at);
    let news = newest && says_more(&link.said, frame);
    let before = Before { heard_at: Nanos(load(&fence.peer_heard_at)), term: Term(load(&fence.peer_term)) };
    if newest {
        store(&fence.peer_said_at, frame.said_at);
        link.said = *frame;
    }
    compiler_fence(SeqCst);
    link.generation = generation + 1;
    if !newest {
        return Heard::Fresh { ruling: Ruling::Stands, news };
    }
    let ruling = judge(node, fence, frame, 0, now, before);
    // Only now: another CPU that hears the next frame must not take for known what this one has not acted upon.
    store(&fence.peer_heard_at, now.0);
    if let Some(group) = frame.groups.first() {
        store(&fence.peer_term, group.term.0);
    }
    if matches!(ruling, Ruling::Yielded(_) | Ruling::Lost(_) | Ruling::Unheard(_) | Ruling::Overslept(_)) {
        store(&fence.quit_at, now.0);
    }
    Heard::Fresh { ruling, news: news || ruling != Ruling::Stands }
}

#[inline(always)]
fn fresh_echo(node: &Node, fence: &Fence, link: &Link, frame: &Extension, now: Nanos) -> bool {
    if frame.seq <= link.echo_seq || frame.seq > node.sent_seq {
        return false;
    }
    let newest = load(&fence.peer_nonce_seq);
    if load(&fence.peer_nonce) != frame.sender_nonce {
        // A late echo of the peer's former life must not bring that life back.
        if frame.seq <= newest {
            return false;
        }
        believe(fence, frame, now);
    }
    if frame.seq > newest {
        store(&fence.peer_nonce_seq, frame.seq);
    }
    true
}

#[inline(always)]
fn fresh_request(fence: &Fence, link: &Link, frame: &Extension, now: Nanos) -> bool {
    if frame.sender_nonce == load(&fence.peer_nonce) {
        return link.request_nonce != frame.sender_nonce || frame.seq > link.request_seq;
    }
    // A new life that this node has not proved by an echo (its daemon may be dead): it proves itself by naming something
    // that this kernel said a moment ago.
    let heard = Nanos(frame.heard_at);
    let recent = heard.0 > load(&fence.peer_nonce_at) && heard <= now && now.since(heard) < PROOF_WINDOW;
    if recent {
        believe(fence, frame, now);
    }
    recent
}

/// The sender of `frame` is the peer's present life.
#[inline(always)]
fn believe(fence: &Fence, frame: &Extension, now: Nanos) {
    store(&fence.peer_nonce, frame.sender_nonce);
    store(&fence.peer_nonce_at, now.0);
    store(&fence.peer_said_at, 0);
    store(&fence.peer_heard_at, 0);
}

/// A node that has just booted and is heard by nobody still hears the Primary's requests, which name its former life. They
/// are no proof (they may be a recording), but a recording runs out, so while newer and newer ones come it must not claim.
#[inline(always)]
fn note_unproved(link: &mut Link, frame: &Extension, now: Nanos) {
    let serves = frame.groups.iter().any(|group| !group.term.is_none());
    let known = link.request_nonce == frame.sender_nonce && frame.seq <= link.request_seq
        || link.unproved_nonce == frame.sender_nonce && frame.seq <= link.unproved_seq;
    if frame.kind == kind::ECHO || known || !serves {
        return;
    }
    link.unproved_at = now;
    link.unproved_seq = frame.seq;
    link.unproved_nonce = frame.sender_nonce;
}

/// Whether `new` differs from `old` in anything that a decision may hang on. An age past the limit counts once.
#[inline(always)]
fn says_more(old: &Extension, new: &Extension) -> bool {
    let mut differs = old.sender_nonce != new.sender_nonce
        || (old.flags ^ new.flags) & !flags::DOUBTS != 0
        || old.standing.merits != new.standing.merits
        || old.standing.last_term != new.standing.last_term;
    for group in 0..GROUPS {
        let (Some(old), Some(new)) = (old.groups.get(group), new.groups.get(group)) else { return differs };
        differs |= old.term != new.term
            || old.armed_term != new.armed_term
            || old.armed_over != new.armed_over
            || old.stopped_term != new.stopped_term;
    }
    differs
}

/// Fills `frame` with this node's own state. What belongs to the exchange (kind, link, sequence, stamp) is the caller's.
#[inline(always)]
pub fn compose(node: &Node, fence: &Fence, frame: &mut Extension, now: Nanos) {
    frame.magic = MAGIC;
    frame.version = VERSION;
    frame.sender = node.node_id as u8;
    frame.receiver = node.peer_id as u8;
    frame.key_id = node.tx_key.id;
    frame.flags = node.said_flags as u16 & !flags::DOUBTS;
    if load(&fence.deaf_since) != 0 {
        frame.flags |= flags::DOUBTS;
    }
    frame.hears = node.hears as u8;
    frame.said_at = now.0;
    frame.heard_at = load(&fence.peer_said_at);
    frame.controller_age_ms = (now.since(node.controller_at).as_nanos() as u64 / 1_000_000) as u32;
    frame.sender_nonce = node.boot_nonce;
    frame.receiver_nonce = load(&fence.peer_nonce);
    frame.standing = node.standing;
    frame.standing.last_term = last_term(node, fence);
    frame.config_identity = node.config_identity;
    frame.sync_watermark = node.sync_watermark;
    for group in 0..GROUPS {
        let (Some(said), Some(own), Some(stopped)) =
            (frame.groups.get_mut(group), node.groups.get(group), fence.stopped_term.get(group))
        else {
            return;
        };
        *said = GroupState {
            term: fence.serving_term(node, group),
            armed_term: own.armed_term,
            armed_over: own.armed_over,
            stopped_term: crate::abi::Term(load(stopped)),
        };
    }
}

/// The last term under which this node served: the kernel may know of a newer one than the daemon had time to say, and a claim
/// over it must be able to name it.
#[inline(always)]
fn last_term(node: &Node, fence: &Fence) -> Term {
    let mut last = node.standing.last_term;
    if let (Some(own), Some(granted)) = (node.groups.first(), fence.granted_term.first()) {
        if own.role_term > last {
            last = own.role_term;
        }
        if own.armed_term > last && load(granted) == own.armed_term.0 {
            last = own.armed_term;
        }
    }
    last
}

/// Turns a request that was just heard into the echo of it: the same sequence, stamp and link, this node's own state.
#[inline(always)]
pub fn echo(node: &Node, fence: &Fence, frame: &mut Extension, now: Nanos) {
    let asker = frame.sender_nonce;
    compose(node, fence, frame, now);
    frame.kind = kind::ECHO;
    // The asker's life as it says itself, proved or not: it must recognise its own nonce.
    frame.receiver_nonce = asker;
}
