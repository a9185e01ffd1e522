//! Where does a flow go of which there is no record, and what is remembered of it?

use crate::abi::{
    Backend, Exception, FlowKey, NO_BACKEND, Reason, ReverseKey, Vserver, backend_flags, tcp_seen, vserver_flags,
};
use crate::tables::{Full, Tables};

use super::flow;
use super::hash::client_hash;
use super::parse::{Story, Transport};
use super::placement::{self, Placement};

/// The backend of the commonest packet of a vserver that keeps no flows: the ring's, when nothing else has a say.
#[inline(always)]
pub fn plain<'t, T: Tables>(tables: &'t T, vserver: &Vserver, story: &Story) -> Option<&'t Backend> {
    if vserver.flags & (vserver_flags::EXCEPTIONS | vserver_flags::PREVIOUS) != 0 {
        return None;
    }
    let hash = client_hash(vserver.hash, &story.here.addr, story.here.port);
    placement::up(tables, tables.ring(vserver.ring.slot(hash)))
}

/// Places a flow without a record: by an exception that was made for it, by what its SYN left, else by the ring.
#[inline(never)]
pub fn place<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, key: &FlowKey) -> Placement {
    let hash_only = vserver.flags & vserver_flags::HASH_ONLY != 0;
    // A new connection from the same port owes nothing to a former one.
    if !story.opens()
        && let Some(placement) = excepted(tables, vserver, key)
    {
        return placement;
    }
    let hash = client_hash(vserver.hash, &story.here.addr, story.here.port);
    // An older ring has no say in a datagram either, which says nothing about what was before it: flows that were are recorded.
    let begins = story.opens() || story.transport == Transport::Udp;
    if !begins
        && !hash_only
        && let Some(embryo) = tables.embryo(key)
        && placement::up(tables, embryo.backend).is_some()
    {
        let exception = !placement::confirms(tables, vserver, hash, embryo.backend);
        return Placement { backend: embryo.backend, exception, older: false, kept: false };
    }
    placement::by_ring(tables, vserver, hash, begins)
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

/// Remembers what has to be of a flow that was just placed; why its packet leaves.
#[inline(never)]
pub fn remember<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, key: &FlowKey, placement: Placement) -> Reason {
    if placement.backend == NO_BACKEND {
        return Reason::NoBackend;
    }
    if vserver.flags & vserver_flags::HASH_ONLY != 0 {
        if !placement.exception {
            return Reason::ForwardHash;
        }
        let kept = placement.kept || except(tables, vserver, key, placement).is_ok();
        return if kept { Reason::ForwardException } else { Reason::ForwardTableFull };
    }
    if let Some(mut recorded) = tables.flow_mut(key) {
        // Over, or its backend is down: the record begins anew.
        flow::begin_by_client(tables, &mut recorded, vserver, placement, story);
        return Reason::ForwardNew;
    }
    way_back(tables, story, key, placement);
    if story.opens() {
        flow::conceive(tables, key, placement, story);
        return Reason::ForwardSyn;
    }
    if flow::tcp_marks(story) & tcp_seen::RST != 0 {
        return Reason::ForwardHash;
    }
    if let Some(mut room) = tables.flow_room() {
        flow::begin_by_client(tables, &mut room, vserver, placement, story);
        if flow::record(tables, vserver, key, &room).is_ok() {
            return Reason::ForwardNew;
        }
    }
    if placement.exception && !placement.kept {
        // Without room for that either the ring decides, and is wrong about this one: counted all the same.
        let _ = except(tables, vserver, key, placement);
    }
    Reason::ForwardTableFull
}

/// Answers of a backend that several vservers share do not say which of them they belong to.
#[inline(always)]
fn way_back<T: Tables>(tables: &T, story: &Story, key: &FlowKey, placement: Placement) {
    let shared = tables.backend(placement.backend).is_some_and(|backend| backend.flags & backend_flags::SHARED != 0);
    if !shared {
        return;
    }
    let reverse = ReverseKey { backend: placement.backend, addr: key.addr, port: key.port, protocol: key.protocol };
    if story.opens() {
        tables.reverse_embryo_insert(&reverse, key);
    } else {
        // Without room its answers are dropped, and counted there.
        let _ = tables.reverse_insert(&reverse, key);
    }
}

#[inline(always)]
fn except<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey, placement: Placement) -> Result<(), Full> {
    let generation = placement.generation(vserver);
    tables.exception_insert(key, &Exception { backend: placement.backend, generation, seen: tables.ticks() })
}
