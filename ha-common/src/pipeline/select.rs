//! Which backend? A client's packet, from its vserver to the backend's wire.

use crate::abi::{Backend, Event, FlowKey, Reason, Vserver, backend_flags, event_kind, mode, vserver_flags};
use crate::tables::Tables;
use crate::wire::{eth, ipv6};

use super::life::Fate;
use super::parse::Story;
use super::rewrite::{Plan, Step, Way};
use super::{Arrival, Steps, Verdict, flow, gate, l2, newcomer, placement, refuse, session};

/// What a tunnel puts in front of a packet, at most.
const TUNNEL_OVERHEAD: u16 = ipv6::LEN as u16;

/// Plans how a client's packet gets to a backend of vserver `index`.
#[inline(always)]
pub fn forward<T: Steps>(tables: &T, story: &Story, index: u32, plan: &mut Plan) -> Result<(), Verdict> {
    let vserver = tables.vserver(index).ok_or(Verdict::drop(Reason::NotConfigured))?;
    gate::enter(tables, story.arrival, vserver.group)?;
    acceptable(story, vserver)?;
    let overhead = match vserver.mode {
        mode::NAT if story.ttl <= 1 => {
            // What is down tells nobody how far away it is.
            if vserver.flags & vserver_flags::DOWN != 0 {
                return Err(Verdict::drop(Reason::VserverDown));
            }
            plan.way = Way::Refused;
            return Ok(());
        }
        mode::NAT => {
            plan.step = Step::Translate;
            0
        }
        mode::TUNNEL => {
            plan.step = Step::Tunnel;
            TUNNEL_OVERHEAD
        }
        mode::MAC => 0,
        _ => return Err(Verdict::drop(Reason::NotConfigured)),
    };
    plan.key = flow::key_of_client(index, vserver, story);
    if vserver.flags & vserver_flags::L2_CONN != 0 {
        l2::tell_apart(tables, story, &mut plan.key);
    }
    let backend = choose(tables, vserver, story, plan)?;
    if backend.next_hop.is_unknown() {
        want_next_hop(tables, backend, &story.arrival);
        return Err(Verdict::drop(Reason::NoNextHop));
    }
    // Of the two families' headers the longer one: a backend changes its family less often than this would cost.
    if story.total + u32::from(overhead) > u32::from(backend.mtu) && backend.mtu != 0 {
        plan.way = Way::Refused;
        plan.room = backend.mtu.saturating_sub(overhead).max(refuse::ROOM_MIN);
    }
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
    Ok(())
}

/// The backend of a client's packet: by the flow's record, or by the ring.
#[inline(always)]
fn choose<'t, T: Steps>(tables: &'t T, vserver: &Vserver, story: &Story, plan: &mut Plan) -> Result<&'t Backend, Verdict> {
    if vserver.flags & vserver_flags::DOWN != 0 {
        // Below.
    } else if vserver.flags & vserver_flags::HASH_ONLY != 0 {
        let index = newcomer::plain(tables, vserver, story);
        if let Some(backend) = placement::up(tables, index) {
            (plan.index, plan.reason) = (index, Reason::ForwardHash);
            return Ok(backend);
        }
    } else if let Some(backend) = hit(tables, vserver, story, plan) {
        plan.reason = Reason::ForwardHit;
        return Ok(backend);
    }
    if plan.recorded || vserver.flags & (vserver_flags::DOWN | vserver_flags::L2_CONN) != 0 {
        match tables.outlive(vserver, story, plan) {
            Fate::Begins => {}
            Fate::GoesOn => return tables.backend(plan.index).ok_or(Verdict::drop(Reason::NoBackend)),
            Fate::Ends => return Err(Verdict::drop(plan.reason)),
        }
    }
    if vserver.flags & vserver_flags::GUARDED != 0 && !tables.admit(vserver, story, plan) {
        return Err(Verdict::drop(plan.reason));
    }
    tables.place(vserver, story, plan);
    plan.index = plan.placement.backend;
    let hidden = tables.backend(plan.index).is_some_and(|backend| backend.flags & backend_flags::SNAT != 0);
    if hidden && vserver.mode == mode::NAT && !tables.allot(story, plan) {
        return Err(Verdict::drop(plan.reason));
    }
    tables.remember(vserver, story, plan);
    if session::has(vserver) {
        tables.keep(vserver, story, plan);
    }
    let refused = Verdict::drop(plan.reason);
    if matches!(plan.reason, Reason::NoRoom | Reason::Surge) {
        return Err(refused);
    }
    tables.backend(plan.index).ok_or(refused)
}

/// The backend that the flow's record names, if it goes on.
#[inline(always)]
fn hit<'t, T: Tables>(tables: &'t T, vserver: &Vserver, story: &Story, plan: &mut Plan) -> Option<&'t Backend> {
    let mut recorded = tables.flow_mut(&plan.key)?;
    plan.recorded = true;
    plan.nat = recorded.nat;
    plan.nat_for = recorded.backend;
    if flow::gives_way(&recorded, story) {
        return None;
    }
    if vserver.flags & vserver_flags::L2_CONN != 0 && !l2::is_same(&recorded.client_hop, story) {
        return None;
    }
    let backend = placement::up(tables, recorded.backend)?;
    plan.index = recorded.backend;
    flow::from_client(tables, &mut recorded, story);
    let marks = flow::tcp_marks(story);
    if marks != 0 {
        recorded.client_tcp |= marks;
        flow::tell_closed(tables, vserver, &plan.key, &mut recorded);
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
