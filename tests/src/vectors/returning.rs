//! An answer of a backend, on its way to the client.

use std::net::IpAddr;

use ha_common::abi::{AMBIGUOUS, Flow, Reason, ReverseKey, tcp_seen, vserver_flags};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;
use ha_common::wire::Be16;

use super::frames::{Body, Frame, echo, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

const TO_CLIENTS: Action = Action::Redirect(CLIENT_LEG);
const FLOW: Changes =
    Changes { flows: 1, embryonic: 0, exceptions: 0, reverse: 0, reverse_embryonic: 0, sources: 0, fragments: 0, events: 0 };
const NOTHING: Changes = Changes { flows: 0, ..FLOW };

/// A frame of `backend` to `client`.
pub fn answer(backend: u32, client: IpAddr, body: Body) -> Frame {
    let source = backend_addr(backend);
    Frame { from: backend_mac(backend), to: SERVER_LEG_MAC, vlan: None, source, destination: client, ttl: 64, body }
}

/// The same frame as the client of `vip` and `port` gets it.
pub fn translated(answer: &Frame, vip: IpAddr, port: u16) -> Frame {
    let mut body = answer.body.clone();
    if let Body::Tcp { source, .. } | Body::Udp { source, .. } = &mut body {
        *source = port;
    }
    Frame { from: CLIENT_LEG_MAC, to: CLIENT_MAC, source: vip, ttl: answer.ttl - 1, body, ..answer.clone() }
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    let mut vectors = recorded(&tables);
    vectors.extend(unrecorded(&tables));
    vectors.extend(not_answers(&tables));
    vectors.extend(shared());
    vectors
}

fn recorded(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let key = flow_key(WEB, CLIENT, port, 6);
    let segment = answer(1, CLIENT, tcp(BACKEND_PORT, port, "AP"));
    let segment6 = answer(FIRST6, CLIENT6, tcp(BACKEND_PORT, port, "A"));
    let reply = answer(0, CLIENT, udp(BACKEND_PORT, port));
    let reply6 = answer(FIRST6, CLIENT6, udp(BACKEND_PORT, port));
    let bare = Body::Udp { source: BACKEND_PORT, destination: port, summed: false, data: vec![9; 5] };
    let bare = answer(0, CLIENT, bare);
    let fin = answer(1, CLIENT, tcp(BACKEND_PORT, port, "FA"));
    let says = |name, frame: &Frame| Vector::new(name).received(SERVER_LEG, frame.bytes());
    vec![
        says("return: a recorded segment comes from the VIP", &segment).with(move |tables| record(tables, key, 1)).leaves(
            TO_CLIENTS,
            Reason::ReturnHit,
            translated(&segment, VIP, 80).bytes(),
        ),
        says("return v6: a recorded segment comes from the VIP", &segment6)
            .with(move |tables| record(tables, flow_key(WEB6, CLIENT6, port, 6), FIRST6))
            .leaves(TO_CLIENTS, Reason::ReturnHit, translated(&segment6, VIP6, 80).bytes()),
        says("return udp: a recorded datagram comes from the VIP", &reply)
            .with(move |tables| record(tables, flow_key(DNS, CLIENT, port, 17), 0))
            .leaves(TO_CLIENTS, Reason::ReturnHit, translated(&reply, VIP, 53).bytes()),
        says("return udp: a checksum that was not computed stays so", &bare)
            .with(move |tables| record(tables, flow_key(DNS, CLIENT, port, 17), 0))
            .leaves(TO_CLIENTS, Reason::ReturnHit, translated(&bare, VIP, 53).bytes()),
        says("return udp v6: a recorded datagram comes from the VIP", &reply6)
            .with(move |tables| record(tables, flow_key(DNS6, CLIENT6, port, 17), FIRST6))
            .leaves(TO_CLIENTS, Reason::ReturnHit, translated(&reply6, VIP6, 53).bytes()),
        says("return: the second FIN of a logged flow is told as its end", &fin)
            .with(move |tables| {
                record(tables, key, 1);
                tables.flows.borrow_mut().get_mut(&key).expect("recorded").client_tcp = tcp_seen::FIN;
                tables.vservers[WEB as usize].flags |= vserver_flags::LOGGED;
            })
            .leaves(TO_CLIENTS, Reason::ReturnHit, translated(&fin, VIP, 80).bytes())
            .changing(Changes { events: 1, ..NOTHING }),
        says("return: a packet at its last hop is not forwarded", &Frame { ttl: 1, ..segment.clone() })
            .with(move |tables| record(tables, key, 1))
            .drops(Reason::TtlExceeded),
        says("return: a client on the backends' interface is answered by sending back", &segment)
            .with(move |tables| {
                record(tables, key, 1);
                tables.flows.borrow_mut().get_mut(&key).expect("recorded").client_hop.ifindex = SERVER_LEG;
            })
            .leaves(Action::Transmit, Reason::ReturnHit, translated(&segment, VIP, 80).bytes()),
    ]
}

fn unrecorded(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let key = flow_key(WEB, CLIENT, port, 6);
    let says = |name, frame: &Frame| Vector::new(name).received(SERVER_LEG, frame.bytes());
    let syn_ack = answer(1, CLIENT, tcp(BACKEND_PORT, port, "SA"));
    let refusal = answer(1, CLIENT, tcp(BACKEND_PORT, port, "RA"));
    let segment = answer(1, CLIENT, tcp(BACKEND_PORT, port, "AP"));
    let port6 = port_to(tables, WEB6, CLIENT6, FIRST6);
    let segment6 = answer(FIRST6, CLIENT6, tcp(BACKEND_PORT, port6, "A"));
    let hashed = answer(1, CLIENT, tcp(BACKEND_PORT, port_to(tables, HASHED, CLIENT, 1), "A"));
    let to_stranger = answer(1, STRANGER, tcp(BACKEND_PORT, port_to(tables, WEB, STRANGER, 1), "A"));
    vec![
        says("return: a SYN-ACK finds its way by the embryo", &syn_ack).with(move |tables| conceive(tables, key, 1)).leaves(
            TO_CLIENTS,
            Reason::ReturnSyn,
            translated(&syn_ack, VIP, 80).bytes(),
        ),
        says("return: a refusal finds its way by the embryo", &refusal).with(move |tables| conceive(tables, key, 1)).leaves(
            TO_CLIENTS,
            Reason::ReturnSyn,
            translated(&refusal, VIP, 80).bytes(),
        ),
        says("return: a segment that the ring confirms is recorded", &segment)
            .leaves(TO_CLIENTS, Reason::ReturnNew, translated(&segment, VIP, 80).bytes())
            .changing(FLOW),
        says("return v6: a segment that the ring confirms is recorded", &segment6)
            .leaves(TO_CLIENTS, Reason::ReturnNew, translated(&segment6, VIP6, 80).bytes())
            .changing(FLOW),
        says("return: a SYN-ACK that the ring confirms is forwarded and not recorded", &syn_ack).leaves(
            TO_CLIENTS,
            Reason::ReturnHash,
            translated(&syn_ack, VIP, 80).bytes(),
        ),
        says("return: a segment of a vserver that keeps no flows is forwarded and not recorded", &hashed)
            .with(|tables| own(tables, 1, 6, HASHED))
            .leaves(TO_CLIENTS, Reason::ReturnHash, translated(&hashed, VIP, 82).bytes()),
        says("return: without room a segment that the ring confirms is forwarded all the same", &segment)
            .with(fill_flows)
            .leaves(TO_CLIENTS, Reason::ReturnHash, translated(&segment, VIP, 80).bytes()),
        says("return: the daemon is asked for the way to a client that nobody knows", &to_stranger)
            .drops(Reason::NoClientHop)
            .changing(Changes { events: 1, ..NOTHING }),
        says("return: a record without a way to the client is as good as none", &segment)
            .with(move |tables| {
                let unknown = Flow { backend: 1, ..Flow::default() };
                tables.flows.borrow_mut().insert(key, unknown);
            })
            .leaves(TO_CLIENTS, Reason::ReturnNew, translated(&segment, VIP, 80).bytes()),
    ]
}

fn not_answers(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let says = |name, frame: &Frame| Vector::new(name).received(SERVER_LEG, frame.bytes());
    let other = answer(2, CLIENT, tcp(BACKEND_PORT, port, "A"));
    let probed = answer(1, OWN, tcp(BACKEND_PORT, 50_000, "SA"));
    let unlisted = answer(1, UNLISTED, tcp(BACKEND_PORT, 50_000, "SA"));
    let to_snip = answer(1, SNIP, tcp(BACKEND_PORT, 50_000, "SA"));
    let own_port = answer(1, CLIENT, tcp(22, port, "A"));
    let datagram = answer(2, CLIENT, udp(BACKEND_PORT, port_to(tables, DNS, CLIENT, 1)));
    vec![
        says("return: a segment that the ring contradicts is nobody's answer", &other).drops(Reason::ReturnUnknown),
        says("return: a segment that the record contradicts is nobody's answer", &other)
            .with(move |tables| record(tables, flow_key(WEB, CLIENT, port, 6), 1))
            .drops(Reason::ReturnUnknown),
        says("return: a datagram that the ring contradicts may be the backend's own", &datagram).passes(Reason::BackendOwn),
        says("return: the answer to a probe is the host's", &probed).passes(Reason::BackendOwn),
        says("return: the answer to a probe is the host's on the node that does not serve, too", &probed)
            .with(step_down)
            .passes(Reason::BackendOwn),
        says("return: the routing table knows an address of the host that the daemon has not listed", &unlisted)
            .passes(Reason::BackendOwn),
        says("return: an answer to a floating address itself is the local daemon's", &to_snip).passes(Reason::Local),
        says("return: what a backend sends from another port is no answer", &own_port).passes(Reason::NotOurs),
        says("return: what a backend sends to the client as ICMP is no answer", &answer(1, CLIENT, echo(CLIENT, true)))
            .passes(Reason::NotOurs),
    ]
}

fn shared() -> Vec<Vector> {
    let port = 50_000;
    let segment = answer(SHARED, CLIENT, tcp(BACKEND_PORT, port, "A"));
    let syn_ack = answer(SHARED, CLIENT, tcp(BACKEND_PORT, port, "SA"));
    let says = |name, frame: &Frame| Vector::new(name).received(SERVER_LEG, frame.bytes());
    let reverse = ReverseKey { backend: SHARED, addr: CLIENT.into(), port: Be16::new(port), protocol: 6 };
    let key = move |vserver| flow_key(vserver, CLIENT, port, 6);
    vec![
        says("return: a shared backend's segment comes from the vserver that was recorded", &segment)
            .with(move |tables| {
                record(tables, key(OTHER_SHARER), SHARED);
                tables.reverse.borrow_mut().insert(reverse, key(OTHER_SHARER));
            })
            .leaves(TO_CLIENTS, Reason::ReturnHit, translated(&segment, VIP, 85).bytes()),
        says("return: a shared backend's SYN-ACK comes from the vserver of the SYN", &syn_ack)
            .with(move |tables| {
                conceive(tables, key(SHARER), SHARED);
                tables.reverse_embryonic.borrow_mut().insert(reverse, key(SHARER));
            })
            .leaves(TO_CLIENTS, Reason::ReturnSyn, translated(&syn_ack, VIP, 84).bytes()),
        says("return: a shared backend's segment of no known flow", &segment)
            .with(|tables| own(tables, SHARED, 6, AMBIGUOUS))
            .drops(Reason::ReturnUnknown),
    ]
}
