//! Errors about packets that went through the pair: to whoever sent those, and as that one knows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ha_common::abi::{Flow, FlowKey, Reason};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;

use super::Vector;
use super::forward::request;
use super::frames::{Body, Frame, echo, tcp, udp};
use super::tunnel::wrapped;
use super::world::*;

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const TO_CLIENTS: Action = Action::Redirect(CLIENT_LEG);
const PORT: u16 = 40_000;
/// A router on either side.
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
/// The same, IPv6.
const ROUTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 7));
/// The whole packet is quoted.
const WHOLE: usize = usize::MAX;

/// What an error says.
#[derive(Clone, Copy)]
struct Says(u8, u8, u32);

const TOO_BIG: Says = Says(3, 4, 1_400);
const HOST: Says = Says(3, 1, 0);
const NO_PORT: Says = Says(3, 3, 0);
const TIME: Says = Says(11, 0, 0);
const TOO_BIG6: Says = Says(2, 0, 1_300);
const NO_PORT6: Says = Says(1, 4, 0);
const TIME6: Says = Says(3, 0, 0);

/// The error of `source` about `packet`, of which it quotes `len` bytes.
fn about(source: IpAddr, says: Says, packet: &Frame, len: usize) -> Frame {
    let quoted = &packet.bytes()[14..];
    let Says(kind, code, rest) = says;
    let data = quoted[..len.min(quoted.len())].to_vec();
    let body = Body::Icmp { kind, code, rest: rest.to_be_bytes(), data };
    Frame { source, destination: packet.source, ttl: 60, body, ..packet.clone() }
}

/// The same as it comes in from the clients' side.
fn from_clients(error: Frame) -> Frame {
    Frame { from: CLIENT_MAC, to: CLIENT_LEG_MAC, ..error }
}

/// As it comes in from the side of backend `index`.
fn from_servers(error: Frame, index: u32) -> Frame {
    Frame { from: backend_mac(index), to: SERVER_LEG_MAC, ..error }
}

/// As backend `index` gets it.
fn for_server(error: Frame, index: u32) -> Frame {
    Frame { from: SERVER_LEG_MAC, to: backend_mac(index), ttl: error.ttl - 1, ..error }
}

/// As the client gets it.
fn for_client(error: Frame) -> Frame {
    Frame { from: CLIENT_LEG_MAC, to: CLIENT_MAC, ttl: error.ttl - 1, ..error }
}

/// A packet on its way from one end to another, as a router far away quotes it.
fn packet(source: IpAddr, destination: IpAddr, body: Body) -> Frame {
    Frame { from: [0; 6], to: [0; 6], vlan: None, source, destination, ttl: 3, body }
}

/// A packet whose transport has these ends.
fn with_ports(body: &Body, from: u16, to: u16) -> Body {
    let mut body = body.clone();
    if let Body::Tcp { source, destination, .. } | Body::Udp { source, destination, .. } = &mut body {
        (*source, *destination) = (from, to);
    }
    body
}

/// What a backend has sent to the client: as it was on the clients' side, and as backend `index` sent it.
fn answered(vip: IpAddr, port: u16, index: u32, body: Body) -> (Frame, Frame) {
    let client = if vip.is_ipv4() { CLIENT } else { CLIENT6 };
    let outside = packet(vip, client, with_ports(&body, port, PORT));
    let inside = packet(backend_addr(index), client, with_ports(&body, BACKEND_PORT, PORT));
    (outside, inside)
}

/// What the client has sent: as it was on the backends' side, and as the client sent it.
fn asked(vip: IpAddr, port: u16, index: u32, body: Body) -> (Frame, Frame) {
    let client = if vip.is_ipv4() { CLIENT } else { CLIENT6 };
    let inside = packet(client, backend_addr(index), with_ports(&body, PORT, BACKEND_PORT));
    let outside = packet(client, vip, with_ports(&body, PORT, port));
    (inside, outside)
}

/// `frame` as the backend that does not see its clients sees it: one end is `port` of the SNIP.
fn masked(frame: &Frame, port: u16) -> Frame {
    let snip = if frame.source.is_ipv4() { SNIP } else { SNIP6 };
    let mut frame = frame.clone();
    let client = [CLIENT, CLIENT6];
    if let Body::Tcp { source, destination, .. } | Body::Udp { source, destination, .. } = &mut frame.body {
        if client.contains(&frame.source) {
            (frame.source, *source) = (snip, port);
        } else {
            (frame.destination, *destination) = (snip, port);
        }
    }
    frame
}

fn key(index: u32, client: IpAddr, protocol: u8) -> FlowKey {
    flow_key(index, client, PORT, protocol)
}

fn comes(name: &'static str, frame: &Frame) -> Vector {
    let leg = if frame.to == CLIENT_LEG_MAC { CLIENT_LEG } else { SERVER_LEG };
    Vector::new(name).received(leg, frame.bytes())
}

fn recorded(index: u32, client: IpAddr, protocol: u8, backend: u32) -> impl Fn(&mut HostTables) {
    move |tables| record(tables, key(index, client, protocol), backend)
}

fn recorded_masked(index: u32, client: IpAddr, protocol: u8, backend: u32) -> impl Fn(&mut HostTables) {
    move |tables| record_masked(tables, key(index, client, protocol), backend, 2003)
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = to_servers();
    vectors.extend(to_hidden_servers());
    vectors.extend(to_owners());
    vectors.extend(to_clients());
    vectors.extend(of_hidden_clients());
    vectors.extend(unrecorded());
    vectors.extend(quotes());
    vectors.extend(refused());
    vectors.extend(none());
    vectors.extend(tunnels());
    vectors.extend(broken_tunnels());
    vectors
}

/// From the clients' side, about what a backend that sees its clients has sent.
fn to_servers() -> Vec<Vector> {
    let (outside, inside) = answered(VIP, 80, 1, tcp(0, 0, "A"));
    let (outside6, inside6) = answered(VIP6, 80, FIRST6, tcp(0, 0, "A"));
    let (reply, replied) = answered(VIP, 53, 0, udp(0, 0));
    let (reply6, replied6) = answered(VIP6, 53, FIRST6, udp(0, 0));
    let relayed = |name, reporter, says, outside: &Frame, inside: &Frame, index| {
        comes(name, &from_clients(about(reporter, says, outside, WHOLE))).leaves(
            TO_SERVERS,
            Reason::ErrorForwarded,
            for_server(about(reporter, says, inside, WHOLE), index).bytes(),
        )
    };
    vec![
        relayed("relay: the backend learns that a way to the client is narrow", ROUTER, TOO_BIG, &outside, &inside, 1)
            .with(recorded(WEB, CLIENT, 6, 1)),
        relayed("relay: that the client cannot be reached", ROUTER, HOST, &outside, &inside, 1)
            .with(recorded(WEB, CLIENT, 6, 1)),
        relayed("relay: that a packet was out of time", ROUTER, TIME, &outside, &inside, 1).with(recorded(WEB, CLIENT, 6, 1)),
        relayed("relay: that a header field was wrong", ROUTER, Says(12, 0, 0x0800_0000), &outside, &inside, 1)
            .with(recorded(WEB, CLIENT, 6, 1)),
        relayed("relay udp: that nobody listens at the client", CLIENT, NO_PORT, &reply, &replied, 0)
            .with(recorded(DNS, CLIENT, 17, 0)),
        relayed(
            "relay v6: the backend learns that a way to the client is narrow",
            ROUTER6,
            TOO_BIG6,
            &outside6,
            &inside6,
            FIRST6,
        )
        .with(recorded(WEB6, CLIENT6, 6, FIRST6)),
        relayed("relay v6: that a packet was out of time", ROUTER6, TIME6, &outside6, &inside6, FIRST6)
            .with(recorded(WEB6, CLIENT6, 6, FIRST6)),
        relayed("relay udp v6: that nobody listens at the client", CLIENT6, NO_PORT6, &reply6, &replied6, FIRST6)
            .with(recorded(DNS6, CLIENT6, 17, FIRST6)),
        relayed(
            "relay: to the backend that the flow went to, not the ring's",
            ROUTER,
            TOO_BIG,
            &outside,
            &{ Frame { source: backend_addr(2), ..inside.clone() } },
            2,
        )
        .with(recorded(WEB, CLIENT, 6, 2)),
    ]
}

/// The same for one that does not.
fn to_hidden_servers() -> Vec<Vector> {
    let (outside, inside) = answered(VIP, 87, HIDDEN, tcp(0, 0, "A"));
    let (outside6, inside6) = answered(VIP6, 87, HIDDEN6, tcp(0, 0, "A"));
    let (reply, replied) = answered(VIP, 55, HIDDEN, udp(0, 0));
    let error = from_clients(about(ROUTER, TOO_BIG, &outside, WHOLE));
    let seen = for_server(about(SNIP, TOO_BIG, &masked(&inside, 2003), WHOLE), HIDDEN);
    let embryo = move |tables: &mut HostTables| {
        let key = key(MASKED, CLIENT, 6);
        conceive(tables, key, HIDDEN);
        tables.embryonic.borrow_mut().get_mut(&key).expect("conceived").nat = super::world::masked(HIDDEN, 2003);
    };
    vec![
        comes("relay hidden: the error comes from the SNIP and is about a packet to it", &error)
            .with(recorded_masked(MASKED, CLIENT, 6, HIDDEN))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, seen.bytes()),
        comes("relay hidden: about the answer to a SYN", &error).with(embryo).leaves(
            TO_SERVERS,
            Reason::ErrorForwarded,
            seen.bytes(),
        ),
        comes("relay hidden: without a record nobody knows what the backend has seen", &error).drops(Reason::ErrorUnknown),
        comes("relay hidden: a flow that began when the backend saw its clients goes on as it was", &error)
            .with(recorded(MASKED, CLIENT, 6, HIDDEN))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, for_server(about(ROUTER, TOO_BIG, &inside, WHOLE), HIDDEN).bytes()),
        comes("relay hidden udp: the error comes from the SNIP", &from_clients(about(CLIENT, NO_PORT, &reply, WHOLE)))
            .with(recorded_masked(MASKED_UDP, CLIENT, 17, HIDDEN))
            .leaves(
                TO_SERVERS,
                Reason::ErrorForwarded,
                for_server(about(SNIP, NO_PORT, &masked(&replied, 2003), WHOLE), HIDDEN).bytes(),
            ),
        comes("relay hidden v6: the error comes from the SNIP", &from_clients(about(ROUTER6, TOO_BIG6, &outside6, WHOLE)))
            .with(recorded_masked(MASKED6, CLIENT6, 6, HIDDEN6))
            .leaves(
                TO_SERVERS,
                Reason::ErrorForwarded,
                for_server(about(SNIP6, TOO_BIG6, &masked(&inside6, 2003), WHOLE), HIDDEN6).bytes(),
            ),
    ]
}

/// From the clients' side, to backends that own the VIP.
fn to_owners() -> Vec<Vector> {
    let error = |vip: IpAddr, port| {
        let (outside, _) = answered(vip, port, 0, tcp(0, 0, "A"));
        let (reporter, says) = if vip.is_ipv4() { (ROUTER, TOO_BIG) } else { (ROUTER6, TOO_BIG6) };
        from_clients(about(reporter, says, &outside, WHOLE))
    };
    let linked = |error: &Frame, index| Frame { from: SERVER_LEG_MAC, to: backend_mac(index), ..error.clone() };
    let (direct, direct6, tunnelled, mixed) = (error(VIP, 81), error(VIP6, 81), error(VIP, 88), error(VIP6, 89));
    vec![
        comes("relay direct: a backend that owns the VIP gets the error as it is", &direct)
            .with(recorded(DIRECT, CLIENT, 6, 2))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, linked(&direct, 2).bytes()),
        comes("relay direct v6: a backend that owns the VIP gets the error as it is", &direct6)
            .with(recorded(DIRECT6, CLIENT6, 6, FIRST6))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, linked(&direct6, FIRST6).bytes()),
        comes("relay direct: at its last hop, too", &Frame { ttl: 1, ..direct.clone() })
            .with(recorded(DIRECT, CLIENT, 6, 2))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, linked(&Frame { ttl: 1, ..direct }, 2).bytes()),
        comes("relay tunnel: a backend gets the error in its tunnel", &tunnelled).with(recorded(WRAPPED, CLIENT, 6, 1)).leaves(
            TO_SERVERS,
            Reason::ErrorForwarded,
            wrapped(&tunnelled, 1),
        ),
        comes("relay tunnel: of either family in either", &mixed).with(recorded(MIXED, CLIENT6, 6, 1)).leaves(
            TO_SERVERS,
            Reason::ErrorForwarded,
            wrapped(&mixed, 1),
        ),
    ]
}

/// From the backends' side, about what a client that they see has sent.
fn to_clients() -> Vec<Vector> {
    let (query, sent) = asked(VIP, 53, 0, udp(0, 0));
    let (query6, sent6) = asked(VIP6, 53, FIRST6, udp(0, 0));
    let (segment, of_client) = asked(VIP, 80, 1, tcp(0, 0, "A"));
    let (segment6, of_client6) = asked(VIP6, 80, FIRST6, tcp(0, 0, "A"));
    let relayed = |name, reporter, vip, says, inside: &Frame, outside: &Frame, index| {
        comes(name, &from_servers(about(reporter, says, inside, WHOLE), index)).leaves(
            TO_CLIENTS,
            Reason::ErrorReturned,
            for_client(about(vip, says, outside, WHOLE)).bytes(),
        )
    };
    let same_leg = from_servers(about(backend_addr(0), NO_PORT, &query, WHOLE), 0);
    vec![
        relayed(
            "relay udp: the client learns from the VIP that nobody listens",
            backend_addr(0),
            VIP,
            NO_PORT,
            &query,
            &sent,
            0,
        )
        .with(recorded(DNS, CLIENT, 17, 0)),
        relayed("relay: that a way to the backend is narrow", ROUTER, VIP, TOO_BIG, &segment, &of_client, 1)
            .with(recorded(WEB, CLIENT, 6, 1)),
        relayed("relay: that the backend cannot be reached", ROUTER, VIP, HOST, &segment, &of_client, 1)
            .with(recorded(WEB, CLIENT, 6, 1)),
        relayed("relay: that a packet to the backend was out of time", ROUTER, VIP, TIME, &segment, &of_client, 1)
            .with(recorded(WEB, CLIENT, 6, 1)),
        relayed(
            "relay udp v6: the client learns from the VIP that nobody listens",
            backend_addr(FIRST6),
            VIP6,
            NO_PORT6,
            &query6,
            &sent6,
            FIRST6,
        )
        .with(recorded(DNS6, CLIENT6, 17, FIRST6)),
        relayed("relay v6: that a way to the backend is narrow", ROUTER6, VIP6, TOO_BIG6, &segment6, &of_client6, FIRST6)
            .with(recorded(WEB6, CLIENT6, 6, FIRST6)),
        comes("relay: a client on the backends' interface is told by sending back", &same_leg)
            .with(move |tables| {
                let key = key(DNS, CLIENT, 17);
                record(tables, key, 0);
                tables.flows.borrow_mut().get_mut(&key).expect("recorded").client_hop.ifindex = SERVER_LEG;
            })
            .leaves(Action::Transmit, Reason::ErrorReturned, for_client(about(VIP, NO_PORT, &sent, WHOLE)).bytes()),
    ]
}

/// From the backends' side, about what the SNIP has sent.
fn of_hidden_clients() -> Vec<Vector> {
    let (query, sent) = asked(VIP, 55, HIDDEN, udp(0, 0));
    let (segment6, of_client6) = asked(VIP6, 87, HIDDEN6, tcp(0, 0, "A"));
    let error = from_servers(about(backend_addr(HIDDEN), NO_PORT, &masked(&query, 2003), WHOLE), HIDDEN);
    let error6 = from_servers(about(ROUTER6, TOO_BIG6, &masked(&segment6, 2003), WHOLE), HIDDEN6);
    vec![
        comes("relay hidden udp: the client whose port it is learns that nobody listens", &error)
            .with(recorded_masked(MASKED_UDP, CLIENT, 17, HIDDEN))
            .leaves(TO_CLIENTS, Reason::ErrorReturned, for_client(about(VIP, NO_PORT, &sent, WHOLE)).bytes()),
        comes("relay hidden v6: the client whose port it is learns that a way is narrow", &error6)
            .with(recorded_masked(MASKED6, CLIENT6, 6, HIDDEN6))
            .leaves(TO_CLIENTS, Reason::ErrorReturned, for_client(about(VIP6, TOO_BIG6, &of_client6, WHOLE)).bytes()),
        comes("relay hidden: about a port that nobody has it is the host's own affair", &error).passes(Reason::Local),
        comes("relay hidden: about a SYN", &{
            let (segment, _) = asked(VIP, 87, HIDDEN, tcp(0, 0, "S"));
            from_servers(about(ROUTER, HOST, &masked(&segment, 2003), WHOLE), HIDDEN)
        })
        .with(|tables| {
            conceive(tables, key(MASKED, CLIENT, 6), HIDDEN);
            tables.reverse_embryonic.borrow_mut().insert(reverse_key(HIDDEN, 2003, 6), key(MASKED, CLIENT, 6));
        })
        .leaves(TO_CLIENTS, Reason::ErrorReturned, {
            let (_, sent) = asked(VIP, 87, HIDDEN, tcp(0, 0, "S"));
            for_client(about(VIP, HOST, &sent, WHOLE)).bytes()
        }),
    ]
}

/// Where there is no record.
fn unrecorded() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    let port = port_to(&tables, WEB, CLIENT, 1);
    let with_port = |(a, b): (Frame, Frame)| {
        [a, b].map(|mut frame| {
            if let Body::Tcp { source, destination, .. } = &mut frame.body {
                for end in [source, destination] {
                    *end = if *end == PORT { port } else { *end };
                }
            }
            frame
        })
    };
    let [outside, inside] = with_port(answered(VIP, 80, 1, tcp(0, 0, "A")));
    let [to_server, of_client] = with_port(asked(VIP, 80, 1, tcp(0, 0, "A")));
    let [to_other, _] = with_port(asked(VIP, 80, 2, tcp(0, 0, "A")));
    let error = from_clients(about(ROUTER, TOO_BIG, &outside, WHOLE));
    let back = from_servers(about(ROUTER, TOO_BIG, &to_server, WHOLE), 1);
    let told = for_client(about(VIP, TOO_BIG, &of_client, WHOLE));
    let key = flow_key(WEB, CLIENT, port, 6);
    vec![
        comes("relay: without a record the ring says which backend, and nothing is recorded", &error).leaves(
            TO_SERVERS,
            Reason::ErrorForwarded,
            for_server(about(ROUTER, TOO_BIG, &inside, WHOLE), 1).bytes(),
        ),
        comes("relay: about the answer to a SYN, to the backend that the SYN went to", &error)
            .with(move |tables| conceive(tables, key, 2))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, {
                let inside = Frame { source: backend_addr(2), ..inside.clone() };
                for_server(about(ROUTER, TOO_BIG, &inside, WHOLE), 2).bytes()
            }),
        comes("relay: when no backend is up nobody is told", &error)
            .with(|tables| (0..3).for_each(|index| fail(tables, index)))
            .drops(Reason::NoBackend),
        comes("relay: when the flow's backend is down nobody is told", &error)
            .with(move |tables| {
                record(tables, key, 1);
                fail(tables, 1);
            })
            .drops(Reason::NoBackend),
        comes("relay: when the way to the backend is not known nobody is told", &error)
            .with(|tables| tables.backends[1].next_hop = Default::default())
            .drops(Reason::NoNextHop),
        comes("relay: about a SYN, to its client", &back).with(move |tables| conceive(tables, key, 1)).leaves(
            TO_CLIENTS,
            Reason::ErrorReturned,
            told.bytes(),
        ),
        comes("relay: to a client that the ring confirms, by the routing table, and nothing is recorded", &back).leaves(
            TO_CLIENTS,
            Reason::ErrorReturned,
            told.bytes(),
        ),
        comes("relay: a client that the ring contradicts is told nothing", &{
            from_servers(about(ROUTER, TOO_BIG, &to_other, WHOLE), 2)
        })
        .drops(Reason::ReturnUnknown),
        comes("relay: of a shared backend's nobody knows which flow", &{
            let (to_shared, _) = asked(VIP, 84, SHARED, tcp(0, 0, "A"));
            from_servers(about(ROUTER, TOO_BIG, &to_shared, WHOLE), SHARED)
        })
        .drops(Reason::ErrorUnknown),
        comes("relay: a record without a way to the client is as good as none", &back)
            .with(move |tables| {
                let unknown = Flow { backend: 1, ..Flow::default() };
                tables.flows.borrow_mut().insert(key, unknown);
            })
            .leaves(TO_CLIENTS, Reason::ErrorReturned, told.bytes()),
    ]
}

/// How much is quoted, and how.
fn quotes() -> Vec<Vector> {
    let bare = Body::Udp { source: 0, destination: 0, summed: false, data: vec![9; 5] };
    let long = Body::Udp { source: 0, destination: 0, summed: true, data: vec![7; 501] };
    let longest = Body::Udp { source: 0, destination: 0, summed: true, data: vec![7; 1_444] };
    let quoted = |name, body: &Body, len: usize| {
        let tcp = matches!(body, Body::Tcp { .. });
        let (port, index, protocol) = if tcp { (80, WEB, 6) } else { (53, DNS, 17) };
        let (outside, inside) = answered(VIP, port, 1, body.clone());
        comes(name, &from_clients(about(ROUTER, TOO_BIG, &outside, len))).with(recorded(index, CLIENT, protocol, 1)).leaves(
            TO_SERVERS,
            Reason::ErrorForwarded,
            for_server(about(ROUTER, TOO_BIG, &inside, len), 1).bytes(),
        )
    };
    let padded = |len: usize| {
        let (outside, inside) = answered(VIP, 80, 1, tcp(0, 0, "A"));
        let mut came = from_clients(about(ROUTER, TOO_BIG, &outside, len)).bytes();
        let mut left = for_server(about(ROUTER, TOO_BIG, &inside, len), 1).bytes();
        [&mut came, &mut left].into_iter().for_each(|frame| frame.extend([0xaa; 24]));
        (came, left)
    };
    let (came, left) = padded(28);
    // A first fragment of a datagram of IPv6, as it is quoted: the header of a fragment is in between.
    let fragment6 = |packet: &Frame| {
        let bytes = packet.bytes();
        let data = [&bytes[14..20], &[44], &bytes[21..54], &[17, 0, 0, 1, 1, 2, 3, 4], &bytes[54..]].concat();
        let body = Body::Icmp { kind: 2, code: 0, rest: 1_300u32.to_be_bytes(), data };
        Frame { source: ROUTER6, destination: packet.source, ttl: 60, body, ..packet.clone() }
    };
    let (reply6, replied6) = answered(VIP6, 53, FIRST6, udp(0, 0));
    let (outside, inside) = answered(VIP, 80, 1, tcp(0, 0, "A"));
    let mut halved = about(ROUTER, TOO_BIG, &inside, 37);
    if let Body::Icmp { data, .. } = &mut halved.body {
        data[36] = outside.bytes()[14 + 36];
    }
    vec![
        quoted("relay quote: eight bytes of TCP", &tcp(0, 0, "A"), 28),
        quoted("relay quote: TCP up to its checksum, and not with it", &tcp(0, 0, "A"), 36),
        comes("relay quote: half of the checksum of TCP stays as it is", &from_clients(about(ROUTER, TOO_BIG, &outside, 37)))
            .with(recorded(WEB, CLIENT, 6, 1))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, for_server(halved, 1).bytes()),
        quoted("relay quote: TCP with its checksum, and no more", &tcp(0, 0, "A"), 38),
        quoted("relay quote: eight bytes of UDP", &udp(0, 0), 28),
        quoted("relay quote: an odd number of bytes", &udp(0, 0), 35),
        quoted("relay quote: UDP whose checksum was not computed", &bare, WHOLE),
        quoted("relay quote: hundreds of bytes", &long, WHOLE),
        quoted("relay quote: as much as is computed at all", &longest, 1_472),
        Vector::new("relay quote: what pads the frame is no part of it")
            .received(CLIENT_LEG, came)
            .with(recorded(WEB, CLIENT, 6, 1))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, left),
        comes("relay quote v6: the first fragment of a datagram", &from_clients(fragment6(&reply6)))
            .with(recorded(DNS6, CLIENT6, 17, FIRST6))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, for_server(fragment6(&replied6), FIRST6).bytes()),
    ]
}

/// Errors about known flows that go nowhere.
fn refused() -> Vec<Vector> {
    let (outside, inside) = answered(VIP, 80, 1, tcp(0, 0, "A"));
    let (outside6, _) = answered(VIP6, 80, FIRST6, tcp(0, 0, "A"));
    let error = from_clients(about(ROUTER, TOO_BIG, &outside, WHOLE));
    let error6 = from_clients(about(ROUTER6, TOO_BIG6, &outside6, WHOLE));
    let huge = Body::Udp { source: 0, destination: 0, summed: true, data: vec![7; 1_446] };
    let (huge, _) = answered(VIP, 53, 1, huge);
    let turned = |frame: &Frame, at: usize| {
        let mut bytes = frame.bytes();
        bytes[at] ^= 0x10;
        bytes
    };
    let known = || recorded(WEB, CLIENT, 6, 1);
    let comes_so = |name, frame: Vec<u8>| Vector::new(name).received(CLIENT_LEG, frame);
    let (query, _) = asked(VIP, 53, 0, udp(0, 0));
    let back = from_servers(about(backend_addr(0), NO_PORT, &query, WHOLE), 0);
    vec![
        comes_so("relay: an error with a wrong bit in its quote", turned(&error, 14 + 28 + 30))
            .with(known())
            .drops(Reason::ErrorBad),
        comes_so("relay: one with a wrong bit in its checksum", turned(&error, 14 + 20 + 2))
            .with(known())
            .drops(Reason::ErrorBad),
        comes_so("relay v6: one with a wrong bit", turned(&error6, 14 + 40 + 7)).drops(Reason::ErrorBad),
        comes("relay: one that is longer than any", &from_clients(about(ROUTER, TOO_BIG, &huge, 1_474)))
            .with(recorded(DNS, CLIENT, 17, 1))
            .drops(Reason::ErrorBad),
        comes("relay: one that ends before the ports", &from_clients(about(ROUTER, TOO_BIG, &outside, 27)))
            .with(known())
            .drops(Reason::Truncated),
        comes("relay: one that ends within the quoted header", &from_clients(about(ROUTER, TOO_BIG, &outside, 19)))
            .with(known())
            .drops(Reason::Truncated),
        comes("relay v6: one that ends within the quoted header", &from_clients(about(ROUTER6, TOO_BIG6, &outside6, 39)))
            .drops(Reason::Truncated),
        comes("relay: one without any quote", &from_clients(about(ROUTER, TOO_BIG, &outside, 0))).drops(Reason::Truncated),
        comes("relay: one at its last hop", &Frame { ttl: 1, ..error.clone() }).with(known()).drops(Reason::TtlExceeded),
        comes("relay: one that the pair itself seems to report", &Frame { source: SNIP, ..error.clone() })
            .with(known())
            .drops(Reason::Loop),
        comes("relay: one from nowhere", &Frame { source: Ipv4Addr::UNSPECIFIED.into(), ..error.clone() })
            .with(known())
            .drops(Reason::BadSource),
        comes("relay: one to a group of stations", &Frame { to: [0xff; 6], ..error.clone() })
            .with(known())
            .received(CLIENT_LEG, Frame { to: [0xff; 6], ..error.clone() }.bytes())
            .drops(Reason::DropNotUnicast),
        comes("relay: one above the rate", &error)
            .with(known())
            .with(|tables| ration(tables, 100_000, 99_999))
            .drops(Reason::IcmpLimited),
        comes("relay: the last one that the rate allows", &error)
            .with(known())
            .with(|tables| ration(tables, 100_000, 100_000))
            .leaves(TO_SERVERS, Reason::ErrorForwarded, for_server(about(ROUTER, TOO_BIG, &inside, WHOLE), 1).bytes()),
        comes("relay: not by the node that does not serve", &error)
            .with(step_down)
            .with(|tables| tables.node.controller_dead = 0)
            .drops(Reason::StrayNoPeer),
        comes("relay: from backends neither", &back)
            .with(step_down)
            .with(|tables| tables.node.controller_dead = 0)
            .drops(Reason::StrayNoPeer),
    ]
}

/// Errors that are no business of the pair's.
fn none() -> Vec<Vector> {
    let (outside, _) = answered(VIP, 80, 1, tcp(0, 0, "A"));
    let ping = packet(VIP, CLIENT, echo(VIP, true));
    let to_stranger = packet(STRANGER, CLIENT, tcp(4, 5, "A"));
    let of_other_port = packet(VIP, CLIENT, tcp(79, PORT, "A"));
    let local = packet(LOCAL_VIP, CLIENT, tcp(22, PORT, "A"));
    let mut redirect = from_clients(about(ROUTER, Says(5, 0, 0), &outside, WHOLE));
    redirect.ttl = 255;
    let later = {
        let mut error = from_clients(about(ROUTER, TOO_BIG, &outside, WHOLE));
        if let Body::Icmp { data, .. } = &mut error.body {
            data[7] = 9;
        }
        error
    };
    let options = {
        let mut error = from_clients(about(ROUTER, TOO_BIG, &outside, WHOLE));
        if let Body::Icmp { data, .. } = &mut error.body {
            data[0] = 0x46;
        }
        error
    };
    let elsewhere = Frame { destination: SNIP, ..from_clients(about(ROUTER, TOO_BIG, &outside, WHOLE)) };
    let error = |packet: &Frame| from_clients(about(ROUTER, HOST, packet, WHOLE));
    vec![
        comes("relay: about a reply to a ping it is nobody's", &error(&ping)).drops(Reason::IcmpIgnored),
        comes("relay: about a port without a virtual server it is nobody's", &error(&of_other_port)).drops(Reason::IcmpIgnored),
        comes("relay: about a local daemon's packet it is the host's", &error(&local)).passes(Reason::Local),
        comes("relay: about a stranger's packet it is the host's", &error(&to_stranger)).passes(Reason::NotOurs),
        comes("relay: about another's packet than it is for it is nobody's", &elsewhere).passes(Reason::Local),
        comes("relay: a redirect is not for hosts behind it", &redirect).drops(Reason::IcmpIgnored),
        comes("relay: about a later fragment nobody knows whose it is", &later).drops(Reason::IcmpIgnored),
        comes("relay: a packet with options is none of the pair's", &options).drops(Reason::IcmpIgnored),
        comes("relay: a client's own error about what no pair sent", &{
            let frame = request(VIP, echo(VIP, false));
            Frame { body: Body::Icmp { kind: 3, code: 3, rest: [0; 4], data: frame.bytes()[14..].to_vec() }, ..frame }
        })
        .drops(Reason::IcmpIgnored),
    ]
}

/// The error about `frame` of a client in its tunnel to backend `index`, of which `len` bytes are quoted.
fn about_tunnel(says: Says, frame: &Frame, index: u32, len: usize) -> Frame {
    let tunnel = &wrapped(frame, index)[14..];
    let (source, destination) = if backend_addr(index).is_ipv4() { (ROUTER, SNIP) } else { (ROUTER6, SNIP6) };
    let Says(kind, code, rest) = says;
    let data = tunnel[..len.min(tunnel.len())].to_vec();
    let body = Body::Icmp { kind, code, rest: rest.to_be_bytes(), data };
    from_servers(Frame { source, destination, ttl: 60, body, ..frame.clone() }, index)
}

/// What the client that has sent `frame` is told.
fn told(says: Says, frame: &Frame) -> Frame {
    let Says(kind, code, rest) = says;
    let header = if frame.source.is_ipv4() { 20 } else { 40 };
    let data = frame.bytes()[14..14 + header + 8].to_vec();
    let body = Body::Icmp { kind, code, rest: rest.to_be_bytes(), data };
    Frame {
        source: frame.destination,
        destination: frame.source,
        body,
        from: CLIENT_LEG_MAC,
        to: CLIENT_MAC,
        ttl: 64,
        vlan: None,
    }
}

/// About tunnels: the client is told about the packet that was in it.
fn tunnels() -> Vec<Vector> {
    let v4 = request(VIP, tcp(PORT, 88, "AP"));
    let v6 = request(VIP6, tcp(PORT, 88, "AP"));
    let mixed = request(VIP6, tcp(PORT, 89, "AP"));
    let mixed6 = request(VIP, tcp(PORT, 89, "AP"));
    let relayed = |name, says, frame: &Frame, (vserver, index), len, tells| {
        let set_up = recorded(vserver, frame.source, 6, index);
        comes(name, &about_tunnel(says, frame, index, len)).with(set_up).leaves(
            TO_CLIENTS,
            Reason::ErrorReturned,
            told(tells, frame).bytes(),
        )
    };
    let lost6 = Says(1, 3, 0);
    vec![
        relayed(
            "relay tunnel: the client learns what is left of a narrow way",
            TOO_BIG,
            &v4,
            (WRAPPED, 1),
            WHOLE,
            Says(3, 4, 1_380),
        ),
        relayed("relay tunnel: no more is quoted than names its flow", TOO_BIG, &v4, (WRAPPED, 1), 48, Says(3, 4, 1_380)),
        relayed("relay tunnel: that the backend cannot be reached", HOST, &v4, (WRAPPED, 1), WHOLE, HOST),
        relayed("relay tunnel: that the tunnel was out of time is no more than that", TIME, &v4, (WRAPPED, 1), WHOLE, HOST),
        relayed("relay tunnel v6: what is left of a narrow way", TOO_BIG6, &v6, (WRAPPED6, FIRST6), WHOLE, Says(2, 0, 1_260)),
        relayed("relay tunnel v6: that the backend cannot be reached", NO_PORT6, &v6, (WRAPPED6, FIRST6), WHOLE, lost6),
        relayed("relay tunnel: IPv6 within IPv4", TOO_BIG, &mixed, (MIXED, 1), WHOLE, Says(2, 0, 1_380)),
        relayed("relay tunnel: IPv6 within IPv4 that goes nowhere", HOST, &mixed, (MIXED, 1), WHOLE, lost6),
        relayed("relay tunnel: IPv4 within IPv6", TOO_BIG6, &mixed6, (MIXED6, FIRST6), WHOLE, Says(3, 4, 1_260)),
        comes("relay tunnel: about a SYN", &about_tunnel(HOST, &v4, 1, WHOLE))
            .with(|tables| conceive(tables, key(WRAPPED, CLIENT, 6), 1))
            .leaves(TO_CLIENTS, Reason::ErrorReturned, told(HOST, &v4).bytes()),
    ]
}

/// About tunnels, and nobody is told.
fn broken_tunnels() -> Vec<Vector> {
    let frame = request(VIP, tcp(PORT, 88, "AP"));
    let error = about_tunnel(TOO_BIG, &frame, 1, WHOLE);
    let of_other = request(VIP, tcp(PORT, 80, "AP"));
    let mut turned = error.bytes();
    turned[14 + 20 + 2] ^= 2;
    let known = |index| recorded(WRAPPED, CLIENT, 6, index);
    vec![
        comes("relay tunnel: eight bytes of what is inside name no flow", &about_tunnel(TOO_BIG, &frame, 1, 28))
            .with(known(1))
            .drops(Reason::Truncated),
        comes("relay tunnel: to another backend than the flow's", &about_tunnel(TOO_BIG, &frame, 2, WHOLE))
            .with(known(1))
            .drops(Reason::ErrorUnknown),
        comes("relay tunnel: of a flow that is not known", &error).drops(Reason::ErrorUnknown),
        comes("relay tunnel: a router that does not say how narrow the way is", &about_tunnel(Says(3, 4, 0), &frame, 1, WHOLE))
            .with(known(1))
            .drops(Reason::ErrorUnknown),
        comes("relay tunnel: a way that is narrower than any", &about_tunnel(Says(3, 4, 87), &frame, 1, WHOLE))
            .with(known(1))
            .drops(Reason::ErrorUnknown),
        Vector::new("relay tunnel: an error with a wrong bit")
            .received(SERVER_LEG, turned)
            .with(known(1))
            .drops(Reason::ErrorBad),
        comes("relay tunnel: one above the rate", &error)
            .with(known(1))
            .with(|tables| ration(tables, 100_000, 99_999))
            .drops(Reason::IcmpLimited),
        comes("relay tunnel: not by the node that does not serve", &error)
            .with(known(1))
            .with(step_down)
            .with(|tables| tables.node.controller_dead = 0)
            .drops(Reason::StrayNoPeer),
        comes(
            "relay tunnel: of a virtual server without tunnels it is none of the pair's",
            &about_tunnel(TOO_BIG, &of_other, 1, WHOLE),
        )
        .passes(Reason::Local),
    ]
}
