//! Methods that the ring has no part in, sessions, and backends that take no newcomers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ha_common::abi::{Exception, Ip, NO_BACKEND, Reason, Session, SessionKey, backend_flags, tcp_seen};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;

use super::forward::{request, translated};
use super::frames::{Frame, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const FLOW: Changes = Changes { flows: 1, ..NOTHING };
const NOTHING: Changes =
    Changes { flows: 0, embryonic: 0, exceptions: 0, reverse: 0, reverse_embryonic: 0, sources: 0, fragments: 0, events: 0 };
const EMBRYO: Changes = Changes { embryonic: 1, ..NOTHING };
const EXCEPTION: Changes = Changes { exceptions: 1, ..NOTHING };

/// Another client behind the client's gateway.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 9));

fn sends(name: &'static str, frame: &Frame) -> Vector {
    Vector::new(name).received(CLIENT_LEG, frame.bytes())
}

/// So many newcomers have come before.
fn turns(index: u32, turn: u64) -> impl Fn(&mut HostTables) {
    move |tables| tables.turns[index as usize].set(turn)
}

/// Backend `index` has so many flows.
fn busy(index: u32, open: u64) -> impl Fn(&mut HostTables) {
    move |tables| tables.loads[index as usize].opened = open.into()
}

/// Backend `index` takes so many flows.
fn limited(index: u32, flows_max: u32) -> impl Fn(&mut HostTables) {
    move |tables| tables.backends[index as usize].flows_max = flows_max
}

/// Backend `index` leaves.
fn leaving(index: u32) -> impl Fn(&mut HostTables) {
    move |tables| tables.backends[index as usize].flags |= backend_flags::LEAVING
}

/// Clients known by these addresses belong to a backend.
fn session(index: u32, source: &str, destination: &str, backend: u32) -> (SessionKey, Session) {
    let part = |text: &str| if text.is_empty() { Ip([0; 4]) } else { text.parse::<IpAddr>().expect("an address").into() };
    let key = SessionKey { vserver: index, source: part(source), destination: part(destination) };
    (key, Session { backend, ..Session::default() })
}

fn known((key, session): (SessionKey, Session)) -> impl Fn(&mut HostTables) {
    move |tables| _ = tables.sessions.get_mut().insert(key, session)
}

fn expected((key, session): (SessionKey, Session)) -> impl Fn(&mut HostTables) {
    move |tables| _ = tables.session_embryos.get_mut().insert(key, session)
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    [in_turn(&tables), least(), destinations(&tables), limits(&tables), leavers(&tables), sessions(&tables), counts(&tables)]
        .into_iter()
        .flatten()
        .collect()
}

fn in_turn(tables: &HostTables) -> Vec<Vector> {
    // The ring would say another backend each time.
    let port = port_to(tables, IN_TURN, CLIENT, 0);
    let (syn, segment) = (request(VIP, tcp(port, 93, "S")), request(VIP, tcp(port, 93, "A")));
    let reset = request(VIP, tcp(port, 93, "R"));
    let query = request(VIP, udp(port_to(tables, IN_TURN_UDP, CLIENT, 0), 93));
    let key = flow_key(IN_TURN, CLIENT, port, 6);
    let query_key = flow_key(IN_TURN_UDP, CLIENT, port_to(tables, IN_TURN_UDP, CLIENT, 0), 17);
    let took = move |tables: &mut HostTables| conceive(tables, key, 2);
    vec![
        sends("in turn: a SYN goes to the backend whose turn it is", &syn)
            .with(turns(IN_TURN, 4))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, 1).bytes())
            .changing(EMBRYO),
        sends("in turn: the next SYN goes to the next one", &syn)
            .with(turns(IN_TURN, 5))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, 2).bytes())
            .changing(EMBRYO),
        sends("in turn: numbers of turns are not exhausted", &syn)
            .with(turns(IN_TURN, u64::MAX))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, 0).bytes())
            .changing(EMBRYO),
        sends("in turn: the ACK follows its SYN, takes no turn, and is recorded", &segment)
            .with(turns(IN_TURN, 4))
            .with(took)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 2).bytes())
            .changing(FLOW),
        sends("in turn: without room the ACK's choice is kept as an exception", &segment)
            .with(took)
            .with(fill_flows)
            .leaves(TO_SERVERS, Reason::ForwardTableFull, translated(&segment, 2).bytes())
            .changing(EXCEPTION),
        sends("in turn: such an exception holds", &segment)
            .with(fill_flows)
            .with(move |tables| {
                tables.exceptions.get_mut().insert(key, Exception { backend: 2, generation: 1, ..Exception::default() });
            })
            .leaves(TO_SERVERS, Reason::ForwardTableFull, translated(&segment, 2).bytes()),
        sends("in turn: a segment of which nothing is known goes where the ring says", &segment)
            .with(turns(IN_TURN, 4))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 0).bytes())
            .changing(FLOW),
        sends("in turn: a reset takes no turn", &reset).with(turns(IN_TURN, 4)).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            translated(&reset, 0).bytes(),
        ),
        sends("in turn: one that is down is passed over", &syn)
            .with(turns(IN_TURN, 4))
            .with(|tables| fail(tables, 1))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, 2).bytes())
            .changing(EMBRYO),
        sends("in turn: a list that is not made yet leaves it to the ring", &syn)
            .with(|tables| tables.vservers[IN_TURN as usize].choices = ha_common::abi::Choices::default())
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, 0).bytes())
            .changing(EMBRYO),
        sends("in turn: with no backend up there is none", &syn)
            .with(|tables| (0..BACKENDS).for_each(|index| fail(tables, index)))
            .drops(Reason::NoBackend),
        sends("in turn udp: the first datagram is recorded where its turn is", &query)
            .with(turns(IN_TURN_UDP, 1))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&query, 1).bytes())
            .changing(FLOW),
        sends("in turn udp: a recorded datagram takes no turn", &query)
            .with(turns(IN_TURN_UDP, 1))
            .with(move |tables| record(tables, query_key, 2))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&query, 2).bytes()),
        sends("in turn udp: without room the choice is kept as an exception", &query)
            .with(turns(IN_TURN_UDP, 1))
            .with(fill_flows)
            .leaves(TO_SERVERS, Reason::ForwardTableFull, translated(&query, 1).bytes())
            .changing(EXCEPTION),
    ]
}

fn least() -> Vec<Vector> {
    let (syn, segment) = (request(VIP, tcp(40_000, 94, "S")), request(VIP, tcp(40_000, 94, "A")));
    let weigh = |index: u32, weight: u8| {
        move |tables: &mut HostTables| {
            let base = tables.vservers[LEAST as usize].choices.base() as usize;
            tables.rings[base + index as usize] = ha_common::abi::Choice::new(index, weight).slot();
        }
    };
    let goes = |name, backend: u32| {
        sends(name, &syn).leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, backend).bytes()).changing(EMBRYO)
    };
    vec![
        goes("least: a SYN goes to the backend with the fewest flows", 1).with(busy(0, 3)).with(busy(1, 2)).with(busy(2, 4)),
        goes("least: flows count for less at a heavy backend", 2)
            .with(busy(0, 3))
            .with(busy(1, 2))
            .with(busy(2, 7))
            .with(weigh(2, 3)),
        goes("least: of equals the one whose turn it is", 2).with(turns(LEAST, 5)),
        goes("least: more ends than beginnings are no flows", 0)
            .with(busy(1, 1))
            .with(busy(2, 1))
            .with(|tables| tables.loads[0].closed = 5.into()),
        goes("least: an idle backend that is down is not chosen", 2)
            .with(busy(0, 3))
            .with(busy(2, 2))
            .with(|tables| fail(tables, 1)),
        goes("least: an idle backend that leaves is not chosen", 2).with(busy(0, 3)).with(busy(2, 2)).with(leaving(1)),
        goes("least: a backend that is full is not chosen", 0)
            .with(busy(0, 9))
            .with(busy(1, 2))
            .with(busy(2, 10))
            .with(limited(1, 2)),
        goes("least: a backend that is not quite full is chosen", 1)
            .with(busy(0, 9))
            .with(busy(1, 2))
            .with(busy(2, 10))
            .with(limited(1, 3)),
        sends("least: the ACK follows its SYN whatever has come meanwhile", &segment)
            .with(busy(0, 9))
            .with(|tables| conceive(tables, flow_key(LEAST, CLIENT, 40_000, 6), 0))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 0).bytes())
            .changing(FLOW),
    ]
}

/// A hash that looks at the address that clients speak to.
fn destinations(tables: &HostTables) -> Vec<Vector> {
    let by = |index: u32, client: IpAddr, port: u16| {
        let vserver = &tables.vservers[index as usize];
        let hash =
            ha_common::pipeline::flow_hash(vserver.hash, &client.into(), ha_common::wire::Be16::new(port), &Ip::from(VIP));
        tables.rings[vserver.ring.slot(hash) as usize]
    };
    let goes = |name, index: u32, client: IpAddr, port: u16, to: u16| {
        let syn = Frame { source: client, ..request(VIP, tcp(port, to, "S")) };
        sends(name, &syn)
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, by(index, client, port)).bytes())
            .changing(EMBRYO)
    };
    vec![
        goes("by destination: a client", BY_DESTINATION, CLIENT, 40_000, 97),
        goes("by destination: another client and port, to the same backend", BY_DESTINATION, OTHER, 40_001, 97),
        goes("by both addresses: a client", BY_BOTH, CLIENT, 40_000, 98),
        goes("by both addresses: another port, to the same backend", BY_BOTH, CLIENT, 40_001, 98),
        goes("by both addresses: another client", BY_BOTH, OTHER, 40_000, 98),
    ]
}

fn limits(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let (syn, segment) = (request(VIP, tcp(port, 80, "S")), request(VIP, tcp(port, 80, "A")));
    let query = request(VIP, udp(port_to(tables, DNS, CLIENT, 1), 53));
    let mut failed = super::world::pair(Nanos(1));
    fail(&mut failed, 1);
    let second = second_choice(&failed, WEB, CLIENT, port);
    let second_of_query = second_choice(&failed, DNS, CLIENT, port_to(tables, DNS, CLIENT, 1));
    let full = |index: u32| {
        move |tables: &mut HostTables| {
            busy(index, 2)(tables);
            limited(index, 2)(tables);
        }
    };
    vec![
        sends("limit: a SYN to a full backend goes to the client's second choice", &syn)
            .with(full(1))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, second).bytes())
            .changing(EMBRYO),
        sends("limit: there is room for one more", &syn)
            .with(busy(1, 1))
            .with(limited(1, 2))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, 1).bytes())
            .changing(EMBRYO),
        sends("limit udp: a first datagram to a full backend goes to the second choice", &query)
            .with(full(1))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&query, second_of_query).bytes())
            .changing(FLOW),
        sends("limit: a recorded flow of a full backend goes on", &segment)
            .with(full(1))
            .with(move |tables| record(tables, flow_key(WEB, CLIENT, port, 6), 1))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&segment, 1).bytes()),
        sends("limit: the ACK of a SYN that was in time is recorded", &segment)
            .with(full(1))
            .with(move |tables| conceive(tables, flow_key(WEB, CLIENT, port, 6), 1))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(FLOW),
        sends("limit: nobody takes a SYN when all are full", &syn)
            .with(move |tables| (0..BACKENDS).for_each(|index| full(index)(tables)))
            .drops(Reason::BackendsFull),
        sends("limit: nobody takes a SYN when all that are up are full", &syn)
            .with(full(0))
            .with(|tables| (1..BACKENDS).for_each(|index| fail(tables, index)))
            .drops(Reason::BackendsFull),
        sends("limit: nor one that goes in turn", &request(VIP, tcp(port, 93, "S")))
            .with(move |tables| (0..BACKENDS).for_each(|index| full(index)(tables)))
            .drops(Reason::BackendsFull),
        sends("limit: nor one that goes to the fewest flows", &request(VIP, tcp(port, 94, "S")))
            .with(move |tables| (0..BACKENDS).for_each(|index| full(index)(tables)))
            .drops(Reason::BackendsFull),
    ]
}

fn leavers(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let (syn, segment) = (request(VIP, tcp(port, 80, "S")), request(VIP, tcp(port, 80, "A")));
    let mut failed = super::world::pair(Nanos(1));
    fail(&mut failed, 1);
    let second = second_choice(&failed, WEB, CLIENT, port);
    let hashed_port = port_to(tables, HASHED, CLIENT, 1);
    let [hashed_syn, hashed] = ["S", "A"].map(|flags| request(VIP, tcp(hashed_port, 82, flags)));
    let hashed_second = second_choice(&failed, HASHED, CLIENT, hashed_port);
    let noted = |tables: &mut HostTables| {
        tables.vservers[HASHED as usize].flags |= ha_common::abi::vserver_flags::EXCEPTIONS;
        leaving(1)(tables);
    };
    vec![
        sends("leaving: a SYN goes to the client's second choice", &syn)
            .with(leaving(1))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, second).bytes())
            .changing(EMBRYO),
        sends("leaving: a recorded flow goes on", &segment)
            .with(leaving(1))
            .with(move |tables| record(tables, flow_key(WEB, CLIENT, port, 6), 1))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&segment, 1).bytes()),
        sends("leaving: the ACK of a SYN that was in time is recorded", &segment)
            .with(leaving(1))
            .with(move |tables| conceive(tables, flow_key(WEB, CLIENT, port, 6), 1))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(FLOW),
        sends("leaving: a segment that is not recorded goes on where the ring says", &segment)
            .with(leaving(1))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(FLOW),
        sends("leaving, no flows kept: a segment goes on", &hashed).with(noted).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            translated(&hashed, 1).bytes(),
        ),
        sends("leaving, no flows kept: a SYN goes to the second choice, and is an exception", &hashed_syn)
            .with(noted)
            .leaves(TO_SERVERS, Reason::ForwardException, translated(&hashed_syn, hashed_second).bytes())
            .changing(EXCEPTION),
        sends("leaving: nobody takes a SYN when the last backend leaves", &syn)
            .with(|tables| (0..BACKENDS).for_each(|index| leaving(index)(tables)))
            .drops(Reason::NoBackend),
    ]
}

fn sessions(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, SESSIONED, CLIENT, 1);
    let [syn, segment, reset] = ["S", "A", "R"].map(|flags| request(VIP, tcp(port, 95, flags)));
    let here = |backend| session(SESSIONED, "10.1.0.1", "", backend);
    let pair_of = |backend| session(SESSIONED_IN_TURN, "10.1.0.0", "10.1.0.0", backend);
    let turn_syn = request(VIP, tcp(port, 96, "S"));
    let other_syn = Frame { source: OTHER, ..turn_syn.clone() };
    let syn6 = request(VIP6, tcp(port_to(tables, SESSIONED6, CLIENT6, FIRST6), 95, "S"));
    let net6 = session(SESSIONED6, "2001:db8:1::", "", FIRST6 + 2);
    let query = request(VIP, udp(port_to(tables, SESSIONED_UDP, CLIENT, 1), 95));
    let key = flow_key(SESSIONED, CLIENT, port, 6);
    let from_far = Frame { source: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 7, 7, 7, 7)), ..syn6.clone() };
    let goes = |name, backend: u32| {
        sends(name, &syn).leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, backend).bytes()).changing(EMBRYO)
    };
    let confirmed = |name, backend: u32| {
        sends(name, &segment).leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, backend).bytes()).changing(FLOW)
    };
    let full = |tables: &mut HostTables| {
        for last in 0..SESSIONS as u8 {
            known(session(SESSIONED, &format!("10.77.0.{last}"), "", 0))(tables);
        }
    };
    vec![
        goes("session: a SYN of an unknown client goes where the ring says, and is expected", 1).sessions(0, 1),
        goes("session: a SYN of a known client goes to its backend", 2).with(known(here(2))).sessions(0, 1),
        goes("session: a second SYN of a client that is not confirmed yet follows the first", 0).with(expected(here(0))),
        goes("session: what is known counts for more than what is expected", 2).with(known(here(2))).with(expected(here(0))),
        goes("session: of another virtual server it says nothing", 1)
            .with(known(session(SESSIONED_UDP, "10.1.0.1", "", 2)))
            .sessions(0, 1),
        confirmed("session: a flow that is recorded begins one", 1).sessions(1, 0),
        confirmed("session: a flow that is recorded confirms the one that its SYN began", 0)
            .with(expected(here(0)))
            .with(move |tables| conceive(tables, key, 0))
            .sessions(1, -1),
        confirmed("session: a segment whose SYN was forgotten goes to its client's backend", 2).with(known(here(2))),
        sends("session: a reset of nobody's begins none", &reset).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            translated(&reset, 1).bytes(),
        ),
        sends("session: without room for it the flow goes on", &segment)
            .with(full)
            .leaves(TO_SERVERS, Reason::ForwardNoSession, translated(&segment, 1).bytes())
            .changing(FLOW),
        goes("session: a client whose backend is down is placed anew", 1)
            .with(known(here(2)))
            .with(|tables| fail(tables, 2))
            .sessions(0, 1),
        confirmed("session: and belongs to the new one then", 1).with(known(here(2))).with(|tables| fail(tables, 2)),
        sends("session: a recorded flow that moves takes its client along", &segment)
            .with(known(here(2)))
            .with(move |tables| {
                record(tables, key, 2);
                fail(tables, 2);
            })
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 1).bytes()),
        goes("session: a client whose backend leaves is placed anew", 1).with(known(here(2))).with(leaving(2)).sessions(0, 1),
        goes("session: a client whose backend is full is placed anew", 1)
            .with(known(here(2)))
            .with(busy(2, 1))
            .with(limited(2, 1))
            .sessions(0, 1),
        goes("session: with a backend that there is not it says nothing", 1).with(known(here(NO_BACKEND))).sessions(0, 1),
        sends("session: who is known takes no turn", &turn_syn)
            .with(known(pair_of(2)))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&turn_syn, 2).bytes())
            .changing(EMBRYO)
            .sessions(0, 1),
        sends("session: others of the same network belong to it", &other_syn)
            .with(known(pair_of(2)))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&other_syn, 2).bytes())
            .changing(EMBRYO)
            .sessions(0, 1),
        sends("session: with another destination it says nothing", &turn_syn)
            .with(known(session(SESSIONED_IN_TURN, "10.1.0.0", "10.9.0.0", 2)))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&turn_syn, 0).bytes())
            .changing(EMBRYO)
            .sessions(0, 1),
        sends("session v6: a client of a known network goes to its backend", &from_far)
            .with(known(net6))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&from_far, FIRST6 + 2).bytes())
            .changing(EMBRYO)
            .sessions(0, 1),
        sends("session udp: the first datagram begins one", &query)
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&query, 1).bytes())
            .changing(FLOW)
            .sessions(1, 0),
    ]
}

/// What is counted of flows: both sides of these vectors have to agree on every load.
fn counts(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let key = flow_key(WEB, CLIENT, port, 6);
    let [syn, fin, reset] = ["S", "FA", "RA"].map(|flags| request(VIP, tcp(port, 80, flags)));
    let over = move |tables: &mut HostTables| {
        record(tables, key, 0);
        let mut flows = tables.flows.borrow_mut();
        let flow = flows.get_mut(&key).expect("recorded");
        (flow.client_tcp, flow.server_tcp, flow.flags) = (tcp_seen::FIN, tcp_seen::FIN, ha_common::abi::flow_flags::CLOSE_TOLD);
    };
    vec![
        sends("count: a flow that begins anew over one that is over is one more", &syn)
            .with(over)
            .with(busy(0, 3))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&syn, 1).bytes())
            .counting(0, 3)
            .counting(1, 1),
        sends("count: a flow that is reset is one less", &reset)
            .with(move |tables| record(tables, key, 1))
            .with(busy(1, 3))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&reset, 1).bytes())
            .counting(1, 2),
        sends("count: one side's end is none", &fin)
            .with(move |tables| record(tables, key, 1))
            .with(busy(1, 3))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&fin, 1).bytes())
            .counting(1, 3),
        sends("count: a flow whose backend is down is another's", &request(VIP, tcp(port, 80, "A")))
            .with(move |tables| {
                record(tables, key, 0);
                fail(tables, 0);
            })
            .with(busy(0, 3))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&request(VIP, tcp(port, 80, "A")), 1).bytes())
            .counting(0, 2)
            .counting(1, 1),
    ]
}
