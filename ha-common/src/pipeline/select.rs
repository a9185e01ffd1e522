//! Which backend? A client's packet, from its vserver to the backend's wire.

use crate::abi::{
    Backend, Event, Exception, FlowKey, NextHop, Reason, ReverseKey, Vserver, backend_flags, event_kind, mode, tcp_seen,
    vserver_flags,
};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::eth;

use super::flow::{self, Sender};
use super::hash::client_hash;
use super::parse::{Frame, Packet, Transport};
use super::placement::{self, Placement};
use super::{Arrival, Verdict, gate, rewrite};

/// Forwards a client's packet to a backend of vserver `index`.
#[inline(always)]
pub fn forward<P: PacketMut, T: Tables>(
    packet: &mut P,
    tables: &T,
    arrival: Arrival,
    frame: &Frame,
    ip: &Packet,
    index: u32,
) -> Result<Verdict, Verdict> {
    let vserver = tables.vserver(index).ok_or(Verdict::drop(Reason::NotConfigured))?;
    gate::enter(tables, arrival, vserver.group)?;
    acceptable(frame, ip, vserver)?;
    let client = Client { key: flow::key_of_client(index, ip), hop: flow::way_back(frame, arrival), len: packet.len() };
    let (backend, reason) = choose(tables, vserver, ip, &client)?;
    if backend.next_hop.is_unknown() {
        want_next_hop(tables, backend, arrival);
        return Err(Verdict::drop(Reason::NoNextHop));
    }
    match vserver.mode {
        mode::NAT => rewrite::to_backend(packet, frame, ip, backend)?,
        mode::MAC => {}
        _ => return Err(Verdict::drop(Reason::NotConfigured)),
    }
    rewrite::send(packet, frame, arrival, &backend.next_hop, reason)
}

/// Refuses what no client sends.
#[inline(always)]
fn acceptable(frame: &Frame, ip: &Packet, vserver: &Vserver) -> Result<(), Verdict> {
    if eth::to_group(frame.macs) {
        return Err(Verdict::drop(Reason::DropNotUnicast));
    }
    if ip.source == vserver.vip {
        return Err(Verdict::drop(Reason::Loop));
    }
    if !ip.source.is_station() {
        return Err(Verdict::drop(Reason::BadSource));
    }
    if vserver.flags & vserver_flags::DOWN != 0 {
        return Err(Verdict::drop(Reason::VserverDown));
    }
    if vserver.mode == mode::NAT { rewrite::lives_on(ip) } else { Ok(()) }
}

/// A client's end of its conversation.
struct Client {
    key: FlowKey,
    hop: NextHop,
    len: usize,
}

/// The backend of a client's packet: by the flow's record, or by the ring.
#[inline(always)]
fn choose<'t, T: Tables>(
    tables: &'t T,
    vserver: &Vserver,
    ip: &Packet,
    client: &Client,
) -> Result<(&'t Backend, Reason), Verdict> {
    if vserver.flags & vserver_flags::HASH_ONLY != 0 {
        return by_ring_alone(tables, vserver, ip, client);
    }
    if let Some(mut recorded) = tables.flow_mut(&client.key) {
        let backend = placement::up(tables, recorded.backend).filter(|_| !flow::gives_way(&recorded, ip));
        if let Some(backend) = backend {
            flow::from_client(tables, &mut recorded, client.hop, client.len);
            let marks = flow::tcp_marks(ip);
            if marks != 0 {
                recorded.client_tcp |= marks;
                flow::tell_closed(tables, vserver, &client.key, &mut recorded);
            }
            return Ok((backend, Reason::ForwardHit));
        }
        let placement = by_ring(tables, vserver, ip, client)?;
        *recorded = flow::begun(tables, &placement, client.hop, Sender::Client, client.len, flow::tcp_marks(ip));
        return Ok((placement.backend, Reason::ForwardNew));
    }
    newcomer(tables, vserver, ip, client)
}

/// A flow without a record, in a vserver that keeps records.
#[inline(always)]
fn newcomer<'t, T: Tables>(
    tables: &'t T,
    vserver: &Vserver,
    ip: &Packet,
    client: &Client,
) -> Result<(&'t Backend, Reason), Verdict> {
    let placement = by_ring(tables, vserver, ip, client)?;
    let backend = placement.backend;
    let shared = backend.flags & backend_flags::SHARED != 0;
    let reverse = ReverseKey { backend: placement.index, addr: ip.source, port: ip.source_port, protocol: client.key.protocol };
    if ip.opens() {
        flow::conceive(tables, &client.key, &placement, client.hop);
        if shared {
            tables.reverse_embryo_insert(&reverse, &client.key);
        }
        return Ok((backend, Reason::ForwardSyn));
    }
    let marks = flow::tcp_marks(ip);
    if marks & tcp_seen::RST != 0 {
        return Ok((backend, Reason::ForwardHash));
    }
    if shared {
        // Answers of a backend that several vservers share do not say which. Without room they are dropped, and counted there.
        let _ = tables.reverse_insert(&reverse, &client.key);
    }
    let begun = flow::begun(tables, &placement, client.hop, Sender::Client, client.len, marks);
    if flow::record(tables, vserver, &client.key, &begun).is_ok() {
        return Ok((backend, Reason::ForwardNew));
    }
    if placement.exception {
        except(tables, client, &placement);
    }
    Ok((backend, Reason::ForwardTableFull))
}

/// The placement of a flow without a record: what its SYN or an exception left, else the ring's.
#[inline(always)]
fn by_ring<'t, T: Tables>(tables: &'t T, vserver: &Vserver, ip: &Packet, client: &Client) -> Result<Placement<'t>, Verdict> {
    let hash = client_hash(vserver.hash, &ip.source, ip.source_port);
    let opens = ip.opens();
    if !opens && ip.transport == Transport::Tcp {
        if let Some(embryo) = tables.embryo(&client.key)
            && let Some(backend) = placement::up(tables, embryo.backend)
        {
            let exception = !placement::confirms(tables, vserver, hash, embryo.backend);
            return Ok(Placement { index: embryo.backend, backend, generation: vserver.generation, exception });
        }
    }
    if let Some(placement) = excepted(tables, vserver, client) {
        return Ok(placement);
    }
    // A datagram says nothing about what was before it: flows that were are recorded.
    let opens = opens || ip.transport == Transport::Udp;
    placement::place(tables, vserver, hash, opens).ok_or(Verdict::drop(Reason::NoBackend))
}

/// A vserver that keeps no records: exceptions, then the ring.
#[inline(always)]
fn by_ring_alone<'t, T: Tables>(
    tables: &'t T,
    vserver: &Vserver,
    ip: &Packet,
    client: &Client,
) -> Result<(&'t Backend, Reason), Verdict> {
    if !ip.opens()
        && let Some(placement) = excepted(tables, vserver, client)
    {
        return Ok((placement.backend, Reason::ForwardException));
    }
    let hash = client_hash(vserver.hash, &ip.source, ip.source_port);
    let opens = ip.opens() || ip.transport == Transport::Udp;
    let placement = placement::place(tables, vserver, hash, opens).ok_or(Verdict::drop(Reason::NoBackend))?;
    if placement.exception {
        let reason = if except(tables, client, &placement) { Reason::ForwardException } else { Reason::ForwardTableFull };
        return Ok((placement.backend, reason));
    }
    Ok((placement.backend, Reason::ForwardHash))
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

/// Asks the daemon to find the way to `backend`.
#[inline(never)]
fn want_next_hop<T: Tables>(tables: &T, backend: &Backend, arrival: Arrival) {
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
