//! Virtual servers that take every port of their address, FTP with its data connections, and those that take any address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ha_common::abi::{
    AMBIGUOUS, AddressKey, Backend, FlowKey, Owner, Reason, ServiceKey, Vserver, address_flags, backend_flags, hash_kind, mode,
    node_flags, vserver_flags,
};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::wire::Be16;

use super::forward::request;
use super::frames::{Body, Frame, tcp, udp};
use super::returning;
use super::world::*;
use super::{Changes, Vector};

/// A backend that keeps the port that it is asked on.
const ANYWHERE: u32 = ALL_BACKENDS;
/// The same, without seeing its clients.
const HIDDEN_ANYWHERE: u32 = ALL_BACKENDS + 1;
/// Every TCP port of [`VIP`] that no other vserver has: NAT.
const ANY_TCP: u32 = ALL_VSERVERS;
/// The same for UDP.
const ANY_UDP: u32 = ALL_VSERVERS + 1;
/// FTP at [`MUTE_VIP`].
const FTP: u32 = ALL_VSERVERS + 2;
/// Every TCP port of [`LOCAL_VIP`], before [`HIDDEN_ANYWHERE`].
const MASKED_ANY: u32 = ALL_VSERVERS + 3;
/// TCP to whatever IPv4 address, hash-only, MAC mode.
const PASSING: u32 = ALL_VSERVERS + 4;
/// TCP 80 to whatever IPv6 address, the same.
const PASSING6: u32 = ALL_VSERVERS + 5;
/// A port that no vserver has.
const ODD: u16 = 4433;
/// The client's port.
const PORT: u16 = 40_000;

const TCP: u8 = 6;
const UDP: u8 = 17;
const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const TO_CLIENTS: Action = Action::Redirect(CLIENT_LEG);
const FLOW: Changes =
    Changes { flows: 1, embryonic: 0, exceptions: 0, reverse: 0, reverse_embryonic: 0, events: 0, sources: 0, fragments: 0 };
const NOTHING: Changes = Changes { flows: 0, ..FLOW };
/// Somebody beyond this node.
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
const FAR6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9));

/// The world with all of them in it.
fn set_up(tables: &mut HostTables) {
    for (index, flags) in [(ANYWHERE, 0), (HIDDEN_ANYWHERE, backend_flags::SNAT | backend_flags::SHARED)] {
        assert_eq!(tables.backends.len(), index as usize);
        tables.backends.push(Backend {
            flags: backend_flags::UP | flags,
            addr: backend_addr(index).into(),
            mtu: 1500,
            next_hop: backend_hop(index),
            snip_count: 1,
            ..Backend::default()
        });
    }
    assert_eq!(tables.vservers.len(), ALL_VSERVERS as usize);
    let any = |vserver: &mut Vserver| vserver.flags = vserver_flags::ANY_PORT;
    let ftp = |vserver: &mut Vserver| {
        vserver.flags = vserver_flags::ANY_PORT | vserver_flags::FTP;
        vserver.hash = hash_kind::SOURCE;
    };
    let passing = |vserver: &mut Vserver| {
        vserver.flags = vserver_flags::ANY_PORT | vserver_flags::ANY_ADDRESS | vserver_flags::HASH_ONLY;
        vserver.mode = mode::MAC;
    };
    add(tables, (VIP, 0, TCP), &[ANYWHERE], any);
    add(tables, (VIP, 0, UDP), &[ANYWHERE], any);
    add(tables, (MUTE_VIP, 0, TCP), &[ANYWHERE], ftp);
    add(tables, (LOCAL_VIP, 0, TCP), &[HIDDEN_ANYWHERE], any);
    add(tables, (Ipv4Addr::UNSPECIFIED.into(), 0, TCP), &[0, 1, 2], passing);
    add(tables, (Ipv6Addr::UNSPECIFIED.into(), 80, TCP), &[FIRST6, FIRST6 + 1, FIRST6 + 2], passing);
    tables.vserver_index.insert(key_of(MUTE_VIP, 21, TCP), FTP);
    owned(tables, ANYWHERE, TCP, ANY_TCP);
    owned(tables, ANYWHERE, UDP, ANY_UDP);
    owned(tables, HIDDEN_ANYWHERE, TCP, AMBIGUOUS);
    for vip in [VIP, MUTE_VIP, LOCAL_VIP] {
        let key = AddressKey { addr: vip.into(), domain: 0 };
        tables.addresses.get_mut(&key).expect("a floating address").flags |= address_flags::ANY_PORT;
    }
    tables.node.flags |= node_flags::ANY_PORT;
}

fn key_of(addr: IpAddr, port: u16, protocol: u8) -> ServiceKey {
    ServiceKey { addr: addr.into(), domain: 0, port: Be16::new(port), protocol: protocol.into() }
}

/// Lets `vserver` own what backend `index` says from any port.
fn owned(tables: &mut HostTables, index: u32, protocol: u8, vserver: u32) {
    tables.owners.insert(key_of(backend_addr(index), 0, protocol), Owner { backend: index, vserver });
}

/// The key of the client's flow with `service_port` of vserver `index`.
fn flow_to(index: u32, service_port: u16, protocol: u8) -> FlowKey {
    FlowKey { service_port: Be16::new(service_port), ..flow_key(index, CLIENT, PORT, protocol) }
}

/// A client's frame as a backend gets it that keeps the port.
fn kept(request: &Frame, backend: u32) -> Frame {
    let (from, to, destination) = (SERVER_LEG_MAC, backend_mac(backend), backend_addr(backend));
    Frame { from, to, destination, ttl: request.ttl - 1, ..request.clone() }
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = forward();
    vectors.extend(answers());
    vectors.extend(hidden());
    vectors.extend(ftp());
    vectors.extend(passing());
    vectors
}

fn sends(name: &'static str, frame: &Frame) -> Vector {
    Vector::new(name).received(CLIENT_LEG, frame.bytes()).with(set_up)
}

fn says(name: &'static str, frame: &Frame) -> Vector {
    Vector::new(name).received(SERVER_LEG, frame.bytes()).with(set_up)
}

fn forward() -> Vec<Vector> {
    let tables = super::world::pair(ha_common::time::Nanos(1));
    let segment = request(VIP, tcp(PORT, ODD, "AP"));
    let syn = request(VIP, tcp(PORT, ODD, "S"));
    let query = request(VIP, udp(PORT, ODD));
    let web = request(VIP, tcp(port_to(&tables, WEB, CLIENT, 0), 80, "A"));
    let last = Frame { ttl: 1, ..segment.clone() };
    let zero = request(VIP, tcp(PORT, 0, "A"));
    let wrapped = Frame { ttl: 63, ..segment.clone() };
    let recorded = |port| move |tables: &mut HostTables| record(tables, flow_to(ANY_TCP, port, TCP), ANYWHERE);
    let to = |vector: Vector, reason, frame: &Frame| vector.leaves(TO_SERVERS, reason, kept(frame, ANYWHERE).bytes());
    vec![
        to(sends("any port: a port that nobody has is kept towards the backend", &segment), Reason::ForwardNew, &segment)
            .changing(FLOW),
        to(sends("any port: a SYN, too", &syn), Reason::ForwardSyn, &syn).changing(Changes { embryonic: 1, ..NOTHING }),
        to(sends("any port udp: a datagram, too", &query), Reason::ForwardNew, &query).changing(FLOW),
        to(sends("any port: a flow to this port goes on", &segment).with(recorded(ODD)), Reason::ForwardHit, &segment),
        to(
            sends("any port: a flow to another port is another", &segment).with(recorded(ODD + 1)),
            Reason::ForwardNew,
            &segment,
        )
        .changing(FLOW),
        to(sends("any port: port zero is one like others", &zero), Reason::ForwardNew, &zero).changing(FLOW),
        sends("any port: whoever has the port goes first", &web)
            .leaves(TO_SERVERS, Reason::ForwardNew, super::forward::translated(&web, 0).bytes())
            .changing(FLOW),
        sends("any port: its time to live is a router's", &last).leaves(
            Action::Transmit,
            Reason::TimeExceeded,
            super::refuse::told(&last, 11, 0, 0).bytes(),
        ),
        sends("any port: where the node says that there is none nobody looks", &segment)
            .with(|tables| tables.node.flags &= !node_flags::ANY_PORT)
            .drops(Reason::NoVserver),
        sends("any port: nor at an address that has none", &segment)
            .with(|tables| {
                let key = AddressKey { addr: VIP.into(), domain: 0 };
                tables.addresses.get_mut(&key).expect("a VIP").flags &= !address_flags::ANY_PORT;
            })
            .drops(Reason::NoVserver),
        sends("any port: by tunnel nothing inside changes", &wrapped)
            .with(|tables| tables.vservers[ANY_TCP as usize].mode = mode::MAC)
            .leaves(
                TO_SERVERS,
                Reason::ForwardNew,
                Frame { from: SERVER_LEG_MAC, to: backend_mac(ANYWHERE), ..wrapped.clone() }.bytes(),
            )
            .changing(FLOW),
    ]
}

fn answers() -> Vec<Vector> {
    let segment = returning::answer(ANYWHERE, CLIENT, tcp(ODD, PORT, "AP"));
    let syn_ack = returning::answer(ANYWHERE, CLIENT, tcp(ODD, PORT, "SA"));
    let syn = returning::answer(ANYWHERE, CLIENT, tcp(ODD, PORT, "S"));
    let reply = returning::answer(ANYWHERE, CLIENT, udp(ODD, PORT));
    let busy = returning::answer(1, CLIENT, tcp(BACKEND_PORT, PORT, "A"));
    let known = |index, port, protocol| move |tables: &mut HostTables| record(tables, flow_to(index, port, protocol), ANYWHERE);
    let from = |frame: &Frame, port| returning::translated(frame, VIP, port).bytes();
    vec![
        says("any port: an answer comes from the VIP's port of the same number", &segment)
            .with(known(ANY_TCP, ODD, TCP))
            .leaves(TO_CLIENTS, Reason::ReturnHit, from(&segment, ODD)),
        says("any port udp: an answer comes from the VIP's port of the same number", &reply)
            .with(known(ANY_UDP, ODD, UDP))
            .leaves(TO_CLIENTS, Reason::ReturnHit, from(&reply, ODD)),
        says("any port: a SYN-ACK finds its way by the embryo", &syn_ack)
            .with(|tables| conceive(tables, flow_to(ANY_TCP, ODD, TCP), ANYWHERE))
            .leaves(TO_CLIENTS, Reason::ReturnSyn, from(&syn_ack, ODD)),
        says("any port: a backend's own segment to somebody is the host's", &segment).passes(Reason::BackendOwn),
        says("any port: and so is what it begins", &syn).passes(Reason::BackendOwn),
        says("any port: a flow to another port is no reason", &segment)
            .with(known(ANY_TCP, ODD + 1, TCP))
            .passes(Reason::BackendOwn),
        says("any port: an answer from a port that is another service's finds its flow", &busy)
            .with(|tables| {
                owned(tables, 1, TCP, ANY_TCP);
                tables.owners.insert(key_of(backend_addr(1), 0, TCP), Owner { backend: ANYWHERE, vserver: ANY_TCP });
                record(tables, flow_to(ANY_TCP, BACKEND_PORT, TCP), ANYWHERE);
            })
            .leaves(TO_CLIENTS, Reason::ReturnHit, from(&busy, BACKEND_PORT)),
    ]
}

/// Backends that do not see their clients.
fn hidden() -> Vec<Vector> {
    let segment = request(LOCAL_VIP, tcp(PORT, ODD, "A"));
    let masked_as = source_port(CLIENT, PORT, 0);
    let seen = |frame: &Frame| {
        let mut body = frame.body.clone();
        if let Body::Tcp { source, .. } = &mut body {
            *source = masked_as;
        }
        Frame { source: SNIP, body, ..kept(frame, HIDDEN_ANYWHERE) }
    };
    let answer = |body| Frame { destination: SNIP, ..returning::answer(HIDDEN_ANYWHERE, CLIENT, body) };
    let reply = answer(tcp(ODD, masked_as, "A"));
    let other = answer(tcp(ODD + 1, masked_as, "A"));
    let own = Frame { destination: CLIENT, ..reply.clone() };
    let known = move |tables: &mut HostTables| {
        record_masked(tables, flow_to(MASKED_ANY, ODD, TCP), HIDDEN_ANYWHERE, masked_as);
    };
    let back = Frame { destination: CLIENT, body: tcp(ODD, PORT, "A"), ..returning::translated(&reply, LOCAL_VIP, ODD) };
    vec![
        sends("any port: a hidden client's port is translated, the service's is not", &segment)
            .leaves(TO_SERVERS, Reason::ForwardNew, seen(&segment).bytes())
            .changing(Changes { reverse: 1, ..FLOW }),
        says("any port: the answer to a hidden client", &reply).with(known).leaves(TO_CLIENTS, Reason::ReturnHit, back.bytes()),
        says("any port: from another port it is none", &other).with(known).passes(Reason::BackendOwn),
        says("any port: what such a backend says to others is the host's", &own).passes(Reason::BackendOwn),
    ]
}

fn ftp() -> Vec<Vector> {
    let to = |port, flags| request(MUTE_VIP, tcp(PORT, port, flags));
    let (control, passive, shell) = (to(21, "A"), to(1024, "S"), to(22, "S"));
    let (opened, accepted) = (to(20, "S"), to(20, "SA"));
    let active = returning::answer(ANYWHERE, CLIENT, tcp(20, PORT, "S"));
    let owned = |tables: &mut HostTables| owned(tables, ANYWHERE, TCP, FTP);
    let own = returning::answer(ANYWHERE, CLIENT, tcp(1024, PORT, "S"));
    let gets = |vector: Vector, reason, frame: &Frame| vector.leaves(TO_SERVERS, reason, kept(frame, ANYWHERE).bytes());
    vec![
        gets(sends("ftp: a control connection keeps its port", &control), Reason::ForwardNew, &control).changing(FLOW),
        gets(sends("ftp: a passive data connection goes to the same backend", &passive), Reason::ForwardSyn, &passive)
            .changing(Changes { embryonic: 1, ..NOTHING }),
        sends("ftp: the server's other ports are not offered", &shell).drops(Reason::NoVserver),
        sends("ftp: nobody opens a connection to the port of active data", &opened).drops(Reason::NoVserver),
        gets(sends("ftp: who was asked for active data answers there", &accepted), Reason::ForwardNew, &accepted)
            .changing(FLOW),
        says("ftp: an active data connection comes from the VIP", &active).with(owned).leaves(
            TO_CLIENTS,
            Reason::ReturnHash,
            returning::translated(&active, MUTE_VIP, 20).bytes(),
        ),
        says("ftp: what else a server begins is its own", &own).with(owned).passes(Reason::BackendOwn),
    ]
}

/// What this node would route, for addresses of others.
fn passing() -> Vec<Vector> {
    let tables = {
        let mut tables = super::world::pair(ha_common::time::Nanos(1));
        set_up(&mut tables);
        tables
    };
    let port = port_to(&tables, PASSING, CLIENT, 1);
    let segment = Frame { destination: FAR, ..request(VIP, tcp(port, ODD, "A")) };
    let port6 = port_to(&tables, PASSING6, CLIENT6, FIRST6 + 2);
    let segment6 = Frame { destination: FAR6, ..request(VIP6, tcp(port6, 80, "A")) };
    let odd6 = Frame { destination: FAR6, ..request(VIP6, tcp(port6, 81, "A")) };
    let seen = Frame { from: backend_mac(1), to: SERVER_LEG_MAC, ..segment.clone() };
    let from_another = Frame { from: backend_mac(2), ..seen.clone() };
    let not_for_us = Frame { to: PEER_MAC, ..segment.clone() };
    let to_host = Frame { destination: OWN, ..segment.clone() };
    let to_snip = Frame { destination: MUTE_VIP6, ..segment6.clone() };
    let query = Frame { destination: FAR, ..request(VIP, udp(port, ODD)) };
    let sent_to = |frame: &Frame, backend| Frame { from: SERVER_LEG_MAC, to: backend_mac(backend), ..frame.clone() }.bytes();
    vec![
        sends("any address: what passes through goes by its hash", &segment).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            sent_to(&segment, 1),
        ),
        sends("any address v6: what passes through goes by its hash", &segment6).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            sent_to(&segment6, FIRST6 + 2),
        ),
        sends("any address: another port is the host's to route", &odd6).passes(Reason::NotOurs),
        sends("any address: another protocol, too", &query).passes(Reason::NotOurs),
        says("any address: what the backend sends on is the host's to route", &seen).passes(Reason::NotOurs),
        says("any address: what another backend sends goes to whom it belongs", &from_another).leaves(
            Action::Transmit,
            Reason::ForwardHash,
            sent_to(&from_another, 1),
        ),
        sends("any address: a frame for another station is none of ours", &not_for_us).passes(Reason::NotOurs),
        sends("any address: this host's own address is the host's", &to_host).passes(Reason::NotOurs),
        sends("any address: a floating address is not any", &to_snip).drops(Reason::NoVserver),
    ]
}
