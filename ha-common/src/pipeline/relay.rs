//! Whom does an ICMP error concern? Whoever sent the packet that it is about, as the sender knows it.
//!
//! ```text
//! about VIP → client, from the clients' side:        to the backend,    about backend → client (or SNIP)
//! about client (or SNIP) → backend, from its side:   to the client,     about client → VIP
//! ```
//! A backend that owns the VIP gets the error as it is, as any other packet of the client.
//!
//! The error comes from whoever reports it, unless that one is on a side that is hidden from the receiver: to clients everything behind the
//! VIP is the VIP (RFC 5508, REQ-5; the backends' addresses may be private, and filters on the way would drop them), and to a backend that
//! does not see its clients everything before it is the SNIP, the only address that it need have a way to. Who sees the clients sees the
//! routers in front of them.
//!
//! Nothing is recorded for an error, and no flow lives longer by it: who sends one need not be part of a conversation. What the pair does not
//! know is none of its business; what it relays counts against the ICMP that a node sends.

use crate::abi::{AddressKey, FlowKey, NO_BACKEND, NO_VSERVER, Owner, Reason, Vserver, backend_flags, mode, vserver_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::{Be16, eth};

use super::hash::flow_hash;
use super::parse::Story;
use super::rewrite::{self, Plan, Step, Way};
use super::{Steps, Verdict, classify, flow, gate, limit, placement, quote, returning, session};

/// Plans the way of an error to whom it concerns; whether it concerns anybody of the pair. If so, the story is that of an answer to the packet that
/// the error is about; if not, nothing was changed.
#[inline(always)]
pub fn relay<P: PacketMut, T: Steps>(packet: &mut P, tables: &T, story: &mut Story, plan: &mut Plan) -> bool {
    match try_relay(packet, tables, story, plan) {
        Ok(known) => known,
        Err(verdict) => {
            (plan.way, plan.verdict) = (Way::Ended, verdict);
            true
        }
    }
}

#[inline(always)]
fn try_relay<P: PacketMut, T: Steps>(packet: &mut P, tables: &T, story: &mut Story, plan: &mut Plan) -> Result<bool, Verdict> {
    match quote::answer(packet, story) {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(reason) => return Err(classify::misfit(tables, story, reason)),
    }
    if let Some(index) = tables.vserver_index(&story.there.here()) {
        let vserver = tables.vserver(index).ok_or(Verdict::drop(Reason::NotConfigured))?;
        admit(packet, tables, story, vserver)?;
        afford(packet, tables, story)?;
        to_backend(tables, story, index, vserver, plan)?;
    } else if let Some(owner) = tables.owner(&story.here.here()) {
        let recorded = remembered(tables, story, owner, plan);
        if !recorded && tables.address(story.there.here().address()).is_some() {
            quote::forget(packet, story);
            return Ok(false);
        }
        let Some(vserver) = tables.vserver(plan.key.index()) else {
            gate::enter(tables, story.arrival, 0)?;
            return Err(Verdict::drop(Reason::ErrorUnknown));
        };
        admit(packet, tables, story, vserver)?;
        afford(packet, tables, story)?;
        if !recorded {
            plan.hop = returning::by_ring(tables, story, owner, vserver, &plan.key)?;
        }
        plan.step = Step::Return;
        plan.index = plan.key.index();
        plan.reason = Reason::ErrorReturned;
    } else {
        quote::forget(packet, story);
        return Ok(false);
    }
    if plan.step.translates() {
        rewrite::lives_on(story)?;
    }
    plan.way = Way::Quote;
    Ok(true)
}

/// Lets the error in if this node serves the vserver, and it is what a router or a station may send.
#[inline(always)]
pub fn admit<P: PacketMut, T: Tables>(packet: &P, tables: &T, story: &Story, vserver: &Vserver) -> Result<(), Verdict> {
    gate::enter(tables, story.arrival, vserver.group)?;
    if eth::to_group(story.frame.macs) {
        return Err(Verdict::drop(Reason::DropNotUnicast));
    }
    let reporter = AddressKey { addr: quote::reporter(packet, story), domain: story.here.domain };
    if !reporter.addr.is_station() {
        return Err(Verdict::drop(Reason::BadSource));
    }
    if gate::floating(tables, &reporter).is_some() {
        return Err(Verdict::drop(Reason::Loop));
    }
    Ok(())
}

/// Lets it in if the rate allows one more, and its checksum is right: computing that is what a flood would cost.
#[inline(always)]
fn afford<P: PacketMut, T: Steps>(packet: &P, tables: &T, story: &Story) -> Result<(), Verdict> {
    if !limit::draw(tables) {
        return Err(Verdict::drop(Reason::IcmpLimited));
    }
    right(packet, tables, story)
}

/// Lets it in if its checksum is right.
#[inline(always)]
pub fn right<P: PacketMut, T: Steps>(packet: &P, tables: &T, story: &Story) -> Result<(), Verdict> {
    if tables.is_right(packet, story) { Ok(()) } else { Err(Verdict::drop(Reason::ErrorBad)) }
}

/// Plans the way of an error about what a backend of vserver `index` sent to a client: to the backend that the client's own packets go to.
#[inline(always)]
fn to_backend<T: Steps>(tables: &T, story: &Story, index: u32, vserver: &Vserver, plan: &mut Plan) -> Result<(), Verdict> {
    plan.step = match vserver.mode {
        mode::NAT => Step::Translate,
        mode::MAC => Step::Link,
        mode::TUNNEL => Step::Tunnel,
        _ => return Err(Verdict::drop(Reason::NotConfigured)),
    };
    plan.key = flow::key_of_client(index, vserver, story);
    plan.reason = Reason::ErrorForwarded;
    let known = recorded(tables, plan);
    if !known {
        plan.index = placed(tables, story, vserver, &plan.key);
    }
    let backend = placement::up(tables, plan.index).ok_or(Verdict::drop(Reason::NoBackend))?;
    if !known && backend.flags & backend_flags::SNAT != 0 && plan.step == Step::Translate {
        // Nobody knows as whom the backend saw this client.
        return Err(Verdict::drop(Reason::ErrorUnknown));
    }
    if backend.next_hop.is_unknown() {
        return Err(Verdict::drop(Reason::NoNextHop));
    }
    Ok(())
}

/// Whether the flow of `plan` has a record, or its SYN left one; where it goes, then.
#[inline(always)]
fn recorded<T: Tables>(tables: &T, plan: &mut Plan) -> bool {
    if let Some(flow) = tables.flow_mut(&plan.key.here()) {
        (plan.index, plan.nat) = (flow.placed_at(), flow.nat);
        return true;
    }
    if let Some(embryo) = tables.embryo(&plan.key.here()) {
        (plan.index, plan.nat) = (embryo.backend, embryo.nat);
        return true;
    }
    false
}

/// Where a flow without a record went, as far as that can be told without one: the second choice of a client whose backend is down is not
/// looked for.
#[inline(always)]
fn placed<T: Tables>(tables: &T, story: &Story, vserver: &Vserver, key: &FlowKey) -> u32 {
    if vserver.flags & vserver_flags::EXCEPTIONS != 0
        && let Some(exception) = tables.exception_mut(&key.here())
    {
        return exception.backend;
    }
    if session::has(vserver) {
        let known = session::find(tables, vserver, story);
        if known != NO_BACKEND {
            return known;
        }
    }
    let hash = flow_hash(vserver.hash, &story.here.addr, story.here.port, &story.there.addr);
    if vserver.flags & vserver_flags::PREVIOUS != 0 {
        let before = tables.ring(vserver.previous.slot(hash));
        if placement::up(tables, before).is_some() {
            return before;
        }
    }
    tables.ring(vserver.ring.slot(hash))
}

/// Whether anything is remembered of the flow that a packet of `owner` to its client belongs to; how the client is reached, then. The plan's key
/// is the flow's in any case.
#[inline(always)]
fn remembered<T: Tables>(tables: &T, story: &Story, owner: &Owner, plan: &mut Plan) -> bool {
    let own: FlowKey = flow::key_of_server(owner.vserver, Be16::new(0), story);
    plan.key = own;
    if way_of(tables, owner, plan) {
        return true;
    }
    // Of a backend that is, or was, shared or hidden from its clients.
    returning::look_up_reverse(tables, owner, &mut plan.key);
    if plan.key.vserver != NO_VSERVER && way_of(tables, owner, plan) {
        return true;
    }
    plan.key = own;
    false
}

#[inline(never)]
fn way_of<T: Tables>(tables: &T, owner: &Owner, plan: &mut Plan) -> bool {
    if let Some(flow) = tables.flow_mut(&plan.key.here())
        && flow.placed_at() == owner.backend
        && !flow.client_hop.is_unknown()
    {
        plan.hop = flow.client_hop;
        return true;
    }
    if let Some(embryo) = tables.embryo(&plan.key.here())
        && embryo.backend == owner.backend
    {
        plan.hop = embryo.client_hop;
        return true;
    }
    false
}
