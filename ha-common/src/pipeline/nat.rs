//! Which source does a backend see, and whose answer is it then?
//!
//! `REVERSE` is the allotment itself: a port belongs to whoever put it there first, for one backend, so that every backend has all
//! ports of an address. The first choice follows from the client alone: a connection whose SYN was forgotten under a flood gets the
//! same port again. What only sent a SYN holds its port in `REVERSE_EMBRYONIC`, which evicts; a connection takes a port from it, and so does
//! another SYN that finds no port free.

use crate::abi::{Backend, FlowKey, Nat, Reason, ReverseKey, hash_kind, tcp_seen};
use crate::tables::{Claimed, Tables};
use crate::wire::Be16;

use super::flow;
use super::hash::{client_hash, rehash};
use super::parse::Story;
use super::rewrite::Plan;

/// Ports that are tried for a new flow. The first of them follow from the client; the others from the time as well, so that whoever asks again
/// where nearly all are taken is not refused for the same ones for ever.
const TRIES: u32 = 8;
/// How many follow from the client alone.
const FIRST_TRIES: u32 = 2;

/// Gives the flow of `plan` a source towards its backend, unless it has one already that is still its own: to keep, or, if it begins now, until
/// it is needed elsewhere. What it had before stays when there is none.
///
/// Whether it has one; if not, the plan's reason is why its packet cannot go on.
#[inline(always)]
pub fn allot<T: Tables>(tables: &T, story: &Story, plan: &mut Plan) -> bool {
    match try_allot(tables, story, plan) {
        Ok(()) => true,
        Err(reason) => {
            plan.reason = reason;
            false
        }
    }
}

#[inline(always)]
fn try_allot<T: Tables>(tables: &T, story: &Story, plan: &mut Plan) -> Result<(), Reason> {
    let backend = tables.backend(plan.index).ok_or(Reason::NoBackend)?;
    if backend.snip_count == 0 {
        return Err(Reason::NoSnip);
    }
    if plan.nat_for != plan.index {
        plan.nat = Nat::NONE;
    }
    if plan.nat.is_none() && flow::tcp_marks(story) & tcp_seen::RST != 0 {
        // Of a connection that nobody knows: the backend would know its source as little.
        return Err(Reason::NoPort);
    }
    // Clients that only their place tells apart begin with different ports.
    let place = u32::from(plan.key.protocol >> 8);
    let hash = client_hash(hash_kind::SOURCE_PORT, &story.here.addr, story.here.port) ^ place.wrapping_mul(0x9e37_79b9);
    let keep = plan.recorded || !story.opens();
    for n in 0..=TRIES {
        if !plan.nat.is_none() {
            match claim(tables, plan, keep) {
                Claimed::Yes => return Ok(()),
                Claimed::Full => return Err(Reason::NoRoom),
                Claimed::Taken => {}
            }
        }
        let chance = if n < FIRST_TRIES { 0 } else { tables.ticks().low().0 };
        plan.nat = candidate(tables, backend, rehash(hash ^ chance, n));
    }
    for n in 0..if keep { 0 } else { TRIES } {
        plan.nat = candidate(tables, backend, rehash(hash, n));
        if displace(tables, plan) {
            return Ok(());
        }
    }
    Err(Reason::NoPort)
}

/// The source that `hash` falls on.
#[inline(always)]
fn candidate<T: Tables>(tables: &T, backend: &Backend, hash: u32) -> Nat {
    let index = backend.snips + (((hash >> 16) * (backend.snip_count & 0xffff)) >> 16);
    let Some(snip) = tables.snip(index) else {
        return Nat::NONE;
    };
    let offset = ((hash & 0xffff) * u32::from(snip.ports)) >> 16;
    Nat { snip: index as u16, port: Be16::new(snip.first_port.wrapping_add(offset as u16)) }
}

/// Puts the source where answers to it are looked up, for a flow that may hold it already.
#[inline(always)]
fn claim<T: Tables>(tables: &T, plan: &Plan, keep: bool) -> Claimed {
    let Some(key) = key_of(tables, plan) else {
        return Claimed::Taken;
    };
    let flow = plan.key.here();
    // Its own may be that of a flow whose record was lost.
    if let Some(holder) = tables.reverse_recorded(&key) {
        return if holder.is(&flow) { Claimed::Yes } else { Claimed::Taken };
    }
    if keep {
        // Whoever only sent a SYN gives way to a connection.
        return tables.reverse_claim(&key, &flow);
    }
    match tables.reverse_embryo_claim(&key, &flow) {
        Claimed::Taken if tables.reverse(&key).is_some_and(|holder| holder.is(&flow)) => Claimed::Yes,
        claimed => claimed,
    }
}

/// Takes the source from another SYN: under a flood, SYNs that will never be answered hold all of them. Whether it is to be had.
#[inline(always)]
fn displace<T: Tables>(tables: &T, plan: &Plan) -> bool {
    let Some(key) = key_of(tables, plan) else {
        return false;
    };
    let free = tables.reverse_recorded(&key).is_none();
    if free {
        tables.reverse_embryo_insert(&key, &plan.key.here());
    }
    free
}

/// The source of a flow that finds no room after all is free again.
#[inline(always)]
pub fn give_back<T: Tables>(tables: &T, plan: &Plan) {
    if let Some(key) = key_of(tables, plan) {
        tables.reverse_remove(&key);
    }
}

/// Notes whose answers a backend that several vservers share will send to a client that it sees itself.
#[inline(always)]
pub fn note<T: Tables>(tables: &T, story: &Story, flow: &FlowKey, backend: u32) {
    let key = ReverseKey { backend, addr: flow.addr, port: flow.port, protocol: flow.transport().into() };
    if story.opens() {
        tables.reverse_embryo_insert(&key, flow);
    } else {
        // Without room its answers are dropped, and counted there.
        let _ = tables.reverse_insert(&key, flow);
    }
}

/// How the answers of a flow's backend are looked up.
#[inline(always)]
fn key_of<T: Tables>(tables: &T, plan: &Plan) -> Option<ReverseKey> {
    let snip = tables.snip(plan.nat.snip.into())?;
    Some(ReverseKey { backend: plan.index, addr: snip.addr, port: plan.nat.port, protocol: plan.key.transport().into() })
}
