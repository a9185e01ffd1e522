//! Which situations are one? Numbers are renamed so that only what a rule can ask about is left of them.
//!
//! - **Instants** that rules measure against intervals become whole ticks of age, up to the age that the longest of these intervals
//!   needs. Instants that only order what a node said (`said_at` and what is compared with it) keep their order within a tick.
//! - **Sequence numbers** keep their order within the life of the node that counts them.
//! - **Lives** (boot nonces) are numbered in the order in which they are met.
//! - **Term counters** keep their order and their distances up to [`DISTANCE`], more than anybody can claim unseen.

use std::time::Duration;

use ha_common::abi::{Fence, Link, Term};
use ha_common::ha::machine::Canon;
use ha_common::time::{Nanos, nanos_of};
use ha_common::wire::heartbeat::Extension;

use super::pair::Pair;
use crate::sim::node::SimNode;

/// One step of time. Longer than every pace that the machine falls into by itself, so that only the settings are left.
pub const TICK: Duration = Duration::from_millis(400);

/// Where in its tick the present is; what was ordered before it in the same tick lies below.
const WITHIN: u64 = 1_000;

/// The present, in every state that is kept.
pub const NOW: Nanos = Nanos(1_000 * nanos_of(TICK) + WITHIN);

/// Ticks after which what a node said proves nothing about the life of its peer.
pub const PROOF_TICKS: u64 = 3;

/// Terms that lie further apart than this need not be told apart.
const DISTANCE: u64 = 4;

/// What is done with the numbers of a pair.
trait Visit {
    /// An instant by the clock of `node` that is only compared with others like it.
    fn order(&mut self, node: usize, at: &mut u64);
    /// An instant that is compared with the present.
    fn age(&mut self, at: &mut Nanos, horizon: Duration);
    /// A sequence number of `node` in the life named `nonce`.
    fn seq(&mut self, node: usize, nonce: u64, seq: &mut u64);
    fn nonce(&mut self, node: usize, nonce: &mut u64);
    fn counter(&mut self, counter: &mut u64);

    /// A term, or a fence one above it.
    fn term(&mut self, term: &mut u64) {
        let mut counter = *term >> 8;
        self.counter(&mut counter);
        *term = counter << 8 | *term & 0xff;
    }
}

/// Brings `pair`, whose present is `now`, to the one form of all that behave alike; its present is [`NOW`] then.
pub fn canonical(pair: &mut Pair, now: Nanos) {
    let mut found = Found::default();
    walk(pair, now, &mut found);
    found.finish();
    walk(pair, now, &mut Rename { found, tick: now.0 - now.0 % nanos_of(TICK), now });
}

fn walk(pair: &mut Pair, now: Nanos, visit: &mut impl Visit) {
    for node in 0..2 {
        walk_node(pair.node_mut(node), node, now, visit);
    }
    for (queue, frames) in pair.wires.iter_mut().enumerate() {
        for frame in frames {
            walk_frame(frame, queue % 2, visit);
        }
    }
    for (queue, late) in pair.late.iter_mut().enumerate() {
        if let Some(frame) = late {
            walk_frame(frame, queue % 2, visit);
        }
    }
    for term in pair.ghost.terms() {
        visit.term(&mut term.0);
    }
}

fn walk_node(node: &mut SimNode, id: usize, now: Nanos, visit: &mut impl Visit) {
    visit.counter(&mut node.disk.reserved);
    visit.term(&mut node.disk.last_term.0);
    if !node.powered {
        return;
    }
    // Of several, the last is what the machine remembers, and of that the kind.
    node.rulings = node.rulings.last().map(|ruling| ruling.kind()).into_iter().collect();
    let life = node.kernel.boot_nonce;
    visit.seq(id, life, &mut node.kernel.sent_seq);
    visit.nonce(id, &mut node.kernel.boot_nonce);
    let controller_dead = node.settings.controller_dead;
    visit.age(&mut node.kernel.controller_at, controller_dead);
    for group in &mut node.kernel.groups {
        for term in [&mut group.role_term, &mut group.armed_term, &mut group.armed_over, &mut group.consent] {
            visit.term(&mut term.0);
        }
        // An answer to a claim is told by its order; one that is over tells nothing.
        if group.armed_term.is_none() && group.role_term.is_none() {
            group.since = Nanos::NEVER;
        }
        visit.order(id, &mut group.since.0);
    }
    let standing = &mut node.kernel.standing;
    for term in [&mut standing.granted_over, &mut standing.commit_term, &mut standing.last_term] {
        visit.term(&mut term.0);
    }
    walk_fence(&mut node.fence, id, life, node.settings.dead, visit);
    for link in &mut node.links[..node.wired] {
        walk_link(link, id, life, node.settings.dead, visit);
    }
    if let Some(machine) = &mut node.machine {
        machine.canonical(now, &mut OfMachine(visit));
    }
}

fn walk_fence(fence: &mut Fence, id: usize, life: u64, dead: Duration, visit: &mut impl Visit) {
    for words in [&mut fence.fence_term, &mut fence.granted_term, &mut fence.stopped_term] {
        for word in words {
            visit.term(word.get_mut());
        }
    }
    visit.seq(id, life, fence.peer_nonce_seq.get_mut());
    visit.nonce(1 - id, fence.peer_nonce.get_mut());
    visit.order(id, fence.peer_nonce_at.get_mut());
    visit.order(1 - id, fence.peer_said_at.get_mut());
    visit.order(id, fence.deaf_since.get_mut());
    visit.term(fence.peer_term.get_mut());
    let mut heard_at = Nanos(*fence.peer_heard_at.get_mut());
    visit.age(&mut heard_at, dead);
    *fence.peer_heard_at.get_mut() = heard_at.0;
}

fn walk_link(link: &mut Link, id: usize, life: u64, dead: Duration, visit: &mut impl Visit) {
    let peer = 1 - id;
    for at in [&mut link.request_at, &mut link.unproved_at, &mut link.unknown_key_at] {
        visit.age(at, dead);
    }
    // As long as the machine remembers its last echo: an older one that became younger would be another.
    visit.age(&mut link.echo_at, dead * 3);
    visit.seq(peer, link.request_nonce, &mut link.request_seq);
    visit.seq(peer, link.unproved_nonce, &mut link.unproved_seq);
    visit.seq(id, life, &mut link.echo_seq);
    visit.nonce(peer, &mut link.request_nonce);
    visit.nonce(peer, &mut link.unproved_nonce);
    // Statistics; and a round trip is always far below a tick.
    (link.generation, link.rtt, link.requests, link.echoes) = (0, 0, 0, 0);
    (link.unknown_keys, link.bad_tags, link.stale, link.looped) = (0, 0, 0, 0);
    visit.order(peer, &mut link.said.said_at);
    visit.nonce(peer, &mut link.said.sender_nonce);
    walk_kept(&mut link.said, visit);
}

/// What is kept of a frame that was heard.
fn walk_kept(frame: &mut Extension, visit: &mut impl Visit) {
    (frame.kind, frame.link, frame.hears) = (0, 0, 0);
    (frame.seq, frame.stamp, frame.heard_at, frame.receiver_nonce) = (0, 0, 0, 0);
    walk_words(frame, visit);
}

fn walk_frame(frame: &mut Extension, from: usize, visit: &mut impl Visit) {
    use ha_common::wire::heartbeat::kind;
    let to = 1 - from;
    if frame.kind == kind::ECHO {
        visit.seq(to, frame.receiver_nonce, &mut frame.seq);
    } else {
        visit.seq(from, frame.sender_nonce, &mut frame.seq);
    }
    frame.stamp = 0;
    visit.order(from, &mut frame.said_at);
    visit.order(to, &mut frame.heard_at);
    visit.nonce(from, &mut frame.sender_nonce);
    visit.nonce(to, &mut frame.receiver_nonce);
    walk_words(frame, visit);
}

fn walk_words(frame: &mut Extension, visit: &mut impl Visit) {
    // Of the age, only whether it is past the limit.
    let limit = super::settings().controller_dead.as_millis() as u32;
    frame.controller_age_ms = if frame.controller_age_ms >= limit { limit } else { 0 };
    let standing = &mut frame.standing;
    for term in [&mut standing.granted_over, &mut standing.commit_term, &mut standing.last_term] {
        visit.term(&mut term.0);
    }
    for group in &mut frame.groups {
        for term in [&mut group.term, &mut group.armed_term, &mut group.armed_over, &mut group.stopped_term] {
            visit.term(&mut term.0);
        }
    }
}

/// A machine's numbers are its node's.
struct OfMachine<'a, V>(&'a mut V);

impl<V: Visit> Canon for OfMachine<'_, V> {
    fn instant(&mut self, at: &mut Nanos, horizon: Duration) {
        self.0.age(at, horizon);
    }

    fn term(&mut self, term: &mut Term) {
        self.0.term(&mut term.0);
    }

    fn counter(&mut self, counter: &mut u64) {
        self.0.counter(counter);
    }

    fn said(&mut self, frame: &mut Extension) {
        // The machine compares neither with anything.
        (frame.said_at, frame.sender_nonce) = (0, 0);
        walk_kept(frame, self.0);
    }
}

/// All numbers that occur.
#[derive(Default)]
struct Found {
    order: [Vec<u64>; 2],
    seqs: Vec<(usize, u64, u64)>,
    nonces: [Vec<u64>; 2],
    counters: Vec<u64>,
    /// What the counter at the same place becomes.
    renamed: Vec<u64>,
}

impl Found {
    fn finish(&mut self) {
        for order in &mut self.order {
            order.sort_unstable();
            order.dedup();
        }
        self.seqs.sort_unstable();
        self.seqs.dedup();
        self.counters.sort_unstable();
        self.counters.dedup();
        let (mut last, mut new) = (0, 0);
        for &counter in &self.counters {
            new += (counter - last).min(DISTANCE);
            last = counter;
            self.renamed.push(new);
        }
    }
}

impl Visit for Found {
    fn order(&mut self, node: usize, at: &mut u64) {
        if *at != 0 {
            self.order[node].push(*at);
        }
    }

    fn age(&mut self, _: &mut Nanos, _: Duration) {}

    fn seq(&mut self, node: usize, nonce: u64, seq: &mut u64) {
        if *seq != 0 {
            self.seqs.push((node, nonce, *seq));
        }
    }

    fn nonce(&mut self, node: usize, nonce: &mut u64) {
        if *nonce != 0 && !self.nonces[node].contains(nonce) {
            self.nonces[node].push(*nonce);
        }
    }

    fn counter(&mut self, counter: &mut u64) {
        if *counter != 0 {
            self.counters.push(*counter);
        }
    }
}

struct Rename {
    found: Found,
    /// Start of the present tick.
    tick: u64,
    now: Nanos,
}

impl Rename {
    /// Start of the present tick, renamed.
    const TICK_NOW: u64 = NOW.0 - WITHIN;

    fn ticks_ago(&self, at: u64) -> u64 {
        (self.tick + nanos_of(TICK) - 1).saturating_sub(at) / nanos_of(TICK)
    }
}

impl Visit for Rename {
    fn order(&mut self, node: usize, at: &mut u64) {
        if *at == 0 {
            return;
        }
        let ago = self.ticks_ago(*at).min(PROOF_TICKS);
        let rank = self.found.order[node]
            .iter()
            .take_while(|other| **other <= *at)
            .filter(|other| self.ticks_ago(**other).min(PROOF_TICKS) == ago)
            .count() as u64;
        *at = Self::TICK_NOW - ago * nanos_of(TICK) + rank;
    }

    fn age(&mut self, at: &mut Nanos, horizon: Duration) {
        let tick = nanos_of(TICK);
        if *at == Nanos::NEVER || at.0 == u64::MAX {
            return;
        }
        // A turn in the tick's own step comes a little after what is called its present.
        if at.0 > self.now.0 + WITHIN {
            at.0 = Self::TICK_NOW + (at.0 - self.tick).div_ceil(tick) * tick;
        } else if horizon.is_zero() {
            *at = Nanos::NEVER;
        } else {
            at.0 = Self::TICK_NOW - self.ticks_ago(at.0).min(nanos_of(horizon).div_ceil(tick)) * tick;
        }
    }

    fn seq(&mut self, node: usize, nonce: u64, seq: &mut u64) {
        if *seq != 0 {
            let rank = self.found.seqs.iter().filter(|(n, life, s)| (*n, *life) == (node, nonce) && s <= seq).count();
            *seq = rank as u64;
        }
    }

    fn nonce(&mut self, node: usize, nonce: &mut u64) {
        if let Some(place) = self.found.nonces[node].iter().position(|known| known == nonce) {
            *nonce = place as u64 + 1;
        }
    }

    fn counter(&mut self, counter: &mut u64) {
        if let Ok(place) = self.found.counters.binary_search(counter) {
            *counter = self.found.renamed[place];
        }
    }
}
