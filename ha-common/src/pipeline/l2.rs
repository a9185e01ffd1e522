//! Who is a client, where its address and port do not say? (`-l2Conn ON`)
//!
//! Two stations may speak from the same address and port: behind different routers, in different VLANs, on different legs. Where that is
//! wanted they are two clients. A key has room for eight bits of where a client is ([`place`]), so that each has a record of its own; the
//! record says the rest. Two that fall on the same bits are not mixed up: the second one is refused until the first is forgotten.
//!
//! It works only where the backend is shown different clients ([`super::nat`]): one that sees addresses and ports alone would take them for one.

use crate::abi::{Flow, FlowKey, NextHop};
use crate::tables::Tables;
use crate::wire::eth::{self, Macs};

use super::flow;
use super::hash::rehash;
use super::parse::Story;

/// Eight bits of where a client is: its MAC address (the first three bytes of `macs`' words that are its own), its VLAN and the number of its leg,
/// which both nodes count alike.
#[inline(always)]
#[must_use]
pub const fn place(mac: [u8; 6], vlan: u32, leg: u32) -> u8 {
    let [a, b, c, d, e, f] = mac;
    let high = u32::from_ne_bytes([a, b, c, d]);
    let low = u32::from_ne_bytes([e, f, leg as u8, 0]);
    (rehash(rehash(high, low), vlan) >> 24) as u8
}

/// Makes `key` that of this client alone.
#[inline(never)]
pub fn tell_apart<T: Tables>(tables: &T, story: &Story, key: &mut FlowKey) {
    let leg = tables.interface(story.arrival.ifindex).map_or(0, |interface| interface.leg);
    let place = place(eth::source(story.frame.macs), story.frame.domain(), leg);
    key.protocol |= u16::from(place) << 8;
}

/// Whether the client that `hop` leads to is the one that speaks.
#[inline(always)]
pub fn is_same(hop: &NextHop, story: &Story) -> bool {
    /// The rest of the second word is this node's own address.
    const CLIENT: u32 = u32::from_ne_bytes([0xff, 0xff, 0, 0]);
    let here = flow::way_back(story);
    let [a, b, _]: Macs = hop.macs;
    let [c, d, _]: Macs = here.macs;
    (a ^ c) | (b ^ d) & CLIENT | (hop.ifindex ^ here.ifindex) | (hop.vlan ^ here.vlan) == 0
}

/// Whether what is known under `key` is another client's.
#[inline(always)]
pub fn is_anothers<T: Tables>(tables: &T, story: &Story, key: &FlowKey) -> bool {
    let another = |flow: &Flow| !is_same(&flow.client_hop, story) && !flow::gives_way(flow, story);
    tables.flow_mut(key).is_some_and(|flow| another(&flow))
        || tables.embryo(key).is_some_and(|embryo| !is_same(&embryo.client_hop, story))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn places_that_differ_in_anything_are_rarely_alike() {
        let mac = [2, 0, 0, 0xc, 0, 1];
        let other = |last| [2, 0, 0, 0xc, 0, last];
        let by_mac: HashSet<u8> = (0..64).map(|last| place(other(last), 0, 0)).collect();
        let by_vlan: HashSet<u8> = (0..64).map(|vlan| place(mac, vlan, 0)).collect();
        let by_leg: HashSet<u8> = (0..64).map(|leg| place(mac, 0, leg)).collect();
        for (what, found) in [("MAC", by_mac), ("VLAN", by_vlan), ("leg", by_leg)] {
            assert!(found.len() > 48, "64 places that differ by {what} are {} numbers", found.len());
        }
    }
}
