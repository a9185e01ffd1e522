//! Where the daemon looks for others who use what is this pair's.

use std::collections::{BTreeMap, BTreeSet};

use ha_common::abi::{Event, Ip, event_kind, mac_of};
use ha_common::ha::event::RoleName;
use tracing::warn;

use super::floating::homes;
use super::live::{Live, placed};
use crate::clock;
use crate::config::Config;
use crate::conflict::{Claimant, Facts, Router};
use crate::net::duplicate::{self, Question};
use crate::net::link::{self, Link};

impl Live {
    /// The kernel overheard another station.
    pub fn overhear(&mut self, event: &Event) {
        let (address, ifindex, mac) = (Ip::into(event.flow.addr), event.ifindex, mac_of(event.words[0]));
        match event.kind {
            event_kind::ADDRESS_CLAIMED => self.conflicts.claimed(event.at, Claimant { address, ifindex, mac }),
            event_kind::FOREIGN_VRRP => {
                let [vrid, priority, ..] = event.detail.to_le_bytes();
                self.conflicts.routed(event.at, Router { vrid, priority, address, ifindex, mac });
            }
            _ => {}
        }
    }

    /// Looks at what was overheard and counted, and puts alarms on the board.
    pub fn look_for_conflicts(&mut self, config: &Config) {
        let snapshot = self.driver.snapshot();
        let shared = self.datapath.shared();
        let serves = !shared.fence().serving_term(&shared.node(), 0).is_none();
        let present = match link::links() {
            Ok(present) => placed(config, present),
            Err(error) => {
                warn!(%error, "cannot list the interfaces");
                return;
            }
        };
        if !std::mem::replace(&mut self.looked, true) {
            self.ask_for_owners(config, &present);
        }
        let strays = self.datapath.maps().stray_legs().unwrap_or_default();
        let links = config.ha_links().enumerate().zip(&snapshot.links);
        let peer_heard = snapshot.peer_alive == Some(true);
        // Both nodes have the virtual MACs: while the peer is unheard, one that speaks from there is the peer.
        let shared_macs = config.vrids().map(|vrid| vrid.key.mac()).filter(|_| peer_heard);
        let facts = Facts {
            serves,
            since: if snapshot.role == RoleName::Claiming { clock::now() } else { snapshot.since },
            peer_heard,
            peer_serves: !snapshot.view.term().is_none(),
            nsip: config.nsip(),
            own: present.iter().map(|link| link.mac).chain(shared_macs).collect::<BTreeSet<_>>(),
            names: present.iter().map(|link| (link.ifindex, link.name.clone())).collect::<BTreeMap<_, _>>(),
            links: links.map(|((_, interface), link)| (interface.name.clone(), *link)).collect(),
            strays: config.legs().map(|leg| leg.name.clone()).zip(strays).collect(),
        };
        let held = self.conflicts.look(clock::now(), &facts);
        self.helpers.hold_refresh(&held);
    }

    /// Asks once, when the node begins to listen, who has its floating addresses.
    fn ask_for_owners(&self, config: &Config, present: &[Link]) {
        let homes = homes(config, present, &self.own);
        let asked = config.addresses().filter(|address| address.enabled && address.arp);
        let questions = asked.flat_map(|address| {
            let (ip, vlan) = (address.ip, config.domain_of(address.ip));
            let on = homes.get(&ip).into_iter().flatten();
            let legs = on.filter_map(|name| present.iter().find(|link| link.name == *name));
            legs.map(move |leg| Question { ifindex: leg.ifindex, vlan, mac: leg.mac, address: ip })
        });
        let helpers = self.helpers.clone();
        if let Err(error) = duplicate::ask(questions.collect(), move || !helpers.serves()) {
            warn!(%error, "cannot ask who has the floating addresses");
        }
    }
}
