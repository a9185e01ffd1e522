//! What the nodes of the pair know of each other.

use ha_common::abi::Ip;
use ha_common::abi::{Fence, Link, Node, NodeGroup, Term, mac_word, node_flags};
use ha_common::ha::Standing;
use ha_common::wire::heartbeat::{Extension, GroupState, MAGIC, VERSION, flags, kind};

use super::time;
use crate::fuzz::object::NOW;
use crate::fuzz::space::{KEYS, NONCES, NSIP, PEER_MAC, PEER_NSIP, bits, pick};
use crate::sim::Rng;

/// A span that such an instant may lie in the past.
fn span(rng: &mut Rng) -> u64 {
    pick(rng, &[0, 1, 5_000_000, 999_999_999, 1_000_000_000, 1_999_999_999, 3_000_000_000, u64::MAX])
}

/// A term of either node; none in a third of all cases.
fn term(rng: &mut Rng) -> Term {
    if rng.chance(33) { Term::NONE } else { Term::new(1 + rng.below(3), 1 + rng.below(2) as u8) }
}

fn standing(rng: &mut Rng) -> Standing {
    Standing {
        granted_over: term(rng),
        merits: pick(rng, &[0, 24, 56, 60]),
        commit_term: term(rng),
        commit_incarnation: rng.below(2),
        last_term: term(rng),
        id: 1 + rng.below(2),
    }
}

/// What the daemon tells the kernel.
pub fn node(rng: &mut Rng) -> Node {
    let node_id = pick(rng, &[1, 1, 1, 2, 2, 0]);
    // Not in every world that it serves in by role: a fence may keep it from that.
    let serves = rng.chance(70);
    let word = |rng: &mut Rng, addr: Ip| if rng.chance(97) { addr.last() } else { 0 };
    Node {
        abi_version: ha_common::abi::ABI_VERSION,
        flags: bits(rng, &[(node_flags::FENCE_IGNORED, 3), (node_flags::ANY_PORT, 60)]),
        nsip: word(rng, NSIP),
        peer_nsip: word(rng, PEER_NSIP),
        node_id,
        peer_id: if node_id == 0 { 0 } else { 3 - node_id },
        boot_nonce: NONCES[0],
        sent_seq: pick(rng, &[0, 100, 1_000_000]),
        controller_at: time(rng),
        controller_dead: span(rng),
        dead: span(rng),
        icmp_cost: pick(rng, &[0, 0, 1, 100_000, 100_000, 10_000_000, 10_000_001, u64::MAX]),
        reset_cost: pick(rng, &[0, 0, 1, 100_000, 100_000, 10_000_000, 10_000_001, u64::MAX]),
        groups: [NodeGroup {
            role_term: if serves { Term::new(1 + rng.below(3), 1) } else { Term::NONE },
            armed_term: term(rng),
            armed_over: term(rng),
            since: time(rng),
            consent: term(rng),
        }],
        standing: standing(rng),
        said_flags: rng.below(1 << 16) as u32,
        hears: rng.below(4) as u32,
        config_identity: rng.draw(),
        sync_watermark: rng.draw(),
        tx_key: KEYS[1],
        rx_keys: [pick(rng, &KEYS[2..]), pick(rng, &KEYS)],
        public: std::array::from_fn(|_| rng.draw() as u32),
    }
}

/// What the kernel has decided.
pub fn fence(rng: &mut Rng, node: &Node) -> Fence {
    let group = &node.groups[0];
    let now_and_then = |rng: &mut Rng, percent| u64::from(rng.chance(percent));
    Fence {
        fence_term: [(now_and_then(rng, 20) * (group.role_term.0.max(group.armed_term.0) + rng.below(2))).into()],
        granted_term: [(now_and_then(rng, 50) * group.armed_term.0).into()],
        stopped_term: [term(rng).0.into()],
        peer_nonce_seq: rng.below(100).into(),
        peer_nonce: pick(rng, &[NONCES[1], NONCES[1], NONCES[1], NONCES[2], 0]).into(),
        peer_nonce_at: time(rng).0.into(),
        peer_said_at: time(rng).0.into(),
        peer_heard_at: time(rng).0.into(),
        peer_term: term(rng).0.into(),
        deaf_since: (now_and_then(rng, 50) * (NOW.0 - rng.below(10_000_000))).into(),
        quit_at: time(rng).0.into(),
    }
}

/// What the peer may say of itself.
pub fn extension(rng: &mut Rng) -> Extension {
    let key = pick(rng, &KEYS[2..]);
    Extension {
        magic: MAGIC,
        version: VERSION,
        kind: pick(rng, &[kind::REQUEST, kind::REQUEST, kind::ECHO, kind::ECHO, kind::CLAIM]),
        sender: pick(rng, &[2, 2, 2, 2, 1, 0]),
        receiver: pick(rng, &[1, 1, 1, 1, 2, 0]),
        key_id: key.id,
        flags: bits(rng, &[(flags::ISOLATED.into(), 10), (flags::DOUBTS.into(), 20), (flags::WAS_AWAY.into(), 10)]) as u16,
        link: rng.below(4) as u8,
        hears: pick(rng, &[0, 1, 3]),
        controller_age_ms: rng.below(4_000) as u32,
        sender_nonce: pick(rng, &[NONCES[1], NONCES[1], NONCES[1], NONCES[2], NONCES[0]]),
        receiver_nonce: pick(rng, &[NONCES[0], NONCES[0], NONCES[0], NONCES[1], 0]),
        seq: rng.below(200),
        stamp: time(rng).0,
        said_at: time(rng).0,
        heard_at: time(rng).0,
        standing: standing(rng),
        config_identity: rng.below(2),
        sync_watermark: rng.below(2),
        groups: [GroupState { term: term(rng), armed_term: term(rng), armed_over: term(rng), stopped_term: term(rng) }],
    }
}

/// What was heard on a link.
pub fn link(rng: &mut Rng) -> Link {
    Link {
        generation: rng.below(4),
        peer_mac: mac_word(PEER_MAC),
        request_at: time(rng),
        request_seq: rng.below(100),
        request_nonce: pick(rng, &NONCES),
        echo_at: time(rng),
        echo_seq: rng.below(100),
        rtt: rng.below(1_000),
        unproved_at: time(rng),
        unproved_seq: rng.below(100),
        unproved_nonce: pick(rng, &NONCES),
        unknown_key_at: time(rng),
        unknown_key_serves: rng.below(2),
        requests: rng.below(100),
        echoes: rng.below(100),
        unknown_keys: rng.below(100),
        bad_tags: rng.below(100),
        stale: rng.below(100),
        looped: rng.below(100),
        duplicates: rng.below(100),
        duplicate_at: time(rng),
        duplicate_mac: mac_word(PEER_MAC),
        twins: rng.below(100),
        twin_at: time(rng),
        peer_release: rng.draw() as u32,
        peer_flags: rng.draw() as u32,
        said: extension(rng),
    }
}
