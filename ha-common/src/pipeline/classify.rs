//! Whose is it?

use crate::abi::{AMBIGUOUS, Address, FilterBit, FilterKind, NO_BACKEND, Owner, Reason, address_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::{Be16, icmp, vrrp};

use super::parse::{Fault, Story, Transport};
use super::rewrite::Plan;
use super::{Steps, Verdict, any_port, gate};

/// What of this pair a packet concerns.
pub enum Concern<'t> {
    /// For a vserver: its index.
    Vserver(u32),
    /// From a backend, and the port that it was found by, if it answers from any.
    Owner(Owner, Be16),
    /// For a floating address, and no vserver of it.
    Address(&'t Address),
    /// About a packet that went through the pair: planned already.
    Planned,
    /// Asks for somebody's MAC address.
    Solicitation,
    /// Says what somebody's MAC address is.
    Advertisement,
    /// Says that a virtual router is there.
    Router,
    /// Nothing.
    Nobody,
}

/// Finds out what a packet concerns. The commonest comes first: a client's packet and a backend's cost one look-up here, others none.
#[inline(always)]
pub fn concern<'t, P: PacketMut, T: Steps>(packet: &mut P, tables: &'t T, story: &mut Story, plan: &mut Plan) -> Concern<'t> {
    if matches!(story.transport, Transport::Tcp | Transport::Udp) {
        if tables.may_know(FilterKind::Vserver, FilterBit::service(&story.there))
            && let Some(index) = tables.vserver_index(&story.there)
        {
            return Concern::Vserver(index);
        }
        if tables.may_know(FilterKind::Owner, FilterBit::service(&story.here))
            && let Some(owner) = tables.owner(&story.here)
        {
            return Concern::Owner(*owner, Be16::new(0));
        }
        if any_port::is_used(tables) {
            tables.find_any_port(story, plan);
            if plan.found.backend != NO_BACKEND {
                return Concern::Owner(plan.found, story.here.port);
            }
            if plan.found.vserver != AMBIGUOUS {
                return Concern::Vserver(plan.found.vserver);
            }
        }
    } else if story.transport == Transport::Icmp {
        let [kind, _] = story.icmp;
        if icmp::is_error(story.is_v6(), kind) {
            if tables.relay(packet, story, plan) || tables.outer(packet, story, plan) {
                return Concern::Planned;
            }
        } else if story.is_v6() {
            match kind {
                icmp::SOLICITATION => return Concern::Solicitation,
                icmp::ADVERTISEMENT => return Concern::Advertisement,
                _ => {}
            }
        }
    }
    match gate::floating(tables, story.there.address()) {
        Some(address) => Concern::Address(address),
        None if story.protocol() == vrrp::PROTOCOL => Concern::Router,
        None => Concern::Nobody,
    }
}

/// Judges a packet that cannot be read to its end: dropped if it is for a floating address, else the host's.
#[inline(always)]
pub fn faulty<T: Tables>(tables: &T, story: &Story, fault: Fault) -> Verdict {
    let Fault::Bad(reason) = fault else {
        return Verdict::pass(Reason::Unreadable);
    };
    let Some(address) = gate::floating(tables, story.there.address()) else {
        return Verdict::pass(Reason::NotOurs);
    };
    match gate::enter(tables, story.arrival, address.group) {
        Ok(()) => Verdict::drop(reason),
        Err(verdict) => verdict,
    }
}

/// What becomes of an error or a fragment that nothing can be done with: dropped for `reason` if it is for a floating address, else the host's.
#[inline(always)]
pub fn misfit<T: Tables>(tables: &T, story: &Story, reason: Reason) -> Verdict {
    let Some(address) = gate::floating(tables, story.there.here().address()) else {
        return Verdict::pass(Reason::NotOurs);
    };
    match gate::enter(tables, story.arrival, address.group) {
        // What followed the first fragment of a datagram that no vserver took.
        Ok(()) if reason == Reason::FragmentUnknown && address.flags & address_flags::LOCAL != 0 => {
            Verdict::pass(Reason::Local)
        }
        Ok(()) => Verdict::drop(reason),
        Err(verdict) => verdict,
    }
}
