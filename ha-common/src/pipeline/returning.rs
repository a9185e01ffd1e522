//! An answer of a backend, back to its client, from the address that the client knows.

use crate::abi::{
    AMBIGUOUS, AddressKey, Event, FlowKey, NO_BACKEND, NextHop, Owner, Reason, ReverseKey, Vserver, address_flags, event_kind,
    tcp_seen, vserver_flags,
};
use crate::packet::PacketMut;
use crate::tables::{Route, Tables};
use crate::wire::tcp;

use super::flow::{self, Sender};
use super::hash::client_hash;
use super::parse::{Frame, Packet, Transport};
use super::placement::{self, Placement};
use super::{Arrival, Verdict, echo, gate, rewrite};

/// Whose answer it is, and the way to the client.
type Found<'t> = (&'t Vserver, NextHop, Reason);

/// Sends an answer of `owner` back to the client.
#[inline(always)]
pub fn answer<P: PacketMut, T: Tables>(
    packet: &mut P,
    tables: &T,
    arrival: Arrival,
    frame: &Frame,
    ip: &Packet,
    owner: &Owner,
) -> Result<Verdict, Verdict> {
    let len = packet.len();
    let key = flow_of(tables, ip, owner);
    let (vserver, hop, reason) = match recorded(tables, arrival, ip, owner, &key, len)? {
        Some(found) => found,
        None => {
            if let Some(address) = tables.address(&AddressKey { addr: ip.destination, domain: frame.domain }) {
                // To this machine: a probe's answer, or an answer to a floating address itself.
                return if address.flags & address_flags::HOST != 0 {
                    Err(Verdict::pass(Reason::BackendOwn))
                } else {
                    echo::address(packet, tables, arrival, frame, ip, address)
                };
            }
            unrecorded(tables, arrival, ip, owner, &key, len)?
        }
    };
    rewrite::to_client(packet, frame, ip, vserver)?;
    rewrite::send(packet, frame, arrival, &hop, reason)
}

/// The flow that an answer would belong to; vserver [`NO_BACKEND`] when nothing says which.
#[inline(always)]
fn flow_of<T: Tables>(tables: &T, ip: &Packet, owner: &Owner) -> FlowKey {
    if owner.vserver != AMBIGUOUS {
        return flow::key_of_server(owner.vserver, ip);
    }
    let protocol = u16::from(ip.protocol);
    let key = ReverseKey { backend: owner.backend, addr: ip.destination, port: ip.destination_port, protocol };
    tables.reverse(&key).unwrap_or(FlowKey { vserver: NO_BACKEND, ..flow::key_of_server(0, ip) })
}

/// The way of an answer whose flow is recorded.
#[inline(always)]
fn recorded<'t, T: Tables>(
    tables: &'t T,
    arrival: Arrival,
    ip: &Packet,
    owner: &Owner,
    key: &FlowKey,
    len: usize,
) -> Result<Option<Found<'t>>, Verdict> {
    let Some(mut flow) = tables.flow_mut(key) else {
        return Ok(None);
    };
    if flow.backend != owner.backend || flow.client_hop.is_unknown() {
        return Ok(None);
    }
    let vserver = tables.vserver(key.vserver).ok_or(Verdict::drop(Reason::NotConfigured))?;
    gate::enter(tables, arrival, vserver.group)?;
    rewrite::lives_on(ip)?;
    flow::from_server(tables, &mut flow, len);
    let marks = flow::tcp_marks(ip);
    if marks != 0 {
        flow.server_tcp |= marks;
        flow::tell_closed(tables, vserver, key, &mut flow);
    }
    Ok(Some((vserver, flow.client_hop, Reason::ReturnHit)))
}

/// The way of an answer whose flow is not recorded: what its SYN left, else the routing table, if the ring says that this backend
/// is the client's. The other node does exactly this after a takeover.
#[inline(always)]
fn unrecorded<'t, T: Tables>(
    tables: &'t T,
    arrival: Arrival,
    ip: &Packet,
    owner: &Owner,
    key: &FlowKey,
    len: usize,
) -> Result<Found<'t>, Verdict> {
    let vserver = match tables.vserver(key.vserver) {
        Some(vserver) => vserver,
        None => {
            gate::enter(tables, arrival, 0)?;
            return Err(Verdict::drop(Reason::ReturnUnknown));
        }
    };
    gate::enter(tables, arrival, vserver.group)?;
    if let Some(embryo) = tables.embryo(key)
        && embryo.backend == owner.backend
    {
        rewrite::lives_on(ip)?;
        return Ok((vserver, embryo.client_hop, Reason::ReturnSyn));
    }
    let route = tables.route(arrival.ifindex, &ip.source, &ip.destination);
    if route == Route::Host {
        return Err(Verdict::pass(Reason::BackendOwn));
    }
    let hash = client_hash(vserver.hash, &ip.destination, ip.destination_port);
    if !placement::confirms(tables, vserver, hash, owner.backend) {
        // A datagram may be the backend's own; a segment without SYN never begins anything.
        let own = ip.transport == Transport::Udp || ip.opens();
        return Err(if own { Verdict::pass(Reason::BackendOwn) } else { Verdict::drop(Reason::ReturnUnknown) });
    }
    rewrite::lives_on(ip)?;
    let Route::Via(hop) = route else {
        want_client_hop(tables, key, arrival);
        return Err(Verdict::drop(Reason::NoClientHop));
    };
    let reason = if keep(tables, vserver, ip, owner, key, hop, len) { Reason::ReturnNew } else { Reason::ReturnHash };
    Ok((vserver, hop, reason))
}

/// Records the flow of an answer, unless it is half open, over, or of a vserver that keeps none; whether it is recorded now.
#[inline(always)]
fn keep<T: Tables>(tables: &T, vserver: &Vserver, ip: &Packet, owner: &Owner, key: &FlowKey, hop: NextHop, len: usize) -> bool {
    let marks = flow::tcp_marks(ip);
    let half_open = ip.transport == Transport::Tcp && ip.tcp_flags & tcp::flags::SYN != 0;
    if half_open || marks & tcp_seen::RST != 0 || vserver.flags & vserver_flags::HASH_ONLY != 0 {
        return false;
    }
    let Some(backend) = tables.backend(owner.backend) else {
        return false;
    };
    let placement = Placement { index: owner.backend, backend, generation: vserver.generation, exception: false };
    let begun = flow::begun(tables, &placement, hop, Sender::Server, len, marks);
    flow::record(tables, vserver, key, &begun).is_ok()
}

/// Asks the daemon to find the way to a client.
#[inline(never)]
fn want_client_hop<T: Tables>(tables: &T, key: &FlowKey, arrival: Arrival) {
    let kind = event_kind::NEXT_HOP_WANTED;
    tables.emit(&Event { kind, at: tables.now(), flow: *key, ifindex: arrival.ifindex, ..Event::default() });
}
