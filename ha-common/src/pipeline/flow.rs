//! What a packet changes in the record of its flow, and what the daemon is told of it.

use crate::abi::{Embryo, Event, Flow, FlowKey, NextHop, Vserver, event_kind, flow_flags, tcp_seen, vserver_flags};
use crate::tables::{Full, Tables};
use crate::wire::{eth, tcp};

use super::Arrival;
use super::parse::{Frame, Packet, Transport};
use super::placement::Placement;

/// The key of the flow that a client's packet belongs to.
#[inline(always)]
pub fn key_of_client(vserver: u32, ip: &Packet) -> FlowKey {
    FlowKey { vserver, addr: ip.source, port: ip.source_port, protocol: u16::from(ip.protocol) }
}

/// The key of the flow that a backend's packet to its client belongs to.
#[inline(always)]
pub fn key_of_server(vserver: u32, ip: &Packet) -> FlowKey {
    FlowKey { vserver, addr: ip.destination, port: ip.destination_port, protocol: u16::from(ip.protocol) }
}

/// The way back to whoever sent `frame`.
#[inline(always)]
pub fn way_back(frame: &Frame, arrival: Arrival) -> NextHop {
    NextHop { macs: eth::swapped(frame.macs), ifindex: arrival.ifindex, vlan: frame.domain }
}

/// What the flags of a TCP segment say about its sender's side.
#[inline(always)]
pub fn tcp_marks(ip: &Packet) -> u8 {
    if ip.transport != Transport::Tcp {
        return 0;
    }
    let fin = if ip.tcp_flags & tcp::flags::FIN != 0 { tcp_seen::FIN } else { 0 };
    let rst = if ip.tcp_flags & tcp::flags::RST != 0 { tcp_seen::RST } else { 0 };
    fin | rst
}

/// Whether a recorded flow gives way to a new connection: `ip` opens one, and the old one is over.
#[inline(always)]
pub fn gives_way(flow: &Flow, ip: &Packet) -> bool {
    ip.opens() && flow.close_reason().is_some()
}

/// Counts a packet of the client.
#[inline(always)]
pub fn from_client<T: Tables>(tables: &T, flow: &mut Flow, hop: NextHop, len: usize) {
    flow.seen = tables.ticks();
    flow.client_packets = flow.client_packets.wrapping_add(1);
    flow.client_bytes = flow.client_bytes.wrapping_add(len as u64);
    flow.client_hop = hop;
}

/// Counts a packet of the backend.
#[inline(always)]
pub fn from_server<T: Tables>(tables: &T, flow: &mut Flow, len: usize) {
    flow.seen = tables.ticks();
    flow.server_packets = flow.server_packets.wrapping_add(1);
    flow.server_bytes = flow.server_bytes.wrapping_add(len as u64);
}

/// Tells the daemon of a flow that has just come to its end, once.
#[inline(never)]
pub fn tell_closed<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey, flow: &mut Flow) {
    let Some(reason) = flow.close_reason() else {
        return;
    };
    if flow.flags & flow_flags::CLOSE_TOLD != 0 {
        return;
    }
    flow.flags |= flow_flags::CLOSE_TOLD;
    if vserver.flags & vserver_flags::LOGGED != 0 {
        tell(tables, event_kind::FLOW_CLOSED, reason as u32, key, flow);
    }
}

#[inline(always)]
fn tell<T: Tables>(tables: &T, kind: u32, detail: u32, key: &FlowKey, flow: &Flow) {
    tables.emit(&Event {
        kind,
        detail,
        at: tables.now(),
        flow: *key,
        backend: flow.backend,
        ifindex: flow.client_hop.ifindex,
        words: [flow.client_packets.into(), flow.server_packets.into(), flow.client_bytes, flow.server_bytes],
    });
}

/// Who sent the packet that a flow is recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The backend.
    Server,
}

/// A record for the first packet of a flow, of `len` bytes, with these TCP `marks`.
#[inline(always)]
pub fn begun<T: Tables>(tables: &T, placement: &Placement<'_>, hop: NextHop, sender: Sender, len: usize, marks: u8) -> Flow {
    let now = tables.ticks();
    let client = sender == Sender::Client;
    let packets = |own: bool| u32::from(own);
    let bytes = |own: bool| if own { len as u64 } else { 0 };
    Flow {
        backend: placement.index,
        client_packets: packets(client),
        server_packets: packets(!client),
        client_hop: hop,
        client_bytes: bytes(client),
        server_bytes: bytes(!client),
        seen: now,
        opened: now,
        generation: placement.generation,
        flags: if placement.exception { flow_flags::EXCEPTION } else { 0 },
        client_tcp: if client { marks } else { 0 },
        server_tcp: if client { 0 } else { marks },
        ..Flow::default()
    }
}

/// Records `flow`, and tells the daemon if the vserver is logged.
#[inline(always)]
pub fn record<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey, flow: &Flow) -> Result<(), Full> {
    tables.flow_insert(key, flow)?;
    if vserver.flags & vserver_flags::LOGGED != 0 {
        tell(tables, event_kind::FLOW_OPENED, 0, key, flow);
    }
    Ok(())
}

/// Remembers a connection of which only the SYN was seen.
#[inline(always)]
pub fn conceive<T: Tables>(tables: &T, key: &FlowKey, placement: &Placement<'_>, hop: NextHop) {
    tables.embryo_insert(key, &Embryo { backend: placement.index, client_hop: hop });
}
