//! Which backend? A client's packet, from its vserver to the backend's wire.

use crate::abi::{Backend, Event, FlowKey, NextHop, Reason, Vserver, event_kind, mode, vserver_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::eth;

use super::newcomer::{self, Choice};
use super::parse::Story;
use super::verdict::end;
use super::{Arrival, Verdict, flow, gate, placement, rewrite};

/// A client's end of its conversation.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The key of its flow.
    pub key: FlowKey,
    /// The way back to it.
    pub hop: NextHop,
}

/// Forwards a client's packet to a backend of vserver `index`.
#[inline(always)]
pub fn forward<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, index: u32) -> Verdict {
    end(try_forward(packet, tables, story, index))
}

#[inline(always)]
fn try_forward<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, index: u32) -> Result<Verdict, Verdict> {
    let vserver = tables.vserver(index).ok_or(Verdict::drop(Reason::NotConfigured))?;
    gate::enter(tables, story.arrival, vserver.group)?;
    acceptable(story, vserver)?;
    let client = Client { key: flow::key_of_client(index, story), hop: flow::way_back(story) };
    let (backend, reason) = choose(tables, vserver, story, &client)?;
    if backend.next_hop.is_unknown() {
        want_next_hop(tables, backend, &story.arrival);
        return Err(Verdict::drop(Reason::NoNextHop));
    }
    match vserver.mode {
        mode::NAT => rewrite::to_backend(packet, story, backend)?,
        mode::MAC => {}
        _ => return Err(Verdict::drop(Reason::NotConfigured)),
    }
    rewrite::send(packet, story, &backend.next_hop, reason)
}

/// Refuses what no client sends.
#[inline(always)]
fn acceptable(story: &Story, vserver: &Vserver) -> Result<(), Verdict> {
    if eth::to_group(story.frame.macs) {
        return Err(Verdict::drop(Reason::DropNotUnicast));
    }
    if story.here.addr == vserver.vip {
        return Err(Verdict::drop(Reason::Loop));
    }
    if !story.here.addr.is_station() {
        return Err(Verdict::drop(Reason::BadSource));
    }
    if vserver.flags & vserver_flags::DOWN != 0 {
        return Err(Verdict::drop(Reason::VserverDown));
    }
    if vserver.mode == mode::NAT { rewrite::lives_on(story) } else { Ok(()) }
}

/// The backend of a client's packet: by the flow's record, or by the ring.
#[inline(always)]
fn choose<'t, T: Tables>(
    tables: &'t T,
    vserver: &Vserver,
    story: &Story,
    client: &Client,
) -> Result<(&'t Backend, Reason), Verdict> {
    let choice = if vserver.flags & vserver_flags::HASH_ONLY != 0 {
        if let Some(backend) = newcomer::plain(tables, vserver, story) {
            return Ok((backend, Reason::ForwardHash));
        }
        newcomer::by_ring_alone(tables, vserver, story, client)
    } else {
        match hit(tables, vserver, story, client) {
            Some(backend) => return Ok((backend, Reason::ForwardHit)),
            None => newcomer::tracked(tables, vserver, story, client),
        }
    };
    let Choice { backend, reason } = choice;
    let backend = tables.backend(backend).ok_or(Verdict::drop(reason))?;
    Ok((backend, reason))
}

/// The backend that the flow's record names, if it goes on.
#[inline(always)]
fn hit<'t, T: Tables>(tables: &'t T, vserver: &Vserver, story: &Story, client: &Client) -> Option<&'t Backend> {
    let mut recorded = tables.flow_mut(&client.key)?;
    if flow::gives_way(&recorded, story) {
        return None;
    }
    let backend = placement::up(tables, recorded.backend)?;
    flow::from_client(tables, &mut recorded, client.hop, story.len);
    let marks = flow::tcp_marks(story);
    if marks != 0 {
        recorded.client_tcp |= marks;
        flow::tell_closed(tables, vserver, &client.key, &mut recorded);
    }
    Some(backend)
}

/// Asks the daemon to find the way to `backend`.
#[inline(never)]
fn want_next_hop<T: Tables>(tables: &T, backend: &Backend, arrival: &Arrival) {
    let flow = FlowKey { addr: backend.addr, port: backend.port, ..FlowKey::default() };
    let event = Event {
        kind: event_kind::NEXT_HOP_WANTED,
        detail: backend.next_hop.vlan,
        at: tables.now(),
        flow,
        ifindex: arrival.ifindex,
        ..Event::default()
    };
    tables.emit(&event);
}
