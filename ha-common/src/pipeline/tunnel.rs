//! A packet within a packet: IP in IP, either family in either (RFC 2003, 2473, 4213).
//!
//! The packet inside stays as it came, its time to live included: to its backend it is the client's own. The outer one takes over its
//! class of service, may not be fragmented, and says 64 hops.

use crate::abi::{Backend, Ip, NextHop, Reason};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::Be16;
use crate::wire::eth::{self, ether_type};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::vlan;

use super::Verdict;
use super::hash::rehash;
use super::parse::Story;

const TTL: u8 = 64;
/// IPv4 within IP.
pub const IPIP: u8 = 4;
/// IPv6 within IP.
pub const IPV6: u8 = 41;

/// Puts the packet into one to `backend`, with the link layer of its next hop in front.
#[inline(always)]
pub fn wrap<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, backend: &Backend) -> Result<(), Verdict> {
    let mouth = mouth(tables, story, backend).ok_or(Verdict::drop(Reason::NoSnip))?;
    let wrapped =
        if backend.addr.is_v4() { in_v4(packet, story, mouth, backend) } else { in_v6(packet, story, mouth, backend) };
    wrapped.ok_or(Verdict::drop(Reason::NoHeadroom))
}

/// The address that a tunnel to `backend` begins at: of several, one by the client's port, so that the backend's receive queues share the
/// load.
#[inline(always)]
fn mouth<'t, T: Tables>(tables: &'t T, story: &Story, backend: &Backend) -> Option<&'t Ip> {
    if backend.snip_count == 0 {
        return None;
    }
    let spread = u32::from(story.here.port.get().wrapping_mul(0x9e37));
    let chosen = (spread * (backend.snip_count & 0xffff)) >> 16;
    tables.snip(backend.snips + chosen).map(|snip| &snip.addr)
}

#[inline(always)]
fn in_v4<P: PacketMut>(packet: &mut P, story: &Story, mouth: &Ip, backend: &Backend) -> Option<()> {
    let l3 = link(packet, story, &backend.next_hop, ipv4::LEN, ether_type::IPV4)?;
    let header = Ipv4 {
        version_length: ipv4::PLAIN,
        service: story.service,
        total_length: Be16::new(story.total as u16 + ipv4::LEN as u16),
        identification: Be16::new(0),
        fragment: ipv4::DONT_FRAGMENT,
        ttl: TTL,
        protocol: inside(story),
        checksum: 0,
        source: mouth.last(),
        destination: backend.addr.last(),
    };
    packet.store(l3, header.summed())
}

#[inline(always)]
fn in_v6<P: PacketMut>(packet: &mut P, story: &Story, mouth: &Ip, backend: &Backend) -> Option<()> {
    let l3 = link(packet, story, &backend.next_hop, ipv6::LEN, ether_type::IPV6)?;
    // One flow, one label (RFC 6438): routers spread tunnels by it.
    let Ip([.., last]) = story.here.addr;
    let label = rehash(last, story.here.port.raw().into());
    let header = Ipv6 {
        version_class_label: [
            6 << 4 | story.service >> 4,
            story.service << 4 | (label >> 16) as u8 & 0xf,
            (label >> 8) as u8,
            label as u8,
        ],
        payload_length: Be16::new(story.total as u16),
        next_header: inside(story),
        hop_limit: TTL,
        source: mouth.0,
        destination: backend.addr.0,
    };
    packet.store(l3, header)
}

#[inline(always)]
fn inside(story: &Story) -> u8 {
    if story.is_v6() { IPV6 } else { IPIP }
}

/// Makes room for `more` bytes behind a new link layer; where they begin.
#[inline(always)]
fn link<P: PacketMut>(packet: &mut P, story: &Story, hop: &NextHop, more: usize, kind: u16) -> Option<usize> {
    let kind = Be16::new(kind);
    if hop.vlan == 0 {
        packet.grow_head((more + eth::LEN) as i32 - story.frame.l3() as i32)?;
        packet.store(0, hop.macs)?;
        packet.store(eth::TYPE, kind)?;
        return Some(eth::LEN);
    }
    let control = Be16::new(story.frame.control.get() & !vlan::ID | hop.vlan as u16);
    packet.grow_head((more + eth::LEN + vlan::LEN) as i32 - story.frame.l3() as i32)?;
    packet.store(0, hop.macs)?;
    packet.store(eth::TYPE, [Be16::new(ether_type::VLAN), control])?;
    packet.store(eth::TYPE + vlan::LEN, kind)?;
    Some(eth::LEN + vlan::LEN)
}
