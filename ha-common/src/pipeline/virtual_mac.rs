//! Whose is a frame to a virtual MAC? The host's stack takes only what is addressed to the interface itself, and what it sends carries
//! the interface's own address: both are translated here, so that no second interface is needed.

use crate::abi::Interface;
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::checksum::Delta;
use crate::wire::eth::{self, Macs};
use crate::wire::icmp::{self, Neighbour};
use crate::wire::ipv6;

use super::Arrival;
use super::parse::Frame;

/// Virtual MACs are of the first group, whatever they are bound to.
pub const GROUP: usize = 0;

/// Where the source MAC of a frame is.
const SOURCE: usize = 6;
/// Where the sender's MAC is in an ARP packet.
const ARP_SENDER: usize = 8;
/// Length of an option that holds a MAC, in units of eight bytes.
const UNITS: u8 = 1;

/// Whether the frame is for a virtual MAC, this node's or another's.
#[inline(always)]
pub fn is_addressed<P: PacketMut>(packet: &P) -> bool {
    packet.load::<Macs>(0).is_some_and(|macs| eth::is_virtual(eth::destination(macs)))
}

/// Makes a frame for the virtual MAC of the interface that it came in on one for the interface itself, if this node serves.
#[inline(never)]
pub fn take<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, arrival: &Arrival) {
    let (Some(node), Some(fence), Some(macs)) = (tables.node(), tables.fence(), packet.load::<Macs>(0)) else {
        return;
    };
    let Some(here) = tables.interface(arrival.ifindex) else {
        return;
    };
    if here.has_virtual(eth::destination(macs)) && fence.serves(node, GROUP) {
        // What is too short for two addresses was not read above.
        let _ = packet.store(0, eth::macs(here.mac, eth::source(macs)));
    }
}

/// Makes a frame that the host sends for a floating IPv4 address one from the virtual MAC.
#[inline(always)]
pub fn speak_v4<P: PacketMut>(packet: &mut P, here: &Interface) -> Option<()> {
    packet.store(SOURCE, eth::halves(here.v4_mac))
}

/// The same for an ARP packet: what it says of its sender must be what the switch sees.
#[inline(always)]
pub fn speak_arp<P: PacketMut>(packet: &mut P, frame: &Frame, here: &Interface) -> Option<()> {
    packet.store(frame.l3() + ARP_SENDER, eth::halves(here.v4_mac))?;
    packet.store(SOURCE, eth::halves(here.v4_mac))
}

/// The same for IPv6: a solicitation or advertisement says the MAC in its first option, too.
#[inline(always)]
pub fn speak_v6<P: PacketMut>(packet: &mut P, frame: &Frame, here: &Interface, discovers: bool) -> Option<()> {
    packet.store(SOURCE, eth::halves(here.v6_mac))?;
    if !discovers {
        return Some(());
    }
    let message = frame.l3() + ipv6::LEN;
    let option = message + size_of::<Neighbour>();
    let Some([head, a, b, c]) = packet.load::<[u16; 4]>(option) else {
        // One without options, as those of stations that detect duplicates are.
        return Some(());
    };
    let [kind, units] = head.to_ne_bytes();
    if units != UNITS || kind != icmp::SOURCE_MAC && kind != icmp::TARGET_MAC {
        return Some(());
    }
    let [x, y, z] = eth::halves(here.v6_mac);
    let checksum = packet.load::<u16>(message + icmp::CHECKSUM)?;
    let checksum = Delta::new().word16(a, x).word16(b, y).word16(c, z).apply(checksum);
    packet.store(message + icmp::CHECKSUM, checksum)?;
    packet.store(option, [head, x, y, z])
}
