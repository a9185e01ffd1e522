//! A packet that cannot go on: its sender is told.

use std::net::IpAddr;

use ha_common::abi::Reason;
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;

use super::forward::{request, translated};
use super::frames::{Body, Frame, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

const PORT: u16 = 40_000;

/// A datagram of `total` bytes with its IPv4 header.
fn datagram(vip: IpAddr, port: u16, total: usize) -> Frame {
    let headers = if vip.is_ipv4() { 28 } else { 48 };
    request(vip, Body::Udp { source: PORT, destination: port, summed: true, data: vec![7; total - headers] })
}

/// A segment of `total` bytes with its IP header.
fn segment(vip: IpAddr, port: u16, total: usize) -> Frame {
    let headers = if vip.is_ipv4() { 40 } else { 60 };
    request(vip, Body::Tcp { source: PORT, destination: port, flags: "A", data: vec![7; total - headers] })
}

/// The error about `frame`.
pub fn told(frame: &Frame, kind: u8, code: u8, mtu: u32) -> Frame {
    let link_len = if frame.vlan.is_some() { 18 } else { 14 };
    let header = if frame.source.is_ipv4() { 20 } else { 40 };
    let data = frame.bytes()[link_len..link_len + header + 8].to_vec();
    Frame {
        from: frame.to,
        to: frame.from,
        source: frame.destination,
        destination: frame.source,
        ttl: 64,
        body: Body::Icmp { kind, code, rest: mtu.to_be_bytes(), data },
        ..frame.clone()
    }
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let refused = |name, frame: &Frame, reason, told: Frame| sends(name, frame).leaves(Action::Transmit, reason, told.bytes());
    let last = |vip: IpAddr, ttl| Frame { ttl, ..request(vip, tcp(PORT, 80, "A")) };
    let tagged = Frame { vlan: Some(VLAN), ..last(VIP, 1) };
    let query = Frame { ttl: 1, ..request(VIP, udp(PORT, 53)) };
    let fits = segment(VIP, 91, NARROW_MTU.into());
    let big = segment(VIP, 91, usize::from(NARROW_MTU) + 1);
    let big6 = segment(VIP6, 91, usize::from(NARROW_MTU) + 1);
    let big_inside = segment(VIP, 92, usize::from(NARROW_MTU) - 19);
    let recorded = |index: u32, client: IpAddr, backend: u32| {
        move |tables: &mut HostTables| record(tables, flow_key(index, client, PORT, 6), backend)
    };
    vec![
        refused(
            "refuse: a packet at its last hop is answered",
            &last(VIP, 1),
            Reason::TimeExceeded,
            told(&last(VIP, 1), 11, 0, 0),
        ),
        refused("refuse: one without any hop left, too", &last(VIP, 0), Reason::TimeExceeded, told(&last(VIP, 0), 11, 0, 0)),
        refused("refuse udp: a datagram at its last hop is answered", &query, Reason::TimeExceeded, told(&query, 11, 0, 0)),
        refused("refuse: in its VLAN", &tagged, Reason::TimeExceeded, told(&tagged, 11, 0, 0)),
        refused(
            "refuse v6: a packet at its last hop is answered",
            &last(VIP6, 1),
            Reason::TimeExceeded,
            told(&last(VIP6, 1), 3, 0, 0),
        ),
        sends("refuse: a packet that just fits the way goes on", &fits).with(recorded(SQUEEZED, CLIENT, NARROW)).leaves(
            Action::Redirect(SERVER_LEG),
            Reason::ForwardHit,
            translated(&fits, NARROW).bytes(),
        ),
        refused(
            "refuse: one that does not is answered with what would",
            &big,
            Reason::TooBig,
            told(&big, 3, 4, NARROW_MTU.into()),
        )
        .with(recorded(SQUEEZED, CLIENT, NARROW)),
        refused(
            "refuse v6: one that does not is answered with what would",
            &big6,
            Reason::TooBig,
            told(&big6, 2, 0, NARROW_MTU.into()),
        )
        .with(recorded(SQUEEZED6, CLIENT6, NARROW6)),
        refused(
            "refuse: a tunnel needs room for its own header, of the longer kind",
            &big_inside,
            Reason::TooBig,
            told(&big_inside, 3, 4, 68),
        )
        .with(recorded(WRAPPED_SQUEEZED, CLIENT, NARROW)),
        refused(
            "refuse: the last error that the rate allows is sent",
            &last(VIP, 1),
            Reason::TimeExceeded,
            told(&last(VIP, 1), 11, 0, 0),
        )
        .with(|tables| ration(tables, 100_000, 100_000)),
        sends("refuse: the next one is not", &last(VIP, 1))
            .with(|tables| ration(tables, 100_000, 99_999))
            .drops(Reason::IcmpLimited),
        sends("refuse v6: one above the rate is not sent either", &big6)
            .with(recorded(SQUEEZED6, CLIENT6, NARROW6))
            .with(|tables| ration(tables, 100_000, 99_999))
            .drops(Reason::IcmpLimited),
        sends("refuse: not on the node that does not serve", &last(VIP, 1))
            .with(step_down)
            .with(|tables| tables.interfaces.retain(|&ifindex, _| ifindex != HA_LINK))
            .drops(Reason::StrayNoPeer),
        refused("refuse: a datagram that is too big makes a flow all the same", &datagram(VIP, 53, 200), Reason::TooBig, {
            told(&datagram(VIP, 53, 200), 3, 4, 150)
        })
        .with(|tables| tables.backends.iter_mut().for_each(|backend| backend.mtu = 150))
        .changing(Changes { flows: 1, ..Changes::default() }),
    ]
}
