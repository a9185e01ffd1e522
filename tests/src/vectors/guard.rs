//! Newcomers that are asked something: lists, limits for each source, services with many connections.

use std::net::IpAddr;
use std::time::Duration;

use ha_common::abi::{
    Pace, PrefixKey, Reason, Source, SourceKey, SourceLimits, Throttle, backend_flags, flow_flags, prefix_action, tcp_seen,
    vserver_flags,
};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;

use super::forward::{request, translated};
use super::frames::{Frame, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const TO_CLIENTS: Action = Action::Redirect(CLIENT_LEG);
const NOTHING: Changes =
    Changes { flows: 0, embryonic: 0, exceptions: 0, reverse: 0, reverse_embryonic: 0, sources: 0, fragments: 0, events: 0 };
const SYN: Changes = Changes { embryonic: 1, ..NOTHING };
const NEW: Changes = Changes { flows: 1, ..NOTHING };
/// Puts the clients of `addr/len` on the list of vserver `index`.
fn list(tables: &mut HostTables, index: u32, addr: IpAddr, len: u8, action: u32) {
    tables.prefixes.insert(PrefixKey::network(index, addr.into(), len), action);
    let allowed = if action == prefix_action::ALLOW { vserver_flags::ALLOW_LISTED } else { 0 };
    tables.vservers[index as usize].flags |= vserver_flags::LISTED | allowed;
}

fn allow(index: u32, addr: IpAddr, len: u8) -> impl Fn(&mut HostTables) {
    move |tables| list(tables, index, addr, len, prefix_action::ALLOW)
}

fn deny(index: u32, addr: IpAddr, len: u8) -> impl Fn(&mut HostTables) {
    move |tables| list(tables, index, addr, len, prefix_action::DENY)
}

fn limit(index: u32, open_max: u32, cost: u32) -> impl Fn(&mut HostTables) {
    move |tables| {
        let vserver = &mut tables.vservers[index as usize];
        vserver.flags |= vserver_flags::LIMITED;
        let is_v4 = vserver.vip.is_v4();
        let mask = PrefixKey::mask(is_v4, if is_v4 { 24 } else { 64 });
        vserver.limits = SourceLimits { mask, open_max, cost };
    }
}

fn key(tables: &HostTables, index: u32, client: IpAddr) -> SourceKey {
    SourceKey::new(index, &tables.vservers[index as usize].limits, &client.into())
}

/// The client's source has opened that many, of which so many are open.
fn known(index: u32, client: IpAddr, opened: u32, open: u32) -> impl Fn(&mut HostTables) {
    move |tables| {
        let key = key(tables, index, client);
        tables.sources.borrow_mut().insert(key, Source::with_counts(opened, open));
    }
}

/// The client's source has used up what it may open for a long while.
fn hurried(index: u32, client: IpAddr) -> impl Fn(&mut HostTables) {
    move |tables| {
        let key = key(tables, index, client);
        let pace = Pace::due_at(tables.now.get() + Duration::from_secs(600));
        tables.sources.borrow_mut().insert(key, Source { pace, ..Source::default() });
    }
}

/// All backends have many connections; one was let through a moment ago, or none for long.
fn throttled(just_now: bool) -> impl Fn(&mut HostTables) {
    move |tables| {
        let due = if just_now { tables.now.get() + Duration::from_secs(60) } else { Nanos(0) };
        tables.throttles = vec![Throttle { cost: 10_000_000, pace: Pace::due_at(due) }; tables.backends.len()];
        tables.backends.iter_mut().for_each(|backend| backend.flags |= backend_flags::THROTTLED);
    }
}

fn sends(name: &'static str, frame: &Frame) -> Vector {
    Vector::new(name).received(CLIENT_LEG, frame.bytes())
}

/// It goes to `backend`, for `reason`.
fn goes(vector: Vector, frame: &Frame, backend: u32, reason: Reason, changes: Changes) -> Vector {
    vector.leaves(TO_SERVERS, reason, translated(frame, backend).bytes()).changing(changes)
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = lists();
    vectors.extend(records());
    vectors.extend(sources());
    vectors.extend(counted());
    vectors.extend(ends());
    vectors.extend(surges());
    vectors
}

/// Ports from which the client gets to backend 1 of [`WEB`], or the first of [`WEB6`].
fn ports() -> (u16, u16) {
    let tables = pair(Nanos(1));
    (port_to(&tables, WEB, CLIENT, 1), port_to(&tables, WEB6, CLIENT6, FIRST6))
}

fn lists() -> Vec<Vector> {
    let (port, port6) = ports();
    let syn = request(VIP, tcp(port, 80, "S"));
    let syn6 = request(VIP6, tcp(port6, 80, "S"));
    let query = request(VIP, udp(port, 53));
    let enters = |vector, frame: &Frame, backend| goes(vector, frame, backend, Reason::ForwardSyn, SYN);
    vec![
        sends("list: a client of a denied prefix is kept out", &syn).with(deny(WEB, CLIENT, 24)).drops(Reason::Denied),
        enters(sends("list: whoever is in no denied prefix is let in", &syn).with(deny(WEB, STRANGER, 32)), &syn, 1),
        enters(sends("list: a client of an allowed prefix is let in", &syn).with(allow(WEB, CLIENT, 32)), &syn, 1),
        sends("list: with any allowed prefix all others are kept out", &syn)
            .with(allow(WEB, STRANGER, 32))
            .drops(Reason::Denied),
        enters(
            sends("list: the longer prefix wins: one of a denied network is allowed", &syn)
                .with(deny(WEB, CLIENT, 8))
                .with(allow(WEB, CLIENT, 32)),
            &syn,
            1,
        ),
        sends("list: the longer prefix wins: one of an allowed network is denied", &syn)
            .with(allow(WEB, CLIENT, 24))
            .with(deny(WEB, CLIENT, 32))
            .drops(Reason::Denied),
        sends("list: everybody is a prefix of no length", &syn).with(deny(WEB, CLIENT, 0)).drops(Reason::Denied),
        enters(sends("list: another virtual server's list is its own", &syn).with(deny(DNS, CLIENT, 32)), &syn, 1),
        sends("list udp: a datagram of a denied client is kept out", &query).with(deny(DNS, CLIENT, 32)).drops(Reason::Denied),
        sends("list v6: a client of a denied prefix is kept out", &syn6).with(deny(WEB6, CLIENT6, 64)).drops(Reason::Denied),
        enters(
            sends("list v6: one of a denied network is allowed", &syn6)
                .with(deny(WEB6, CLIENT6, 64))
                .with(allow(WEB6, CLIENT6, 128)),
            &syn6,
            FIRST6,
        ),
    ]
}

fn records() -> Vec<Vector> {
    let (port, _) = ports();
    let hashed = port_to(&pair(Nanos(1)), HASHED, CLIENT, 1);
    let key = flow_key(WEB, CLIENT, port, 6);
    let segment = request(VIP, tcp(port, 80, "AP"));
    let unrecorded = request(VIP, tcp(hashed, 82, "AP"));
    let answer = Frame {
        from: backend_mac(1),
        to: SERVER_LEG_MAC,
        vlan: None,
        source: backend_addr(1),
        destination: CLIENT,
        ttl: 64,
        body: tcp(BACKEND_PORT, port, "AP"),
    };
    let back =
        Frame { from: CLIENT_LEG_MAC, to: CLIENT_MAC, source: VIP, ttl: 63, body: tcp(80, port, "AP"), ..answer.clone() };
    let answers = |name| Vector::new(name).received(SERVER_LEG, answer.bytes());
    vec![
        goes(
            sends("list: what is recorded is not asked", &segment)
                .with(move |tables| record(tables, key, 1))
                .with(deny(WEB, CLIENT, 32)),
            &segment,
            1,
            Reason::ForwardHit,
            NOTHING,
        ),
        sends("list: a segment of a denied client without a record is kept out", &segment)
            .with(move |tables| conceive(tables, key, 1))
            .with(deny(WEB, CLIENT, 32))
            .drops(Reason::Denied),
        sends("list: a virtual server that keeps no records asks every packet", &unrecorded)
            .with(deny(HASHED, CLIENT, 32))
            .drops(Reason::Denied),
        goes(
            sends("list: and lets in whom it may", &unrecorded).with(allow(HASHED, CLIENT, 32)),
            &unrecorded,
            1,
            Reason::ForwardHash,
            NOTHING,
        ),
        answers("list: the answer to a client that is denied now does not make it known again")
            .with(deny(WEB, CLIENT, 32))
            .drops(Reason::Denied),
        answers("list: the answer to a client that is allowed does")
            .with(allow(WEB, CLIENT, 32))
            .leaves(TO_CLIENTS, Reason::ReturnNew, back.bytes())
            .changing(NEW),
        answers("source limit: a connection whose backend speaks first after a takeover is counted")
            .with(limit(WEB, 1, 0))
            .leaves(TO_CLIENTS, Reason::ReturnNew, back.bytes())
            .changing(Changes { sources: 1, ..NEW }),
    ]
}

fn sources() -> Vec<Vector> {
    let (port, port6) = ports();
    let syn = request(VIP, tcp(port, 80, "S"));
    let syn6 = request(VIP6, tcp(port6, 80, "S"));
    let neighbour: IpAddr = "10.1.0.99".parse().expect("an address");
    let neighbour6: IpAddr = "2001:db8:1::ffff".parse().expect("an address");
    let enters = |vector, changes| goes(vector, &syn, 1, Reason::ForwardSyn, changes);
    let first = Changes { sources: 1, ..SYN };
    vec![
        enters(
            sends("source limit: a source that is not known yet is let in and known then", &syn).with(limit(
                WEB,
                1,
                1_000_000_000,
            )),
            first,
        ),
        enters(
            sends("source limit: one connection below the most is let in", &syn)
                .with(limit(WEB, 3, 0))
                .with(known(WEB, CLIENT, 9, 2)),
            SYN,
        ),
        sends("source limit: with the most open, one more is refused", &syn)
            .with(limit(WEB, 3, 0))
            .with(known(WEB, CLIENT, 9, 3))
            .drops(Reason::SourceConnections),
        sends("source limit: all clients of the mask are one source", &syn)
            .with(limit(WEB, 3, 0))
            .with(known(WEB, neighbour, 9, 3))
            .drops(Reason::SourceConnections),
        enters(
            sends("source limit: another virtual server counts for itself", &syn)
                .with(limit(WEB, 3, 0))
                .with(limit(DNS, 3, 0))
                .with(known(DNS, CLIENT, 9, 3)),
            first,
        ),
        sends("source limit: whoever opens too fast is refused", &syn)
            .with(limit(WEB, 0, 100_000_000))
            .with(hurried(WEB, CLIENT))
            .drops(Reason::SourceRate),
        sends("source limit v6: all clients of the mask are one source", &syn6)
            .with(limit(WEB6, 3, 0))
            .with(known(WEB6, neighbour6, 9, 3))
            .drops(Reason::SourceConnections),
    ]
}

fn counted() -> Vec<Vector> {
    let (port, _) = ports();
    let key = flow_key(WEB, CLIENT, port, 6);
    let segment = request(VIP, tcp(port, 80, "AP"));
    let query_port = port_to(&pair(Nanos(1)), DNS, CLIENT, 1);
    let query = request(VIP, udp(query_port, 53));
    let conceived = move |tables: &mut HostTables| conceive(tables, key, 1);
    let new = |vector| goes(vector, &segment, 1, Reason::ForwardNew, NEW);
    vec![
        new(sends("source limit: the ACK of an embryo is counted", &segment)
            .with(limit(WEB, 3, 0))
            .with(known(WEB, CLIENT, 9, 2))
            .with(conceived)),
        sends("source limit: of many SYNs at once only as many get through as may", &segment)
            .with(limit(WEB, 3, 0))
            .with(known(WEB, CLIENT, 9, 3))
            .with(conceived)
            .drops(Reason::SourceConnections),
        new(sends("source limit: the ACK of an embryo is not too fast", &segment)
            .with(limit(WEB, 0, 100_000_000))
            .with(hurried(WEB, CLIENT))
            .with(conceived)),
        new(sends("source limit: a connection of before a takeover goes on and is counted", &segment)
            .with(limit(WEB, 3, 100_000_000))
            .with(known(WEB, CLIENT, 9, 3))),
        goes(
            sends("source limit: a recorded connection goes on whatever its source has open", &segment)
                .with(limit(WEB, 1, 0))
                .with(known(WEB, CLIENT, 9, 7))
                .with(move |tables| record(tables, key, 1)),
            &segment,
            1,
            Reason::ForwardHit,
            NOTHING,
        ),
        goes(
            sends("source limit: without room for its record a connection is not counted", &segment)
                .with(limit(WEB, 3, 0))
                .with(known(WEB, CLIENT, 9, 2))
                .with(fill_flows),
            &segment,
            1,
            Reason::ForwardTableFull,
            NOTHING,
        ),
        sends("source limit udp: a new flow of a source with the most open is refused", &query)
            .with(limit(DNS, 3, 0))
            .with(known(DNS, CLIENT, 9, 3))
            .drops(Reason::SourceConnections),
        goes(
            sends("source limit udp: a flow is counted at its first datagram", &query)
                .with(limit(DNS, 3, 0))
                .with(known(DNS, CLIENT, 9, 2)),
            &query,
            1,
            Reason::ForwardNew,
            NEW,
        ),
    ]
}

fn ends() -> Vec<Vector> {
    let (port, _) = ports();
    let key = flow_key(WEB, CLIENT, port, 6);
    let syn = request(VIP, tcp(port, 80, "S"));
    let segment = request(VIP, tcp(port, 80, "AP"));
    let reset = request(VIP, tcp(port, 80, "RA"));
    let full = known(WEB, CLIENT, 9, 3);
    let counted = move |tables: &mut HostTables| {
        record(tables, key, 1);
        tables.flows.borrow_mut().get_mut(&key).expect("recorded").flags = flow_flags::COUNTED;
    };
    let closed = move |tables: &mut HostTables| {
        record(tables, key, 1);
        let mut flows = tables.flows.borrow_mut();
        let flow = flows.get_mut(&key).expect("recorded");
        (flow.client_tcp, flow.server_tcp, flow.flags) = (tcp_seen::FIN, tcp_seen::FIN, flow_flags::CLOSE_TOLD);
    };
    let second = {
        let mut tables = pair(Nanos(1));
        fail(&mut tables, 1);
        second_choice(&tables, WEB, CLIENT, port)
    };
    vec![
        goes(
            sends("source limit: a connection that ends makes room for one", &reset)
                .with(limit(WEB, 3, 0))
                .with(full)
                .with(counted),
            &reset,
            1,
            Reason::ForwardHit,
            NOTHING,
        ),
        goes(
            sends("source limit: one that was never counted makes none", &reset)
                .with(limit(WEB, 3, 0))
                .with(known(WEB, CLIENT, 9, 3))
                .with(move |tables| record(tables, key, 1)),
            &reset,
            1,
            Reason::ForwardHit,
            NOTHING,
        ),
        goes(
            sends("source limit: a connection that begins anew over one that is over counts again", &syn)
                .with(limit(WEB, 3, 0))
                .with(known(WEB, CLIENT, 9, 2))
                .with(closed),
            &syn,
            1,
            Reason::ForwardNew,
            NOTHING,
        ),
        sends("source limit: and is refused as any other", &syn)
            .with(limit(WEB, 3, 0))
            .with(known(WEB, CLIENT, 9, 3))
            .with(closed)
            .drops(Reason::SourceConnections),
        goes(
            sends("source limit: one that moves to another backend is counted once", &segment)
                .with(limit(WEB, 3, 0))
                .with(known(WEB, CLIENT, 9, 3))
                .with(counted)
                .with(|tables| fail(tables, 1)),
            &segment,
            second,
            Reason::ForwardNew,
            NOTHING,
        ),
    ]
}

fn surges() -> Vec<Vector> {
    let (port, _) = ports();
    let key = flow_key(WEB, CLIENT, port, 6);
    let syn = request(VIP, tcp(port, 80, "S"));
    let segment = request(VIP, tcp(port, 80, "AP"));
    let conceived = move |tables: &mut HostTables| conceive(tables, key, 1);
    vec![
        sends("surge: a service with many connections gets none sooner than at its distance", &syn)
            .with(throttled(true))
            .drops(Reason::Surge),
        goes(sends("surge: and one as soon as that has passed", &syn).with(throttled(false)), &syn, 1, Reason::ForwardSyn, SYN),
        goes(
            sends("surge: a SYN that was let through before and is repeated does not wait", &syn)
                .with(throttled(true))
                .with(conceived),
            &syn,
            1,
            Reason::ForwardSyn,
            NOTHING,
        ),
        goes(
            sends("surge: connections that are there do not wait", &segment)
                .with(throttled(true))
                .with(move |tables| record(tables, key, 1)),
            &segment,
            1,
            Reason::ForwardHit,
            NOTHING,
        ),
        goes(
            sends("surge: nor does the ACK of one whose SYN was let through", &segment).with(throttled(true)).with(conceived),
            &segment,
            1,
            Reason::ForwardNew,
            NEW,
        ),
    ]
}
