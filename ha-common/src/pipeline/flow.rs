//! What a packet changes in the record of its flow, and what the daemon is told of it.

use crate::abi::{
    Embryo, Event, Flow, FlowKey, Nat, NextHop, ServiceKey, Vserver, event_kind, flow_flags, tcp_seen, vserver_flags,
};
use crate::tables::{Full, Tables};
use crate::wire::{Be16, eth, tcp};

use super::any_port;
use super::guard;
use super::parse::{Story, Transport};
use super::placement::Placement;

/// The key of the flow that a client's packet belongs to.
#[inline(always)]
pub fn key_of_client(index: u32, vserver: &Vserver, story: &Story) -> FlowKey {
    let service_port = any_port::service_port(vserver, story.there.port);
    let ServiceKey { addr, port, protocol, .. } = story.here;
    FlowKey { vserver: index as u16, service_port, addr, port, protocol }
}

/// The key of the flow that a backend's packet to its client belongs to; `service_port` is zero unless the backend was found by any port.
#[inline(always)]
pub fn key_of_server(vserver: u32, service_port: Be16, story: &Story) -> FlowKey {
    let ServiceKey { addr, port, protocol, .. } = story.there;
    FlowKey { vserver: vserver as u16, service_port, addr, port, protocol }
}

/// The way back to whoever sent `frame`.
#[inline(always)]
pub fn way_back(story: &Story) -> NextHop {
    NextHop { macs: eth::swapped(story.frame.macs), ifindex: story.arrival.ifindex, vlan: story.frame.domain() }
}

/// What the flags of a TCP segment say about its sender's side.
#[inline(always)]
pub fn tcp_marks(story: &Story) -> u8 {
    if story.transport != Transport::Tcp {
        return 0;
    }
    let fin = if story.tcp_flags & tcp::flags::FIN != 0 { tcp_seen::FIN } else { 0 };
    let rst = if story.tcp_flags & tcp::flags::RST != 0 { tcp_seen::RST } else { 0 };
    fin | rst
}

/// Whether a recorded flow gives way to a new connection: the packet opens one, and the old one is over.
#[inline(always)]
pub fn gives_way(flow: &Flow, story: &Story) -> bool {
    story.opens() && flow.close_reason().is_some()
}

/// Counts a packet of the client.
#[inline(always)]
pub fn from_client<T: Tables>(tables: &T, flow: &mut Flow, story: &Story) {
    flow.seen = tables.ticks().low();
    flow.client_packets = flow.client_packets.wrapping_add(1);
    flow.client_bytes = flow.client_bytes.wrapping_add(story.len.into());
    flow.client_hop = way_back(story);
}

/// Counts a packet of the backend.
#[inline(always)]
pub fn from_server<T: Tables>(tables: &T, flow: &mut Flow, len: u32) {
    flow.seen = tables.ticks().low();
    flow.server_packets = flow.server_packets.wrapping_add(1);
    flow.server_bytes = flow.server_bytes.wrapping_add(len.into());
}

/// A flow of `backend` is over, or is another's from now on.
#[inline(always)]
fn closed<T: Tables>(tables: &T, backend: u32) {
    if let Some(load) = tables.load(backend) {
        load.close_one();
    }
}

/// Tells the daemon of a flow that has just come to its end, and counts that, once.
#[inline(never)]
pub fn tell_closed<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey, flow: &mut Flow) {
    let Some(reason) = flow.close_reason() else {
        return;
    };
    if flow.flags & flow_flags::CLOSE_TOLD != 0 {
        return;
    }
    flow.flags |= flow_flags::CLOSE_TOLD;
    closed(tables, flow.backend);
    if flow.flags & flow_flags::COUNTED != 0 {
        guard::closed(tables, vserver, key, flow);
    }
    if vserver.flags & vserver_flags::LOGGED != 0 {
        tables.emit(&event(tables, event_kind::FLOW_CLOSED, reason as u32, key, flow));
    }
}

/// Tells the daemon of a flow that has just been recorded.
#[inline(never)]
fn tell_opened<T: Tables>(tables: &T, key: &FlowKey, flow: &Flow) {
    tables.emit(&event(tables, event_kind::FLOW_OPENED, 0, key, flow));
}

#[inline(always)]
fn event<T: Tables>(tables: &T, kind: u32, detail: u32, key: &FlowKey, flow: &Flow) -> Event {
    Event {
        kind,
        detail,
        at: tables.now(),
        flow: *key,
        backend: flow.backend,
        ifindex: flow.client_hop.ifindex,
        words: [flow.client_packets.into(), flow.server_packets.into(), flow.client_bytes, flow.server_bytes],
    }
}

/// Writes into `flow` what is known of it after its first packet, which the client sent.
#[inline(always)]
pub fn begin_by_client<T: Tables>(tables: &T, flow: &mut Flow, vserver: &Vserver, placement: Placement, story: &Story) {
    begin(tables, flow, vserver, placement, way_back(story));
    flow.client_packets = 1;
    flow.client_bytes = story.len.into();
    flow.client_tcp = tcp_marks(story);
}

/// Writes into `flow` what is known of it after its first packet, which the backend sent.
#[inline(always)]
pub fn begin_by_server<T: Tables>(tables: &T, flow: &mut Flow, vserver: &Vserver, hop: NextHop, story: &Story, backend: u32) {
    begin(tables, flow, vserver, Placement { backend, ..Placement::NONE }, hop);
    flow.server_packets = 1;
    flow.server_bytes = story.len.into();
    flow.server_tcp = tcp_marks(story);
}

/// Field by field: a whole record in between would not fit the kernel's stack.
#[inline(always)]
fn begin<T: Tables>(tables: &T, flow: &mut Flow, vserver: &Vserver, placement: Placement, hop: NextHop) {
    let now = tables.ticks();
    flow.backend = placement.backend;
    flow.client_packets = 0;
    flow.server_packets = 0;
    flow.client_hop = hop;
    flow.client_bytes = 0;
    flow.server_bytes = 0;
    flow.seen = now.low();
    flow.nat = Nat::NONE;
    flow.opened = now;
    flow.generation = placement.generation(vserver);
    flow.flags = if placement.exception { flow_flags::EXCEPTION } else { 0 };
    flow.client_tcp = 0;
    flow.server_tcp = 0;
    flow.reserved_words = [0; 6];
}

/// Begins a recorded flow anew: it is over, or its backend takes no more of it.
#[inline(always)]
pub fn begin_anew<T: Tables>(tables: &T, flow: &mut Flow, vserver: &Vserver, placement: Placement, story: &Story) {
    if flow.flags & flow_flags::CLOSE_TOLD == 0 {
        closed(tables, flow.backend);
    }
    begin_by_client(tables, flow, vserver, placement, story);
    opened(tables, flow.backend);
}

/// `backend` has one more flow.
#[inline(always)]
fn opened<T: Tables>(tables: &T, backend: u32) {
    if let Some(load) = tables.load(backend) {
        load.open_one();
    }
}

/// Records `flow`, and tells the daemon if the vserver is logged.
#[inline(always)]
pub fn record<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey, flow: &Flow) -> Result<(), Full> {
    tables.flow_insert(key, flow)?;
    opened(tables, flow.backend);
    if vserver.flags & vserver_flags::LOGGED != 0 {
        tell_opened(tables, key, flow);
    }
    Ok(())
}

/// Remembers a connection of which only the SYN was seen.
#[inline(always)]
pub fn conceive<T: Tables>(tables: &T, key: &FlowKey, placement: Placement, story: &Story, nat: Nat) {
    let seen = tables.ticks().low();
    tables.embryo_insert(key, &Embryo { backend: placement.backend, client_hop: way_back(story), nat, seen });
}
