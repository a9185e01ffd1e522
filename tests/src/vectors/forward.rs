//! A client's packet, translated and sent to a backend.

use std::net::IpAddr;

use ha_common::abi::{Flow, Reason, tcp_seen, vserver_flags};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;

use super::frames::{Body, Frame, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const FLOW: Changes =
    Changes { flows: 1, embryonic: 0, exceptions: 0, reverse: 0, reverse_embryonic: 0, sources: 0, fragments: 0, events: 0 };
const EMBRYO: Changes = Changes { flows: 0, embryonic: 1, ..FLOW };
const NOTHING: Changes = Changes { flows: 0, ..FLOW };

/// A frame of the client to `destination`.
pub fn request(destination: IpAddr, body: Body) -> Frame {
    let source = if destination.is_ipv4() { CLIENT } else { CLIENT6 };
    Frame { from: CLIENT_MAC, to: CLIENT_LEG_MAC, vlan: None, source, destination, ttl: 64, body }
}

/// The same frame as `backend` gets it.
pub fn translated(request: &Frame, backend: u32) -> Frame {
    let mut body = request.body.clone();
    if let Body::Tcp { destination, .. } | Body::Udp { destination, .. } = &mut body {
        *destination = BACKEND_PORT;
    }
    Frame {
        from: SERVER_LEG_MAC,
        to: backend_mac(backend),
        destination: backend_addr(backend),
        ttl: request.ttl - 1,
        body,
        ..request.clone()
    }
}

/// A UDP request whose checksum becomes zero when it is translated: what is sent then is 0xffff.
fn query_that_sums_to_zero(destination: IpAddr, port: u16, backend: u32) -> Frame {
    let query = |word: u16| {
        let body = Body::Udp { source: port, destination: 53, summed: true, data: word.to_be_bytes().to_vec() };
        request(destination, body)
    };
    let ends_in_ones = |frame: &Frame| {
        let bytes = translated(frame, backend).bytes();
        bytes[bytes.len() - 4..bytes.len() - 2] == [0xff, 0xff]
    };
    (0..=u16::MAX).map(query).find(ends_in_ones).expect("one of all words")
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    let mut vectors = tracked(&tables);
    vectors.extend(families(&tables));
    vectors.extend(lives(&tables));
    vectors.extend(ends(&tables));
    vectors
}

fn tracked(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let key = flow_key(WEB, CLIENT, port, 6);
    let syn = request(VIP, tcp(port, 80, "S"));
    let segment = request(VIP, tcp(port, 80, "AP"));
    let reset = request(VIP, tcp(port, 80, "RA"));
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let logged = |tables: &mut HostTables| tables.vservers[WEB as usize].flags |= vserver_flags::LOGGED;
    let over = move |tables: &mut HostTables| {
        record(tables, key, 0);
        let mut flows = tables.flows.borrow_mut();
        let flow: &mut Flow = flows.get_mut(&key).expect("recorded");
        (flow.client_tcp, flow.server_tcp) = (tcp_seen::FIN, tcp_seen::FIN);
    };
    let half_closed = move |tables: &mut HostTables| {
        record(tables, key, 1);
        tables.flows.borrow_mut().get_mut(&key).expect("recorded").server_tcp = tcp_seen::FIN;
    };
    vec![
        sends("forward: a SYN goes where the ring says and leaves an embryo", &syn)
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, 1).bytes())
            .changing(EMBRYO),
        sends("forward: a segment without a record goes where the ring says and is recorded", &segment)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(FLOW),
        sends("forward: a recorded segment goes where its record says", &segment)
            .with(move |tables| record(tables, key, 2))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&segment, 2).bytes()),
        sends("forward: the ACK of an embryo goes where its SYN went", &segment)
            .with(move |tables| conceive(tables, key, 0))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 0).bytes())
            .changing(FLOW),
        sends("forward: a reset without a record is forwarded and not recorded", &reset).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            translated(&reset, 1).bytes(),
        ),
        sends("forward: a recorded reset is noted", &reset).with(move |tables| record(tables, key, 1)).leaves(
            TO_SERVERS,
            Reason::ForwardHit,
            translated(&reset, 1).bytes(),
        ),
        sends("forward: a SYN over a flow that is over begins anew where the ring says", &syn).with(over).leaves(
            TO_SERVERS,
            Reason::ForwardNew,
            translated(&syn, 1).bytes(),
        ),
        sends("forward: a SYN over a live flow stays with it", &syn).with(move |tables| record(tables, key, 2)).leaves(
            TO_SERVERS,
            Reason::ForwardHit,
            translated(&syn, 2).bytes(),
        ),
        sends("forward: a logged flow is told when it is recorded", &segment)
            .with(logged)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(Changes { events: 1, ..FLOW }),
        {
            let fin = request(VIP, tcp(port, 80, "FA"));
            sends("forward: the second FIN of a logged flow is told as its end", &fin)
                .with(half_closed)
                .with(logged)
                .leaves(TO_SERVERS, Reason::ForwardHit, translated(&fin, 1).bytes())
                .changing(Changes { events: 1, ..NOTHING })
        },
        {
            let fin = request(VIP, tcp(port, 80, "FA"));
            sends("forward: the second FIN of a flow that is not logged is not told", &fin).with(half_closed).leaves(
                TO_SERVERS,
                Reason::ForwardHit,
                translated(&fin, 1).bytes(),
            )
        },
        sends("forward: without room the ring alone decides", &segment).with(fill_flows).leaves(
            TO_SERVERS,
            Reason::ForwardTableFull,
            translated(&segment, 1).bytes(),
        ),
    ]
}

fn families(tables: &HostTables) -> Vec<Vector> {
    let web6 = port_to(tables, WEB6, CLIENT6, FIRST6 + 1);
    let dns = port_to(tables, DNS, CLIENT, 2);
    let dns6 = port_to(tables, DNS6, CLIENT6, FIRST6);
    let syn6 = request(VIP6, tcp(web6, 80, "S"));
    let segment6 = request(VIP6, tcp(web6, 80, "A"));
    let query = request(VIP, udp(dns, 53));
    let query6 = request(VIP6, udp(dns6, 53));
    let bare = request(VIP, Body::Udp { source: dns, destination: 53, summed: false, data: vec![1, 2, 3] });
    let zero = query_that_sums_to_zero(VIP, dns, 2);
    let zero6 = query_that_sums_to_zero(VIP6, dns6, FIRST6);
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    vec![
        sends("forward v6: a SYN", &syn6)
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn6, FIRST6 + 1).bytes())
            .changing(EMBRYO),
        sends("forward v6: a segment without a record", &segment6)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment6, FIRST6 + 1).bytes())
            .changing(FLOW),
        sends("forward v6: a recorded segment", &segment6)
            .with(move |tables| record(tables, flow_key(WEB6, CLIENT6, web6, 6), FIRST6 + 2))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&segment6, FIRST6 + 2).bytes()),
        sends("forward udp: the first datagram is recorded", &query)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&query, 2).bytes())
            .changing(FLOW),
        sends("forward udp: a recorded datagram", &query)
            .with(move |tables| record(tables, flow_key(DNS, CLIENT, dns, 17), 0))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&query, 0).bytes()),
        sends("forward udp: a checksum that was not computed stays so", &bare)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&bare, 2).bytes())
            .changing(FLOW),
        sends("forward udp: a checksum that becomes zero is sent as ones", &zero)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&zero, 2).bytes())
            .changing(FLOW),
        sends("forward udp v6: the first datagram is recorded", &query6)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&query6, FIRST6).bytes())
            .changing(FLOW),
        sends("forward udp v6: a checksum that becomes zero is sent as ones", &zero6)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&zero6, FIRST6).bytes())
            .changing(FLOW),
    ]
}

fn lives(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let key = flow_key(WEB, CLIENT, port, 6);
    let recorded = move |tables: &mut HostTables| record(tables, key, 1);
    let with_ttl = |ttl| Frame { ttl, ..request(VIP, tcp(port, 80, "A")) };
    vec![
        Vector::new("forward: a packet at its last hop but one leaves with its last")
            .with(recorded)
            .received(CLIENT_LEG, with_ttl(2).bytes())
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&with_ttl(2), 1).bytes()),
    ]
}

fn ends(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let segment = request(VIP, tcp(port, 80, "A"));
    let key = flow_key(WEB, CLIENT, port, 6);
    let hashed = request(VIP, tcp(port_to(tables, HASHED, CLIENT, 2), 82, "A"));
    let lost = request(VIP, tcp(port, 83, "S"));
    let shared_syn = request(VIP, tcp(port, 84, "S"));
    let shared = request(VIP, tcp(port, 84, "A"));
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    vec![
        sends("forward: a vserver that keeps no flows asks the ring alone", &hashed).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            translated(&hashed, 2).bytes(),
        ),
        sends("forward: a backend on the client's interface is reached by sending back", &segment)
            .with(move |tables| {
                record(tables, key, 1);
                tables.backends[1].next_hop.ifindex = CLIENT_LEG;
            })
            .leaves(Action::Transmit, Reason::ForwardHit, translated(&segment, 1).bytes()),
        sends("forward: the daemon is asked for a way that is not known", &lost)
            .drops(Reason::NoNextHop)
            .changing(Changes { events: 1, ..EMBRYO }),
        sends("forward: a SYN for a shared backend leaves word of its vserver", &shared_syn)
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&shared_syn, SHARED).bytes())
            .changing(Changes { reverse_embryonic: 1, ..EMBRYO }),
        sends("forward: a segment for a shared backend records its vserver", &shared)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&shared, SHARED).bytes())
            .changing(Changes { reverse: 1, ..FLOW }),
        sends("forward: a vserver that is down takes nothing", &segment)
            .with(|tables| tables.vservers[WEB as usize].flags |= vserver_flags::DOWN)
            .drops(Reason::VserverDown),
        sends("forward: a port without a vserver", &request(VIP, tcp(port, 8443, "S"))).drops(Reason::NoVserver),
        sends("forward udp: a port without a vserver", &request(VIP6, udp(port, 5353))).drops(Reason::NoVserver),
        sends("forward: the port of another protocol", &request(VIP, udp(port, 80))).drops(Reason::NoVserver),
        sends("forward: an unknown mode forwards nothing", &segment)
            .with(|tables| tables.vservers[WEB as usize].mode = 9)
            .drops(Reason::NotConfigured),
    ]
}
