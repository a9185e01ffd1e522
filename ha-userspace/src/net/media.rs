//! How fast is the link of an interface?

use crate::doctor::syscall::ask_driver;

/// `ETHTOOL_GSET`: fills `struct ethtool_cmd`.
const SETTINGS: u32 = 0x01;
/// Words of it: the low half of the speed with duplex above; autonegotiation; the high half of the speed.
const SPEED: usize = 3;
const AUTONEGOTIATION: usize = 4;
const SPEED_HIGH: usize = 7;

/// What the driver says of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// Speed in Mbit/s; none while there is no link, or where the driver knows of none.
    pub speed: Option<u32>,
    /// Whether both ends may send at once, where known.
    pub full_duplex: Option<bool>,
    /// Whether the ends agree on that by themselves.
    pub autonegotiation: bool,
}

/// Asks the driver of interface `name` in this thread's network namespace; nothing is known of one that does not answer. Takes the
/// kernel's lock on network configuration.
#[must_use]
pub fn of(name: &str) -> Media {
    ask_driver(name, SETTINGS).map_or_else(|_| Media::default(), |words| read(&words))
}

fn read(words: &[u32]) -> Media {
    let bytes = |at: usize| words.get(at).copied().unwrap_or_default().to_ne_bytes();
    let half = |at: usize| u16::from_ne_bytes([bytes(at)[0], bytes(at)[1]]);
    let speed = u32::from(half(SPEED)) | u32::from(half(SPEED_HIGH)) << 16;
    Media {
        speed: (!matches!(speed, 0 | 0xffff | u32::MAX)).then_some(speed),
        full_duplex: match bytes(SPEED)[2] {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        autonegotiation: bytes(AUTONEGOTIATION)[2] == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(speed: u32, duplex: u8, autonegotiation: u8) -> [u32; 11] {
        let mut words = [0; 11];
        let [a, b, c, d] = speed.to_le_bytes();
        words[SPEED] = u32::from_ne_bytes([a, b, duplex, 0]);
        words[AUTONEGOTIATION] = u32::from_ne_bytes([0, 0, autonegotiation, 0]);
        words[SPEED_HIGH] = u32::from_ne_bytes([c, d, 0, 0]);
        words
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_speed_is_put_together_from_its_halves() {
        let media = read(&words(100_000, 1, 1));
        assert_eq!(media, Media { speed: Some(100_000), full_duplex: Some(true), autonegotiation: true });
        assert_eq!(read(&words(1_000, 0, 0)).speed, Some(1_000));
    }

    #[test]
    fn what_drivers_write_without_a_link_is_no_speed() {
        for unknown in [0, 0xffff, u32::MAX] {
            assert_eq!(read(&words(unknown, 0xff, 0)), Media::default());
        }
        assert_eq!(of("no-such-if"), Media::default());
    }
}
