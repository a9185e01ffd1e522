//! Second choices, rings with a history, and exceptions.

use ha_common::abi::{Exception, Reason, vserver_flags};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;

use super::forward::{request, translated};
use super::frames::{Frame, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const FLOW: Changes =
    Changes { flows: 1, embryonic: 0, exceptions: 0, reverse: 0, reverse_embryonic: 0, sources: 0, fragments: 0, events: 0 };
const NOTHING: Changes = Changes { flows: 0, ..FLOW };
const EMBRYO: Changes = Changes { embryonic: 1, ..NOTHING };
const EXCEPTION: Changes = Changes { exceptions: 1, ..NOTHING };

fn sends(name: &'static str, frame: &Frame) -> Vector {
    Vector::new(name).received(CLIENT_LEG, frame.bytes())
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    let mut vectors = second_choices(&tables);
    vectors.extend(histories(&tables));
    vectors.extend(exceptions(&tables));
    vectors
}

fn second_choices(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let key = flow_key(WEB, CLIENT, port, 6);
    let mut failed = super::world::pair(Nanos(1));
    fail(&mut failed, 1);
    let second = second_choice(&failed, WEB, CLIENT, port);
    let third = 2 - second;
    let syn = request(VIP, tcp(port, 80, "S"));
    let segment = request(VIP, tcp(port, 80, "A"));
    vec![
        sends("placing: a SYN whose backend is down goes to the client's second choice", &syn)
            .with(|tables| fail(tables, 1))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, second).bytes())
            .changing(EMBRYO),
        sends("placing: a segment whose backend is down goes to the client's second choice", &segment)
            .with(|tables| fail(tables, 1))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, second).bytes())
            .changing(FLOW),
        sends("placing: a recorded flow whose backend is down moves to the second choice", &segment)
            .with(move |tables| {
                record(tables, key, 1);
                fail(tables, 1);
            })
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, second).bytes()),
        sends("placing: an embryo whose backend is down does not hold", &segment)
            .with(move |tables| {
                conceive(tables, key, 1);
                fail(tables, 1);
            })
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, second).bytes())
            .changing(FLOW),
        sends("placing: an embryo holds when its backend's neighbour comes back", &segment)
            .with(move |tables| conceive(tables, key, second))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, second).bytes())
            .changing(FLOW),
        sends("placing: the walk finds the only backend that is up", &segment)
            .with(move |tables| {
                fail(tables, 1);
                fail(tables, second);
            })
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, third).bytes())
            .changing(FLOW),
        sends("placing: with no backend up there is none", &segment)
            .with(|tables| (0..BACKENDS).for_each(|index| fail(tables, index)))
            .drops(Reason::NoBackend),
        sends("placing: without room a second choice is kept as an exception", &segment)
            .with(|tables| {
                fail(tables, 1);
                fill_flows(tables);
            })
            .leaves(TO_SERVERS, Reason::ForwardTableFull, translated(&segment, second).bytes())
            .changing(EXCEPTION),
    ]
}

fn histories(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let syn = request(VIP, tcp(port, 80, "S"));
    let segment = request(VIP, tcp(port, 80, "A"));
    let query = request(VIP, udp(port_to(tables, DNS, CLIENT, 1), 53));
    let hashed_port = port_to(tables, HASHED, CLIENT, 1);
    let hashed_syn = request(VIP, tcp(hashed_port, 82, "S"));
    let hashed = request(VIP, tcp(hashed_port, 82, "A"));
    let moved = |index| move |tables: &mut HostTables| new_ring(tables, index, &[2]);
    let unmoved = request(VIP, tcp(port_to(tables, HASHED, CLIENT, 2), 82, "A"));
    vec![
        sends("history: a segment of an unrecorded flow goes where the ring before said", &segment)
            .with(moved(WEB))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(FLOW),
        sends("history: a SYN goes where the present ring says", &syn)
            .with(moved(WEB))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, 2).bytes())
            .changing(EMBRYO),
        sends("history: the ACK of such a SYN follows it", &segment)
            .with(moved(WEB))
            .with(move |tables| conceive(tables, flow_key(WEB, CLIENT, port, 6), 2))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 2).bytes())
            .changing(FLOW),
        sends("history: an unrecorded datagram goes where the present ring says", &query)
            .with(moved(DNS))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&query, 2).bytes())
            .changing(FLOW),
        sends("history, no flows kept: a segment goes where the ring before said, and is an exception", &hashed)
            .with(moved(HASHED))
            .leaves(TO_SERVERS, Reason::ForwardException, translated(&hashed, 1).bytes())
            .changing(EXCEPTION),
        sends("history, no flows kept: a SYN goes where the present ring says, and is an exception", &hashed_syn)
            .with(moved(HASHED))
            .leaves(TO_SERVERS, Reason::ForwardException, translated(&hashed_syn, 2).bytes())
            .changing(EXCEPTION),
        sends("history, no flows kept: a slot that did not change needs no exception", &unmoved).with(moved(HASHED)).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            translated(&unmoved, 2).bytes(),
        ),
        sends("history: where the backend before is down the present ring decides", &segment)
            .with(moved(WEB))
            .with(|tables| fail(tables, 1))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&segment, 2).bytes())
            .changing(FLOW),
    ]
}

fn exceptions(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, HASHED, CLIENT, 1);
    let key = flow_key(HASHED, CLIENT, port, 6);
    let segment = request(VIP, tcp(port, 82, "A"));
    let syn = request(VIP, tcp(port, 82, "S"));
    let mut failed = super::world::pair(Nanos(1));
    fail(&mut failed, 1);
    let second = second_choice(&failed, HASHED, CLIENT, port);
    let excepted = move |tables: &mut HostTables| {
        tables.vservers[HASHED as usize].flags |= vserver_flags::EXCEPTIONS;
        tables.exceptions.borrow_mut().insert(key, Exception { backend: 0, generation: 1, ..Exception::default() });
    };
    let full = |tables: &mut HostTables| {
        for port in 0..EXCEPTIONS as u16 {
            let other = flow_key(HASHED, STRANGER, port, 6);
            tables.exceptions.borrow_mut().insert(other, Exception::default());
        }
    };
    vec![
        sends("exception: it holds against the ring", &segment).with(excepted).leaves(
            TO_SERVERS,
            Reason::ForwardException,
            translated(&segment, 0).bytes(),
        ),
        sends("exception: it does not hold for a new connection from the same port", &syn).with(excepted).leaves(
            TO_SERVERS,
            Reason::ForwardHash,
            translated(&syn, 1).bytes(),
        ),
        sends("exception: it does not hold when its backend is down", &segment)
            .with(excepted)
            .with(|tables| fail(tables, 0))
            .leaves(TO_SERVERS, Reason::ForwardHash, translated(&segment, 1).bytes()),
        sends("exception: a second choice of a vserver that keeps no flows is one", &segment)
            .with(|tables| fail(tables, 1))
            .leaves(TO_SERVERS, Reason::ForwardException, translated(&segment, second).bytes())
            .changing(EXCEPTION),
        sends("exception: without room for one the choice is counted as such", &segment)
            .with(|tables| fail(tables, 1))
            .with(full)
            .leaves(TO_SERVERS, Reason::ForwardTableFull, translated(&segment, second).bytes()),
        sends("exception: a tracked flow that found no room has one", &request(VIP, tcp(port, 80, "A")))
            .with(fill_flows)
            .with(move |tables| {
                tables.vservers[WEB as usize].flags |= vserver_flags::EXCEPTIONS;
                let key = flow_key(WEB, CLIENT, port, 6);
                let exception = Exception { backend: 0, generation: 1, ..Exception::default() };
                tables.exceptions.borrow_mut().insert(key, exception);
            })
            .leaves(TO_SERVERS, Reason::ForwardTableFull, translated(&request(VIP, tcp(port, 80, "A")), 0).bytes()),
    ]
}
