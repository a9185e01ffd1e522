//! What the host's own stack may send.

use std::net::IpAddr;

use ha_common::abi::{Interface, Reason};
use ha_common::tables::HostTables;

use super::Vector;
use super::frames::{Arp, Frame, Mac, advertisement, echo, link, solicitation, tcp};
use super::neighbour::{v4, v6};
use super::world::*;

const VMAC: Mac = [0, 0, 0x5e, 0, 1, 7];
const VMAC6: Mac = [0, 0, 0x5e, 0, 2, 7];

/// The client leg has a VRID bound, and this node does not serve.
fn has_virtual_macs_in_vain(tables: &mut HostTables) {
    step_down(tables);
    let [v4_mac, v6_mac] = Interface::virtual_macs(7);
    let leg = Interface { v4_mac, v6_mac, ..tables.interfaces[&CLIENT_LEG] };
    tables.interfaces.insert(SENDS_ON, leg);
}

fn from(source: IpAddr) -> Frame {
    let destination = if source.is_ipv4() { CLIENT } else { CLIENT6 };
    Frame { from: CLIENT_LEG_MAC, to: CLIENT_MAC, vlan: None, source, destination, ttl: 64, body: tcp(22, 4000, "A") }
}

/// Whether the node serves, what its host says, and what becomes of that.
fn both(names: [&'static str; 2], frame: Vec<u8>, refused: Reason) -> [Vector; 2] {
    let [serving, not] = names;
    [
        Vector::new(serving).sent(frame.clone()).passes(Reason::EgressServing),
        Vector::new(not).with(step_down).sent(frame).drops(refused),
    ]
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let arp = |sender: IpAddr| Arp {
        to: [0xff; 6],
        vlan: None,
        reply: false,
        sender: (CLIENT_LEG_MAC, v4(sender)),
        target: ([0; 6], v4(CLIENT)),
    };
    let announced = Frame { ttl: 255, source: OWN6, body: advertisement(v6(VIP6), CLIENT_LEG_MAC, false), ..from(VIP6) };
    let asks = Frame { ttl: 255, body: solicitation(v6(CLIENT6), Some(CLIENT_LEG_MAC)), ..from(VIP6) };
    let mut vectors = Vec::new();
    vectors.extend(both(
        ["egress: from a VIP while serving", "egress: from a VIP while not serving"],
        from(VIP).bytes(),
        Reason::EgressAddress,
    ));
    vectors.extend(both(
        ["egress v6: from a VIP while serving", "egress v6: from a VIP while not serving"],
        from(VIP6).bytes(),
        Reason::EgressAddress,
    ));
    vectors.extend(both(
        ["egress: from a tagged VIP while serving", "egress: from a tagged VIP while not serving"],
        Frame { vlan: Some(VLAN), ..from(VIP) }.bytes(),
        Reason::EgressAddress,
    ));
    vectors.extend(both(
        ["egress: a ping from a SNIP while serving", "egress: a ping from a SNIP while not serving"],
        Frame { body: echo(SNIP, false), ..from(SNIP) }.bytes(),
        Reason::EgressAddress,
    ));
    vectors.extend(both(
        ["egress: ARP from a VIP while serving", "egress: ARP from a VIP while not serving"],
        arp(VIP).bytes(),
        Reason::EgressNeighbour,
    ));
    vectors.extend(both(
        ["egress: a solicitation from a VIP while serving", "egress: a solicitation from a VIP while not serving"],
        asks.bytes(),
        Reason::EgressAddress,
    ));
    vectors.extend([
        Vector::new("egress: an advertisement of a VIP while serving").sent(announced.bytes()).passes(Reason::EgressPass),
        Vector::new("egress: an advertisement of a VIP while not serving, from whatever address")
            .with(step_down)
            .sent(announced.bytes())
            .drops(Reason::EgressNeighbour),
        Vector::new("egress: from a virtual MAC while serving")
            .sent(Frame { from: VMAC, ..from(OWN) }.bytes())
            .passes(Reason::EgressPass),
        Vector::new("egress: from a virtual MAC while not serving")
            .with(has_virtual_macs_in_vain)
            .sent(Frame { from: VMAC, ..from(OWN) }.bytes())
            .drops(Reason::EgressVmac),
        Vector::new("egress: from a virtual MAC of IPv6 while not serving")
            .with(has_virtual_macs_in_vain)
            .sent(Frame { from: VMAC6, ..from(OWN) }.bytes())
            .drops(Reason::EgressVmac),
        Vector::new("egress: from the virtual MAC of another router on this host, serving or not")
            .with(step_down)
            .sent(Frame { from: VMAC, ..from(OWN) }.bytes())
            .passes(Reason::EgressPass),
        Vector::new("egress: from its own address, serving or not")
            .with(step_down)
            .sent(from(OWN).bytes())
            .passes(Reason::EgressPass),
        Vector::new("egress: ARP from its own address, serving or not")
            .with(step_down)
            .sent(arp(OWN).bytes())
            .passes(Reason::EgressPass),
        Vector::new("egress: another protocol of the link")
            .with(step_down)
            .sent([link([1, 0x80, 0xc2, 0, 0, 0xe], CLIENT_LEG_MAC, None, etherparse::EtherType(0x88cc)), vec![0; 50]].concat())
            .passes(Reason::EgressPass),
        Vector::new("egress: a fenced node says nothing, whatever its daemon has written")
            .with(|tables| tables.fence.fence_term = [tables.node.groups[0].role_term.fence_above().0.into()])
            .sent(from(VIP).bytes())
            .drops(Reason::EgressAddress),
    ]);
    vectors
}

/// An address of this machine.
const OWN6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2));
