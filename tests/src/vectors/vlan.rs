//! 802.1Q: which VLAN a packet lives in, and which it leaves in.

use ha_common::abi::{NextHop, Reason};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;

use super::forward::{request, translated};
use super::frames::{Arp, Frame, advertisement, echo, solicitation, tcp};
use super::returning;
use super::world::*;
use super::{Changes, Vector};

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    let flow = Changes { flows: 1, ..Changes::default() };
    let to_servers = Action::Redirect(SERVER_LEG);
    let port = port_to(&tables, WEB_VLAN, CLIENT, 0);
    let tagged = Frame { vlan: Some(VLAN), ..request(VIP, tcp(port, 80, "A")) };
    let priority = Frame { vlan: Some(0), ..request(VIP, tcp(port, 80, "A")) };
    let untagged = request(VIP, tcp(port, 86, "A"));
    let elsewhere = Frame { vlan: Some(7), ..tagged.clone() };
    let segment = returning::answer(TAGGED, CLIENT, tcp(BACKEND_PORT, port, "A"));
    let segment = Frame { vlan: Some(SERVER_VLAN), ..segment };
    let key = flow_key(TO_VLAN, CLIENT, port, 6);
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let mut vectors = vec![
        sends("vlan: a tagged packet finds the vserver of its VLAN and loses its tag", &tagged)
            .leaves(to_servers, Reason::ForwardNew, Frame { vlan: None, ..translated(&tagged, 0) }.bytes())
            .changing(flow),
        sends("vlan: a priority tag is no VLAN", &priority)
            .leaves(to_servers, Reason::ForwardNew, Frame { vlan: None, ..translated(&priority, 0) }.bytes())
            .changing(flow),
        sends("vlan: a packet for a backend in a VLAN gets its tag", &untagged)
            .leaves(to_servers, Reason::ForwardNew, Frame { vlan: Some(SERVER_VLAN), ..translated(&untagged, TAGGED) }.bytes())
            .changing(flow),
        sends("vlan: a tag is changed on the way from VLAN to VLAN", &tagged)
            .with(|tables| tables.backends[0].next_hop.vlan = SERVER_VLAN.into())
            .leaves(to_servers, Reason::ForwardNew, Frame { vlan: Some(SERVER_VLAN), ..translated(&tagged, 0) }.bytes())
            .changing(flow),
        sends("vlan: a tag stays on the way back into the same VLAN", &tagged)
            .with(|tables| {
                tables.backends[0].next_hop = NextHop::new(backend_mac(0), SERVER_LEG_MAC, CLIENT_LEG, VLAN.into());
            })
            .leaves(Action::Transmit, Reason::ForwardNew, translated(&tagged, 0).bytes())
            .changing(flow),
        sends("vlan: the VIP lives in its own VLANs only", &elsewhere).passes(Reason::NotOurs),
        Vector::new("vlan: an answer from a VLAN loses its tag")
            .received(SERVER_LEG, segment.bytes())
            .with(move |tables| record(tables, key, TAGGED))
            .leaves(
                Action::Redirect(CLIENT_LEG),
                Reason::ReturnHit,
                Frame { vlan: None, ..returning::translated(&segment, VIP, 86) }.bytes(),
            ),
    ];
    vectors.extend(elsewhere_routed(&tables));
    vectors.extend(answers());
    vectors.extend(stacked(&tagged));
    vectors
}

/// Ways that lead into a VLAN without a flow of it.
fn elsewhere_routed(tables: &HostTables) -> Vec<Vector> {
    let port = port_to(tables, WEB, CLIENT, 1);
    let segment = returning::answer(1, CLIENT, tcp(BACKEND_PORT, port, "AP"));
    let direct = request(VIP, tcp(port_to(tables, DIRECT, CLIENT, 0), 81, "A"));
    let flow = Changes { flows: 1, ..Changes::default() };
    // The routing table names VLANs by interfaces of their own: this one is, for once, one that frames come in on, too.
    let routed_by_vlan = |tables: &mut HostTables| {
        tables.interfaces.get_mut(&CLIENT_LEG).expect("it is there").vlan = VLAN.into();
    };
    vec![
        Vector::new("vlan: an answer that the routing table sends to a VLAN gets its tag")
            .received(SERVER_LEG, segment.bytes())
            .with(routed_by_vlan)
            .leaves(
                Action::Redirect(CLIENT_LEG),
                Reason::ReturnNew,
                Frame { vlan: Some(VLAN), ..returning::translated(&segment, VIP, 80) }.bytes(),
            )
            .changing(flow),
        Vector::new("vlan: a packet that keeps its addresses gets the tag of its backend")
            .received(CLIENT_LEG, direct.bytes())
            .with(|tables| tables.backends[0].next_hop.vlan = SERVER_VLAN.into())
            .leaves(
                Action::Redirect(SERVER_LEG),
                Reason::ForwardNew,
                Frame { vlan: Some(SERVER_VLAN), from: SERVER_LEG_MAC, to: backend_mac(0), ..direct.clone() }.bytes(),
            )
            .changing(flow),
    ]
}

/// What is answered in place stays in its VLAN.
fn answers() -> Vec<Vector> {
    let std::net::IpAddr::V4(vip) = VIP else { panic!("VIP is IPv4") };
    let std::net::IpAddr::V4(client) = CLIENT else { panic!("CLIENT is IPv4") };
    let std::net::IpAddr::V6(vip6) = VIP6 else { panic!("VIP6 is IPv6") };
    let vlan = Some(VLAN);
    let question = Arp { to: [0xff; 6], vlan, reply: false, sender: (CLIENT_MAC, client), target: ([0; 6], vip) };
    let answer = Arp { to: CLIENT_MAC, vlan, reply: true, sender: (CLIENT_LEG_MAC, vip), target: (CLIENT_MAC, client) };
    let ping = Frame { vlan, ..request(VIP, echo(VIP, false)) };
    let pong =
        Frame { from: CLIENT_LEG_MAC, to: CLIENT_MAC, source: VIP, destination: CLIENT, body: echo(VIP, true), ..ping.clone() };
    let who = Frame { vlan, ttl: 255, ..request(VIP6, solicitation(vip6, Some(CLIENT_MAC))) };
    let me = Frame {
        from: CLIENT_LEG_MAC,
        to: CLIENT_MAC,
        source: VIP6,
        destination: CLIENT6,
        body: advertisement(vip6, CLIENT_LEG_MAC, true),
        ..who.clone()
    };
    let asks = |name, bytes: Vec<u8>| Vector::new(name).received(CLIENT_LEG, bytes);
    vec![
        asks("vlan: a tagged ARP request", question.bytes()).leaves(Action::Transmit, Reason::ArpReply, answer.bytes()),
        asks("vlan: a tagged echo request", ping.bytes()).leaves(Action::Transmit, Reason::IcmpEcho, pong.bytes()),
        asks("vlan: a tagged neighbour solicitation", who.bytes()).leaves(
            Action::Transmit,
            Reason::NeighbourAdvertisement,
            me.bytes(),
        ),
    ]
}

/// More tags than one are the host's.
fn stacked(tagged: &Frame) -> Vec<Vector> {
    let with_outer = |ether_type: [u8; 2]| {
        let mut bytes = tagged.bytes();
        bytes.splice(12..12, [ether_type[0], ether_type[1], 0, 9]);
        bytes
    };
    vec![
        Vector::new("vlan: two 802.1Q tags").received(CLIENT_LEG, with_outer([0x81, 0])).passes(Reason::VlanStacked),
        Vector::new("vlan: an 802.1ad tag").received(CLIENT_LEG, with_outer([0x88, 0xa8])).passes(Reason::VlanStacked),
        Vector::new("vlan: a frame that ends within its tag")
            .received(CLIENT_LEG, tagged.bytes()[..16].to_vec())
            .passes(Reason::Unreadable),
    ]
}
