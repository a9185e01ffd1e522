//! What node and witness say to each other: UDP, one frame of fixed length per datagram, little-endian.
//!
//! ```text
//!  0  magic u32 "USWT" · version u8 · kind u8 · node u8 · 0
//!  8  key id u64
//! 16  lower NSIP u32 · higher NSIP u32 (as they lie in packets)
//! 24  nonce u64       the node's, new for every wish; answers repeat it
//! 32  challenge u64   the witness's
//! 40  tag: SipHash-2-4-128 over bytes 0..40
//! ```
//!
//! Questions and answers have keys of their own: no frame can be sent back as its own answer. They are equally long: nobody gets more
//! out of a witness than goes in.

use core::net::Ipv4Addr;

use crate::abi::Key;
use crate::wire::siphash::{SipHash, Tag};

/// UDP port of a witness, unless configured otherwise: beside heartbeats (3003), flow replication (3004) and strays (3005).
pub const PORT: u16 = 3006;

/// Length of a frame, in bytes.
pub const FRAME_LEN: usize = SIGNED_LEN + 16;

const SIGNED_LEN: usize = 40;
const MAGIC: u32 = u32::from_le_bytes(*b"USWT");
const VERSION: u8 = 1;

/// What a frame says ([`Frame::kind`]).
pub mod kind {
    /// Node: I hear my peer on no link; may I serve alone?
    pub const ASK: u8 = 1;
    /// Node: I hear my peer.
    pub const RELEASE: u8 = 2;
    /// Witness: say that again under this challenge.
    pub const CHALLENGE: u8 = 3;
    /// Witness: you may.
    pub const GRANTED: u8 = 4;
    /// Witness: your peer came first.
    pub const REFUSED: u8 = 5;
    /// Witness: noted.
    pub const RELEASED: u8 = 6;
}

/// A pair, as a witness tells it from others: by its addresses alone. The password is no part of it: while it is changed, one node asks
/// under the new one and the other still under the old one, and both must hear of one decision. Pairs of the same addresses need a
/// witness each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairName {
    /// The lower NSIP.
    pub low: Ipv4Addr,
    /// The higher NSIP.
    pub high: Ipv4Addr,
}

/// The two keys that a password gives. Both have the same [`Key::id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Signs what nodes say.
    pub question: Key,
    /// Signs what the witness says.
    pub answer: Key,
}

/// One frame, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// The node's id in its pair: 1 for the lower NSIP, 2 for the higher.
    pub node: u8,
    /// The pair.
    pub pair: PairName,
    /// The node's.
    pub nonce: u64,
    /// The witness's; zero from a node that has none yet.
    pub challenge: u64,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not of this layout or version.
    Malformed,
    /// Under a key that is not known here.
    UnknownKey,
    /// The tag is wrong.
    BadTag,
}

impl Frame {
    /// Its bytes under `key`, which they name.
    #[must_use]
    pub fn sealed(&self, key: &Key) -> [u8; FRAME_LEN] {
        let mut bytes = [0; FRAME_LEN];
        let PairName { low, high } = self.pair;
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..7].copy_from_slice(&[VERSION, self.kind, self.node]);
        bytes[8..16].copy_from_slice(&key.id.to_le_bytes());
        bytes[16..20].copy_from_slice(&low.octets());
        bytes[20..24].copy_from_slice(&high.octets());
        bytes[24..32].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.challenge.to_le_bytes());
        let Tag(first, second) = tag(&bytes, key);
        bytes[40..48].copy_from_slice(&first.to_le_bytes());
        bytes[48..56].copy_from_slice(&second.to_le_bytes());
        bytes
    }

    /// Reads what came, with the key that `key` gives for the id that the bytes name.
    ///
    /// # Errors
    /// When they are no frame, or not from somebody with that key.
    pub fn open(bytes: &[u8], key: impl FnOnce(u64) -> Option<Key>) -> Result<Frame, Refused> {
        let bytes: &[u8; FRAME_LEN] = bytes.try_into().map_err(|_| Refused::Malformed)?;
        let [version, kind, node, zero] = [bytes[4], bytes[5], bytes[6], bytes[7]];
        let known = (kind::ASK..=kind::RELEASED).contains(&kind) && (1..=2).contains(&node);
        if bytes[..4] != MAGIC.to_le_bytes() || version != VERSION || !known || zero != 0 {
            return Err(Refused::Malformed);
        }
        let pair = PairName { low: address(bytes, 16), high: address(bytes, 20) };
        if pair.low >= pair.high {
            return Err(Refused::Malformed);
        }
        let key = key(word(bytes, 8)).ok_or(Refused::UnknownKey)?;
        if tag(bytes, &key) != Tag(word(bytes, 40), word(bytes, 48)) {
            return Err(Refused::BadTag);
        }
        Ok(Frame { kind, node, pair, nonce: word(bytes, 24), challenge: word(bytes, 32) })
    }
}

fn tag(bytes: &[u8; FRAME_LEN], key: &Key) -> Tag {
    let mut hash = SipHash::new(key);
    for at in (0..SIGNED_LEN).step_by(8) {
        hash.word(word(bytes, at));
    }
    hash.finish()
}

fn word(bytes: &[u8; FRAME_LEN], at: usize) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]))
}

fn address(bytes: &[u8; FRAME_LEN], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key { k0: 1, k1: 2, id: 7 };

    fn frame(node: u8, kind: u8, nonce: u64, challenge: u64) -> Frame {
        let pair = PairName { low: Ipv4Addr::new(10, 9, 0, 1), high: Ipv4Addr::new(10, 9, 0, 2) };
        Frame { kind, node, pair, nonce, challenge }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_nothing_else_does(node in 1..=2u8, kind in 1..=6u8, nonce: u64, challenge: u64, flip in 0..FRAME_LEN * 8) {
            let frame = frame(node, kind, nonce, challenge);
            let mut bytes = frame.sealed(&KEY);
            prop_assert_eq!(Frame::open(&bytes, |id| (id == 7).then_some(KEY)), Ok(frame));
            bytes[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(Frame::open(&bytes, |_| Some(KEY)).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Frame::open(&bytes, |_| Some(KEY));
        }
    }

    #[test]
    fn another_key_opens_nothing() {
        let bytes = frame(1, kind::ASK, 5, 0).sealed(&KEY);
        assert_eq!(Frame::open(&bytes, |_| Some(Key { k0: 9, ..KEY })), Err(Refused::BadTag));
        assert_eq!(Frame::open(&bytes, |_| None), Err(Refused::UnknownKey));
        assert_eq!(Frame::open(&bytes[1..], |_| Some(KEY)), Err(Refused::Malformed));
    }
}
