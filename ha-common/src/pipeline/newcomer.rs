//! Where does a flow go of which there is no record (or one that does not count any more)?

use crate::abi::{Backend, Exception, NO_BACKEND, Reason, ReverseKey, Vserver, backend_flags, tcp_seen, vserver_flags};
use crate::tables::Tables;

use super::flow;
use super::hash::client_hash;
use super::parse::{Story, Transport};
use super::placement::{self, Placement};
use super::select::Client;

/// A backend, and why it was chosen; [`NO_BACKEND`], and why there is none.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Index into `BACKENDS`.
    pub backend: u32,
    /// Why.
    pub reason: Reason,
}

const NO_CHOICE: Choice = Choice { backend: NO_BACKEND, reason: Reason::NoBackend };

/// The backend of the commonest packet of a vserver that keeps no flows: the ring's, when nothing else has a say.
#[inline(always)]
pub fn plain<'t, T: Tables>(tables: &'t T, vserver: &Vserver, story: &Story) -> Option<&'t Backend> {
    if vserver.flags & (vserver_flags::EXCEPTIONS | vserver_flags::PREVIOUS) != 0 {
        return None;
    }
    let hash = client_hash(vserver.hash, &story.here.addr, story.here.port);
    placement::up(tables, tables.ring(vserver.ring.slot(hash)))
}

/// The choice of a vserver that keeps no flows: exceptions, then the ring.
#[inline(never)]
pub fn by_ring_alone<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, client: &Client) -> Choice {
    if !story.opens()
        && let Some(placement) = excepted(tables, vserver, client)
    {
        return Choice { backend: placement.index, reason: Reason::ForwardException };
    }
    let hash = client_hash(vserver.hash, &story.here.addr, story.here.port);
    let Some(placement) = placement::place(tables, vserver, hash, begins(story)) else {
        return NO_CHOICE;
    };
    let reason = match placement.exception {
        false => Reason::ForwardHash,
        true if except(tables, client, &placement) => Reason::ForwardException,
        true => Reason::ForwardTableFull,
    };
    Choice { backend: placement.index, reason }
}

/// The choice of a vserver that keeps flows: the flow is recorded from here on, unless it is half open or over.
#[inline(never)]
pub fn tracked<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, client: &Client) -> Choice {
    let Some(placement) = by_ring(tables, vserver, story, client) else {
        return NO_CHOICE;
    };
    let marks = flow::tcp_marks(story);
    let chosen = |reason| Choice { backend: placement.index, reason };
    if let Some(mut recorded) = tables.flow_mut(&client.key) {
        // Over, or its backend is down: the record begins anew. Nobody was told of the former flow's end, if that was the backend's.
        flow::begin_by_client(tables, &mut recorded, &placement, client.hop, story);
        return chosen(Reason::ForwardNew);
    }
    let shared = placement.backend.flags & backend_flags::SHARED != 0;
    let reverse =
        ReverseKey { backend: placement.index, addr: client.key.addr, port: client.key.port, protocol: client.key.protocol };
    if story.opens() {
        flow::conceive(tables, &client.key, &placement, client.hop);
        if shared {
            tables.reverse_embryo_insert(&reverse, &client.key);
        }
        return chosen(Reason::ForwardSyn);
    }
    if marks & tcp_seen::RST != 0 {
        return chosen(Reason::ForwardHash);
    }
    if shared {
        // Answers of a backend that several vservers share do not say which. Without room they are dropped, and counted there.
        let _ = tables.reverse_insert(&reverse, &client.key);
    }
    if let Some(mut room) = tables.flow_room() {
        flow::begin_by_client(tables, &mut room, &placement, client.hop, story);
        if flow::record(tables, vserver, &client.key, &room).is_ok() {
            return chosen(Reason::ForwardNew);
        }
    }
    if placement.exception {
        except(tables, client, &placement);
    }
    chosen(Reason::ForwardTableFull)
}

/// Whether an older ring has no say in where this packet goes: it opens a connection, or it is a datagram, which says nothing about
/// what was before it (flows that were are recorded).
#[inline(always)]
fn begins(story: &Story) -> bool {
    story.opens() || story.transport == Transport::Udp
}

/// The placement of a flow without a record: what its SYN or an exception left, else the ring's.
#[inline(always)]
fn by_ring<'t, T: Tables>(tables: &'t T, vserver: &Vserver, story: &Story, client: &Client) -> Option<Placement<'t>> {
    let hash = client_hash(vserver.hash, &story.here.addr, story.here.port);
    if !begins(story)
        && let Some(embryo) = tables.embryo(&client.key)
        && let Some(backend) = placement::up(tables, embryo.backend)
    {
        let exception = !placement::confirms(tables, vserver, hash, embryo.backend);
        return Some(Placement { index: embryo.backend, backend, generation: vserver.generation, exception });
    }
    if let Some(placement) = excepted(tables, vserver, client) {
        return Some(placement);
    }
    placement::place(tables, vserver, hash, begins(story))
}

/// The exception that was made for this client, if its backend is up.
#[inline(always)]
fn excepted<'t, T: Tables>(tables: &'t T, vserver: &Vserver, client: &Client) -> Option<Placement<'t>> {
    if vserver.flags & vserver_flags::EXCEPTIONS == 0 {
        return None;
    }
    let mut exception = tables.exception_mut(&client.key)?;
    let backend = placement::up(tables, exception.backend)?;
    exception.seen = tables.ticks();
    Some(Placement { index: exception.backend, backend, generation: exception.generation, exception: true })
}

/// Makes an exception; whether there was room for it.
#[inline(always)]
fn except<T: Tables>(tables: &T, client: &Client, placement: &Placement<'_>) -> bool {
    let exception = Exception { backend: placement.index, generation: placement.generation, seen: tables.ticks() };
    tables.exception_insert(&client.key, &exception).is_ok()
}
