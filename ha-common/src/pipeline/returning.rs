//! An answer of a backend, back to its client, from the address that the client knows.

use crate::abi::{
    AMBIGUOUS, AddressKey, Event, FlowKey, NO_BACKEND, NextHop, Owner, Reason, ReverseKey, Vserver, address_flags, event_kind,
    tcp_seen, vserver_flags,
};
use crate::packet::PacketMut;
use crate::tables::{Route, Tables};
use crate::wire::tcp;

use super::flow;
use super::hash::client_hash;
use super::parse::{Story, Transport};
use super::placement::{self, Placement};
use super::verdict::end;
use super::{Action, Arrival, Verdict, echo, gate, rewrite};

/// Sends an answer of `owner` back to the client.
#[inline(always)]
pub fn answer<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, owner: &Owner) -> Verdict {
    end(try_answer(packet, tables, story, owner))
}

#[inline(always)]
fn try_answer<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, story: &Story, owner: &Owner) -> Result<Verdict, Verdict> {
    let key = flow_of(tables, story, owner);
    let (hop, reason) = match hit(tables, story, owner, &key)? {
        Some(hop) => (hop, Reason::ReturnHit),
        None => {
            let destination = AddressKey { addr: story.there.addr, domain: story.there.domain };
            if let Some(address) = tables.address(&destination) {
                // To this machine: a probe's answer, or an answer to a floating address itself.
                let host = address.flags & address_flags::HOST != 0;
                return if host {
                    Err(Verdict::pass(Reason::BackendOwn))
                } else {
                    Ok(echo::address(packet, tables, story, address))
                };
            }
            let mut hop = NextHop::default();
            let verdict = unrecorded(tables, story, owner, &key, &mut hop);
            if verdict.action() != Action::Transmit {
                return Err(verdict);
            }
            (hop, verdict.reason())
        }
    };
    let vserver = tables.vserver(key.vserver).ok_or(Verdict::drop(Reason::NotConfigured))?;
    rewrite::to_client(packet, story, vserver)?;
    rewrite::send(packet, story, &hop, reason)
}

/// The flow that an answer would belong to; vserver [`NO_BACKEND`] when nothing says which.
#[inline(always)]
fn flow_of<T: Tables>(tables: &T, story: &Story, owner: &Owner) -> FlowKey {
    if owner.vserver != AMBIGUOUS {
        return flow::key_of_server(owner.vserver, story);
    }
    let there = &story.there;
    let key = ReverseKey { backend: owner.backend, addr: there.addr, port: there.port, protocol: there.protocol };
    tables.reverse(&key).unwrap_or(FlowKey { vserver: NO_BACKEND, ..flow::key_of_server(0, story) })
}

/// The way of an answer whose flow is recorded.
#[inline(always)]
fn hit<T: Tables>(tables: &T, story: &Story, owner: &Owner, key: &FlowKey) -> Result<Option<NextHop>, Verdict> {
    let Some(mut flow) = tables.flow_mut(key) else {
        return Ok(None);
    };
    if flow.backend != owner.backend || flow.client_hop.is_unknown() {
        return Ok(None);
    }
    let vserver = tables.vserver(key.vserver).ok_or(Verdict::drop(Reason::NotConfigured))?;
    gate::enter(tables, story.arrival, vserver.group)?;
    rewrite::lives_on(story)?;
    flow::from_server(tables, &mut flow, story.len);
    let marks = flow::tcp_marks(story);
    if marks != 0 {
        flow.server_tcp |= marks;
        flow::tell_closed(tables, vserver, key, &mut flow);
    }
    Ok(Some(flow.client_hop))
}

/// The way of an answer whose flow is not recorded, into `hop`: what its SYN left, else the routing table, if the ring says that
/// this backend is the client's. The other node does exactly this after a takeover. Transmit, if there is a way.
#[inline(never)]
fn unrecorded<T: Tables>(tables: &T, story: &Story, owner: &Owner, key: &FlowKey, hop: &mut NextHop) -> Verdict {
    match way(tables, story, owner, key) {
        Ok((found, reason)) => {
            *hop = found;
            Verdict::transmit(reason)
        }
        Err(verdict) => verdict,
    }
}

#[inline(always)]
fn way<T: Tables>(tables: &T, story: &Story, owner: &Owner, key: &FlowKey) -> Result<(NextHop, Reason), Verdict> {
    let arrival = story.arrival;
    let Some(vserver) = tables.vserver(key.vserver) else {
        gate::enter(tables, arrival, 0)?;
        return Err(Verdict::drop(Reason::ReturnUnknown));
    };
    gate::enter(tables, arrival, vserver.group)?;
    if let Some(embryo) = tables.embryo(key)
        && embryo.backend == owner.backend
    {
        rewrite::lives_on(story)?;
        return Ok((embryo.client_hop, Reason::ReturnSyn));
    }
    let route = tables.route(arrival.ifindex, &story.here.addr, &story.there.addr);
    if route == Route::Host {
        return Err(Verdict::pass(Reason::BackendOwn));
    }
    let hash = client_hash(vserver.hash, &story.there.addr, story.there.port);
    if !placement::confirms(tables, vserver, hash, owner.backend) {
        // A datagram may be the backend's own; a segment without SYN never begins anything.
        let own = story.transport == Transport::Udp || story.opens();
        return Err(if own { Verdict::pass(Reason::BackendOwn) } else { Verdict::drop(Reason::ReturnUnknown) });
    }
    rewrite::lives_on(story)?;
    let Route::Via(hop) = route else {
        want_client_hop(tables, key, &story.arrival);
        return Err(Verdict::drop(Reason::NoClientHop));
    };
    let reason = if keep(tables, vserver, story, owner, key, hop) { Reason::ReturnNew } else { Reason::ReturnHash };
    Ok((hop, reason))
}

/// Records the flow of an answer, unless it is half open, over, or of a vserver that keeps none; whether it is recorded now.
#[inline(always)]
fn keep<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, owner: &Owner, key: &FlowKey, hop: NextHop) -> bool {
    let marks = flow::tcp_marks(story);
    let half_open = story.transport == Transport::Tcp && story.tcp_flags & tcp::flags::SYN != 0;
    if half_open || marks & tcp_seen::RST != 0 || vserver.flags & vserver_flags::HASH_ONLY != 0 {
        return false;
    }
    let Some(backend) = tables.backend(owner.backend) else {
        return false;
    };
    let placement = Placement { index: owner.backend, backend, generation: vserver.generation, exception: false };
    let Some(mut room) = tables.flow_room() else {
        return false;
    };
    flow::begin_by_server(tables, &mut room, &placement, hop, story);
    flow::record(tables, vserver, key, &room).is_ok()
}

/// Asks the daemon to find the way to a client.
#[inline(never)]
fn want_client_hop<T: Tables>(tables: &T, key: &FlowKey, arrival: &Arrival) {
    let kind = event_kind::NEXT_HOP_WANTED;
    tables.emit(&Event { kind, at: tables.now(), flow: *key, ifindex: arrival.ifindex, ..Event::default() });
}
