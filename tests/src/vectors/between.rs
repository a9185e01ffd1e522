//! Heartbeats, as far as the pipeline tells them from the rest. What they do is proved where they are judged.

use ha_common::abi::Reason;
use ha_common::wire::heartbeat::{MAGIC, PAYLOAD_LEN, PUBLIC_LEN, VERSION};

use super::Vector;
use super::frames::{Body, Frame, udp};
use super::world::*;

fn heartbeat(data: Vec<u8>) -> Frame {
    let body = Body::Udp { source: 3003, destination: 3003, summed: false, data };
    Frame { from: PEER_MAC, to: HA_LINK_MAC, vlan: None, source: PEER_NSIP.into(), destination: NSIP.into(), ttl: 64, body }
}

/// A payload whose extension says that it is of `version`.
fn of_version(version: u8) -> Vec<u8> {
    let mut payload = vec![0; PAYLOAD_LEN];
    payload[PUBLIC_LEN..][..5].copy_from_slice(&[&MAGIC.to_le_bytes()[..], &[version]].concat());
    payload
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let whole = vec![0; PAYLOAD_LEN];
    let comes = |name, frame: &Frame| Vector::new(name).received(HA_LINK, frame.bytes());
    let to_peer = Frame { destination: PEER_NSIP.into(), ..heartbeat(whole.clone()) };
    vec![
        comes("heartbeat: one that is too short never reaches the host", &heartbeat(vec![0; 100]))
            .drops(Reason::HeartbeatMalformed),
        comes("heartbeat: one of another layout never reaches the host", &heartbeat(whole.clone()))
            .drops(Reason::HeartbeatMalformed),
        comes("heartbeat: one of another version is counted apart", &heartbeat(of_version(VERSION + 1)))
            .drops(Reason::HeartbeatVersion),
        comes(
            "heartbeat: one from a stranger never reaches the host",
            &Frame { source: std::net::Ipv4Addr::new(10, 9, 0, 7).into(), ..heartbeat(whole.clone()) },
        )
        .drops(Reason::HeartbeatNotForUs),
        comes("heartbeat: one for another node is none of ours", &to_peer).passes(Reason::NotOurs),
        comes("heartbeat: a tagged one is none", &Frame { vlan: Some(5), ..heartbeat(whole.clone()) }).passes(Reason::NotOurs),
        comes("heartbeat: another port is the host's", &Frame { body: udp(3003, 3004), ..heartbeat(whole.clone()) })
            .passes(Reason::NotOurs),
        Vector::new("heartbeat: on a leg it is an ordinary datagram")
            .received(CLIENT_LEG, heartbeat(whole).bytes())
            .passes(Reason::NotOurs),
    ]
}
