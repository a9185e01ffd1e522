//! Small forms that several steps share.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use ha_common::abi::{Ip, Term};
use ha_common::wire::Be16;

use super::super::Scene;
use crate::explain::Room;

/// Whether this node serves, and why not.
pub fn serving(scene: &Scene<'_>) -> String {
    let (node, fence) = (&scene.node, &scene.fence);
    let term = fence.serving_term(node, 0);
    let own = node.groups[0];
    let raised = Term(fence.fence_term[0].load(Relaxed));
    let of = |term: Term| format!("term {} of node {}", term.counter(), term.node_id());
    match () {
        () if !term.is_none() => format!("yes: this node is Primary under {}", of(term)),
        () if fence.serves(node, 0) => "yes, although the kernel has fenced it: the lab's control run".into(),
        () if !own.role_term.is_none() => {
            format!("no: the kernel has fenced {}, below {}", of(own.role_term), of(raised))
        }
        () if !own.armed_term.is_none() => {
            format!("no: it waits under {} for the proof that the peer does not serve", of(own.armed_term))
        }
        () => "no: this node is not Primary".into(),
    }
}

pub fn socket(addr: Ip, port: Be16) -> SocketAddr {
    SocketAddr::new(addr.into(), port.get())
}

pub fn in_vlan(domain: u32) -> String {
    if domain == 0 { String::new() } else { format!(" in VLAN {domain}") }
}

pub fn protocol(number: u8) -> impl Display {
    match number {
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        other => format!("protocol {other}"),
    }
}

pub fn table(room: Room) -> &'static str {
    match room {
        Room::Flows => "FLOWS",
        Room::Exceptions => "EXCEPTIONS",
        Room::Reverse => "REVERSE",
        Room::Sessions => "PERSIST",
    }
}
