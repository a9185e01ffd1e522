//! The public first part of a heartbeat: 136 bytes that the public product's tools read.

use ha_common::ha::event::Said;
use ha_common::ha::merits;
use ha_common::wire::heartbeat::PUBLIC_LEN;

/// Words of it.
pub const WORDS: usize = PUBLIC_LEN / 4;

const SIGNATURE: u32 = u32::from_le_bytes([0xa5, 0xa5, 0xa5, 0xa5]);
const VERSION: u8 = 10;
const STAY_PRIMARY: u32 = 0x4000;
const NO_SSL_DEVICE: u32 = 0x200;
const SYNC_ENABLED: u32 = 0;

/// The words, little-endian, that say `said` for a node that started `start` (seconds since 1970) and has committed
/// `incarnation` configurations. The sequence number is filled in per frame.
pub fn words(said: &Said, start: u32, incarnation: u32) -> [u32; WORDS] {
    let claiming = u8::from(said.master_state == 1 || said.master_state == 4);
    let mut flags = NO_SSL_DEVICE;
    if said.standing.merits & merits::STAYS_PRIMARY != 0 {
        flags |= STAY_PRIMARY;
    }
    let mut words = [0u32; WORDS];
    words[0] = SIGNATURE.to_le();
    words[1] = u32::from_le_bytes([VERSION, 0, claiming, said.node_state]).to_le();
    words[2] = start.to_le();
    words[4] = u32::from(said.master_state).to_le();
    words[5] = release().to_le();
    words[6] = flags.to_le();
    words[7] = incarnation.to_le();
    words[8] = SYNC_ENABLED.to_le();
    words[WORDS - 1] = incarnation.to_le();
    words
}

/// The release, as a number: major and minor.
fn release() -> u32 {
    let part = |text: &str| text.parse::<u32>().unwrap_or(0);
    part(env!("CARGO_PKG_VERSION_MAJOR")) << 16 | part(env!("CARGO_PKG_VERSION_MINOR"))
}
