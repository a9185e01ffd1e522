//! `FENCE[0]`: what the kernel has decided about this node's role. Written by XDP only.

use core::sync::atomic::AtomicU64;

use super::{GROUPS, Node, Term, node_flags};
use crate::word::{compare_exchange, load};

/// The record itself. Key: 0. Writer: XDP, by compare-and-swap. Readers: XDP, egress guard, daemon. Memory-mapped.
///
/// Userspace writes none of it: a daemon that was stopped while the kernel fenced it wakes, writes its old role, and
/// still does not serve.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Fence {
    /// No term below it serves. Only ever grows.
    pub fence_term: [AtomicU64; GROUPS],
    /// The armed term that came into force when the peer was proved not to serve.
    pub granted_term: [AtomicU64; GROUPS],
    /// Of two terms that served at once, the one that stops: this node's decision, if it is the deciding one.
    pub stopped_term: [AtomicU64; GROUPS],
    /// Sequence of the newest echo that proved the peer's present life.
    pub peer_nonce_seq: AtomicU64,
    /// Boot nonce of the peer's present life, proved by an echo of a fresh request.
    pub peer_nonce: AtomicU64,
    /// When that life was proved, by the own clock. What the former life said cannot name anything that was said since.
    pub peer_nonce_at: AtomicU64,
    /// When the peer said the newest thing that was heard of it, by its clock. What it said before, and comes later over another
    /// link, is not listened to.
    pub peer_said_at: AtomicU64,
    /// When that was heard, by the own clock.
    pub peer_heard_at: AtomicU64,
    /// The term under which the peer said then that it serves; none if it did not.
    pub peer_term: AtomicU64,
    /// Since when the peer, which serves as well, owes a proof that it hears this node, by the own clock; zero while it owes none.
    pub deaf_since: AtomicU64,
    /// When this node's kernel last stopped serving because of what the peer said, by the own clock; zero: never.
    pub quit_at: AtomicU64,
}

const _: () = assert!(size_of::<Fence>() == 24 * GROUPS + 64);

impl Clone for Fence {
    /// What it holds now, word by word.
    fn clone(&self) -> Fence {
        let words = |cells: &[AtomicU64; GROUPS]| core::array::from_fn(|group| AtomicU64::new(load(&cells[group])));
        let word = |cell: &AtomicU64| AtomicU64::new(load(cell));
        Fence {
            fence_term: words(&self.fence_term),
            granted_term: words(&self.granted_term),
            stopped_term: words(&self.stopped_term),
            peer_nonce_seq: word(&self.peer_nonce_seq),
            peer_nonce: word(&self.peer_nonce),
            peer_nonce_at: word(&self.peer_nonce_at),
            peer_said_at: word(&self.peer_said_at),
            peer_heard_at: word(&self.peer_heard_at),
            peer_term: word(&self.peer_term),
            deaf_since: word(&self.deaf_since),
            quit_at: word(&self.quit_at),
        }
    }
}

impl Fence {
    /// The term under which this node serves `group` right now, judged per packet; none when it does not serve.
    #[inline(always)]
    #[must_use]
    pub fn serving_term(&self, node: &Node, group: usize) -> Term {
        let (Some(own), Some(granted), Some(fence)) =
            (node.groups.get(group), self.granted_term.get(group), self.fence_term.get(group))
        else {
            return Term::NONE;
        };
        let term = if !own.role_term.is_none() {
            own.role_term
        } else if !own.armed_term.is_none() && load(granted) == own.armed_term.0 {
            own.armed_term
        } else {
            return Term::NONE;
        };
        if term.0 < load(fence) { Term::NONE } else { term }
    }

    /// Whether this node may handle a packet of `group` right now: the question that ingress and egress ask per packet.
    #[inline(always)]
    #[must_use]
    pub fn serves(&self, node: &Node, group: usize) -> bool {
        let ignored = node.flags & node_flags::FENCE_IGNORED != 0;
        !self.serving_term(node, group).is_none()
            || ignored && node.groups.get(group).is_some_and(|own| !own.role_term.is_none())
    }

    /// Raises the fence of `group` so that `term` serves no more.
    #[inline(always)]
    pub fn stop(&self, group: usize, term: Term) {
        if let Some(fence) = self.fence_term.get(group) {
            raise(fence, term.fence_above().0);
        }
    }

    /// Brings the armed `term` of `group` into force.
    #[inline(always)]
    pub fn grant(&self, group: usize, term: Term) {
        if let Some(granted) = self.granted_term.get(group) {
            raise(granted, term.0);
        }
    }
}

/// How often a compare-and-swap is tried against other CPUs before the next frame has to do it.
const RAISE_TRIES: usize = 8;

/// Sets `cell` to at least `value`.
#[inline(always)]
fn raise(cell: &AtomicU64, value: u64) {
    let mut seen = load(cell);
    for _ in 0..RAISE_TRIES {
        if seen >= value {
            return;
        }
        match compare_exchange(cell, seen, value) {
            Ok(_) => return,
            Err(other) => seen = other,
        }
    }
}
