//! The Internet checksum, changed in step with what it covers (RFC 1624, equation 3), and computed over little packets.
//!
//! Sums work on 16-bit words as this machine reads them: one's complement addition does not care about byte order.

/// The difference that replaced words make to a checksum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delta(u64);

impl Delta {
    /// No difference.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Delta(0)
    }

    /// `old` became `new`; both as they lie in the packet, at an even offset.
    #[inline(always)]
    #[must_use]
    pub const fn word16(self, old: u16, new: u16) -> Self {
        Delta(self.0 + !old as u64 + new as u64)
    }

    /// As [`Delta::word16`], four bytes.
    #[inline(always)]
    #[must_use]
    pub const fn word32(self, old: u32, new: u32) -> Self {
        Delta(self.0 + !old as u64 + new as u64)
    }

    /// As [`Delta::word16`], sixteen bytes.
    #[inline(always)]
    #[must_use]
    pub const fn words(self, old: &[u32; 4], new: &[u32; 4]) -> Self {
        self.word32(old[0], new[0]).word32(old[1], new[1]).word32(old[2], new[2]).word32(old[3], new[3])
    }

    /// Both differences.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Delta) -> Self {
        Delta(self.0 + other.0)
    }

    /// `checksum`, as it lies in the packet, after the difference.
    #[inline(always)]
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + !checksum as u64)
    }
}

/// The sum of words that make up a packet of our own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Of nothing.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Sum(0)
    }

    /// Takes in two bytes, as they lie in the packet.
    #[inline(always)]
    #[must_use]
    pub const fn word16(self, word: u16) -> Self {
        Sum(self.0 + word as u64)
    }

    /// Takes in four bytes.
    #[inline(always)]
    #[must_use]
    pub const fn word32(self, word: u32) -> Self {
        Sum(self.0 + word as u64)
    }

    /// Takes in sixteen bytes.
    #[inline(always)]
    #[must_use]
    pub const fn words(self, words: &[u32; 4]) -> Self {
        self.word32(words[0]).word32(words[1]).word32(words[2]).word32(words[3])
    }

    /// The checksum, as it lies in the packet.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !fold(self.0)
    }
}

/// One's complement sum of the four 16-bit parts of `sum`.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook's way, over bytes.
    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        (!(sum as u16)).to_be()
    }

    proptest! {
        #[test]
        fn changed_checksum_equals_one_computed_anew(
            mut bytes in proptest::collection::vec(any::<u8>(), 24..64), word: u32, half: u16, wide: [u32; 4]
        ) {
            // The sum of a real packet is never made of zeros alone, where the two zeros of one's complement would differ.
            bytes[22] = 1;
            let before = slow(&bytes);
            let read = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
            let old_wide = [read(&bytes, 0), read(&bytes, 4), read(&bytes, 8), read(&bytes, 12)];
            let old = read(&bytes, 16);
            let old_half = u16::from_ne_bytes(bytes[20..22].try_into().unwrap());
            for (i, part) in wide.iter().enumerate() {
                bytes[4 * i..4 * i + 4].copy_from_slice(&part.to_ne_bytes());
            }
            bytes[16..20].copy_from_slice(&word.to_ne_bytes());
            bytes[20..22].copy_from_slice(&half.to_ne_bytes());
            let after = Delta::new().words(&old_wide, &wide).word32(old, word).word16(old_half, half).apply(before);
            prop_assert_eq!(after, slow(&bytes));
        }

        #[test]
        fn computed_checksum_equals_the_textbook(words: [u32; 4], half: u16) {
            let mut bytes = Vec::new();
            for word in words {
                bytes.extend_from_slice(&word.to_ne_bytes());
            }
            bytes.extend_from_slice(&half.to_ne_bytes());
            prop_assert_eq!(Sum::new().words(&words).word16(half).finish(), slow(&bytes));
        }
    }
}
