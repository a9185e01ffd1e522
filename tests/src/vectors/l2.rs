//! Clients with the same address and port, told apart by where they are.

use ha_common::abi::{Embryo, FlowKey, Nat, NextHop, Reason, hash_kind, tcp_seen, vserver_flags};
use ha_common::pipeline::{Action, client_hash, l2_place, rehash};
use ha_common::tables::HostTables;
use ha_common::time::Ticks;
use ha_common::wire::Be16;

use super::forward::request;
use super::frames::{Body, Frame, Mac, tcp};
use super::world::*;
use super::{Changes, Vector};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
/// What a SYN leaves, and a segment.
fn syn() -> Changes {
    Changes { embryonic: 1, reverse_embryonic: 1, ..Changes::default() }
}
fn new() -> Changes {
    Changes { flows: 1, reverse: 1, ..Changes::default() }
}
const PORT: u16 = 40_000;
/// Another client with the address and port of the first.
const OTHER_MAC: Mac = [2, 0, 0, 0xc, 0, 2];

fn place(mac: Mac) -> u8 {
    l2_place(mac, 0, LEGS[0].0)
}

/// The flow of the client at `mac`.
fn key(mac: Mac) -> FlowKey {
    flow_key_of(place(mac))
}

fn flow_key_of(place: u8) -> FlowKey {
    FlowKey { protocol: 6 | u16::from(place) << 8, ..flow_key(MASKED, CLIENT, PORT, 6) }
}

/// The source port that it gets as its `n`th choice.
fn source(mac: Mac, n: u32) -> u16 {
    let hash = client_hash(hash_kind::SOURCE_PORT, &CLIENT.into(), Be16::new(PORT));
    let hash = hash ^ u32::from(place(mac)).wrapping_mul(0x9e37_79b9);
    PORTS.0 + (u64::from(rehash(hash, n) & 0xffff) * u64::from(PORTS.1) / 0x1_0000) as u16
}

fn says(mac: Mac, flags: &'static str) -> Frame {
    Frame { from: mac, ..request(VIP, tcp(PORT, 87, flags)) }
}

/// As the backend gets it, from `port` of the SNIP.
fn seen(frame: &Frame, port: u16) -> Frame {
    let mut body = frame.body.clone();
    if let Body::Tcp { source, destination, .. } = &mut body {
        (*source, *destination) = (port, BACKEND_PORT);
    }
    let destination = backend_addr(HIDDEN);
    Frame {
        from: SERVER_LEG_MAC,
        to: backend_mac(HIDDEN),
        source: SNIP,
        destination,
        ttl: frame.ttl - 1,
        body,
        ..frame.clone()
    }
}

fn told_apart(tables: &mut HostTables) {
    tables.vservers[MASKED as usize].flags |= vserver_flags::L2_CONN;
}

fn hop(mac: Mac) -> NextHop {
    NextHop::new(mac, CLIENT_LEG_MAC, CLIENT_LEG, 0)
}

/// The client at `mac` has a connection from `port` of the SNIP, recorded under `key`.
fn known(tables: &mut HostTables, key: FlowKey, mac: Mac, port: u16) {
    told_apart(tables);
    record(tables, key, HIDDEN);
    let flow = tables.flows.get_mut().get_mut(&key).expect("recorded");
    (flow.client_hop, flow.nat) = (hop(mac), masked(HIDDEN, port));
    tables.reverse.get_mut().insert(reverse_key(HIDDEN, port, 6), key);
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let (opening, segment, others) = (says(CLIENT_MAC, "S"), says(CLIENT_MAC, "A"), says(OTHER_MAC, "A"));
    let answer = Frame {
        from: backend_mac(HIDDEN),
        to: SERVER_LEG_MAC,
        source: backend_addr(HIDDEN),
        destination: SNIP,
        ..request(VIP, tcp(BACKEND_PORT, 2003, "A"))
    };
    let returned = Frame {
        from: CLIENT_LEG_MAC,
        to: OTHER_MAC,
        source: VIP,
        destination: CLIENT,
        ttl: 63,
        ..request(VIP, tcp(87, PORT, "A"))
    };
    assert_ne!(place(CLIENT_MAC), place(OTHER_MAC), "else these vectors say nothing");
    let taken = move |tables: &mut HostTables| known(tables, key(CLIENT_MAC), OTHER_MAC, 2003);
    vec![
        sends("l2: a SYN is remembered for where it came from", &opening)
            .with(told_apart)
            .leaves(TO_SERVERS, Reason::ForwardSyn, seen(&opening, source(CLIENT_MAC, 0)).bytes())
            .changing(syn()),
        sends("l2: a segment of a known client goes on", &segment)
            .with(|tables| known(tables, key(CLIENT_MAC), CLIENT_MAC, 2003))
            .leaves(TO_SERVERS, Reason::ForwardHit, seen(&segment, 2003).bytes())
            .changing(Changes::default()),
        sends("l2: the same address and port from elsewhere is another client", &others)
            .with(|tables| known(tables, key(CLIENT_MAC), CLIENT_MAC, PORTS.0 + PORTS.1))
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&others, source(OTHER_MAC, 0)).bytes())
            .changing(new()),
        Vector::new("l2: each gets its own answers")
            .received(SERVER_LEG, answer.bytes())
            .with(|tables| known(tables, key(CLIENT_MAC), CLIENT_MAC, 2002))
            .with(|tables| known(tables, key(OTHER_MAC), OTHER_MAC, 2003))
            .leaves(Action::Redirect(CLIENT_LEG), Reason::ReturnHit, returned.bytes())
            .changing(Changes::default()),
        sends("l2: who cannot be told from another is refused", &segment).with(taken).drops(Reason::L2Conflict),
        sends("l2: with a SYN as well", &opening).with(taken).drops(Reason::L2Conflict),
        sends("l2: until the other's connection is over", &opening)
            .with(taken)
            .with(|tables| tables.flows.get_mut().get_mut(&key(CLIENT_MAC)).expect("recorded").client_tcp = tcp_seen::RST)
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&opening, 2003).bytes())
            .changing(Changes::default()),
        sends("l2: or while another's SYN is remembered", &opening)
            .with(|tables| {
                told_apart(tables);
                let embryo = Embryo { backend: HIDDEN, client_hop: hop(OTHER_MAC), nat: Nat::NONE, seen: Ticks(5).low() };
                tables.embryonic.get_mut().insert(key(CLIENT_MAC), embryo);
            })
            .drops(Reason::L2Conflict),
        sends("l2: in a virtual server that does not tell them apart they are one", &others)
            .with(|tables| record_masked(tables, flow_key(MASKED, CLIENT, PORT, 6), HIDDEN, 2003))
            .leaves(TO_SERVERS, Reason::ForwardHit, seen(&others, 2003).bytes()),
    ]
}
