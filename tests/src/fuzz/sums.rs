//! Every checksum of a frame, computed anew over all that it covers: nothing here is shared with the pipeline, which only ever adds
//! differences.

use std::fmt::Write as _;

/// One checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Whose.
    pub of: &'static str,
    /// What the receiver's addition is away from what it should be, modulo 2^16 - 1: zero is right. `None`: the sender computed none.
    pub wrong_by: Option<u16>,
}

impl Sum {
    fn is_right(&self) -> bool {
        self.wrong_by.is_none_or(|by| by == 0)
    }
}

/// How a frame in a stray lies in front of it.
const STRAY: usize = 56;
const STRAY_PORT: [u8; 2] = 3005u16.to_be_bytes();
const GUE_PORT: [u8; 2] = 6080u16.to_be_bytes();
/// Where a stray says whom it is for.
const TO_NODE: [u8; 4] = [10, 9, 0, 1];
/// Headers that are read one within the other, at most.
const DEPTH: usize = 12;

/// Whether what `left` has right checksums, if what `came` had. `translated`: what was wrong must be wrong by as much as before.
///
/// # Errors
/// With every checksum that is not.
pub fn compare(came: &[u8], left: &[u8], translated: bool) -> Result<(), String> {
    // One that looks like a stray may be none.
    if is_stray(came, TO_NODE) && !is_stray(left, TO_NODE) && compare(&came[STRAY..], left, translated).is_ok() {
        return Ok(());
    }
    if left.get(STRAY..) == Some(came) {
        // Wrapped as it was: what is in front is new.
        return judge(&sums(left)[..1], &[], translated);
    }
    let (inside, l3) = (&came[link(came)..], link(left));
    if let Some(before) = left.len().checked_sub(inside.len()).filter(|before| *before > l3)
        && left.ends_with(inside)
    {
        // In a tunnel, as it was: of what is in front only IPv4 has a checksum.
        return judge(&sums(left)[..usize::from(before - l3 < 40)], &[], translated);
    }
    for (header, quoted) in [(28, 28), (48, 48), (48, 56)] {
        let (at, icmp, kinds): (_, _, &[u8]) = if header == 28 { (1, "ICMP", &[3, 11]) } else { (0, "ICMPv6", &[1, 2, 3]) };
        let error = left.len() == l3 + header + quoted
            && left[l3..] != *inside
            && kinds.contains(&left[l3 + header - 8])
            && sums(left).get(at).is_some_and(|sum| sum.of == icmp);
        if error && inside.windows(quoted).any(|window| *window == left[l3 + header..]) {
            // An error about it, or about what it quotes: that is as it was.
            let of_error = if header == 28 { 2 } else { 1 };
            return judge(&sums(left)[..of_error], &[], translated);
        }
    }
    judge(&sums(left), &sums(came), translated)
}

/// Where the link layer of `frame` ends, as far as it matters.
fn link(frame: &[u8]) -> usize {
    let end = if frame.len() >= 18 && frame[12..14] == [0x81, 0] { 18 } else { 14 };
    end.min(frame.len())
}

fn is_stray(frame: &[u8], to: [u8; 4]) -> bool {
    frame.len() >= STRAY
        && frame[12..15] == [8, 0, 0x45]
        && frame[23] == 17
        && frame[30..34] == to
        && frame[36..38] == STRAY_PORT
}

fn judge(left: &[Sum], came: &[Sum], translated: bool) -> Result<(), String> {
    let mut faults = String::new();
    for (number, sum) in left.iter().enumerate() {
        let before = came.get(number).filter(|before| before.of == sum.of);
        let fault = match before {
            // Nobody looked at it: it may go on as it came, or be made new.
            Some(before) if !before.is_right() => translated && before.wrong_by != sum.wrong_by,
            Some(before) => !sum.is_right() || translated && before.wrong_by != sum.wrong_by,
            None => !sum.is_right(),
        };
        if fault {
            let by = |sum: &Sum| sum.wrong_by.map_or("none".to_owned(), |by| by.to_string());
            let was = before.map_or("not there".to_owned(), by);
            let _ = write!(faults, " {} checksum is wrong by {}, was {was};", sum.of, by(sum));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Every checksum of `frame`, from outside to inside, as far as it can be read.
pub fn sums(frame: &[u8]) -> Vec<Sum> {
    let mut sums = Vec::new();
    ethernet(frame, &mut sums, DEPTH);
    sums
}

/// The sum of `bytes` as big-endian words, an odd one filled up with zero.
fn add(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn wrong_by(sum: u64) -> Option<u16> {
    Some((sum % 0xffff) as u16)
}

fn word(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])
}

fn ethernet(frame: &[u8], sums: &mut Vec<Sum>, depth: usize) {
    let mut at = 12;
    while frame.len() >= at + 2 {
        match word(frame, at) {
            0x8100 | 0x88a8 => at += 4,
            0x0800 => return v4(&frame[at + 2..], sums, depth),
            0x86dd => return v6(&frame[at + 2..], sums, depth),
            _ => return,
        }
    }
}

fn v4(packet: &[u8], sums: &mut Vec<Sum>, depth: usize) {
    if depth == 0 || packet.len() < 20 || packet[0] >> 4 != 4 {
        return;
    }
    let header = usize::from(packet[0] & 0xf) * 4;
    if header < 20 || packet.len() < header {
        return;
    }
    sums.push(Sum { of: "IPv4", wrong_by: wrong_by(add(&packet[..header])) });
    let total = word(packet, 2);
    let fragment = word(packet, 6) & 0x3fff != 0;
    if total < header || total > packet.len() || fragment {
        return;
    }
    let body = &packet[header..total];
    let pseudo = add(&packet[12..20]) + u64::from(packet[9]);
    transport(packet[9], body, pseudo, false, sums, depth - 1);
}

fn v6(packet: &[u8], sums: &mut Vec<Sum>, depth: usize) {
    if depth == 0 || packet.len() < 40 || packet[0] >> 4 != 6 {
        return;
    }
    let len = word(packet, 4);
    let Some(mut body) = packet.get(40..40 + len) else { return };
    let mut next = packet[6];
    for _ in 0..DEPTH {
        let header = match (next, body.get(1)) {
            (0 | 43 | 60 | 135, Some(units)) => 8 + usize::from(*units) * 8,
            (51, Some(words)) => 8 + usize::from(*words) * 4,
            // A fragment, but for one that is the whole.
            (44, Some(_)) if body.len() >= 8 && word(body, 2) & 0xfff9 == 0 => 8,
            (0 | 43 | 44 | 51 | 60 | 135, _) => return,
            _ => break,
        };
        if body.len() < header {
            return;
        }
        next = body[0];
        body = &body[header..];
    }
    transport(next, body, add(&packet[8..40]) + u64::from(next), true, sums, depth - 1);
}

fn transport(protocol: u8, body: &[u8], pseudo: u64, is_v6: bool, sums: &mut Vec<Sum>, depth: usize) {
    let pseudo = pseudo + body.len() as u64;
    let mut push = |of, sum| sums.push(Sum { of, wrong_by: wrong_by(sum) });
    match protocol {
        1 if !is_v6 && body.len() >= 8 => {
            push("ICMP", add(body));
            if matches!(body[0], 3 | 4 | 5 | 11 | 12) {
                v4(&body[8..], sums, depth);
            }
        }
        4 => v4(body, sums, depth),
        6 if body.len() >= 20 => push("TCP", pseudo + add(body)),
        17 if body.len() >= 8 => udp(body, pseudo - body.len() as u64, sums, depth),
        41 => v6(body, sums, depth),
        47 if body.len() >= 4 => gre(body, sums, depth),
        58 if is_v6 && body.len() >= 8 => {
            push("ICMPv6", pseudo + add(body));
            if matches!(body[0], 1..=4) {
                v6(&body[8..], sums, depth);
            }
        }
        _ => {}
    }
}

fn udp(body: &[u8], pseudo: u64, sums: &mut Vec<Sum>, depth: usize) {
    let len = word(body, 4);
    let Some(datagram) = body.get(..len).filter(|datagram| datagram.len() >= 8) else { return };
    // Over IPv6 there must be one; but what is quoted may be without.
    let none = datagram[6..8] == [0, 0];
    let sum = pseudo + len as u64 + add(datagram);
    sums.push(Sum { of: "UDP", wrong_by: if none { None } else { wrong_by(sum) } });
    let inner = &datagram[8..];
    if datagram[2..4] == STRAY_PORT && inner.len() > 14 {
        ethernet(&inner[14..], sums, depth);
    } else if datagram[2..4] == GUE_PORT && inner.len() > 4 && inner[0] & 0xe0 == 0 {
        let header = 4 + usize::from(inner[0] & 0x1f) * 4;
        match (inner[1], inner.get(header..)) {
            (4, Some(packet)) => v4(packet, sums, depth),
            (41, Some(packet)) => v6(packet, sums, depth),
            _ => {}
        }
    }
}

fn gre(body: &[u8], sums: &mut Vec<Sum>, depth: usize) {
    let present = |bit: u8| usize::from(body[0] & bit != 0) * 4;
    let header = 4 + present(0x80) + present(0x20) + present(0x10);
    if present(0x80) != 0 {
        sums.push(Sum { of: "GRE", wrong_by: wrong_by(add(body)) });
    }
    match (word(body, 2), body.get(header..)) {
        (0x0800, Some(packet)) => v4(packet, sums, depth),
        (0x86dd, Some(packet)) => v6(packet, sums, depth),
        (0x6558, Some(frame)) => ethernet(frame, sums, depth),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn what_vectors_send_is_right_and_one_turned_bit_is_seen() {
        let mut seen = 0;
        for vector in vectors::all() {
            let frame = vector.frame();
            let right = sums(frame);
            if right.is_empty() || !right.iter().all(Sum::is_right) || right[0].wrong_by.is_none() {
                continue;
            }
            let mut turned = frame.to_vec();
            let ttl = if frame[12..14] == [0x86, 0xdd] { continue } else { 14 + 8 };
            if frame[12..14] != [8, 0] {
                continue;
            }
            turned[ttl] ^= 4;
            assert!(!sums(&turned)[0].is_right(), "{}", vector.name);
            assert!(compare(frame, &turned, true).is_err(), "{}", vector.name);
            seen += 1;
        }
        assert!(seen > 50, "{seen} frames");
    }
}
