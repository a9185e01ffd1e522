//! The witness's decision.

use std::collections::BTreeMap;

use super::frame::{Frame, PairName, kind};
use crate::abi::Key;
use crate::wire::siphash::SipHash;

/// Pairs that one witness knows at most; nodes of further ones get no answer, and go on as without a witness.
pub const PAIRS_MAX: usize = 1024;

/// What a witness must not forget of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// The node that may serve alone; 0 for none.
    pub holder: u8,
    /// Bit by node: has said, since the grant, that it hears its peer.
    pub released: u8,
}

/// Both nodes.
const BOTH: u8 = 0b11;

#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    record: Record,
    /// By node: how often it was listened to. Part of the challenge, so that each is good once.
    heard: [u64; 2],
}

/// Decides for every pair: first come, first served.
///
/// ```text
///            A asks                     A and B have released
///   nobody ─────────▶ A holds (B is refused) ─────────▶ nobody
/// ```
///
/// A node that asks takes back that it hears its peer.
#[derive(Clone, Debug)]
pub struct Arbiter {
    pairs: BTreeMap<PairName, Pair>,
    secret: Key,
    unsaved: bool,
    turned_away: u64,
}

impl Arbiter {
    /// One that goes on from `records`. `secret` is random and of this life alone: challenges of a former one are void.
    #[must_use]
    pub fn new(secret: Key, records: impl IntoIterator<Item = (PairName, Record)>) -> Arbiter {
        let pairs = records.into_iter().map(|(name, record)| (name, Pair { record, ..Pair::default() })).collect();
        Arbiter { pairs, secret, unsaved: false, turned_away: 0 }
    }

    /// Takes in an authentic `frame` of a node; what to answer. When [`Self::is_unsaved`] then, the answer must not leave before
    /// [`Self::records`] are on disk and [`Self::saved`] was called.
    pub fn hear(&mut self, frame: &Frame) -> Option<Frame> {
        if frame.kind != kind::ASK && frame.kind != kind::RELEASE {
            return None;
        }
        if !self.pairs.contains_key(&frame.pair) && self.pairs.len() >= PAIRS_MAX {
            self.turned_away += 1;
            return None;
        }
        let node = usize::from(frame.node.checked_sub(1)?);
        let secret = self.secret;
        let pair = self.pairs.entry(frame.pair).or_default();
        let heard = pair.heard.get_mut(node)?;
        let challenge = challenge(&secret, frame, *heard);
        if frame.challenge != challenge {
            return Some(Frame { kind: kind::CHALLENGE, challenge, ..*frame });
        }
        *heard += 1;
        let before = pair.record;
        let kind = if frame.kind == kind::ASK { pair.record.ask(frame.node) } else { pair.record.release(frame.node) };
        self.unsaved |= pair.record != before;
        Some(Frame { kind, ..*frame })
    }

    /// Whether something was decided that is not on disk yet.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// What [`Self::records`] says is on disk.
    pub fn saved(&mut self) {
        self.unsaved = false;
    }

    /// What must outlive this process: pairs in which a node holds a grant.
    pub fn records(&self) -> impl Iterator<Item = (PairName, Record)> + '_ {
        self.pairs.iter().filter(|(_, pair)| pair.record.holder != 0).map(|(name, pair)| (*name, pair.record))
    }

    /// Frames of pairs for which there was no room.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }
}

impl Record {
    /// `node` asks for the right: [`kind::GRANTED`] or [`kind::REFUSED`].
    pub fn ask(&mut self, node: u8) -> u8 {
        if self.holder == 0 {
            self.holder = node;
        }
        self.released &= !bit(node);
        if self.holder == node { kind::GRANTED } else { kind::REFUSED }
    }

    /// `node` says that it hears its peer.
    pub fn release(&mut self, node: u8) -> u8 {
        if self.holder != 0 {
            self.released |= bit(node);
        }
        if self.released == BOTH {
            *self = Record::default();
        }
        kind::RELEASED
    }
}

fn bit(node: u8) -> u8 {
    1 << (node - 1)
}

/// What `frame` must show to be listened to, when its node was listened to `heard` times. Never zero, which is none.
fn challenge(secret: &Key, frame: &Frame, heard: u64) -> u64 {
    let PairName { low, high } = frame.pair;
    let mut hash = SipHash::new(secret);
    hash.word(u64::from(low.to_bits()) << 32 | u64::from(high.to_bits()));
    hash.word(u64::from(frame.node));
    hash.word(frame.nonce);
    hash.word(heard);
    hash.finish().0.max(1)
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    const SECRET: Key = Key { k0: 3, k1: 4, id: 0 };

    fn pair(number: u8) -> PairName {
        PairName { low: Ipv4Addr::new(10, 9, number, 1), high: Ipv4Addr::new(10, 9, number, 2) }
    }

    fn frame(kind: u8, node: u8, challenge: u64) -> Frame {
        Frame { kind, node, pair: pair(0), nonce: 99, challenge }
    }

    /// The whole conversation of one wish; what the witness says in the end.
    fn say(arbiter: &mut Arbiter, kind: u8, node: u8) -> u8 {
        let challenge = arbiter.hear(&frame(kind, node, 0)).unwrap();
        assert_eq!(challenge.kind, kind::CHALLENGE);
        arbiter.hear(&frame(kind, node, challenge.challenge)).unwrap().kind
    }

    fn arbiter() -> Arbiter {
        Arbiter::new(SECRET, [])
    }

    #[test]
    fn the_first_that_asks_is_granted_and_the_other_refused_however_often_they_ask() {
        let mut arbiter = arbiter();
        for _ in 0..3 {
            assert_eq!(say(&mut arbiter, kind::ASK, 2), kind::GRANTED);
            assert_eq!(say(&mut arbiter, kind::ASK, 1), kind::REFUSED);
        }
    }

    #[test]
    fn a_grant_ends_when_both_have_released_and_not_before() {
        let mut arbiter = arbiter();
        assert_eq!(say(&mut arbiter, kind::ASK, 1), kind::GRANTED);
        assert_eq!(say(&mut arbiter, kind::RELEASE, 1), kind::RELEASED);
        assert_eq!(say(&mut arbiter, kind::ASK, 2), kind::REFUSED);
        assert_eq!(say(&mut arbiter, kind::RELEASE, 2), kind::RELEASED);
        assert_eq!(say(&mut arbiter, kind::ASK, 2), kind::GRANTED, "both had released");
    }

    #[test]
    fn a_node_that_asks_again_takes_its_release_back() {
        let mut arbiter = arbiter();
        say(&mut arbiter, kind::ASK, 1);
        say(&mut arbiter, kind::RELEASE, 1);
        say(&mut arbiter, kind::ASK, 1);
        say(&mut arbiter, kind::RELEASE, 2);
        assert_eq!(say(&mut arbiter, kind::ASK, 2), kind::REFUSED);
    }

    #[test]
    fn releases_without_a_grant_do_not_end_a_later_one() {
        let mut arbiter = arbiter();
        say(&mut arbiter, kind::RELEASE, 2);
        say(&mut arbiter, kind::ASK, 1);
        say(&mut arbiter, kind::RELEASE, 1);
        assert_eq!(say(&mut arbiter, kind::ASK, 2), kind::REFUSED);
    }

    #[test]
    fn a_restart_keeps_every_grant_and_every_release() {
        let mut arbiter = arbiter();
        say(&mut arbiter, kind::ASK, 1);
        say(&mut arbiter, kind::RELEASE, 2);
        let kept: Vec<_> = arbiter.records().collect();
        let mut arbiter = Arbiter::new(Key { k0: 5, ..SECRET }, kept);
        assert_eq!(say(&mut arbiter, kind::ASK, 2), kind::REFUSED);
        say(&mut arbiter, kind::RELEASE, 2);
        say(&mut arbiter, kind::RELEASE, 1);
        assert_eq!(say(&mut arbiter, kind::ASK, 2), kind::GRANTED);
    }

    #[test]
    fn what_changes_is_to_be_saved_and_what_repeats_is_not() {
        let mut arbiter = arbiter();
        arbiter.hear(&frame(kind::ASK, 1, 0));
        assert!(!arbiter.is_unsaved(), "a challenge decides nothing");
        say(&mut arbiter, kind::ASK, 1);
        assert!(arbiter.is_unsaved());
        arbiter.saved();
        say(&mut arbiter, kind::ASK, 1);
        say(&mut arbiter, kind::ASK, 2);
        assert!(!arbiter.is_unsaved());
    }

    #[test]
    fn a_recording_changes_nothing() {
        let mut arbiter = arbiter();
        let challenge = arbiter.hear(&frame(kind::ASK, 1, 0)).unwrap().challenge;
        let recorded = frame(kind::ASK, 1, challenge);
        assert_eq!(arbiter.hear(&recorded).unwrap().kind, kind::GRANTED);
        say(&mut arbiter, kind::RELEASE, 1);
        say(&mut arbiter, kind::RELEASE, 2);
        assert_eq!(arbiter.hear(&recorded).unwrap().kind, kind::CHALLENGE);
        assert_eq!(arbiter.records().count(), 0);
        let mut restarted = Arbiter::new(Key { k0: 5, ..SECRET }, []);
        assert_eq!(restarted.hear(&recorded).unwrap().kind, kind::CHALLENGE);
    }

    #[test]
    fn a_challenge_is_for_one_node_one_wish_and_one_pair() {
        let mut arbiter = arbiter();
        let challenge = arbiter.hear(&frame(kind::ASK, 1, 0)).unwrap().challenge;
        let asked = frame(kind::ASK, 1, challenge);
        for other in [Frame { node: 2, ..asked }, Frame { nonce: 98, ..asked }, Frame { pair: pair(1), ..asked }] {
            assert_eq!(arbiter.hear(&other).unwrap().kind, kind::CHALLENGE);
        }
    }

    #[test]
    fn pairs_do_not_know_of_each_other_and_one_too_many_gets_no_answer() {
        let mut arbiter = arbiter();
        say(&mut arbiter, kind::ASK, 1);
        for number in 1..PAIRS_MAX as u32 {
            let pair = PairName { low: Ipv4Addr::from_bits(number), ..pair(0) };
            let first = arbiter.hear(&Frame { pair, ..frame(kind::ASK, 2, 0) }).unwrap();
            assert_eq!(arbiter.hear(&Frame { kind: kind::ASK, ..first }).unwrap().kind, kind::GRANTED);
        }
        let stranger = PairName { low: Ipv4Addr::UNSPECIFIED, ..pair(0) };
        assert_eq!(arbiter.hear(&Frame { pair: stranger, ..frame(kind::ASK, 1, 0) }), None);
        assert_eq!(arbiter.turned_away(), 1);
        assert_eq!(say(&mut arbiter, kind::ASK, 2), kind::REFUSED, "those that are known go on");
    }

    #[test]
    fn a_witness_does_not_listen_to_witnesses() {
        for kind in [kind::CHALLENGE, kind::GRANTED, kind::REFUSED, kind::RELEASED] {
            assert_eq!(arbiter().hear(&frame(kind, 1, 0)), None);
        }
    }
}
