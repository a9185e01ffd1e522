//! Do we serve?
//!
//! Every packet for a floating address, and every answer of a backend, asks here before anything else is done with it. What is
//! refused as [`Reason::NotServing`] is still as it came: [`super::process`] may carry it to the peer.

use crate::abi::{Address, AddressKey, FilterBit, FilterKind, Reason, address_flags};
use crate::tables::Tables;

use super::{Arrival, Verdict};

/// Lets the packet in if this node serves `group`.
#[inline(always)]
pub fn enter<T: Tables>(tables: &T, arrival: Arrival, group: u32) -> Result<(), Verdict> {
    let (Some(node), Some(fence)) = (tables.node(), tables.fence()) else {
        return Err(Verdict::pass(Reason::NotConfigured));
    };
    let group = group as usize;
    if fence.serves(node, group) {
        return Ok(());
    }
    if !arrival.is_carried() {
        return Err(Verdict::drop(Reason::NotServing));
    }
    // A peer that carries a packet here says, authenticated, that it does not serve. A node that only waits for that serves.
    let armed = node.groups.get(group).is_some_and(|own| !own.armed_term.is_none());
    if armed { Ok(()) } else { Err(Verdict::drop(Reason::StrayNotServing)) }
}

/// The record of an address, if it floats.
#[inline(always)]
pub fn floating<'t, T: Tables>(tables: &'t T, key: &AddressKey) -> Option<&'t Address> {
    if !tables.may_know(FilterKind::Address, FilterBit::address(key)) {
        return None;
    }
    tables.address(key).filter(|address| address.flags & address_flags::HOST == 0)
}
