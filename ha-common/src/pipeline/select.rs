//! Which backend? A client's packet, from its vserver to the backend's wire.

use crate::abi::{Backend, Event, FlowKey, Reason, Vserver, event_kind, mode, vserver_flags};
use crate::tables::Tables;
use crate::wire::eth;

use super::parse::Story;
use super::rewrite::{Plan, Translate};
use super::{Arrival, Verdict, flow, gate, newcomer, placement, rewrite};

/// Plans how a client's packet gets to a backend of vserver `index`.
#[inline(always)]
pub fn forward<T: Tables>(tables: &T, story: &Story, index: u32, plan: &mut Plan) -> Result<(), Verdict> {
    let vserver = tables.vserver(index).ok_or(Verdict::drop(Reason::NotConfigured))?;
    gate::enter(tables, story.arrival, vserver.group)?;
    acceptable(story, vserver)?;
    plan.key = flow::key_of_client(index, story);
    let (backend, reason) = choose(tables, vserver, story, &plan.key)?;
    if backend.next_hop.is_unknown() {
        want_next_hop(tables, backend, &story.arrival);
        return Err(Verdict::drop(Reason::NoNextHop));
    }
    plan.translate = match vserver.mode {
        mode::NAT => Translate::Destination,
        mode::MAC => Translate::Nothing,
        _ => return Err(Verdict::drop(Reason::NotConfigured)),
    };
    plan.addr = backend.addr;
    plan.port = backend.port;
    plan.hop = backend.next_hop;
    plan.reason = reason;
    Ok(())
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
    key: &FlowKey,
) -> Result<(&'t Backend, Reason), Verdict> {
    if vserver.flags & vserver_flags::HASH_ONLY != 0 {
        if let Some(backend) = newcomer::plain(tables, vserver, story) {
            return Ok((backend, Reason::ForwardHash));
        }
    } else if let Some(backend) = hit(tables, vserver, story, key) {
        return Ok((backend, Reason::ForwardHit));
    }
    let placement = newcomer::place(tables, vserver, story, key);
    let reason = newcomer::remember(tables, vserver, story, key, placement);
    let backend = tables.backend(placement.backend).ok_or(Verdict::drop(reason))?;
    Ok((backend, reason))
}

/// The backend that the flow's record names, if it goes on.
#[inline(always)]
fn hit<'t, T: Tables>(tables: &'t T, vserver: &Vserver, story: &Story, key: &FlowKey) -> Option<&'t Backend> {
    let mut recorded = tables.flow_mut(key)?;
    if flow::gives_way(&recorded, story) {
        return None;
    }
    let backend = placement::up(tables, recorded.backend)?;
    flow::from_client(tables, &mut recorded, story);
    let marks = flow::tcp_marks(story);
    if marks != 0 {
        recorded.client_tcp |= marks;
        flow::tell_closed(tables, vserver, key, &mut recorded);
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
