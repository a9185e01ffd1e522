//! What a wire, a broken sender or an attacker makes of a frame.

use crate::sim::Rng;

/// The shortest and the longest frame that the kernel runs a program over.
pub const SHORTEST: usize = 14;
/// See [`SHORTEST`].
pub const LONGEST: usize = 3_400;
/// The shortest that the host sends, and a test run of the guard takes: any IP header is whole.
pub const SHORTEST_SENT: usize = 54;
/// Bytes in which headers lie.
const HEADERS: usize = 110;

/// Changes `frame`, in one of the ways that are known to matter.
pub fn mutate(rng: &mut Rng, frame: &mut Vec<u8>) {
    match rng.below(8) {
        0 | 1 => flip(rng, frame, 1),
        2 => flip(rng, frame, 4),
        3 => frame.truncate(SHORTEST + rng.below(frame.len() as u64) as usize),
        4 => {
            // Padding behind the packet, or a length that is too small.
            let more = 1 + rng.below(64) as usize;
            frame.resize(frame.len() + more, rng.draw() as u8);
        }
        5 => scramble(rng, frame, 1),
        6 => scramble(rng, frame, 8),
        _ => lengths(rng, frame),
    }
}

fn place(rng: &mut Rng, frame: &[u8]) -> usize {
    rng.below(frame.len().min(HEADERS) as u64) as usize
}

fn flip(rng: &mut Rng, frame: &mut [u8], times: u64) {
    for _ in 0..=rng.below(times) {
        let at = place(rng, frame);
        frame[at] ^= 1 << rng.below(8);
    }
}

fn scramble(rng: &mut Rng, frame: &mut [u8], times: u64) {
    for _ in 0..=rng.below(times) {
        let at = place(rng, frame);
        frame[at] = rng.draw() as u8;
    }
}

/// Makes a length of some header a little, or much, too large or small.
fn lengths(rng: &mut Rng, frame: &mut [u8]) {
    // Where total length, payload length, UDP length and TCP data offset are, with and without a tag.
    const PLACES: [usize; 8] = [16, 18, 20, 22, 38, 46, 58, 66];
    let at = PLACES[rng.below(PLACES.len() as u64) as usize];
    let Some(field) = frame.get_mut(at..at + 2) else { return };
    let old = u16::from_be_bytes([field[0], field[1]]);
    let new = match rng.below(4) {
        0 => rng.draw() as u16,
        1 => old.wrapping_add(rng.below(64) as u16),
        2 => old.wrapping_sub(rng.below(64) as u16),
        _ => [0, 1, 7, 8, 19, 20, 0xffff][rng.below(7) as usize],
    };
    field.copy_from_slice(&new.to_be_bytes());
}
