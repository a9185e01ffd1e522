//! The public first part of a heartbeat: 136 bytes that the public product's tools read.

use ha_common::abi::Link;
use ha_common::ha::event::Said;
use ha_common::ha::merits;
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::{PUBLIC_FLAGS, PUBLIC_LEN, PUBLIC_RELEASE, public_flags};

/// Words of it.
pub const WORDS: usize = PUBLIC_LEN / 4;

const SIGNATURE: u32 = u32::from_le_bytes([0xa5, 0xa5, 0xa5, 0xa5]);
const VERSION: u8 = 10;
const SYNC_ENABLED: u32 = 0;

/// What the public part says besides the machine's own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Seconds since 1970 at which it started.
    pub start: u32,
    /// Configurations that it has committed.
    pub incarnation: u32,
    /// Whether the nodes are in different subnets.
    pub inc: bool,
    /// Whether its peer runs another release.
    pub mismatch: bool,
}

/// The words, little-endian, that say `said`. The sequence number is filled in per frame.
pub fn words(said: &Said, sender: Sender) -> [u32; WORDS] {
    let claiming = u8::from(said.master_state == 1 || said.master_state == 4);
    let mut flags = public_flags::NO_SSL_DEVICE;
    for (holds, flag) in [
        (said.standing.merits & merits::STAYS_PRIMARY != 0, public_flags::STAYS_PRIMARY),
        (sender.inc, public_flags::INC),
        (sender.mismatch, public_flags::VERSION_MISMATCH),
    ] {
        if holds {
            flags |= flag;
        }
    }
    let mut words = [0u32; WORDS];
    words[0] = SIGNATURE.to_le();
    words[1] = u32::from_le_bytes([VERSION, 0, claiming, said.node_state]).to_le();
    words[2] = sender.start.to_le();
    words[4] = u32::from(said.master_state).to_le();
    words[PUBLIC_RELEASE / 4] = RELEASE.to_le();
    words[PUBLIC_FLAGS / 4] = flags.to_le();
    words[7] = sender.incarnation.to_le();
    words[8] = SYNC_ENABLED.to_le();
    words[WORDS - 1] = sender.incarnation.to_le();
    words
}

/// This release.
pub const RELEASE: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16 | number(env!("CARGO_PKG_VERSION_MINOR"));

const fn number(text: &str) -> u32 {
    let (digits, mut at, mut value) = (text.as_bytes(), 0, 0);
    while at < digits.len() {
        value = value * 10 + (digits[at] - b'0') as u32;
        at += 1;
    }
    value
}

/// How people write a release.
#[must_use]
pub fn release_text(release: u32) -> String {
    format!("{}.{}", release >> 16, release & 0xffff)
}

/// What the peer's public part said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its release.
    pub release: u32,
    /// `ha_common::wire::heartbeat::public_flags`.
    pub flags: u32,
}

impl Peer {
    /// As it was heard on the link that spoke last; none before any did.
    #[must_use]
    pub fn of(links: &[Link]) -> Option<Peer> {
        let heard_at = |link: &&Link| link.request_at.max(link.echo_at);
        let newest = links.iter().filter(|link| heard_at(link) != Nanos::NEVER).max_by_key(heard_at)?;
        Some(Peer { release: newest.peer_release, flags: newest.peer_flags })
    }

    /// Whether it runs another release.
    #[must_use]
    pub fn is_other_release(self) -> bool {
        self.release != RELEASE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(sender: Sender) -> u32 {
        u32::from_le(words(&Said::default(), sender)[PUBLIC_FLAGS / 4])
    }

    #[test]
    fn a_peer_of_another_release_is_flagged_in_the_public_part() {
        assert_eq!(flags(Sender::default()) & public_flags::VERSION_MISMATCH, 0);
        assert_eq!(flags(Sender { mismatch: true, ..Sender::default() }) & 0x8000, 0x8000);
        assert_eq!(flags(Sender { inc: true, ..Sender::default() }) & 0x1000, 0x1000);
        assert_eq!(u32::from_le(words(&Said::default(), Sender::default())[5]), RELEASE);
    }

    #[test]
    fn the_peers_release_is_that_of_the_link_that_spoke_last() {
        let link = |echo_at, peer_release| Link { echo_at: Nanos(echo_at), peer_release, ..Link::default() };
        assert_eq!(Peer::of(&[Link::default()]), None);
        let peer = Peer::of(&[link(7, RELEASE + 1), link(9, RELEASE), Link::default()]).unwrap();
        assert!(!peer.is_other_release());
        assert!(Peer::of(&[link(7, RELEASE + 1)]).unwrap().is_other_release());
        assert_eq!(release_text(3 << 16 | 14), "3.14");
    }
}
