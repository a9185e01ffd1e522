//! What goes with the Primary's role: which addresses are announced where, and which the host owns.

use std::collections::BTreeSet;

use ha_common::ha::announce::Announcement;

use crate::command::words::AddressType;
use crate::config::{Address, Config};
use crate::net::address::{LocalAddress, legs_of};
use crate::net::announce::Roll;
use crate::net::link::Link;

/// Kept up to date by whoever knows the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floating {
    /// What to announce.
    pub roll: Roll,
    /// Addresses that the host owns while this node serves.
    pub local: BTreeSet<LocalAddress>,
}

impl Floating {
    /// What `config` says, given the interfaces and the host's own addresses on them.
    pub fn of(config: &Config, links: &[Link], own: &[LocalAddress]) -> Floating {
        let legs: Vec<&Link> = config.legs().filter_map(|leg| links.iter().find(|link| link.name == leg.name)).collect();
        let indices: Vec<u32> = legs.iter().map(|leg| leg.ifindex).collect();
        let mut floating = Floating::default();
        floating.roll.macs = legs.iter().map(|leg| (leg.ifindex, leg.mac)).collect();
        let owned: Vec<LocalAddress> = own.iter().filter(|local| config.address(local.address).is_none()).copied().collect();
        for address in config.addresses().filter(|address| address.enabled) {
            let on = legs_of(address.ip, &indices, &owned);
            if address.arp {
                let announced = on.iter().map(|&ifindex| Announcement { ifindex, address: address.ip });
                floating.roll.announcements.extend(announced);
            }
            if let (true, Some(&ifindex)) = (is_local(config, address), on.first()) {
                floating.local.insert(LocalAddress { ifindex, address: address.ip, prefix_len: full_len(address) });
            }
        }
        floating
    }
}

/// Whether the host's own stack takes what comes to it: a SNIP, or a VIP that no virtual server uses.
fn is_local(config: &Config, address: &Address) -> bool {
    match address.kind {
        AddressType::Snip => true,
        AddressType::Vip => !config.vservers().any(|vserver| vserver.ip == address.ip),
    }
}

/// A floating address brings no route with it: the leg's own address has made that.
fn full_len(address: &Address) -> u8 {
    if address.ip.is_ipv4() { 32 } else { 128 }
}
