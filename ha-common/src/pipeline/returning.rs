//! An answer of a backend, back to its client, from the address that the client knows.

use crate::abi::{
    AMBIGUOUS, Address, Event, FlowKey, NO_BACKEND, NO_VSERVER, NextHop, Owner, Reason, ReverseKey, Vserver, address_flags,
    backend_flags, event_kind, flow_flags, tcp_seen, vserver_flags,
};
use crate::tables::{Route, Tables};
use crate::wire::{Be16, eth, tcp};

use super::flow;
use super::guard;
use super::hash::flow_hash;
use super::parse::{Story, Transport};
use super::rewrite::{self, Plan, Step};
use super::{Action, Arrival, Steps, Verdict, any_port, gate, life, placement};

/// Plans how an answer of `owner` gets back to the client; `Some` if it goes to a floating address itself.
#[inline(always)]
pub fn answer<'t, T: Steps>(
    tables: &'t T,
    story: &Story,
    owner: &Owner,
    port: Be16,
    plan: &mut Plan,
) -> Result<Option<&'t Address>, Verdict> {
    plan.key = flow::key_of_server(owner.vserver, port, story);
    if owner.vserver == AMBIGUOUS {
        look_up_reverse(tables, owner, &mut plan.key);
    }
    if !hit(tables, story, owner, plan)? {
        let found = life::of_server(tables, story, owner, plan);
        match found.action() {
            Action::Transmit => return Ok(None),
            Action::Drop => return Err(found),
            _ => {}
        }
        if port == Be16::new(0) && any_port::is_used(tables) {
            tables.find_any_port(story, plan);
            let found = hit_of_any_port(tables, story, plan);
            match found.action() {
                Action::Transmit => return Ok(None),
                Action::Drop => return Err(found),
                _ => {}
            }
        }
        if owner.vserver != AMBIGUOUS {
            let found = hit_of_before(tables, story, owner, plan);
            match found.action() {
                Action::Transmit => return Ok(None),
                Action::Drop => return Err(found),
                _ => {}
            }
        }
        // What was looked up is a flow's, whatever address it is for.
        let known = owner.vserver == AMBIGUOUS && plan.key.vserver != NO_VSERVER;
        if !known && let Some(address) = tables.address(story.there.address()) {
            // To this machine: a probe's answer, or an answer to a floating address itself.
            let host = address.flags & address_flags::HOST != 0;
            return if host { Err(Verdict::pass(Reason::BackendOwn)) } else { Ok(Some(address)) };
        }
        let verdict = unrecorded(tables, story, owner, &plan.key, &mut plan.hop);
        if verdict.action() != Action::Transmit {
            return Err(verdict);
        }
        plan.reason = verdict.reason();
    }
    plan.step = Step::Return;
    plan.index = plan.key.index();
    Ok(None)
}

/// Plans the way of an answer whose flow began when its backend was shared, or did not see its clients: Transmit, if it is one.
#[inline(never)]
fn hit_of_before<T: Tables>(tables: &T, story: &Story, owner: &Owner, plan: &mut Plan) -> Verdict {
    let key = plan.key;
    look_up_reverse(tables, owner, &mut plan.key);
    let verdict = hit_as(tables, story, owner, plan);
    if verdict.action() != Action::Transmit {
        plan.key = key;
    }
    verdict
}

/// The same for an answer from a port that is another service's, too: Transmit, if it is one to a client of any port.
#[inline(never)]
fn hit_of_any_port<T: Tables>(tables: &T, story: &Story, plan: &mut Plan) -> Verdict {
    let (key, owner) = (plan.key, plan.found);
    if owner.backend == NO_BACKEND {
        return Verdict::pass(Reason::BackendOwn);
    }
    plan.key = flow::key_of_server(owner.vserver, story.here.port, story);
    if owner.vserver == AMBIGUOUS {
        look_up_reverse(tables, &owner, &mut plan.key);
    }
    let verdict = hit_as(tables, story, &owner, plan);
    if verdict.action() != Action::Transmit {
        plan.key = key;
    }
    verdict
}

#[inline(always)]
fn hit_as<T: Tables>(tables: &T, story: &Story, owner: &Owner, plan: &mut Plan) -> Verdict {
    match hit(tables, story, owner, plan) {
        Ok(true) => {
            plan.step = Step::Return;
            plan.index = plan.key.index();
            Verdict::transmit(plan.reason)
        }
        Ok(false) => Verdict::pass(Reason::BackendOwn),
        Err(verdict) => verdict,
    }
}

/// Makes `key`, that of a packet of a backend that several vservers share or that does not see its clients, the one of its flow; one that leads nowhere when nothing
/// says which flow that is.
#[inline(never)]
pub fn look_up_reverse<T: Tables>(tables: &T, owner: &Owner, key: &mut FlowKey) {
    let reverse = ReverseKey { backend: owner.backend, addr: key.addr, port: key.port, protocol: key.protocol };
    let port = key.service_port;
    match tables.reverse(&reverse) {
        Some(flow) => *key = flow,
        None => key.vserver = NO_VSERVER,
    }
    // Who answers from any port says in the packet which.
    if port != Be16::new(0) {
        key.service_port = port;
    }
}

/// Plans the way of an answer whose flow is recorded; whether it is.
#[inline(always)]
fn hit<T: Tables>(tables: &T, story: &Story, owner: &Owner, plan: &mut Plan) -> Result<bool, Verdict> {
    let Some(mut flow) = tables.flow_mut(&plan.key) else {
        return Ok(false);
    };
    if flow.backend != owner.backend || flow.client_hop.is_unknown() {
        return Ok(false);
    }
    let vserver = tables.vserver(plan.key.index()).ok_or(Verdict::drop(Reason::NotConfigured))?;
    gate::enter(tables, story.arrival, vserver.group)?;
    rewrite::lives_on(story)?;
    flow::from_server(tables, &mut flow, story.len);
    let marks = flow::tcp_marks(story);
    if marks != 0 {
        flow.server_tcp |= marks;
        flow::tell_closed(tables, vserver, &plan.key, &mut flow);
    }
    plan.hop = flow.client_hop;
    plan.reason = Reason::ReturnHit;
    Ok(true)
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
    let Some(vserver) = tables.vserver(key.index()) else {
        gate::enter(tables, arrival, 0)?;
        let own = key.service_port != Be16::new(0);
        return Err(if own { Verdict::pass(Reason::BackendOwn) } else { Verdict::drop(Reason::ReturnUnknown) });
    };
    gate::enter(tables, arrival, vserver.group)?;
    if let Some(embryo) = tables.embryo(key)
        && embryo.backend == owner.backend
    {
        rewrite::lives_on(story)?;
        return Ok((embryo.client_hop, Reason::ReturnSyn));
    }
    let hop = by_ring(tables, story, owner, vserver, key)?;
    let reason = if keep(tables, vserver, story, owner, key, hop) { Reason::ReturnNew } else { Reason::ReturnHash };
    Ok((hop, reason))
}

/// The way of an answer of which nothing is remembered: the routing table's, if the ring says that this backend is the client's.
#[inline(always)]
pub fn by_ring<T: Tables>(
    tables: &T,
    story: &Story,
    owner: &Owner,
    vserver: &Vserver,
    key: &FlowKey,
) -> Result<NextHop, Verdict> {
    let arrival = story.arrival;
    if key.service_port != Be16::new(0) && any_port::is_own(vserver, story) {
        return Err(Verdict::pass(Reason::BackendOwn));
    }
    // The ring says nothing about whom a source that was made up stood for.
    if tables.backend(owner.backend).is_some_and(|backend| backend.flags & backend_flags::SNAT != 0) {
        return Err(Verdict::drop(Reason::ReturnUnknown));
    }
    let route = tables.route(arrival.ifindex, &story.here.addr, &story.there.addr);
    if route == Route::Host {
        return Err(Verdict::pass(Reason::BackendOwn));
    }
    let hash = flow_hash(vserver.hash, &story.there.addr, story.there.port, &vserver.vip);
    if !placement::confirms(tables, vserver, hash, owner.backend) {
        // A datagram may be the backend's own; a segment without SYN never begins anything.
        let own = story.transport == Transport::Udp || story.opens();
        return Err(if own { Verdict::pass(Reason::BackendOwn) } else { Verdict::drop(Reason::ReturnUnknown) });
    }
    if vserver.flags & vserver_flags::LISTED != 0 && !guard::is_allowed(tables, vserver.flags, key) {
        return Err(Verdict::drop(Reason::Denied));
    }
    rewrite::lives_on(story)?;
    let Route::Via(mut hop) = route else {
        want_client_hop(tables, key, &story.arrival);
        return Err(Verdict::drop(Reason::NoClientHop));
    };
    if let Some(leg) = tables.interface(hop.ifindex) {
        // The routing table knows nothing of virtual MACs, and names VLANs by interfaces of their own.
        let mac = if story.is_v6() { leg.v6_mac } else { leg.v4_mac };
        hop = NextHop { macs: eth::macs(eth::destination(hop.macs), mac), ifindex: leg.ifindex, vlan: leg.vlan };
    }
    Ok(hop)
}

/// Records the flow of an answer, unless it is half open, over, or of a vserver that keeps none; whether it is recorded now.
#[inline(always)]
fn keep<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, owner: &Owner, key: &FlowKey, hop: NextHop) -> bool {
    let marks = flow::tcp_marks(story);
    let half_open = story.transport == Transport::Tcp && story.tcp_flags & tcp::flags::SYN != 0;
    if half_open || marks & tcp_seen::RST != 0 || vserver.flags & vserver_flags::HASH_ONLY != 0 {
        return false;
    }
    let Some(mut room) = tables.flow_room() else {
        return false;
    };
    flow::begin_by_server(tables, &mut room, vserver, hop, story, owner.backend);
    let limited = vserver.flags & vserver_flags::LIMITED != 0;
    room.flags |= if limited { flow_flags::COUNTED } else { 0 };
    let recorded = flow::record(tables, vserver, key, &room).is_ok();
    if recorded && limited {
        guard::opened(tables, vserver, key);
    }
    recorded
}

/// Asks the daemon to find the way to a client.
#[inline(never)]
fn want_client_hop<T: Tables>(tables: &T, key: &FlowKey, arrival: &Arrival) {
    let kind = event_kind::NEXT_HOP_WANTED;
    tables.emit(&Event { kind, at: tables.now(), flow: *key, ifindex: arrival.ifindex, ..Event::default() });
}
