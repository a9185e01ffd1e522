//! What the peer says: heartbeats and strays, signed.

use ha_common::abi::{Fence, Key, Node};
use ha_common::packet::HostPacket;
use ha_common::pipeline::heartbeat::{write_headers, write_payload};
use ha_common::wire::heartbeat::FRAME_LEN;
use ha_common::wire::siphash::SipHash;
use ha_common::wire::stray;

use super::bytes::{self, Shape, protocol};
use super::space::{KEYS, NONCES, NSIP, PEER_MAC, PEER_NSIP, own_mac, pick};
use super::world;
use crate::sim::Rng;

/// A heartbeat that comes in on `ifindex`.
pub fn heartbeat(rng: &mut Rng, ifindex: u32) -> Vec<u8> {
    let frame = world::extension(rng);
    let key = KEYS[frame.key_id as usize];
    // Rarely a frame of this node itself, come back, or another machine's in its name.
    let (source, destination) = if rng.chance(92) { (PEER_NSIP, NSIP) } else { (NSIP, PEER_NSIP) };
    let peer = Node {
        nsip: source.last(),
        peer_nsip: destination.last(),
        tx_key: key,
        public: std::array::from_fn(|_| rng.below(4) as u32),
        ..Node::default()
    };
    let from = if rng.chance(95) { PEER_MAC } else { own_mac(ifindex) };
    let mut packet = HostPacket::new(&[0; FRAME_LEN]);
    write_headers(&mut packet, &peer, from, own_mac(ifindex)).expect("room for it");
    write_payload(&mut packet, &peer, &frame).expect("room for it");
    let mut bytes = packet.frame().to_vec();
    if rng.chance(3) {
        // A version, a kind or a beginning that this release does not know.
        bytes[42 + 136 + rng.below(6) as usize] ^= 1 << rng.below(8);
    }
    bytes
}

/// `inner`, carried here by the peer, as having come in on some leg.
pub fn stray(rng: &mut Rng, node: &Node, fence: &Fence, ifindex: u32, inner: &[u8]) -> Vec<u8> {
    let key = if rng.chance(95) { node.rx_keys[rng.below(2) as usize] } else { pick(rng, &KEYS) };
    let peer = if rng.chance(95) { peer_nonce(fence) } else { pick(rng, &NONCES) };
    let leg = pick(rng, &[0, 0, 1, 1, 5]);
    let mut tail = (rng.below(1_000) as u32).to_le_bytes().to_vec();
    tail.extend([stray::VERSION << 4 | stray::KIND, leg]);
    let mut signed = [peer.to_le_bytes(), node.boot_nonce.to_le_bytes()].concat();
    signed.extend_from_slice(&tail);
    signed.extend((inner.len() as u16).to_le_bytes());
    let covered = &inner[..inner.len().min(stray::SIGNED)];
    let whole = covered.len() / 8 * 8;
    signed.extend_from_slice(&covered[..whole]);
    if covered.len() > whole {
        signed.extend_from_slice(&covered[covered.len() - 8..]);
    }
    let payload = [&tag(&key, &signed).to_le_bytes(), tail.as_slice(), inner].concat();
    let datagram = bytes::udp(stray::PORT, stray::PORT, &payload);
    let shape = Shape { ttl: 64, fragment: 0x4000, ..Shape::default() };
    let packet = bytes::ip(&shape, PEER_NSIP, NSIP, protocol::UDP, &datagram);
    bytes::ethernet(own_mac(ifindex), PEER_MAC, &[], 0x0800, &packet)
}

fn peer_nonce(fence: &Fence) -> u64 {
    fence.peer_nonce.load(std::sync::atomic::Ordering::Relaxed)
}

fn tag(key: &Key, signed: &[u8]) -> u64 {
    let mut hash = SipHash::new(key);
    for word in signed.chunks_exact(8) {
        hash.word(u64::from_le_bytes(word.try_into().expect("eight bytes")));
    }
    hash.finish().0
}
