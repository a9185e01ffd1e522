//! Where does a flow go of which there is no record, and what is remembered of it?

use crate::abi::{
    Exception, FULL_BACKENDS, FlowKey, NO_BACKEND, Reason, Vserver, backend_flags, flow_flags, mode, tcp_seen, vserver_flags,
};
use crate::tables::{Full, Tables};

use super::hash::flow_hash;
use super::parse::{Story, Transport};
use super::placement::{self, Placement};
use super::rewrite::Plan;
use super::{counted, flow, guard, nat, session};

/// The backend of the commonest packet of a vserver that keeps no flows: the ring's, when nothing else has a say.
#[inline(always)]
pub fn plain<T: Tables>(tables: &T, vserver: &Vserver, story: &Story) -> u32 {
    if vserver.flags & (vserver_flags::EXCEPTIONS | vserver_flags::PREVIOUS | vserver_flags::GUARDED) != 0 {
        return NO_BACKEND;
    }
    let hash = flow_hash(vserver.hash, &story.here.addr, story.here.port, &story.there.addr);
    tables.ring(vserver.ring.slot(hash))
}

/// Places a flow without a record: by an exception that was made for it, by what its SYN left, else by the ring.
#[inline(always)]
pub fn place<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan) {
    plan.placement = placed(tables, vserver, story, plan);
}

#[inline(always)]
fn placed<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan) -> Placement {
    let key = &plan.key.here();
    let hash_only = vserver.flags & vserver_flags::HASH_ONLY != 0;
    // A new connection from the same port owes nothing to a former one.
    if !story.opens()
        && let Some(placement) = excepted(tables, vserver, key)
    {
        return placement;
    }
    let hash = flow_hash(vserver.hash, &story.here.addr, story.here.port, &story.there.addr);
    // An older ring has no say in a datagram either, which says nothing about what was before it: flows that were are recorded.
    let begins = story.opens() || story.transport == Transport::Udp;
    if !begins
        && !hash_only
        && let Some(embryo) = tables.embryo(key)
        && placement::up(tables, embryo.backend).is_some()
    {
        (plan.nat, plan.nat_for) = (embryo.nat, embryo.backend);
        let exception = !placement::confirms(tables, vserver, hash, embryo.backend);
        return Placement { backend: embryo.backend, exception, older: false, kept: false };
    }
    let backend = beside_ring(tables, vserver, story, key.index(), begins);
    if backend != NO_BACKEND {
        return Placement { backend, exception: true, older: false, kept: false };
    }
    placement::by_ring(tables, vserver, hash, begins)
}

/// The backend of a flow on which the ring has no say: its client had it before, or, if it `begins`, it has its turn or the fewest flows.
#[inline(always)]
fn beside_ring<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, index: u32, begins: bool) -> u32 {
    if session::has(vserver) {
        let known = session::find(tables, vserver, story);
        if placement::suits(tables, known, begins) == placement::TAKES {
            return known;
        }
    }
    if begins && vserver.flags & (vserver_flags::IN_TURN | vserver_flags::LEAST) != 0 {
        return counted::choose(tables, vserver, index);
    }
    NO_BACKEND
}

/// The exception that was made for this client, if its backend is up.
#[inline(always)]
fn excepted<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey) -> Option<Placement> {
    if vserver.flags & vserver_flags::EXCEPTIONS == 0 {
        return None;
    }
    let mut exception = tables.exception_mut(key)?;
    exception.seen = tables.ticks();
    let older = exception.generation != vserver.generation;
    let backend = exception.backend;
    placement::up(tables, backend).map(|_| Placement { backend, exception: true, older, kept: true })
}

/// Remembers what has to be of a flow that was just placed, and why its packet leaves.
#[inline(always)]
pub fn remember<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan) {
    plan.reason = remembered(tables, vserver, story, plan);
}

#[inline(always)]
fn remembered<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &Plan) -> Reason {
    let placement = plan.placement;
    let key = &plan.key.here();
    if placement.backend == NO_BACKEND {
        return Reason::NoBackend;
    }
    if placement.backend == FULL_BACKENDS {
        return Reason::BackendsFull;
    }
    if vserver.flags & vserver_flags::HASH_ONLY != 0 {
        if !placement.exception {
            return Reason::ForwardHash;
        }
        let kept = placement.kept || except(tables, vserver, key, placement).is_ok();
        return if kept { Reason::ForwardException } else { Reason::ForwardTableFull };
    }
    let flags = tables.backend(placement.backend).map_or(0, |backend| backend.flags);
    if flags & backend_flags::THROTTLED != 0 && story.opens() && !guard::throttle(tables, placement.backend, key) {
        return Reason::Surge;
    }
    let limited = vserver.flags & vserver_flags::LIMITED != 0;
    let marked = if limited { flow_flags::COUNTED } else { 0 };
    if let Some(mut recorded) = tables.flow_mut(key) {
        // Over, or its backend is down: the record begins anew.
        let counted = recorded.flags & flow_flags::COUNTED;
        flow::begin_anew(tables, &mut recorded, vserver, placement, story);
        recorded.nat = plan.nat;
        recorded.flags |= counted | marked;
        if limited && counted == 0 {
            guard::opened(tables, vserver, key);
        }
        return Reason::ForwardNew;
    }
    if flags & backend_flags::SHARED != 0 && plan.nat.is_none() && vserver.mode == mode::NAT {
        nat::note(tables, story, key, placement.backend);
    }
    if story.opens() {
        flow::conceive(tables, key, placement, story, plan.nat);
        return Reason::ForwardSyn;
    }
    if flow::tcp_marks(story) & tcp_seen::RST != 0 {
        return Reason::ForwardHash;
    }
    if let Some(mut room) = tables.flow_room() {
        flow::begin_by_client(tables, &mut room, vserver, placement, story);
        room.nat = plan.nat;
        room.flags |= marked;
        if flow::record(tables, vserver, key, &room).is_ok() {
            if limited {
                guard::opened(tables, vserver, key);
            }
            return Reason::ForwardNew;
        }
    }
    if !plan.nat.is_none() {
        nat::give_back(tables, plan);
        return Reason::NoRoom;
    }
    if placement.exception && !placement.kept {
        // Without room for that either the ring decides, and is wrong about this one: counted all the same.
        let _ = except(tables, vserver, key, placement);
    }
    Reason::ForwardTableFull
}

#[inline(always)]
fn except<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey, placement: Placement) -> Result<(), Full> {
    let generation = placement.generation(vserver);
    tables.exception_insert(key, &Exception { backend: placement.backend, generation, seen: tables.ticks() })
}
