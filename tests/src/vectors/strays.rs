//! Frames for floating addresses on the node that does not serve, and what the node that serves makes of them.

use std::hash::Hasher;
use std::time::Duration;

use ha_common::abi::{Key, Reason, StrayBudget, Term};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;
use siphasher::sip128::{Hasher128, SipHasher24};

use super::echo::reply;
use super::forward::{request, translated};
use super::frames::{Body, Frame, Mac, echo, tcp, udp};
use super::neighbour::{question, solicit};
use super::returning::answer;
use super::world::*;
use super::{Changes, Vector};

const PORT: u16 = 3005;
const VERSION_KIND: u8 = 0x11;
/// What the node's own life and its peer's are called in [`super::world`].
const NONCES: [u64; 2] = [0xaaaa_1111_aaaa_1111, 0xbbbb_2222_bbbb_2222];
const TX: Key = Key { k0: 0x1111, k1: 0x2222, id: 1 };
const RX: Key = Key { k0: 0x3333, k1: 0x4444, id: 2 };

/// The UDP payload that carries `inner`.
fn payload(key: Key, sender: u64, receiver: u64, sequence: u32, leg: u8, inner: &[u8]) -> Vec<u8> {
    let mut tail = sequence.to_le_bytes().to_vec();
    tail.extend([VERSION_KIND, leg]);
    let mut signed = inner[..inner.len().min(56)].to_vec();
    if signed.len() < 56 && !signed.len().is_multiple_of(8) {
        let whole = signed.len() / 8 * 8;
        let last = signed[signed.len() - 8..].to_vec();
        signed.truncate(whole);
        signed.extend(last);
    }
    let mut hash = SipHasher24::new_with_keys(key.k0, key.k1);
    hash.write(&sender.to_le_bytes());
    hash.write(&receiver.to_le_bytes());
    hash.write(&tail);
    hash.write(&(inner.len() as u16).to_le_bytes());
    hash.write(&signed);
    [&hash.finish128().h1.to_le_bytes()[..], &tail, inner].concat()
}

/// `inner`, which came in on `leg`, on its way from this node to the peer.
pub fn sent(leg: u8, inner: &[u8]) -> Vec<u8> {
    let data = payload(TX, NONCES[0], NONCES[1], 1, leg, inner);
    between(HA_LINK_MAC, PEER_MAC, NSIP, PEER_NSIP, data)
}

/// `inner`, which came in on the peer's `leg`, on its way to this node.
pub fn carried(leg: u8, inner: &[u8]) -> Vec<u8> {
    let data = payload(RX, NONCES[1], NONCES[0], 77, leg, inner);
    between(PEER_MAC, HA_LINK_MAC, PEER_NSIP, NSIP, data)
}

fn between(from: Mac, to: Mac, source: std::net::Ipv4Addr, destination: std::net::Ipv4Addr, data: Vec<u8>) -> Vec<u8> {
    let body = Body::Udp { source: PORT, destination: PORT, summed: false, data };
    let frame = Frame { from, to, vlan: None, source: source.into(), destination: destination.into(), ttl: 64, body };
    // Strays are not fragmented; etherparse's header asks for the same.
    frame.bytes()
}

/// This node does not serve, and hears its peer, which does.
pub fn standing_by(tables: &mut HostTables) {
    step_down(tables);
    let mut link = tables.links[0].borrow_mut();
    link.request_at = tables.now.get() - Duration::from_millis(10);
    link.peer_mac = u64::from_be_bytes([0, 0, PEER_MAC[0], PEER_MAC[1], PEER_MAC[2], PEER_MAC[3], PEER_MAC[4], PEER_MAC[5]]);
    drop(link);
    *tables.stray_budget.borrow_mut() = StrayBudget { tokens: 10, refilled_at: tables.now.get(), seq: 0 };
}

#[test]
fn a_stray_is_counted_by_its_leg() {
    for vector in sending() {
        let outcome = vector.run_on_host(&vector.tables(Nanos(10_000_000_000)));
        assert_eq!(outcome.stray_legs.iter().sum::<u64>(), 1);
    }
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = sending();
    vectors.extend(not_sending());
    vectors.extend(receiving());
    vectors.extend(refusing());
    vectors
}

fn sending() -> Vec<Vector> {
    let to_peer = Action::Redirect(HA_LINK);
    let port = port_to(&super::world::pair(Nanos(1)), WEB, CLIENT, 1);
    let segment = request(VIP, tcp(port, 80, "AP"));
    let short = request(VIP, tcp(port, 80, "S"));
    let refresh = super::frames::Arp { to: CLIENT_LEG_MAC, ..question(VIP) };
    let unicast6 = Frame { to: CLIENT_LEG_MAC, destination: VIP6, ..solicit(VIP6, Some(CLIENT_MAC)) };
    let from_backend = answer(1, CLIENT, tcp(BACKEND_PORT, port, "A"));
    let tagged = Frame { vlan: Some(VLAN), ..segment.clone() };
    let full = Body::Tcp { source: port, destination: 80, flags: "A", data: vec![7; 1460] };
    let full = request(VIP, full);
    let comes = |name, ifindex, bytes: Vec<u8>| Vector::new(name).with(standing_by).received(ifindex, bytes);
    let goes = |name, leg: u8, bytes: Vec<u8>| {
        let ifindex = LEGS[usize::from(leg)].1;
        comes(name, ifindex, bytes.clone()).leaves(to_peer, Reason::StraySent, sent(leg, &bytes))
    };
    vec![
        goes("stray: a client's segment goes to the peer", 0, segment.bytes()),
        goes("stray: a frame shorter than what is signed goes to the peer", 0, short.bytes()),
        goes("stray: an ARP request to this station goes to the peer", 0, refresh.bytes()),
        goes("stray: an ARP request without padding goes to the peer", 0, refresh.bytes()[..42].to_vec()),
        goes("stray: a solicitation to this station goes to the peer", 0, unicast6.bytes()),
        goes("stray: a backend's answer goes to the peer", 1, from_backend.bytes()),
        goes("stray: a ping goes to the peer", 0, request(VIP, echo(VIP, false)).bytes()),
        goes("stray: a packet to a port without a vserver goes to the peer", 0, request(VIP, tcp(1, 9, "S")).bytes()),
        goes("stray: a tagged segment goes to the peer", 0, tagged.bytes()),
        goes("stray: a segment of full size goes to the peer", 0, full.bytes()),
    ]
}

fn not_sending() -> Vec<Vector> {
    let port = port_to(&super::world::pair(Nanos(1)), WEB, CLIENT, 1);
    let segment = request(VIP, tcp(port, 80, "AP"));
    let comes = |name, bytes: Vec<u8>| Vector::new(name).with(standing_by).received(CLIENT_LEG, bytes);
    let big = Body::Tcp { source: port, destination: 80, flags: "A", data: vec![7; 1470] };
    vec![
        comes("stray: a question to all stations is not carried", question(VIP).bytes()).drops(Reason::NotServing),
        comes("stray: a question to a group is not carried", solicit(VIP6, Some(CLIENT_MAC)).bytes()).drops(Reason::NotServing),
        comes("stray: a frame for another station is not carried", Frame { to: [2, 9, 9, 9, 9, 9], ..segment.clone() }.bytes())
            .drops(Reason::NotServing),
        comes("stray: a frame that does not fit the HA link", request(VIP, big).bytes()).drops(Reason::StrayTooBig),
        comes("stray: without a peer that is heard it is dropped", segment.bytes())
            .with(|tables| tables.links[0].borrow_mut().request_at = Nanos::NEVER)
            .drops(Reason::StrayNoPeer),
        comes("stray: a peer that was heard too long ago is none", segment.bytes())
            .with(|tables| tables.links[0].borrow_mut().request_at = tables.now.get() - Duration::from_secs(4))
            .drops(Reason::StrayNoPeer),
        comes("stray: an HA link that carries none", segment.bytes())
            .with(|tables| tables.interfaces.get_mut(&HA_LINK).expect("is there").flags = 2)
            .drops(Reason::StrayNoPeer),
        comes("stray: an empty bucket", segment.bytes())
            .with(|tables| {
                let refilled_at = tables.now.get() + Duration::from_secs(60);
                *tables.stray_budget.borrow_mut() = StrayBudget { refilled_at, ..StrayBudget::default() };
            })
            .drops(Reason::StrayLimited),
        comes("stray: from an interface that is no leg", segment.bytes())
            .with(|tables| tables.interfaces.get_mut(&CLIENT_LEG).expect("is there").flags = 0)
            .drops(Reason::NotServing),
        comes("stray: the host's own traffic is none", request(OWN, tcp(1, 22, "S")).bytes()).passes(Reason::NotOurs),
    ]
}

fn receiving() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    let port = port_to(&tables, WEB, CLIENT, 1);
    let key = flow_key(WEB, CLIENT, port, 6);
    // As it reached the peer: addressed to the peer's leg.
    let peer_leg = [2, 0, 0, 0xb, 0, 1];
    let segment = Frame { to: peer_leg, ..request(VIP, tcp(port, 80, "AP")) };
    let ping = Frame { to: peer_leg, ..request(VIP, echo(VIP, false)) };
    let local = Frame { to: peer_leg, ..request(LOCAL_VIP, tcp(port, 22, "S")) };
    let back = Frame { to: peer_leg, ..answer(1, CLIENT, tcp(BACKEND_PORT, port, "A")) };
    let comes = |name, leg: u8, inner: &Frame| Vector::new(name).received(HA_LINK, carried(leg, &inner.bytes()));
    vec![
        comes("stray taken: a client's segment is forwarded as if it had come in here", 0, &segment)
            .leaves(Action::Redirect(SERVER_LEG), Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(Changes { flows: 1, ..Changes::default() }),
        comes("stray taken: a backend's answer is forwarded as if it had come in here", 1, &back)
            .with(move |tables| record(tables, key, 1))
            .leaves(Action::Redirect(CLIENT_LEG), Reason::ReturnHit, super::returning::translated(&back, VIP, 80).bytes()),
        comes("stray taken: a ping is answered from the own leg", 0, &ping).leaves(
            Action::Redirect(CLIENT_LEG),
            Reason::IcmpEcho,
            reply(&ping).bytes(),
        ),
        comes("stray taken: what goes back to the same leg is redirected there", 0, &segment)
            .with(move |tables| {
                record(tables, key, 1);
                tables.backends[1].next_hop.ifindex = CLIENT_LEG;
            })
            .leaves(Action::Redirect(CLIENT_LEG), Reason::ForwardHit, translated(&segment, 1).bytes()),
        comes("stray taken: what a local daemon listens to reaches the host", 0, &local).leaves(
            Action::Pass,
            Reason::StrayTaken,
            Frame { to: HA_LINK_MAC, ..local.clone() }.bytes(),
        ),
        comes("stray taken: the node that waits for the peer to stop serves it", 0, &segment)
            .with(step_down)
            .with(|tables| tables.node.groups[0].armed_term = Term::new(2, 1))
            .leaves(Action::Redirect(SERVER_LEG), Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(Changes { flows: 1, ..Changes::default() }),
        comes("stray taken: under the key before the present one", 0, &ping)
            .with(|tables| {
                let [present, _] = tables.node.rx_keys;
                tables.node.rx_keys = [Key { k0: 9, k1: 9, id: 9 }, present];
            })
            .leaves(Action::Redirect(CLIENT_LEG), Reason::IcmpEcho, reply(&ping).bytes()),
    ]
}

fn refusing() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    let port = port_to(&tables, WEB, CLIENT, 1);
    let segment = request(VIP, tcp(port, 80, "AP")).bytes();
    let good = carried(0, &segment);
    let changed = |offset: usize| {
        let mut bytes = good.clone();
        bytes[offset] ^= 1;
        bytes
    };
    const HEADER: usize = 42;
    let nested = carried(0, &carried(0, &segment));
    let alien = between(
        PEER_MAC,
        HA_LINK_MAC,
        std::net::Ipv4Addr::new(10, 9, 0, 9),
        NSIP,
        payload(RX, NONCES[1], NONCES[0], 1, 0, &segment),
    );
    let mut longer = good.clone();
    longer.push(0);
    let comes = |name, bytes: Vec<u8>| Vector::new(name).received(HA_LINK, bytes);
    vec![
        comes("stray refused: one wrong bit in its tag", changed(HEADER)).drops(Reason::StrayBadTag),
        comes("stray refused: one wrong bit in its sequence", changed(HEADER + 8)).drops(Reason::StrayBadTag),
        comes("stray refused: one wrong bit in its leg", changed(HEADER + 13)).drops(Reason::StrayBadTag),
        comes("stray refused: one wrong bit in the frame inside", changed(HEADER + 14 + 30)).drops(Reason::StrayBadTag),
        comes("stray refused: another version", changed(HEADER + 12)).drops(Reason::StrayMalformed),
        comes("stray refused: of another life of the peer", good.clone())
            .with(|tables| tables.fence.peer_nonce = 5.into())
            .drops(Reason::StrayBadTag),
        comes("stray refused: under a key that this node does not have", good.clone())
            .with(|tables| tables.node.rx_keys = [Key::default(); 2])
            .drops(Reason::StrayBadTag),
        comes("stray refused: longer than it says", longer).drops(Reason::StrayMalformed),
        comes("stray refused: ends within its header", between(PEER_MAC, HA_LINK_MAC, PEER_NSIP, NSIP, vec![0; 13]))
            .drops(Reason::StrayMalformed),
        comes("stray refused: from another node", alien).drops(Reason::StrayNotForUs),
        comes("stray refused: for a leg that is not here", carried(9, &segment)).drops(Reason::StrayNoLeg),
        comes("stray refused: this node does not serve either", good.clone()).with(step_down).drops(Reason::StrayNotServing),
        // What is inside is judged as a client's packet, and a node's own address is the host's.
        comes("stray refused: a stray within a stray is not unpacked", nested.clone()).leaves(
            Action::Pass,
            Reason::StrayTaken,
            carried(0, &segment),
        ),
        Vector::new("stray refused: on a leg it is an ordinary datagram").received(CLIENT_LEG, good).passes(Reason::NotOurs),
        comes("stray refused: a datagram to the port at another address", request(OWN, udp(PORT, PORT)).bytes())
            .passes(Reason::NotOurs),
    ]
}
