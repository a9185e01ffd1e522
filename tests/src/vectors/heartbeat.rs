//! A heartbeat of [`super::world`]'s peer.

use ha_common::abi::Node;
use ha_common::packet::HostPacket;
use ha_common::pipeline::heartbeat::{write_headers, write_payload};
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::{Extension, FRAME_LEN, MAGIC, VERSION, kind};

use super::world::{self, HA_LINK_MAC, PEER_MAC};

/// A request of the peer, genuine unless it is changed: signed, between the present lives of both, with sequence number 5.
pub fn request() -> Vec<u8> {
    let here = world::pair(Nanos(1));
    let peer = Node { nsip: here.node.peer_nsip, peer_nsip: here.node.nsip, tx_key: here.node.rx_keys[0], ..Node::default() };
    let frame = Extension {
        magic: MAGIC,
        version: VERSION,
        kind: kind::REQUEST,
        sender: 2,
        receiver: 1,
        key_id: peer.tx_key.id,
        sender_nonce: here.fence.peer_nonce.into_inner(),
        receiver_nonce: here.node.boot_nonce,
        seq: 5,
        stamp: 9,
        ..Extension::default()
    };
    let mut packet = HostPacket::new(&[0; FRAME_LEN]);
    write_headers(&mut packet, &peer, PEER_MAC, HA_LINK_MAC).expect("room for it");
    write_payload(&mut packet, &peer, &frame).expect("room for it");
    packet.frame().to_vec()
}
