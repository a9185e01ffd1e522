//! Conversations whose backend, or whose virtual server, is down: cut off with a reset, or going on.

use std::net::IpAddr;

use etherparse::{IpNumber, TcpHeader};
use ha_common::abi::{CUT_OFF, Exception, FlowKey, IcmpBudget, Reason, backend_flags, tcp_seen, vserver_flags};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::{Nanos, Ticks};

use super::forward::{request, translated};
use super::frames::{Body, Frame, tcp, udp};
use super::returning::answer;
use super::world::*;
use super::{Changes, Vector, direct, returning};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const FLOW: Changes =
    Changes { flows: 1, embryonic: 0, exceptions: 0, reverse: 0, reverse_embryonic: 0, sources: 0, fragments: 0, events: 0 };
const NOTHING: Changes = Changes { flows: 0, ..FLOW };
const EMBRYO: Changes = Changes { embryonic: 1, ..NOTHING };
const PORT: u16 = 40_000;
/// What every segment here says it has, and what it has got.
const SEQUENCE: u32 = 0x0102_0304;
const ACKNOWLEDGED: u32 = 0x0506_0708;
/// Why a connection was cut off, in the window of its reset.
const CUT: u16 = 9301;

/// The reset that answers `segment`: with this number, or acknowledging this.
pub fn reset(segment: &Frame, number: Result<u32, u32>, window: u16) -> Frame {
    let Body::Tcp { source, destination, .. } = segment.body else { panic!("{segment:?} is no segment") };
    let mut header = TcpHeader::new(destination, source, number.unwrap_or(0), window);
    header.rst = true;
    if let Err(acknowledged) = number {
        header.ack = true;
        header.acknowledgment_number = acknowledged;
    }
    header.checksum = match (segment.destination, segment.source) {
        (IpAddr::V4(from), IpAddr::V4(to)) => header.calc_checksum_ipv4_raw(from.octets(), to.octets(), &[]),
        (IpAddr::V6(from), IpAddr::V6(to)) => header.calc_checksum_ipv6_raw(from.octets(), to.octets(), &[]),
        families => panic!("one packet, two families: {families:?}"),
    }
    .expect("a small packet");
    Frame {
        from: segment.to,
        to: segment.from,
        source: segment.destination,
        destination: segment.source,
        ttl: 64,
        body: Body::Other(IpNumber::TCP, header.to_bytes().to_vec()),
        ..segment.clone()
    }
}

fn mark(tables: &mut HostTables, index: u32, flags: u32) {
    tables.vservers[index as usize].flags |= flags;
}

/// The virtual server is down, and of these.
fn down(index: u32, flags: u32) -> impl Fn(&mut HostTables) + Clone {
    move |tables| mark(tables, index, vserver_flags::DOWN | flags)
}

/// The client's flow from [`PORT`] with `index` is recorded with `backend`.
fn known(index: u32, client: IpAddr, backend: u32) -> impl Fn(&mut HostTables) {
    move |tables| record(tables, flow_key(index, client, PORT, 6), backend)
}

/// The daemon has noted that it was cut off.
fn cut(index: u32, client: IpAddr, backend: u32) -> impl Fn(&mut HostTables) {
    move |tables| {
        mark(tables, index, vserver_flags::CUTS_OFF);
        record(tables, flow_key(index, client, PORT, 6), backend | CUT_OFF);
    }
}

/// As many resets as `credit` is worth are sent.
fn ration_resets(credit: u64) -> impl Fn(&mut HostTables) {
    move |tables| {
        tables.node.reset_cost = 100_000;
        let refilled_at = tables.now.get() + std::time::Duration::from_secs(60);
        *tables.reset_budget.get_mut() = IcmpBudget { credit, refilled_at, refilled_in: Ticks(u64::MAX) };
    }
}

fn sends(name: &'static str, frame: &Frame) -> Vector {
    Vector::new(name).received(CLIENT_LEG, frame.bytes())
}

fn is_reset(name: &'static str, frame: &Frame, reason: Reason, reset: Frame) -> Vector {
    sends(name, frame).leaves(Action::Transmit, reason, reset.bytes())
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = down_state_reset();
    vectors.extend(cut_off_by_flags());
    vectors.extend(cut_off_by_record());
    vectors.extend(from_backends());
    vectors.extend(kept());
    vectors
}

fn down_state_reset() -> Vec<Vector> {
    let syn = request(VIP, tcp(PORT, 80, "S"));
    let syn6 = request(VIP6, tcp(PORT, 80, "S"));
    let segment = request(VIP, tcp(PORT, 80, "AP"));
    let silent = request(VIP, tcp(PORT, 80, "F"));
    let segment6 = request(VIP6, tcp(PORT, 80, "FA"));
    let tagged = Frame { vlan: Some(VLAN), ..syn.clone() };
    let data = 18;
    let resets = vserver_flags::RESETS | vserver_flags::CUTS_OFF;
    let told = |name, frame: &Frame, number| is_reset(name, frame, Reason::ResetDown, reset(frame, number, 0));
    vec![
        sends("down: a SYN to a virtual server that is down gets no answer", &syn)
            .with(down(WEB, 0))
            .drops(Reason::VserverDown),
        told("down reset: a SYN is answered with a reset that acknowledges it", &syn, Err(SEQUENCE + 1))
            .with(down(WEB, resets)),
        told("down reset v6: a SYN, too", &syn6, Err(SEQUENCE + 1)).with(down(WEB6, resets)),
        told("down reset: in its VLAN", &tagged, Err(SEQUENCE + 1)).with(down(WEB_VLAN, resets)),
        told("down reset: a segment is answered with what it expects next", &segment, Ok(ACKNOWLEDGED)).with(down(WEB, resets)),
        told("down reset v6: a segment, too", &segment6, Ok(ACKNOWLEDGED)).with(down(WEB6, resets)),
        told("down reset: one that acknowledges nothing is acknowledged, FIN and all", &silent, Err(SEQUENCE + data + 1))
            .with(down(WEB, resets)),
        told(
            "down reset: one of a virtual server that keeps no flows, too",
            &request(VIP, tcp(PORT, 82, "S")),
            Err(SEQUENCE + 1),
        )
        .with(down(HASHED, resets)),
        told("down reset: the last one that the rate allows is sent", &syn, Err(SEQUENCE + 1))
            .with(down(WEB, resets))
            .with(ration_resets(100_000)),
        sends("down reset: the next one is not", &syn)
            .with(down(WEB, resets))
            .with(ration_resets(99_999))
            .drops(Reason::ResetLimited),
        told("down reset: errors and echoes do not use up its rate", &syn, Err(SEQUENCE + 1))
            .with(down(WEB, resets))
            .with(|tables| ration(tables, 100_000, 0)),
        sends("down reset: a reset is not answered with one", &request(VIP, tcp(PORT, 80, "R")))
            .with(down(WEB, resets))
            .drops(Reason::VserverDown),
        sends("down reset: a datagram has none", &request(VIP, udp(PORT, 53)))
            .with(down(DNS, resets))
            .drops(Reason::VserverDown),
        sends("down reset: a SYN to one that is up goes on", &syn)
            .with(|tables| mark(tables, WEB, vserver_flags::RESETS))
            .leaves(TO_SERVERS, Reason::ForwardSyn, translated(&syn, placed(&pair(Nanos(1)), WEB, CLIENT, PORT)).bytes())
            .changing(EMBRYO),
        sends("down reset: a packet at its last hop learns nothing", &Frame { ttl: 1, ..syn.clone() })
            .with(down(WEB, resets))
            .drops(Reason::VserverDown),
        sends("down reset: not on the node that does not serve", &syn)
            .with(down(WEB, resets))
            .with(step_down)
            .with(|tables| tables.interfaces.retain(|&ifindex, _| ifindex != HA_LINK))
            .drops(Reason::StrayNoPeer),
    ]
}

fn cut_off_by_flags() -> Vec<Vector> {
    use vserver_flags::{CUTS_OFF, KEEPS, RESETS};
    let segment = request(VIP, tcp(PORT, 80, "AP"));
    let segment6 = request(VIP6, tcp(PORT, 80, "A"));
    let syn = request(VIP, tcp(PORT, 80, "S"));
    let rst = request(VIP, tcp(PORT, 80, "R"));
    let owned = request(VIP, tcp(PORT, 81, "A"));
    let gone = |name, frame: &Frame| is_reset(name, frame, Reason::ResetCutOff, reset(frame, Ok(ACKNOWLEDGED), CUT));
    let fails = |index: u32| move |tables: &mut HostTables| fail(tables, index);
    let backend = |index: u32, flags| move |tables: &mut HostTables| tables.backends[index as usize].flags |= flags;
    let placed_at = placed(&pair(Nanos(1)), WEB, CLIENT, PORT);
    let mut failed = pair(Nanos(1));
    fail(&mut failed, placed_at);
    let second = second_choice(&failed, WEB, CLIENT, PORT);
    vec![
        gone("cut off: a segment of a flow whose virtual server went down is answered with a reset that says why", &segment)
            .with(known(WEB, CLIENT, 1))
            .with(down(WEB, CUTS_OFF)),
        gone("cut off v6: the same", &segment6).with(known(WEB6, CLIENT6, FIRST6)).with(down(WEB6, CUTS_OFF)),
        gone("cut off: a segment of a flow whose backend went down", &segment)
            .with(known(WEB, CLIENT, 1))
            .with(|tables| mark(tables, WEB, CUTS_OFF))
            .with(fails(1)),
        gone("cut off: by the backend's setting alone", &segment)
            .with(known(WEB, CLIENT, 1))
            .with(|tables| mark(tables, WEB, KEEPS))
            .with(backend(1, backend_flags::CUTS_OFF))
            .with(fails(1)),
        gone("cut off: by the virtual server's setting alone", &segment)
            .with(known(WEB, CLIENT, 1))
            .with(|tables| mark(tables, WEB, CUTS_OFF))
            .with(backend(1, backend_flags::KEEPS))
            .with(fails(1)),
        gone("cut off: where the backend answers past this node, the client is told as well", &owned)
            .with(known(DIRECT, CLIENT, 1))
            .with(down(DIRECT, CUTS_OFF)),
        gone("cut off: a flow whose service was removed", &segment).with(known(WEB, CLIENT, 1)).with(|tables| {
            mark(tables, WEB, CUTS_OFF);
            tables.backends[1] = ha_common::abi::Backend::default();
        }),
        sends("cut off: above the rate nobody is told", &segment)
            .with(known(WEB, CLIENT, 1))
            .with(down(WEB, CUTS_OFF))
            .with(ration_resets(0))
            .drops(Reason::ResetLimited),
        sends("cut off: a client's own reset goes to the backend, down or not", &rst)
            .with(known(WEB, CLIENT, 1))
            .with(down(WEB, CUTS_OFF))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&rst, 1).bytes()),
        sends("cut off: a new connection from the same port begins elsewhere", &syn)
            .with(known(WEB, CLIENT, placed_at))
            .with(|tables| mark(tables, WEB, CUTS_OFF))
            .with(fails(placed_at))
            .leaves(TO_SERVERS, Reason::ForwardNew, translated(&syn, second).bytes()),
        sends("cut off: to a virtual server that is down it does not", &syn)
            .with(known(WEB, CLIENT, 1))
            .with(down(WEB, CUTS_OFF))
            .drops(Reason::VserverDown),
        is_reset("cut off: and is told so where that is wanted", &syn, Reason::ResetDown, reset(&syn, Err(SEQUENCE + 1), 0))
            .with(known(WEB, CLIENT, 1))
            .with(down(WEB, CUTS_OFF | RESETS)),
        sends("cut off: what is silent cuts nothing off", &segment)
            .with(known(WEB, CLIENT, 1))
            .with(backend(1, backend_flags::CUTS_OFF))
            .with(fails(1))
            .with(down(WEB, 0))
            .drops(Reason::VserverDown),
        sends("cut off: a datagram goes to another backend", &request(VIP, udp(PORT, 53)))
            .with(move |tables| {
                let key = flow_key(DNS, CLIENT, PORT, 17);
                let backend = placed(tables, DNS, CLIENT, PORT);
                record(tables, key, backend);
                mark(tables, DNS, CUTS_OFF);
                fail(tables, backend);
            })
            .leaves(TO_SERVERS, Reason::ForwardNew, {
                let mut failed = pair(Nanos(1));
                let backend = placed(&failed, DNS, CLIENT, PORT);
                fail(&mut failed, backend);
                translated(&request(VIP, udp(PORT, 53)), second_choice(&failed, DNS, CLIENT, PORT)).bytes()
            }),
        sends("cut off: an exception of a virtual server that keeps no flows moves as ever", &request(VIP, tcp(PORT, 82, "A")))
            .with(|tables| {
                mark(tables, HASHED, CUTS_OFF | vserver_flags::EXCEPTIONS);
                let exception = Exception { backend: 1, generation: 1, seen: Ticks(5) };
                tables.exceptions.get_mut().insert(flow_key(HASHED, CLIENT, PORT, 6), exception);
            })
            .leaves(TO_SERVERS, Reason::ForwardException, translated(&request(VIP, tcp(PORT, 82, "A")), 1).bytes()),
    ]
}

fn cut_off_by_record() -> Vec<Vector> {
    let segment = request(VIP, tcp(PORT, 80, "AP"));
    let fin = request(VIP, tcp(PORT, 80, "FA"));
    let rst = request(VIP, tcp(PORT, 80, "R"));
    let syn = request(VIP, tcp(PORT, 80, "S"));
    let gone = |name, frame: &Frame| is_reset(name, frame, Reason::ResetCutOff, reset(frame, Ok(ACKNOWLEDGED), CUT));
    let logged = |tables: &mut HostTables| mark(tables, WEB, vserver_flags::LOGGED);
    vec![
        gone("cut off before: a segment is answered with a reset although all is up again", &segment).with(cut(WEB, CLIENT, 1)),
        gone("cut off before: a FIN, too", &fin).with(cut(WEB, CLIENT, 1)),
        gone("cut off before: whoever logs flows is told that it is over", &segment)
            .with(cut(WEB, CLIENT, 1))
            .with(logged)
            .changing(Changes { events: 1, ..NOTHING }),
        sends("cut off before: a client's own reset goes to the backend", &rst).with(cut(WEB, CLIENT, 1)).leaves(
            TO_SERVERS,
            Reason::ForwardHit,
            translated(&rst, 1).bytes(),
        ),
        sends("cut off before: a new connection from the same port begins", &syn).with(cut(WEB, CLIENT, 1)).leaves(
            TO_SERVERS,
            Reason::ForwardNew,
            translated(&syn, placed(&pair(Nanos(1)), WEB, CLIENT, PORT)).bytes(),
        ),
    ]
}

fn from_backends() -> Vec<Vector> {
    let says = |name, frame: &Frame| Vector::new(name).received(SERVER_LEG, frame.bytes());
    let gone = |name, frame: &Frame| {
        says(name, frame).leaves(Action::Transmit, Reason::ResetCutOff, reset(frame, Ok(ACKNOWLEDGED), CUT).bytes())
    };
    let segment = answer(1, CLIENT, tcp(BACKEND_PORT, PORT, "AP"));
    let segment6 = answer(FIRST6, CLIENT6, tcp(BACKEND_PORT, PORT, "A"));
    let rst = answer(1, CLIENT, tcp(BACKEND_PORT, PORT, "R"));
    let masked = answer(HIDDEN, SNIP, tcp(BACKEND_PORT, PORTS.0, "A"));
    let hidden = |tables: &mut HostTables| {
        let key = flow_key(MASKED, CLIENT, PORT, 6);
        record_masked(tables, key, HIDDEN, PORTS.0);
        cut_in_place(tables, &key);
    };
    vec![
        gone("cut off: a backend that goes on speaking is told, too", &segment).with(cut(WEB, CLIENT, 1)),
        gone("cut off v6: a backend, too", &segment6).with(cut(WEB6, CLIENT6, FIRST6)),
        gone("cut off: a backend that does not see its clients is told by whom it sees", &masked).with(hidden),
        says("cut off: a backend's own reset goes to the client", &rst).with(cut(WEB, CLIENT, 1)).leaves(
            Action::Redirect(CLIENT_LEG),
            Reason::ReturnHit,
            returning::translated(&rst, VIP, 80).bytes(),
        ),
        says("cut off: above the rate a backend is not told", &segment)
            .with(cut(WEB, CLIENT, 1))
            .with(ration_resets(0))
            .drops(Reason::ResetLimited),
        says("cut off: nor by the node that does not serve", &segment)
            .with(cut(WEB, CLIENT, 1))
            .with(step_down)
            .with(|tables| tables.interfaces.retain(|&ifindex, _| ifindex != HA_LINK))
            .drops(Reason::StrayNoPeer),
    ]
}

fn cut_in_place(tables: &mut HostTables, key: &FlowKey) {
    tables.flows.get_mut().get_mut(key).expect("recorded").backend |= CUT_OFF;
}

fn kept() -> Vec<Vector> {
    use vserver_flags::{KEEPS, RESETS};
    let segment = request(VIP, tcp(PORT, 80, "AP"));
    let syn = request(VIP, tcp(PORT, 80, "S"));
    let owned = request(VIP, tcp(PORT, 81, "A"));
    let answered = answer(1, CLIENT, tcp(BACKEND_PORT, PORT, "AP"));
    let query = request(VIP, udp(PORT, 53));
    let keeps = |index: u32, backend: u32| {
        move |tables: &mut HostTables| {
            mark(tables, index, KEEPS);
            tables.backends[backend as usize].flags |= backend_flags::KEEPS;
            fail(tables, backend);
        }
    };
    let over = |tables: &mut HostTables| {
        let key = flow_key(WEB, CLIENT, PORT, 6);
        let flow = tables.flows.get_mut().get_mut(&key).expect("recorded");
        (flow.client_tcp, flow.server_tcp) = (tcp_seen::FIN, tcp_seen::FIN);
    };
    vec![
        sends("kept: a flow whose backend went down goes on", &segment).with(known(WEB, CLIENT, 1)).with(keeps(WEB, 1)).leaves(
            TO_SERVERS,
            Reason::ForwardHit,
            translated(&segment, 1).bytes(),
        ),
        sends("kept: and so it does when nothing is up", &segment)
            .with(known(WEB, CLIENT, 1))
            .with(keeps(WEB, 1))
            .with(down(WEB, 0))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&segment, 1).bytes()),
        sends("kept: or when its virtual server was taken out of use", &segment)
            .with(known(WEB, CLIENT, 1))
            .with(down(WEB, KEEPS))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&segment, 1).bytes()),
        sends("kept: where the backend answers past this node, too", &owned)
            .with(known(DIRECT, CLIENT, 1))
            .with(keeps(DIRECT, 1))
            .leaves(TO_SERVERS, Reason::ForwardHit, direct::redirected(&owned, 1).bytes()),
        sends("kept: a datagram's as well", &query)
            .with(|tables| record(tables, flow_key(DNS, CLIENT, PORT, 17), 1))
            .with(keeps(DNS, 1))
            .leaves(TO_SERVERS, Reason::ForwardHit, translated(&query, 1).bytes()),
        Vector::new("kept: its answers return")
            .received(SERVER_LEG, answered.bytes())
            .with(known(WEB, CLIENT, 1))
            .with(keeps(WEB, 1))
            .with(down(WEB, 0))
            .leaves(Action::Redirect(CLIENT_LEG), Reason::ReturnHit, returning::translated(&answered, VIP, 80).bytes()),
        sends("kept: a new connection does not begin at what is down", &request(VIP, tcp(PORT + 1, 80, "S")))
            .with(keeps(WEB, 1))
            .with(down(WEB, 0))
            .drops(Reason::VserverDown),
        is_reset("kept: and is told so where that is wanted", &syn, Reason::ResetDown, reset(&syn, Err(SEQUENCE + 1), 0))
            .with(keeps(WEB, 1))
            .with(down(WEB, RESETS)),
        sends("kept: nor does it from the port of one that is over", &syn)
            .with(known(WEB, CLIENT, 1))
            .with(over)
            .with(keeps(WEB, 1))
            .with(down(WEB, 0))
            .drops(Reason::VserverDown),
    ]
}
