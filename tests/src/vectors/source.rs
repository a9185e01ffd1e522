//! Backends that do not see their clients: what they see instead, and how their answers find back.

use ha_common::abi::{FlowKey, Reason, backend_flags, tcp_seen};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;

use super::forward::request;
use super::frames::{Body, Frame, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const TO_CLIENTS: Action = Action::Redirect(CLIENT_LEG);
const NEW: Changes =
    Changes { flows: 1, embryonic: 0, exceptions: 0, reverse: 1, reverse_embryonic: 0, sources: 0, fragments: 0, events: 0 };
const SYN: Changes = Changes { flows: 0, embryonic: 1, reverse: 0, reverse_embryonic: 1, ..NEW };
/// The client's port.
const PORT: u16 = 40_000;

/// A frame of the client as its backend gets it, from `port` of the SNIP.
fn seen(request: &Frame, backend: u32, port: u16) -> Frame {
    let mut body = request.body.clone();
    if let Body::Tcp { source, destination, .. } | Body::Udp { source, destination, .. } = &mut body {
        (*source, *destination) = (port, BACKEND_PORT);
    }
    let source = if request.source.is_ipv4() { SNIP } else { SNIP6 };
    let (from, to, destination) = (SERVER_LEG_MAC, backend_mac(backend), backend_addr(backend));
    Frame { from, to, source, destination, ttl: request.ttl - 1, body, ..request.clone() }
}

/// What the backend answers to `port` of the SNIP.
fn answer(backend: u32, body: Body) -> Frame {
    let source = backend_addr(backend);
    let destination = if source.is_ipv4() { SNIP } else { SNIP6 };
    Frame { from: backend_mac(backend), to: SERVER_LEG_MAC, vlan: None, source, destination, ttl: 64, body }
}

/// That answer as the client gets it, from `port` of the VIP.
fn returned(answer: &Frame, port: u16) -> Frame {
    let mut body = answer.body.clone();
    if let Body::Tcp { source, destination, .. } | Body::Udp { source, destination, .. } = &mut body {
        (*source, *destination) = (port, PORT);
    }
    let (source, destination) = if answer.source.is_ipv4() { (VIP, CLIENT) } else { (VIP6, CLIENT6) };
    Frame { from: CLIENT_LEG_MAC, to: CLIENT_MAC, source, destination, ttl: answer.ttl - 1, body, ..answer.clone() }
}

fn taken(tables: &HostTables, backend: u32, port: u16) {
    let other = flow_key(MASKED, STRANGER, port, 6);
    tables.reverse.borrow_mut().insert(reverse_key(backend, port, 6), other);
}

/// A SYN of somebody else holds this port.
fn asked_for(tables: &mut HostTables, port: u16) {
    let other = flow_key(MASKED, STRANGER, port, 6);
    tables.reverse_embryonic.borrow_mut().insert(reverse_key(HIDDEN, port, 6), other);
}

/// From now on the backend sees its clients.
fn unmask(tables: &mut HostTables) {
    tables.backends[HIDDEN as usize].flags &= !backend_flags::SNAT;
    own(tables, HIDDEN, 6, MASKED);
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = new();
    vectors.extend(old());
    vectors.extend(back());
    vectors.extend(six());
    vectors
}

fn sends(name: &'static str, frame: &Frame) -> Vector {
    Vector::new(name).received(CLIENT_LEG, frame.bytes())
}

fn answers(name: &'static str, frame: &Frame) -> Vector {
    Vector::new(name).received(SERVER_LEG, frame.bytes())
}

fn new() -> Vec<Vector> {
    let first = source_port(CLIENT, PORT, 0);
    let second = (1..2).map(|n| source_port(CLIENT, PORT, n)).find(|&port| port != first).expect("another port");
    let syn = request(VIP, tcp(PORT, 87, "S"));
    let segment = request(VIP, tcp(PORT, 87, "AP"));
    let reset = request(VIP, tcp(PORT, 87, "RA"));
    let datagram = request(VIP, udp(PORT, 55));
    let key = flow_key(MASKED, CLIENT, PORT, 6);
    let conceived = move |tables: &mut HostTables| {
        conceive(tables, key, HIDDEN);
        tables.embryonic.borrow_mut().get_mut(&key).expect("conceived").nat = masked(HIDDEN, second);
        tables.reverse_embryonic.borrow_mut().insert(reverse_key(HIDDEN, second, 6), key);
    };
    let promoted = Changes { flows: 1, reverse: 1, ..Changes::default() };
    vec![
        sends("source: a SYN gets a port of the SNIP, for as long as nobody else needs the room", &syn)
            .leaves(TO_SERVERS, Reason::ForwardSyn, seen(&syn, HIDDEN, first).bytes())
            .changing(SYN),
        sends("source: a SYN once more keeps its port", &syn)
            .with(move |tables| {
                conceive(tables, key, HIDDEN);
                tables.reverse_embryonic.borrow_mut().insert(reverse_key(HIDDEN, first, 6), key);
            })
            .leaves(TO_SERVERS, Reason::ForwardSyn, seen(&syn, HIDDEN, first).bytes()),
        sends("source: the ACK of an embryo keeps the port of its SYN, now for good", &segment)
            .with(conceived)
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&segment, HIDDEN, second).bytes())
            .changing(promoted),
        sends("source: an ACK whose embryo was forgotten gets the port that its SYN got", &segment)
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&segment, HIDDEN, first).bytes())
            .changing(NEW),
        sends("source: a port that another flow holds is left to it", &segment)
            .with(move |tables| taken(tables, HIDDEN, first))
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&segment, HIDDEN, second).bytes())
            .changing(NEW),
        sends("source: the same port towards another backend is free", &segment)
            .with(move |tables| taken(tables, 0, first))
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&segment, HIDDEN, first).bytes())
            .changing(NEW),
        sends("source: when all ports are taken the packet is dropped", &segment)
            .with(|tables| (PORTS.0..PORTS.0 + PORTS.1).for_each(|port| taken(tables, HIDDEN, port)))
            .drops(Reason::NoPort),
        sends("source: when SYNs hold all ports the next one takes the port that it would have had", &syn)
            .with(|tables| (PORTS.0..PORTS.0 + PORTS.1).for_each(|port| asked_for(tables, port)))
            .leaves(TO_SERVERS, Reason::ForwardSyn, seen(&syn, HIDDEN, first).bytes())
            .changing(Changes { embryonic: 1, reverse: 0, flows: 0, ..NEW }),
        sends("source: a SYN takes no port from a connection", &syn)
            .with(|tables| (PORTS.0..PORTS.0 + PORTS.1).for_each(|port| taken(tables, HIDDEN, port)))
            .drops(Reason::NoPort),
        sends("source: a connection takes its port from a SYN", &segment)
            .with(|tables| (PORTS.0..PORTS.0 + PORTS.1).for_each(|port| asked_for(tables, port)))
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&segment, HIDDEN, first).bytes())
            .changing(NEW),
        sends("source: without room for a record the packet is dropped and its port is free again", &segment)
            .with(fill_flows)
            .drops(Reason::NoRoom),
        sends("source: without an address to speak from the packet is dropped", &segment)
            .with(|tables| tables.backends[HIDDEN as usize].snip_count = 0)
            .drops(Reason::NoSnip),
        sends("source: a reset of a connection that nobody knows is dropped", &reset).drops(Reason::NoPort),
        sends("source udp: the first datagram gets a port and a record", &datagram)
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&datagram, HIDDEN, first).bytes())
            .changing(NEW),
    ]
}

fn old() -> Vec<Vector> {
    let segment = request(VIP, tcp(PORT, 87, "AP"));
    let syn = request(VIP, tcp(PORT, 87, "S"));
    let key = flow_key(MASKED, CLIENT, PORT, 6);
    let recorded = move |tables: &mut HostTables| record_masked(tables, key, HIDDEN, 2003);
    let over = move |tables: &mut HostTables| {
        record_masked(tables, key, HIDDEN, 2003);
        let mut flows = tables.flows.borrow_mut();
        let flow = flows.get_mut(&key).expect("recorded");
        (flow.client_tcp, flow.server_tcp) = (tcp_seen::FIN, tcp_seen::FIN);
    };
    let first = source_port(CLIENT, PORT, 0);
    vec![
        sends("source: a recorded segment leaves from the port of its record", &segment).with(recorded).leaves(
            TO_SERVERS,
            Reason::ForwardHit,
            seen(&segment, HIDDEN, 2003).bytes(),
        ),
        sends("source: a new connection over one that is over keeps its port", &syn).with(over).leaves(
            TO_SERVERS,
            Reason::ForwardNew,
            seen(&syn, HIDDEN, 2003).bytes(),
        ),
        sends("source: a flow whose backend saw its client before goes on as it was", &segment)
            .with(move |tables| record(tables, key, HIDDEN))
            .leaves(TO_SERVERS, Reason::ForwardHit, {
                let mut frame = seen(&segment, HIDDEN, PORT);
                frame.source = CLIENT;
                frame.bytes()
            }),
        sends("source: a flow that moves to a backend which does not see it gets a port for good", &segment)
            .with(move |tables| {
                record(tables, key, 0);
                fail(tables, 0);
            })
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&segment, HIDDEN, first).bytes())
            .changing(Changes { reverse: 1, ..Changes::default() }),
    ]
}

fn back() -> Vec<Vector> {
    let segment = answer(HIDDEN, tcp(BACKEND_PORT, 2003, "AP"));
    let syn_ack = answer(HIDDEN, tcp(BACKEND_PORT, 2003, "SA"));
    let datagram = answer(HIDDEN, udp(BACKEND_PORT, 2003));
    let key: FlowKey = flow_key(MASKED, CLIENT, PORT, 6);
    let udp_key = flow_key(MASKED_UDP, CLIENT, PORT, 17);
    vec![
        answers("source: an answer goes to the client whose port it is", &segment)
            .with(move |tables| record_masked(tables, key, HIDDEN, 2003))
            .leaves(TO_CLIENTS, Reason::ReturnHit, returned(&segment, 87).bytes()),
        answers("source udp: an answer goes to the client whose port it is", &datagram)
            .with(move |tables| record_masked(tables, udp_key, HIDDEN, 2003))
            .leaves(TO_CLIENTS, Reason::ReturnHit, returned(&datagram, 55).bytes()),
        answers("source: the answer to a SYN goes to the client whose port it is", &syn_ack)
            .with(move |tables| {
                conceive(tables, key, HIDDEN);
                tables.reverse_embryonic.borrow_mut().insert(reverse_key(HIDDEN, 2003, 6), key);
            })
            .leaves(TO_CLIENTS, Reason::ReturnSyn, returned(&syn_ack, 87).bytes()),
        answers("source: a backend that sees its clients again answers those that it did not see as before", &segment)
            .with(move |tables| {
                record_masked(tables, key, HIDDEN, 2003);
                unmask(tables);
            })
            .leaves(TO_CLIENTS, Reason::ReturnHit, returned(&segment, 87).bytes()),
        answers("source: what a backend that sees its clients again says to the SNIP itself is the host's", &segment)
            .with(unmask)
            .passes(Reason::Local),
        answers("source: an answer to a port that nobody has is the host's own affair", &segment).passes(Reason::Local),
        answers("source: an answer to a port whose flow is forgotten is dropped", &segment)
            .with(move |tables| {
                tables.reverse.borrow_mut().insert(reverse_key(HIDDEN, 2003, 6), key);
            })
            .drops(Reason::ReturnUnknown),
        answers(
            "source: the answer of another backend to the same port is not the flow's",
            &answer(0, tcp(BACKEND_PORT, 2003, "AP")),
        )
        .with(move |tables| record_masked(tables, key, HIDDEN, 2003))
        .passes(Reason::Local),
    ]
}

fn six() -> Vec<Vector> {
    let first = source_port(CLIENT6, PORT, 0);
    let syn = request(VIP6, tcp(PORT, 87, "S"));
    let segment = request(VIP6, tcp(PORT, 87, "AP"));
    let back = answer(HIDDEN6, tcp(BACKEND_PORT, 2003, "AP"));
    let key = flow_key(MASKED6, CLIENT6, PORT, 6);
    let recorded = move |tables: &mut HostTables| record_masked(tables, key, HIDDEN6, 2003);
    vec![
        sends("source v6: a SYN gets a port of the SNIP", &syn)
            .leaves(TO_SERVERS, Reason::ForwardSyn, seen(&syn, HIDDEN6, first).bytes())
            .changing(SYN),
        sends("source v6: a recorded segment leaves from the port of its record", &segment).with(recorded).leaves(
            TO_SERVERS,
            Reason::ForwardHit,
            seen(&segment, HIDDEN6, 2003).bytes(),
        ),
        answers("source v6: an answer goes to the client whose port it is", &back).with(recorded).leaves(
            TO_CLIENTS,
            Reason::ReturnHit,
            returned(&back, 87).bytes(),
        ),
    ]
}
