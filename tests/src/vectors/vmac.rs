//! Virtual MACs: a VRID is bound to the client leg.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ha_common::abi::{Interface, Reason, Term};
use ha_common::pipeline::Action;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;

use super::echo::reply;
use super::forward::{request, translated};
use super::frames::{Arp, Frame, Mac, advertisement, echo, solicitation, tcp};
use super::neighbour::{question, solicit, v4, v6};
use super::returning::answer;
use super::strays::{carried, sent, standing_by};
use super::world::*;
use super::{Changes, Vector};

const ID: u8 = 60;
const VMAC: Mac = [0, 0, 0x5e, 0, 1, ID];
const VMAC6: Mac = [0, 0, 0x5e, 0, 2, ID];
const FOREIGN: Mac = [0, 0, 0x5e, 0, 1, ID + 1];
/// Where frames go that only packet sockets shall see.
const NOBODY: Mac = [2, 0, 0, 0, 0, 0];

/// The VRID is bound to the client leg, by whatever number it is asked for.
fn bound(tables: &mut HostTables) {
    let [v4_mac, v6_mac] = Interface::virtual_macs(ID);
    let leg = Interface { v4_mac, v6_mac, ..tables.interfaces[&CLIENT_LEG] };
    tables.interfaces.insert(CLIENT_LEG, leg);
    tables.interfaces.insert(SENDS_ON, leg);
}

/// A vector with the VRID bound.
fn vector(name: &'static str) -> Vector {
    Vector::new(name).with(bound)
}

/// The answer to a ping, from where it was sent to.
fn back(ping: &Frame) -> Frame {
    Frame { from: ping.to, ..reply(ping) }
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = answered();
    vectors.extend(to_the_host());
    vectors.extend(strays());
    vectors.extend(by_the_host());
    vectors
}

fn answered() -> Vec<Vector> {
    let asked = question(VIP);
    let here = Arp { to: CLIENT_MAC, reply: true, sender: (VMAC, asked.target.1), target: asked.sender, ..asked.clone() };
    let asked6 = solicit(VIP6, Some(CLIENT_MAC));
    let here6 = Frame {
        from: VMAC6,
        to: CLIENT_MAC,
        source: VIP6,
        destination: CLIENT6,
        body: advertisement(v6(VIP6), VMAC6, true),
        ..asked6.clone()
    };
    let ping = Frame { to: VMAC, ..request(VIP, echo(VIP, false)) };
    let ping6 = Frame { to: VMAC6, ..request(VIP6, echo(VIP6, false)) };
    let tables = super::world::pair(Nanos(1));
    let port = port_to(&tables, WEB, CLIENT, 1);
    let segment = Frame { to: VMAC, ..request(VIP, tcp(port, 80, "AP")) };
    let says = answer(1, CLIENT, tcp(BACKEND_PORT, port, "AP"));
    let found = Frame { from: VMAC, ..super::returning::translated(&says, VIP, 80) };
    vec![
        vector("vmac: ARP says the virtual MAC").received(CLIENT_LEG, asked.bytes()).leaves(
            Action::Transmit,
            Reason::ArpReply,
            here.bytes(),
        ),
        vector("vmac: an advertisement says the virtual MAC of IPv6").received(CLIENT_LEG, asked6.bytes()).leaves(
            Action::Transmit,
            Reason::NeighbourAdvertisement,
            here6.bytes(),
        ),
        vector("vmac: a ping is answered from it").received(CLIENT_LEG, ping.bytes()).leaves(
            Action::Transmit,
            Reason::IcmpEcho,
            back(&ping).bytes(),
        ),
        vector("vmac: a ping over IPv6 is answered from it").received(CLIENT_LEG, ping6.bytes()).leaves(
            Action::Transmit,
            Reason::IcmpEcho,
            back(&ping6).bytes(),
        ),
        vector("vmac: a segment to it is forwarded")
            .received(CLIENT_LEG, segment.bytes())
            .leaves(Action::Redirect(SERVER_LEG), Reason::ForwardNew, translated(&segment, 1).bytes())
            .changing(Changes { flows: 1, ..Changes::default() }),
        vector("vmac: an answer that the routing table sends to the client leaves from it")
            .received(SERVER_LEG, says.bytes())
            .leaves(Action::Redirect(CLIENT_LEG), Reason::ReturnNew, found.bytes())
            .changing(Changes { flows: 1, ..Changes::default() }),
    ]
}

fn to_the_host() -> Vec<Vector> {
    let local = Frame { to: VMAC, ..request(LOCAL_VIP, tcp(4000, 22, "S")) };
    let through = Frame { to: VMAC, ..request(STRANGER, tcp(4000, 22, "S")) };
    let foreign = Frame { to: FOREIGN, ..through.clone() };
    let told = Arp { to: VMAC, vlan: None, reply: true, sender: (CLIENT_MAC, v4(CLIENT)), target: (VMAC, v4(VIP)) };
    let retold = [&CLIENT_LEG_MAC[..], &told.bytes()[6..]].concat();
    let own = |frame: &Frame| Frame { to: CLIENT_LEG_MAC, ..frame.clone() }.bytes();
    let gateway = Frame {
        ttl: 255,
        source: GATEWAY6,
        destination: VIP6,
        body: advertisement(v6(GATEWAY6), CLIENT_MAC, true),
        ..request(VIP6, tcp(1, 1, "S"))
    };
    let comes = |name, frame: &Frame| vector(name).received(CLIENT_LEG, frame.bytes());
    vec![
        comes("vmac: what a local daemon listens to reaches the host as its own", &local).leaves(
            Action::Pass,
            Reason::Local,
            own(&local),
        ),
        comes("vmac: what the host is to route reaches it as its own", &through).leaves(
            Action::Pass,
            Reason::NotOurs,
            own(&through),
        ),
        vector("vmac: an ARP reply to it reaches the host as its own").received(CLIENT_LEG, told.bytes()).leaves(
            Action::Pass,
            Reason::NotOurs,
            retold,
        ),
        comes("vmac: without the role it is another's station", &through).with(step_down).passes(Reason::NotOurs),
        comes("vmac: another virtual router is another station", &foreign).passes(Reason::NotOurs),
        Vector::new("vmac: without a VRID it is another's station")
            .received(CLIENT_LEG, through.bytes())
            .passes(Reason::NotOurs),
        // Heard by packet sockets, and by nobody else.
        comes("vmac: a gateway's answer to a VIP is for packet sockets", &Frame { to: VMAC6, ..gateway.clone() }).leaves(
            Action::Pass,
            Reason::NeighbourHeard,
            Frame { to: NOBODY, ..gateway.clone() }.bytes(),
        ),
        Vector::new("a gateway's answer to a VIP is for packet sockets, without a virtual MAC, too")
            .received(CLIENT_LEG, gateway.bytes())
            .leaves(Action::Pass, Reason::NeighbourHeard, Frame { to: NOBODY, ..gateway.clone() }.bytes()),
        comes("vmac: a gateway's answer to a VIP that is not served", &Frame { to: VMAC6, ..gateway })
            .with(step_down)
            .drops(Reason::NotServing),
    ]
}

fn strays() -> Vec<Vector> {
    let port = port_to(&super::world::pair(Nanos(1)), WEB, CLIENT, 1);
    let segment = Frame { to: VMAC, ..request(VIP, tcp(port, 80, "AP")) };
    let segment6 = Frame { to: VMAC6, ..request(VIP6, tcp(port, 80, "AP")) };
    let foreign = Frame { to: FOREIGN, ..segment.clone() };
    let ping = Frame { to: VMAC, ..request(VIP, echo(VIP, false)) };
    let quit = |ago: Duration| move |tables: &mut HostTables| tables.fence.quit_at = (tables.now.get() - ago).0.into();
    let lately = quit(Duration::from_millis(900));
    let comes = |name, frame: &Frame| vector(name).with(standing_by).received(CLIENT_LEG, frame.bytes());
    let goes =
        |vector: Vector, frame: &Frame| vector.leaves(Action::Redirect(HA_LINK), Reason::StraySent, sent(0, &frame.bytes()));
    vec![
        goes(comes("vmac stray: just after this node stopped it goes to the peer", &segment).with(lately), &segment),
        goes(comes("vmac stray v6: just after this node stopped it goes to the peer", &segment6).with(lately), &segment6),
        comes("vmac stray: a switch that floods for longer is not followed", &segment)
            .with(quit(Duration::from_millis(1_100)))
            .drops(Reason::NotServing),
        comes("vmac stray: a node that never served carries none", &segment).drops(Reason::NotServing),
        comes("vmac stray: one for another virtual router is not carried", &foreign).with(lately).drops(Reason::NotServing),
        Vector::new("vmac stray: without a VRID it is not carried")
            .with(standing_by)
            .with(lately)
            .received(CLIENT_LEG, segment.bytes())
            .drops(Reason::NotServing),
        vector("vmac stray taken: a ping is answered from the virtual MAC")
            .received(HA_LINK, carried(0, &ping.bytes()))
            .leaves(Action::Redirect(CLIENT_LEG), Reason::IcmpEcho, back(&ping).bytes()),
        vector("vmac stray taken: the node that waits for the peer to stop answers from it, too")
            .with(step_down)
            .with(|tables| tables.node.groups[0].armed_term = Term::new(2, 1))
            .received(HA_LINK, carried(0, &ping.bytes()))
            .leaves(Action::Redirect(CLIENT_LEG), Reason::IcmpEcho, back(&ping).bytes()),
    ]
}

fn by_the_host() -> Vec<Vector> {
    let from = |source: IpAddr| {
        let destination = if source.is_ipv4() { CLIENT } else { CLIENT6 };
        Frame { from: CLIENT_LEG_MAC, to: CLIENT_MAC, vlan: None, source, destination, ttl: 64, body: tcp(22, 4000, "A") }
    };
    let virtual_of = |frame: &Frame| Frame { from: if frame.source.is_ipv4() { VMAC } else { VMAC6 }, ..frame.clone() };
    let asks = |mac: Mac| Arp { to: [0xff; 6], vlan: None, reply: false, sender: (mac, v4(VIP)), target: ([0; 6], v4(CLIENT)) };
    let says = |source: IpAddr, body| Frame { ttl: 255, body, ..from(source) };
    let asks6 = |mac: Mac| says(VIP6, solicitation(v6(CLIENT6), Some(mac)));
    let told6 = |mac: Mac| says(VIP6, advertisement(v6(VIP6), mac, true));
    let bare6 = says(VIP6, solicitation(v6(CLIENT6), None));
    let sends = |name, frame: &Frame| vector(name).sent(frame.bytes());
    let dressed = |name, frame: &Frame, expected: &Frame| {
        sends(name, frame).leaves(Action::Pass, Reason::EgressServing, expected.bytes())
    };
    let tagged = Frame { vlan: Some(VLAN), ..from(VIP) };
    vec![
        dressed("vmac egress: from a VIP", &from(VIP), &virtual_of(&from(VIP))),
        dressed("vmac egress v6: from a VIP", &from(VIP6), &virtual_of(&from(VIP6))),
        dressed("vmac egress: from a VIP in a VLAN", &tagged, &virtual_of(&tagged)),
        vector("vmac egress: a question from a VIP says the virtual MAC").sent(asks(CLIENT_LEG_MAC).bytes()).leaves(
            Action::Pass,
            Reason::EgressServing,
            asks(VMAC).bytes(),
        ),
        dressed(
            "vmac egress: a solicitation from a VIP says the virtual MAC",
            &asks6(CLIENT_LEG_MAC),
            &virtual_of(&asks6(VMAC6)),
        ),
        dressed(
            "vmac egress: an advertisement of a VIP says the virtual MAC",
            &told6(CLIENT_LEG_MAC),
            &virtual_of(&told6(VMAC6)),
        ),
        dressed("vmac egress: a solicitation without an option", &bare6, &virtual_of(&bare6)),
        sends("vmac egress: from an address of its own it has its own MAC", &from(OWN)).passes(Reason::EgressPass),
        sends("vmac egress: a node that does not serve has no virtual MAC to speak from", &from(VIP))
            .with(step_down)
            .drops(Reason::EgressAddress),
    ]
}

/// A router of the clients' network.
const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xfe));
