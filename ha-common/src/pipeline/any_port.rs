//! Whose is a packet whose port nobody has? Some virtual servers take every port of their address that no other has, and FTP's data
//! connections come on any; their backends answer from any. A few take packets for addresses that are nobody's here.
//!
//! Only asked where [`node_flags::ANY_PORT`] says that there is such a vserver, and after every look-up by port has failed.

use crate::abi::{AMBIGUOUS, Ip, NO_BACKEND, Owner, ServiceKey, Vserver, address_flags, node_flags, vserver_flags};
use crate::tables::Tables;
use crate::wire::Be16;
use crate::wire::eth;

use super::hash::flow_hash;
use super::parse::{Story, Transport};
use super::rewrite::Plan;

/// Port that an FTP server opens active data connections from (RFC 959, 3.2).
pub const FTP_DATA: u16 = 20;
/// Ports below are no FTP server's to choose for a passive data connection.
const FTP_CHOSEN: u16 = 1024;
const ANY_PORT: Be16 = Be16::new(0);

/// Nobody's.
pub const NOBODY: Owner = Owner { backend: NO_BACKEND, vserver: AMBIGUOUS };

/// Whether there may be anything to look up.
#[inline(always)]
pub fn is_used<T: Tables>(tables: &T) -> bool {
    tables.node().is_some_and(|node| node.flags & node_flags::ANY_PORT != 0)
}

/// Looks for a vserver that takes the packet, or for a backend that says it: [`Plan::found`]. A vserver alone has no backend there.
#[inline(always)]
pub fn find<T: Tables>(tables: &T, story: &Story, plan: &mut Plan) {
    plan.found = search(tables, story);
}

#[inline(always)]
fn search<T: Tables>(tables: &T, story: &Story) -> Owner {
    let there = ServiceKey { port: ANY_PORT, ..story.there };
    let address = tables.address(there.address());
    if address.is_some_and(|address| address.flags & address_flags::ANY_PORT != 0)
        && let Some(index) = tables.vserver_index(&there)
        && tables.vserver(index).is_some_and(|vserver| takes(vserver, story))
    {
        return Owner { backend: NO_BACKEND, vserver: index };
    }
    let here = ServiceKey { port: ANY_PORT, ..story.here };
    if let Some(owner) = tables.owner(&here) {
        return *owner;
    }
    if address.is_none() && is_to_router(tables, story) { passing(tables, story) } else { NOBODY }
}

/// Whether a vserver of any port takes this one. An FTP server's other ports are none of its clients' business.
#[inline(always)]
fn takes(vserver: &Vserver, story: &Story) -> bool {
    let port = story.there.port.get();
    vserver.flags & vserver_flags::FTP == 0 || port >= FTP_CHOSEN || port == FTP_DATA && !story.opens()
}

/// Whether the frame is for this node as a router: unicast to the leg it came in on.
#[inline(always)]
fn is_to_router<T: Tables>(tables: &T, story: &Story) -> bool {
    let mac = eth::destination(story.frame.macs);
    tables.interface(story.arrival.ifindex).is_some_and(|leg| mac == leg.mac || leg.has_virtual(mac))
}

/// The vserver that takes what passes through for addresses of others, by port or any.
#[inline(always)]
fn passing<T: Tables>(tables: &T, story: &Story) -> Owner {
    let addr = if story.is_v6() { Ip::default() } else { Ip::v4(0) };
    let of_port = ServiceKey { addr, ..story.there };
    let of_any = ServiceKey { addr, port: ANY_PORT, ..story.there };
    let Some(index) = tables.vserver_index(&of_port).or_else(|| tables.vserver_index(&of_any)) else {
        return NOBODY;
    };
    let Some(vserver) = tables.vserver(index).filter(|vserver| vserver.flags & vserver_flags::ANY_ADDRESS != 0) else {
        return NOBODY;
    };
    // What the backend has seen already goes on by the routing table: it would come back for ever.
    let hash = flow_hash(vserver.hash, &story.here.addr, story.here.port, &story.there.addr);
    match tables.backend(tables.ring(vserver.ring.slot(hash))) {
        Some(backend) if eth::destination(backend.next_hop.macs) == eth::source(story.frame.macs) => NOBODY,
        _ => Owner { backend: NO_BACKEND, vserver: index },
    }
}

/// The port that is part of a flow's key: that of the vserver where it takes any, else none. Without a branch: the verifier would walk the
/// rest of the story once for each.
#[inline(always)]
pub fn service_port(vserver: &Vserver, port: Be16) -> Be16 {
    let any = ((vserver.flags / vserver_flags::ANY_PORT) & 1) as u16;
    Be16::from_raw(port.raw() & any.wrapping_neg())
}

/// Whether a packet of a backend that answers from any port, and of which nothing is known, is its own and no answer: a backend speaks to others
/// from any port, too. Only FTP's active data connections are begun by the server, from a port that says so.
#[inline(always)]
pub fn is_own(vserver: &Vserver, story: &Story) -> bool {
    let is_data = vserver.flags & vserver_flags::FTP != 0 && story.here.port.get() == FTP_DATA;
    !is_data || story.transport != Transport::Tcp
}
