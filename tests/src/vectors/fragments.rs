//! Parts of packets: they go where the first one of theirs went.

use std::net::IpAddr;
use std::ops::Range;

use ha_common::abi::{Reason, vserver_flags};
use ha_common::packet::HostPacket;
use ha_common::pipeline::{self, Action, Ingress};
use ha_common::tables::HostTables;
use ha_common::time::Nanos;

use super::forward::{request, translated};
use super::frames::{Body, Frame, echo};
use super::life::reset;
use super::returning::{answer, translated as returned};
use super::tunnel::wrapped_bytes;
use super::world::*;
use super::{Changes, Vector};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
const TO_CLIENTS: Action = Action::Redirect(CLIENT_LEG);
const PORT: u16 = 40_000;
const NOTED: Changes =
    Changes { flows: 0, embryonic: 0, exceptions: 0, reverse: 0, reverse_embryonic: 0, sources: 0, fragments: 1, events: 0 };
/// Where the first fragment ends, and the second begins.
const CUT: usize = 64;
/// Length of the datagrams, with their UDP header.
const LEN: usize = 151;

/// The bytes `range` of what `frame` carries, as a fragment.
fn part(frame: &Frame, range: Range<usize>, more: bool) -> Vec<u8> {
    of_bytes(&frame.bytes(), range, more)
}

/// The same of a whole frame.
fn of_bytes(whole: &[u8], range: Range<usize>, more: bool) -> Vec<u8> {
    let l3 = if whole[12..14] == [0x81, 0] { 18 } else { 14 };
    let (link, packet) = whole.split_at(l3);
    let offset = (range.start as u16 / 8) << if packet[0] >> 4 == 4 { 0 } else { 3 };
    if packet[0] >> 4 == 4 {
        let (header, payload) = packet.split_at(20);
        let mut header = header.to_vec();
        header[2..4].copy_from_slice(&(20 + range.len() as u16).to_be_bytes());
        header[4..6].copy_from_slice(&[0xab, 0xcd]);
        header[6..8].copy_from_slice(&(offset | if more { 0x2000 } else { 0 }).to_be_bytes());
        header[10..12].fill(0);
        let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        return [link, &header, &payload[range]].concat();
    }
    let (header, payload) = packet.split_at(40);
    let field = (offset | u16::from(more)).to_be_bytes();
    let len = (8 + range.len() as u16).to_be_bytes();
    let fragment = [header[6], 0, field[0], field[1], 1, 2, 3, 4];
    [link, &header[..4], &len, &[44], &header[7..], &fragment, &payload[range]].concat()
}

fn datagram(from: u16, to: u16) -> Body {
    Body::Udp { source: from, destination: to, summed: true, data: (0..LEN as u8 - 8).collect() }
}

fn segment(from: u16, to: u16) -> Body {
    Body::Tcp { source: from, destination: to, flags: "A", data: (0..LEN as u8 - 20).collect() }
}

/// A theme of two: the first fragment, and the second after it.
fn pair(
    names: [&'static str; 2],
    leg: u32,
    frame: &Frame,
    set_up: impl Fn(&mut HostTables) + Clone + 'static,
    first: (Reason, Changes),
    then: (Action, Reason),
    left: impl Fn(Range<usize>, bool) -> Vec<u8>,
) -> [Vector; 2] {
    let head = part(frame, 0..CUT, true);
    let came = head.clone();
    [
        Vector::new(names[0])
            .received(leg, head)
            .with(set_up.clone())
            .leaves(then.0, first.0, left(0..CUT, true))
            .changing(first.1),
        Vector::new(names[1])
            .received(leg, part(frame, CUT..LEN, false))
            .with(set_up)
            .with(move |tables| take(tables, leg, &came))
            .leaves(then.0, then.1, left(CUT..LEN, false)),
    ]
}

/// What a frame leaves in the tables.
fn take(tables: &HostTables, ifindex: u32, frame: &[u8]) {
    pipeline::process(&mut HostPacket::new(frame), tables, Ingress { ifindex });
}

fn recorded(index: u32, client: IpAddr, protocol: u8, backend: u32) -> impl Fn(&mut HostTables) + Clone {
    move |tables| record(tables, flow_key(index, client, PORT, protocol), backend)
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors: Vec<Vector> = forwarded().into_iter().flatten().collect();
    vectors.extend(hidden().into_iter().flatten());
    vectors.extend(to_clients().into_iter().flatten());
    vectors.extend(alone());
    vectors.extend(wrong());
    vectors.extend(unknown());
    vectors
}

/// From clients to backends that see them.
fn forwarded() -> Vec<[Vector; 2]> {
    const HIT: Reason = Reason::ForwardHit;
    const LATER: (Action, Reason) = (TO_SERVERS, Reason::FragmentForwarded);
    let query = request(VIP, datagram(PORT, 53));
    let query6 = request(VIP6, datagram(PORT, 53));
    let web = request(VIP, segment(PORT, 80));
    let hashed = request(VIP, segment(PORT, 82));
    let direct = request(VIP, segment(PORT, 81));
    let direct6 = request(VIP6, segment(PORT, 81));
    let wrapped = request(VIP, segment(PORT, 88));
    let mixed = request(VIP6, segment(PORT, 89));
    let tagged = Frame { vlan: Some(VLAN), ..request(VIP, segment(PORT, 80)) };
    let linked = |frame: &Frame, index| Frame { from: SERVER_LEG_MAC, to: backend_mac(index), ..frame.clone() };
    let tables = super::world::pair(Nanos(1));
    let (by_ring, by_hash) = (placed(&tables, DNS, CLIENT, PORT), placed(&tables, HASHED, CLIENT, PORT));
    let to = |frame: &Frame, index| {
        let frame = translated(frame, index);
        move |range, more| part(&frame, range, more)
    };
    let bare = Body::Udp { source: PORT, destination: 53, summed: false, data: vec![9; LEN - 8] };
    let bare = request(VIP, bare);
    vec![
        pair(
            ["fragment udp: the first of a recorded flow is translated, and noted", "fragment udp: the second follows it"],
            CLIENT_LEG,
            &query,
            recorded(DNS, CLIENT, 17, 1),
            (HIT, NOTED),
            LATER,
            to(&query, 1),
        ),
        pair(
            ["fragment udp: without a checksum none is made", "fragment udp: nor of the second"],
            CLIENT_LEG,
            &bare,
            recorded(DNS, CLIENT, 17, 1),
            (HIT, NOTED),
            LATER,
            to(&bare, 1),
        ),
        pair(
            [
                "fragment udp v6: the first of a recorded flow is translated, and noted",
                "fragment udp v6: the second follows it",
            ],
            CLIENT_LEG,
            &query6,
            recorded(DNS6, CLIENT6, 17, FIRST6),
            (HIT, NOTED),
            LATER,
            to(&query6, FIRST6),
        ),
        pair(
            ["fragment udp: the first of a new flow makes one", "fragment udp: the second follows it there"],
            CLIENT_LEG,
            &query,
            |_| {},
            (Reason::ForwardNew, Changes { flows: 1, ..NOTED }),
            LATER,
            to(&query, by_ring),
        ),
        pair(
            ["fragment tcp: the first with a whole header is a segment", "fragment tcp: the second follows it"],
            CLIENT_LEG,
            &web,
            recorded(WEB, CLIENT, 6, 2),
            (HIT, NOTED),
            LATER,
            to(&web, 2),
        ),
        pair(
            ["fragment: where no flows are kept the ring says where the first goes", "fragment: and the second after it"],
            CLIENT_LEG,
            &hashed,
            |_| {},
            (Reason::ForwardHash, NOTED),
            LATER,
            to(&hashed, by_hash),
        ),
        pair(
            ["fragment vlan: the first leaves its VLAN", "fragment vlan: the second, too"],
            CLIENT_LEG,
            &tagged,
            recorded(WEB_VLAN, CLIENT, 6, 0),
            (HIT, NOTED),
            LATER,
            to(&Frame { vlan: None, ..tagged.clone() }, 0),
        ),
        pair(
            ["fragment direct: the first goes on as it is", "fragment direct: the second, too"],
            CLIENT_LEG,
            &direct,
            recorded(DIRECT, CLIENT, 6, 2),
            (HIT, NOTED),
            LATER,
            |range, more| part(&linked(&direct, 2), range, more),
        ),
        pair(
            ["fragment direct v6: the first goes on as it is", "fragment direct v6: the second, too"],
            CLIENT_LEG,
            &direct6,
            recorded(DIRECT6, CLIENT6, 6, FIRST6),
            (HIT, NOTED),
            LATER,
            |range, more| part(&linked(&direct6, FIRST6), range, more),
        ),
        pair(
            ["fragment tunnel: the first travels in a tunnel", "fragment tunnel: the second, too"],
            CLIENT_LEG,
            &wrapped,
            recorded(WRAPPED, CLIENT, 6, 1),
            (HIT, NOTED),
            LATER,
            |range, more| wrapped_bytes(&part(&wrapped, range, more), 1),
        ),
        pair(
            ["fragment tunnel v6: the first travels within IPv4", "fragment tunnel v6: the second, too"],
            CLIENT_LEG,
            &mixed,
            recorded(MIXED, CLIENT6, 6, 1),
            (HIT, NOTED),
            LATER,
            |range, more| wrapped_bytes(&part(&mixed, range, more), 1),
        ),
    ]
}

/// To and from backends that do not see their clients.
fn hidden() -> Vec<[Vector; 2]> {
    let masked = |index, client, backend| {
        move |tables: &mut HostTables| record_masked(tables, flow_key(index, client, PORT, 17), backend, 2003)
    };
    let query = request(VIP, datagram(PORT, 55));
    let seen = Frame { source: SNIP, body: datagram(2003, BACKEND_PORT), ..translated(&query, HIDDEN) };
    let reply = answer(HIDDEN, SNIP, datagram(BACKEND_PORT, 2003));
    let heard = Frame { destination: CLIENT, body: datagram(55, PORT), ..returned(&reply, VIP, 55) };
    vec![
        pair(
            ["fragment hidden: the first comes from a port of the SNIP", "fragment hidden: the second from the SNIP"],
            CLIENT_LEG,
            &query,
            masked(MASKED_UDP, CLIENT, HIDDEN),
            (Reason::ForwardHit, NOTED),
            (TO_SERVERS, Reason::FragmentForwarded),
            |range, more| part(&seen, range, more),
        ),
        pair(
            ["fragment hidden: an answer's first goes to the client whose port it is", "fragment hidden: and the second"],
            SERVER_LEG,
            &reply,
            masked(MASKED_UDP, CLIENT, HIDDEN),
            (Reason::ReturnHit, NOTED),
            (TO_CLIENTS, Reason::FragmentReturned),
            |range, more| part(&heard, range, more),
        ),
    ]
}

/// From backends that see their clients.
fn to_clients() -> Vec<[Vector; 2]> {
    const LATER: (Action, Reason) = (TO_CLIENTS, Reason::FragmentReturned);
    let reply = answer(1, CLIENT, datagram(BACKEND_PORT, PORT));
    let reply6 = answer(FIRST6, CLIENT6, datagram(BACKEND_PORT, PORT));
    let to = |frame: &Frame, vip| {
        let frame = returned(frame, vip, 53);
        move |range, more| part(&frame, range, more)
    };
    vec![
        pair(
            ["fragment return: an answer's first comes from the VIP", "fragment return: and the second"],
            SERVER_LEG,
            &reply,
            recorded(DNS, CLIENT, 17, 1),
            (Reason::ReturnHit, NOTED),
            LATER,
            to(&reply, VIP),
        ),
        pair(
            ["fragment return v6: an answer's first comes from the VIP", "fragment return v6: and the second"],
            SERVER_LEG,
            &reply6,
            recorded(DNS6, CLIENT6, 17, FIRST6),
            (Reason::ReturnHit, NOTED),
            LATER,
            to(&reply6, VIP6),
        ),
    ]
}

/// Fragments without others.
fn alone() -> Vec<Vector> {
    let query6 = request(VIP6, datagram(PORT, 53));
    let narrow = request(VIP, segment(PORT, 91));
    let narrow6 = request(VIP6, segment(PORT, 91));
    let whole6 = part(&query6, 0..LEN, false);
    let last = Frame { ttl: 1, ..request(VIP, datagram(PORT, 53)) };
    vec![
        Vector::new("fragment v6: a datagram that is whole although it has such a header is a packet")
            .received(CLIENT_LEG, whole6)
            .with(recorded(DNS6, CLIENT6, 17, FIRST6))
            .leaves(TO_SERVERS, Reason::ForwardHit, part(&translated(&query6, FIRST6), 0..LEN, false)),
        Vector::new("fragment: the first that is too big for the way is answered, and not noted")
            .received(CLIENT_LEG, part(&narrow, 0..120, true))
            .with(recorded(SQUEEZED, CLIENT, 6, NARROW))
            .leaves(Action::Transmit, Reason::TooBig, {
                let data = part(&narrow, 0..120, true)[14..42].to_vec();
                let body = Body::Icmp { kind: 3, code: 4, rest: u32::from(NARROW_MTU).to_be_bytes(), data };
                let (from, to) = (narrow.to, narrow.from);
                Frame { from, to, source: VIP, destination: CLIENT, ttl: 64, body, vlan: None }.bytes()
            }),
        Vector::new("fragment v6: the first that is too big for the way is answered with its ports")
            .received(CLIENT_LEG, part(&narrow6, 0..120, true))
            .with(recorded(SQUEEZED6, CLIENT6, 6, NARROW6))
            .leaves(Action::Transmit, Reason::TooBig, {
                let data = part(&narrow6, 0..120, true)[14..14 + 56].to_vec();
                let body = Body::Icmp { kind: 2, code: 0, rest: u32::from(NARROW_MTU).to_be_bytes(), data };
                let (from, to) = (narrow6.to, narrow6.from);
                Frame { from, to, source: VIP6, destination: CLIENT6, ttl: 64, body, vlan: None }.bytes()
            }),
        Vector::new("fragment v6: the reset that answers a first fragment is none itself")
            .received(CLIENT_LEG, part(&request(VIP6, segment(PORT, 80)), 0..CUT, true))
            .with(|tables| tables.vservers[WEB6 as usize].flags |= vserver_flags::DOWN | vserver_flags::RESETS)
            .leaves(Action::Transmit, Reason::ResetDown, {
                reset(&request(VIP6, segment(PORT, 80)), Ok(0x0506_0708), 0).bytes()
            }),
        Vector::new("fragment: the second at its last hop is not forwarded")
            .received(CLIENT_LEG, part(&last, CUT..LEN, false))
            .with(recorded(DNS, CLIENT, 17, 1))
            .with(move |tables| take(tables, CLIENT_LEG, &part(&Frame { ttl: 64, ..last.clone() }, 0..CUT, true)))
            .drops(Reason::TtlExceeded),
    ]
}

/// Fragments that no sender makes.
fn wrong() -> Vec<Vector> {
    let query = request(VIP, datagram(PORT, 53));
    let web = request(VIP, segment(PORT, 80));
    let web6 = request(VIP6, segment(PORT, 80));
    let ping = request(VIP, echo(VIP, false));
    let comes = |name, frame: Vec<u8>| Vector::new(name).received(CLIENT_LEG, frame);
    let endless = {
        let mut bytes = part(&query, CUT..LEN, false);
        bytes[14 + 6..14 + 8].copy_from_slice(&[0x1f, 0xff]);
        bytes
    };
    let behind6 = {
        let mut bytes = part(&web6, 0..CUT, true);
        bytes[54] = 60;
        bytes
    };
    let cut6 = {
        let mut bytes = part(&web6, 0..CUT, true)[..61].to_vec();
        bytes[18..20].copy_from_slice(&[0, 7]);
        bytes
    };
    vec![
        comes("fragment: the first without a whole header of UDP", {
            let mut bytes = part(&query, 0..0, true);
            bytes.resize(60, 0);
            bytes
        })
        .drops(Reason::Truncated),
        comes("fragment: the first with eight bytes of TCP", part(&web, 0..8, true)).drops(Reason::Truncated),
        comes("fragment v6: the first with sixteen bytes of TCP", part(&web6, 0..16, true)).drops(Reason::Truncated),
        comes("fragment: the second upon the header of TCP", part(&web, 8..LEN, false))
            .with(recorded(WEB, CLIENT, 6, 1))
            .with(move |tables| take(tables, CLIENT_LEG, &part(&request(VIP, segment(PORT, 80)), 0..CUT, true)))
            .drops(Reason::Fragment),
        comes("fragment: one that others follow and that is no multiple of eight bytes", part(&query, 0..CUT + 1, true))
            .drops(Reason::Fragment),
        comes("fragment: one that reaches beyond the longest datagram", endless).drops(Reason::Fragment),
        comes("fragment: a ping in parts", part(&ping, 0..40, true)).drops(Reason::Fragment),
        comes("fragment v6: another header behind it", behind6).drops(Reason::IpOptions),
        comes("fragment v6: a packet that ends within its header", cut6).drops(Reason::Truncated),
        comes(
            "fragment: of a datagram for a port without a virtual server",
            part(&request(VIP, datagram(PORT, 99)), 0..CUT, true),
        )
        .drops(Reason::NoVserver),
    ]
}

/// Later fragments whose first is not known.
fn unknown() -> Vec<Vector> {
    let query = request(VIP, datagram(PORT, 53));
    let second = part(&query, CUT..LEN, false);
    let first = part(&query, 0..CUT, true);
    let comes = |name, frame: &[u8]| Vector::new(name).received(CLIENT_LEG, frame.to_vec());
    let other = {
        let mut bytes = second.clone();
        bytes[14 + 4] ^= 1;
        bytes
    };
    let local = part(&request(LOCAL_VIP, datagram(PORT, 53)), CUT..LEN, false);
    let own = part(&request(OWN, datagram(PORT, 53)), CUT..LEN, false);
    let of_backend = part(&answer(1, CLIENT, datagram(BACKEND_PORT, PORT)), CUT..LEN, false);
    let taken = first.clone();
    let (a, b, c) = (first.clone(), first.clone(), first);
    let mut group = second.clone();
    group[..6].fill(0xff);
    vec![
        comes("fragment: one that comes before its first", &second).drops(Reason::FragmentUnknown),
        comes("fragment: one of another datagram", &other)
            .with(move |tables| take(tables, CLIENT_LEG, &taken))
            .drops(Reason::FragmentUnknown),
        comes("fragment: one that comes half a minute after its first", &second)
            .with(move |tables| {
                take(tables, CLIENT_LEG, &a);
                let long_ago = Nanos(tables.now.get().0.wrapping_sub(30_000_000_001));
                tables.fragments.borrow_mut().values_mut().for_each(|noted| noted.at = long_ago);
            })
            .drops(Reason::FragmentUnknown),
        comes("fragment: one to a group of stations", &group)
            .with(move |tables| take(tables, CLIENT_LEG, &b))
            .drops(Reason::DropNotUnicast),
        comes("fragment: not by the node that serves no more", &second)
            .with(move |tables| {
                take(tables, CLIENT_LEG, &c);
                step_down(tables);
                tables.node.controller_dead = 0;
            })
            .drops(Reason::StrayNoPeer),
        comes("fragment: what a local daemon's first is followed by is the host's", &local).passes(Reason::Local),
        comes("fragment: one to the host's own address", &own).passes(Reason::NotOurs),
        Vector::new("fragment: what a backend sends without a first that the pair knows is the host's affair")
            .received(SERVER_LEG, of_backend)
            .passes(Reason::NotOurs),
    ]
}
