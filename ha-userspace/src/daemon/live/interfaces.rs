//! Which interfaces are there, with programs attached and heartbeats on them.

use std::collections::BTreeSet;

use tracing::warn;

use super::{Live, refused};
use crate::command::{CommandError, words};
use crate::config::Config;
use crate::net::forwarding;
use crate::net::heartbeat::Port;
use crate::net::link::{self, Link};

/// Interfaces with the VLANs that count: those on an interface in use. One that is in use itself is what the configuration names, no VLAN of
/// another.
pub fn placed(config: &Config, present: Vec<Link>) -> Vec<Link> {
    let is_used = |name: &str| config.interface(name).is_some_and(|interface| interface.enabled);
    let used: BTreeSet<u32> = present.iter().filter(|link| is_used(&link.name)).map(|link| link.ifindex).collect();
    let place = |link: Link| {
        let vlan = link.vlan.filter(|vlan| used.contains(&vlan.on) && !used.contains(&link.ifindex));
        Link { vlan, ..link }
    };
    present.into_iter().map(place).collect()
}

impl Live {
    /// The interfaces in use, as the kernel has them. One that is missing is reported once; its carrier counts as lost.
    pub(super) fn links(&mut self, config: &Config) -> Result<Vec<Link>, CommandError> {
        let present = link::links().map_err(|error| refused(format!("cannot list the interfaces: {error}")))?;
        let present = placed(config, present);
        let used = || config.interfaces().filter(|interface| interface.enabled);
        let find = |name: &str| present.iter().find(|link| link.name == name);
        let missing: BTreeSet<String> =
            used().filter(|interface| find(&interface.name).is_none()).map(|interface| interface.name.clone()).collect();
        for name in missing.difference(&self.missing) {
            warn!(interface = name, "configured interface is not there");
        }
        self.missing = missing;
        self.members = present.iter().filter(|link| link.bond.is_some() || link.vlan.is_some()).cloned().collect();
        self.look_for_vlans(config, &present);
        Ok(used().filter_map(|interface| find(&interface.name).cloned()).collect())
    }

    /// Reports, once, the VLANs in which the host cannot speak: a card may not even let their frames in.
    fn look_for_vlans(&mut self, config: &Config, present: &[Link]) {
        let mut unspoken = BTreeSet::new();
        for vlan in config.vlans().filter(|vlan| vlan.tagged) {
            let legs = present.iter().filter(|link| vlan.interfaces.contains(&link.name));
            let mute = legs.filter(|leg| link::at(present, leg.ifindex, vlan.id).is_none());
            unspoken.extend(mute.map(|leg| (leg.name.clone(), vlan.id)));
        }
        for (leg, vlan) in unspoken.difference(&self.unspoken) {
            let how = format!("ip link add link {leg} name {leg}.{vlan} type vlan id {vlan}");
            warn!(
                leg,
                vlan, how, "the host has no interface for a VLAN: backends there are not found, and cards may drop its frames"
            );
        }
        self.unspoken = unspoken;
    }

    /// Attaches the programs and opens the heartbeat sockets, if an interface is new or another one under an old name.
    pub(super) fn take_interfaces(&mut self, config: &Config, links: &[Link]) -> Result<(), CommandError> {
        let now: BTreeSet<(String, u32)> = links.iter().map(|link| (link.name.clone(), link.ifindex)).collect();
        if self.attached.as_ref() != Some(&now) {
            let names: Vec<String> = links.iter().map(|link| link.name.clone()).collect();
            self.modes = self.datapath.attach(&names).map_err(refused)?.into_iter().collect();
            self.attached = Some(now);
        }
        self.forward(config);
        self.set_ports(config, links)
    }

    /// Legs that carry answers of backends forward.
    fn forward(&self, config: &Config) {
        if !config.vservers().any(|vserver| vserver.mode == words::Mode::Ip) {
            return;
        }
        for leg in config.legs().filter(|leg| !self.missing.contains(&leg.name)) {
            if let Err(error) = forwarding::enable(&leg.name) {
                warn!(
                    interface = leg.name,
                    %error,
                    "forwarding is off and cannot be switched on: after a takeover a connection waits for its client to speak first"
                );
            }
        }
    }

    fn set_ports(&mut self, config: &Config, links: &[Link]) -> Result<(), CommandError> {
        let named = |name: &str| links.iter().find(|link| link.name == name).cloned();
        let wanted: Vec<Link> = config.ha_links().filter_map(|interface| named(&interface.name)).collect();
        let same = |a: &Link, b: &Link| (a.ifindex, a.mac) == (b.ifindex, b.mac);
        if wanted.len() == self.ports.len() && wanted.iter().zip(&self.ports).all(|(a, b)| same(a, b)) {
            return Ok(());
        }
        let ports: Result<Vec<Port>, _> =
            wanted.iter().enumerate().map(|(number, link)| Port::open(number, &link.name, link.ifindex, link.mac)).collect();
        self.requests.set_ports(ports.map_err(|error| refused(format!("cannot send heartbeats: {error}")))?);
        self.ports = wanted;
        Ok(())
    }
}
