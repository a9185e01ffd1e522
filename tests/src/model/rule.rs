//! The rules, and what a pair is like without one of them.
//!
//! A rule is taken out around the shipped code, by changing what goes into it or what came out of it: the code itself has no switch.

use ha_common::abi::Term;
use ha_common::ha::dispute::Ruling;
use ha_common::ha::event::{Event, Health};
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::Extension;

use crate::sim::node::{Received, SimNode};

/// A rule that the pair needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Rule {
    /// What the kernel stopped stays stopped, whatever the daemon writes.
    Fence,
    /// In a dispute only the lower id compares; the other obeys.
    OneDecision,
    /// A serving peer that is heard keeps a node from claiming although its own requests go unanswered.
    Veto,
    /// A node whose legs reach nobody does not claim.
    Isolation,
    /// A Primary that cannot be heard stops when it hears that its peer serves.
    Deaf,
    /// A grant counts only against the term that it names.
    GrantScope,
    /// Frames with an unknown key mean that somebody is there.
    UnknownKey,
    /// Of two nodes armed over each other only one takes the proof that the other does not serve.
    Rival,
    /// What the peer said before it heard of a claim proves nothing to the claimant.
    Answer,
    /// While one side has no proof that it is heard, nothing is decided.
    Doubt,
    /// Who stood still while its peer took over stops, whatever the order says.
    Absence,
    /// When neither node hears the other, the witness lets one serve.
    Witness,
    /// Of two nodes that are not well, the last Primary stays with failSafe, and nobody without it.
    FailSafe,
    /// A peer is dead only after three unanswered requests.
    ThreeAsks,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 14] = [
        Rule::Fence,
        Rule::OneDecision,
        Rule::Veto,
        Rule::Isolation,
        Rule::Deaf,
        Rule::GrantScope,
        Rule::UnknownKey,
        Rule::Rival,
        Rule::Answer,
        Rule::Doubt,
        Rule::Absence,
        Rule::Witness,
        Rule::FailSafe,
        Rule::ThreeAsks,
    ];
}

impl Rule {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The kernel of `node` takes in `frame`, without rule `off`.
pub fn receive(node: &mut SimNode, now: Nanos, link: usize, frame: &Extension, off: Option<Rule>) -> Received {
    let (mut seen, own) = (*frame, node.kernel.standing);
    let mine = node.serving();
    match off {
        Some(Rule::OneDecision) => seen.groups[0].stopped_term = Term::NONE,
        Some(Rule::Deaf) => seen.hears = u8::MAX,
        Some(Rule::GrantScope) => {
            for (granted, against) in
                [(&mut seen.standing.granted_over, mine), (&mut node.kernel.standing.granted_over, frame.groups[0].term)]
            {
                if !granted.is_none() {
                    *granted = against;
                }
            }
        }
        // As if the peer's role were nothing new.
        Some(Rule::Absence) => *node.fence.peer_term.get_mut() = frame.groups[0].term.0,
        Some(Rule::Rival) if mine.is_none() => seen.groups[0].armed_over = Term(u64::MAX),
        _ => {}
    }
    let since = node.kernel.groups[0].since;
    if off == Some(Rule::Answer) {
        node.kernel.groups[0].since = Nanos::NEVER;
    }
    let mut received = node.receive(now, link, seen);
    node.kernel.standing = own;
    node.kernel.groups[0].since = since;
    let kept = &mut node.links[link].said;
    if kept.said_at == frame.said_at && kept.sender_nonce == frame.sender_nonce {
        *kept = *frame;
    }
    match off {
        Some(Rule::Fence) => *node.fence.fence_term[0].get_mut() = 0,
        Some(Rule::OneDecision) if node.kernel.node_id > node.kernel.peer_id => {
            compare_again(node, frame, mine, &mut received);
        }
        Some(Rule::Doubt) if node.kernel.node_id < node.kernel.peer_id => compare_again(node, frame, mine, &mut received),
        _ => {}
    }
    received
}

/// `node` compares although it is not the one to do so, or not yet: the higher id for itself, or the lower one that still doubts.
fn compare_again(node: &mut SimNode, frame: &Extension, mine: Term, received: &mut Received) {
    let theirs = frame.groups[0].term;
    let newest = *node.fence.peer_said_at.get_mut() == frame.said_at && frame.receiver_nonce == node.kernel.boot_nonce;
    if !newest || mine.is_none() || theirs.is_none() || node.serving().is_none() {
        return;
    }
    let wins = node.kernel.standing.goes_before(mine, &frame.standing, theirs);
    if node.kernel.node_id < node.kernel.peer_id {
        *node.fence.stopped_term[0].get_mut() = if wins { theirs.0 } else { mine.0 };
    }
    if !wins {
        node.fence.stop(0, mine);
        *received = Received { ruling: Ruling::Lost(mine), news: true, echo: received.echo };
        node.rulings.push(Ruling::Lost(mine));
    }
}

/// Before a node comes up for the first time.
pub fn before_all(node: &mut SimNode, off: Option<Rule>) {
    node.settings.fail_safe ^= off == Some(Rule::FailSafe);
}

/// Before the daemon of `node` reads the kernel's records.
pub fn before_turn(node: &mut SimNode, off: Option<Rule>) {
    if off == Some(Rule::Isolation) {
        node.health = Health::WELL;
    }
    let veto = off == Some(Rule::Veto);
    for link in &mut node.links {
        if veto {
            link.request_at = Nanos::NEVER;
            link.unproved_at = Nanos::NEVER;
        }
        if off == Some(Rule::UnknownKey) {
            link.unknown_key_at = Nanos::NEVER;
        }
    }
}

/// After the daemon of `node` has asked.
pub fn after_hello(node: &mut SimNode, now: Nanos, off: Option<Rule>) {
    if off != Some(Rule::ThreeAsks) {
        return;
    }
    if let Some(machine) = &mut node.machine {
        for _ in 0..2 {
            machine.handle_event(now, Event::Asked(now));
        }
    }
}
