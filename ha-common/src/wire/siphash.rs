//! SipHash-2-4 with a 128-bit tag (Aumasson and Bernstein, 2012), over whole 64-bit words.
//!
//! Written here because it has to run in XDP over a frame that is read word by word; the host's tests compare it with an
//! independent implementation.

use crate::abi::Key;

/// A 128-bit tag, as the two little-endian words in which the reference implementation writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Tag(pub u64, pub u64);

/// The state after any number of words. Feed words in message order, then [`SipHash::finish`].
#[derive(Clone, Copy, Debug)]
pub struct SipHash {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
    words: u64,
}

impl SipHash {
    /// A fresh state under `key`.
    #[inline(always)]
    #[must_use]
    pub fn new(key: &Key) -> Self {
        SipHash {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
            words: 0,
        }
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    /// Takes in eight bytes of the message, read as a little-endian word.
    #[inline(always)]
    pub fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
        self.words += 1;
    }

    /// The tag of everything taken in.
    #[inline(always)]
    #[must_use]
    pub fn finish(mut self) -> Tag {
        let length = (self.words * 8) << 56;
        self.word(length);
        self.v2 ^= 0xee;
        self.round();
        self.round();
        self.round();
        self.round();
        let low = self.v0 ^ self.v1 ^ self.v2 ^ self.v3;
        self.v1 ^= 0xdd;
        self.round();
        self.round();
        self.round();
        self.round();
        Tag(low, self.v0 ^ self.v1 ^ self.v2 ^ self.v3)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;
    use siphasher::sip128::{Hasher128, SipHasher24};

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_an_independent_implementation(k0: u64, k1: u64, words in proptest::collection::vec(any::<u64>(), 0..40)) {
            let mut ours = SipHash::new(&Key { k0, k1, id: 1 });
            let mut theirs = SipHasher24::new_with_keys(k0, k1);
            for &word in &words {
                ours.word(word);
                theirs.write(&word.to_le_bytes());
            }
            let expected = theirs.finish128();
            prop_assert_eq!(ours.finish(), Tag(expected.h1, expected.h2));
        }
    }
}
