//! What this node's health follows from, as configured and as the host is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ha_common::ha::monitor::{Rules, Set, Watch};

use crate::command::words::AddressType;
use crate::config::{Config, Interface};
use crate::ha::monitor::Watched;
use crate::net::address::LocalAddress;
use crate::net::link::Link;
use crate::net::route::Routes;

/// What is known of the host.
pub struct Host<'a> {
    /// Interfaces in use.
    pub links: &'a [Link],
    /// Own addresses.
    pub own: &'a [LocalAddress],
    /// Gateways.
    pub routes: &'a Routes,
}

/// What was behind interfaces when last they had carrier, by name.
///
/// Whatever manages the host's network takes addresses and routes away with the carrier: an interface without carrier says nothing of what
/// it is for.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    behind: BTreeMap<String, Behind>,
}

/// What is behind an interface, as far as its addresses and routes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// A gateway, or a network that is not the NSIP's alone: one of its own, a floating address's, a backend's.
    Network,
    /// The NSIP's network and nothing else.
    Pair,
    /// It has no address that would say.
    Unknown,
}

/// What to watch.
pub fn watched(config: &Config, host: &Host<'_>, seen: &mut Seen) -> Watched {
    seen.look(config, host);
    let watch = |interface: &Interface| Watch {
        name: interface.name.clone(),
        enabled: interface.enabled,
        monitored: interface.monitor,
        heartbeats: interface.heartbeat,
        carries: seen.carries(config, host, &interface.name),
        throughput: interface.throughput,
    };
    let set = |fis: &crate::config::Fis| Set { name: fis.name.clone(), members: fis.members.clone() };
    let rules = Rules { interfaces: config.interfaces().map(watch).collect(), sets: config.sets().map(set).collect() };
    Watched { rules, routes: config.route_monitors().clone() }
}

impl Seen {
    /// Takes note of the interfaces that have carrier.
    fn look(&mut self, config: &Config, host: &Host<'_>) {
        self.behind.retain(|name, _| config.interfaces().any(|interface| interface.name == *name));
        for link in host.links.iter().filter(|link| link.carrier) {
            let behind = behind(config, host, link);
            let known = self.behind.entry(link.name.clone()).or_insert(behind);
            // Carrier comes back before the addresses do.
            if behind != Behind::Unknown {
                *known = behind;
            }
        }
    }

    /// Whether anything but the peer is behind an interface. Of one that was never seen with carrier that is assumed, unless it has the
    /// NSIP's network and nothing else.
    fn carries(&self, config: &Config, host: &Host<'_>, name: &str) -> bool {
        let is_bound = config.vrids().any(|vrid| vrid.interfaces.contains(name));
        if is_bound || config.vlans().any(|vlan| vlan.interfaces.contains(name)) {
            return true;
        }
        match self.behind.get(name) {
            Some(Behind::Network) => true,
            Some(Behind::Pair) => false,
            Some(Behind::Unknown) => self.is_last_resort(config),
            None => {
                let link = host.links.iter().find(|link| link.name == name);
                link.is_none_or(|link| behind(config, host, link) != Behind::Pair)
            }
        }
    }

    /// Whether VIPs live on legs without addresses, for want of better ones: some with a network, or without a peer.
    fn is_last_resort(&self, config: &Config) -> bool {
        let is_better = |leg: &Interface| !leg.heartbeat || self.behind.get(&leg.name) == Some(&Behind::Network);
        let has_vips = config.addresses().any(|address| address.enabled && address.kind == AddressType::Vip);
        has_vips && !config.legs().any(is_better)
    }
}

fn behind(config: &Config, host: &Host<'_>, link: &Link) -> Behind {
    if host.routes.gateways.contains_key(&link.ifindex) {
        return Behind::Network;
    }
    let served = || config.addresses().map(|address| address.ip).chain(config.services().map(|service| service.ip));
    let floats = |ip| config.address(ip).is_some();
    let mut behind = Behind::Unknown;
    for local in host.own.iter().filter(|local| local.ifindex == link.ifindex && !floats(local.address)) {
        if !is_for_the_pair(config, local.address) || served().any(|ip| local.contains(ip)) {
            return Behind::Network;
        }
        if !is_of_the_link(local.address) {
            behind = Behind::Pair;
        }
    }
    behind
}

/// Whether an own address is of the network in which the nodes know each other, or of the link alone.
fn is_for_the_pair(config: &Config, address: IpAddr) -> bool {
    let is_nsips = matches!(address, IpAddr::V4(ip) if config.node().is_in_subnet(ip));
    is_nsips || is_of_the_link(address)
}

fn is_of_the_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::{Indices, load_text};

    const NODE: &str = "
        set ns config -IPAddress 10.9.0.1 -netmask 255.255.255.0
        set interface client0 -haMonitor ON
        set interface cable -haMonitor ON
        add ns ip 192.0.2.100 255.255.255.255 -type VIP
        add ns ip 10.2.0.1 255.255.255.0 -type SNIP
    ";

    /// A host with client0 (1) and cable (2), whose interfaces that are not named have no carrier.
    struct Machine {
        config: Config,
        seen: Seen,
    }

    impl Machine {
        fn new(text: &str) -> Machine {
            let config = load_text(Path::new("node.conf"), text, Indices::default()).unwrap();
            Machine { config, seen: Seen::default() }
        }

        fn critical(&mut self, carrier: &[&str], client: &[&str], cable: &[&str], gateway_on: Option<u32>) -> BTreeSet<String> {
            let link = |ifindex, name: &str| Link {
                ifindex,
                name: name.into(),
                mac: [0; 6],
                mtu: 1500,
                up: true,
                carrier: carrier.contains(&name),
                xdp: None,
                bond: None,
                vlan: None,
            };
            let own = |ifindex| move |text: &&str| LocalAddress { ifindex, address: text.parse().unwrap(), prefix_len: 24 };
            let own: Vec<LocalAddress> = client.iter().map(own(1)).chain(cable.iter().map(own(2))).collect();
            let mut routes = Routes::default();
            routes.gateways.extend(gateway_on.map(|ifindex| (ifindex, [None, None])));
            let host = Host { links: &[link(1, "client0"), link(2, "cable")], own: &own, routes: &routes };
            watched(&self.config, &host, &mut self.seen).rules.critical().map(str::to_owned).collect()
        }
    }

    const BOTH: [&str; 2] = ["client0", "cable"];

    fn critical(client: &[&str], cable: &[&str], gateway_on: Option<u32>) -> BTreeSet<String> {
        Machine::new(NODE).critical(&BOTH, client, cable, gateway_on)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_cable_to_the_peer_is_not_critical_whatever_its_ha_monitor() {
        assert_eq!(critical(&["10.1.0.11"], &[], None), names(&["client0"]), "it needs no address");
        assert_eq!(critical(&["10.1.0.11"], &["10.9.0.1"], None), names(&["client0"]), "or has the NSIP");
    }

    #[test]
    fn an_interface_with_heartbeats_is_critical_when_anything_else_is_behind_it() {
        let both = names(&["cable", "client0"]);
        assert_eq!(critical(&["10.1.0.11"], &["10.3.0.1"], None), both, "a network of its own");
        assert_eq!(critical(&["10.1.0.11"], &["10.2.0.7"], None), both, "a floating address");
        assert_eq!(critical(&["10.1.0.11"], &["10.9.0.1"], Some(2)), both, "a gateway");
    }

    #[test]
    fn a_leg_whose_addresses_went_with_its_carrier_stays_critical_until_they_are_back() {
        let mut machine = Machine::new(NODE);
        assert_eq!(machine.critical(&BOTH, &["10.1.0.11"], &["10.9.0.1"], Some(1)), names(&["client0"]));
        assert_eq!(machine.critical(&["cable"], &[], &["10.9.0.1"], None), names(&["client0"]), "the carrier is lost");
        assert_eq!(
            machine.critical(&BOTH, &[], &["10.9.0.1"], None),
            names(&["client0"]),
            "it is back, the address is not yet"
        );
        assert_eq!(machine.critical(&["cable"], &[], &["10.9.0.1"], None), names(&["client0"]), "and is lost again");
    }

    #[test]
    fn a_cable_whose_peer_died_is_not_critical_whatever_went_with_its_carrier() {
        for address in [&["10.9.0.1"][..], &[]] {
            let mut machine = Machine::new(NODE);
            machine.critical(&BOTH, &["10.1.0.11"], address, None);
            assert_eq!(machine.critical(&["client0"], &["10.1.0.11"], address, None), names(&["client0"]));
            assert_eq!(machine.critical(&["client0"], &["10.1.0.11"], &[], None), names(&["client0"]));
            assert_eq!(machine.critical(&[], &[], &[], None), names(&["client0"]), "not even when all is dark");
        }
    }

    #[test]
    fn before_the_network_is_up_an_interface_counts_unless_it_has_the_nsips_network_alone() {
        assert_eq!(Machine::new(NODE).critical(&[], &[], &[], None), names(&["cable", "client0"]));
        assert_eq!(Machine::new(NODE).critical(&[], &[], &["10.9.0.1", "fe80::1"], None), names(&["client0"]));
        assert_eq!(Machine::new(NODE).critical(&[], &[], &["fe80::1"], None), names(&["cable", "client0"]));
    }

    #[test]
    fn a_leg_without_addresses_is_critical_by_its_vrid_or_when_vips_have_no_other_place() {
        let vrid = format!("{NODE}\nadd vrid 60\nbind vrid 60 -ifnum client0");
        assert_eq!(Machine::new(&vrid).critical(&BOTH, &[], &["10.9.0.1"], None), names(&["client0"]));
        assert_eq!(critical(&[], &["10.9.0.1"], None), names(&["client0"]), "the cable has its own network");
        let mut machine = Machine::new(NODE);
        machine.critical(&BOTH, &[], &["10.9.0.1"], None);
        assert_eq!(machine.critical(&[], &[], &[], None), names(&["client0"]), "nor does it without carrier");
        let elsewhere = format!("{NODE}\nset interface leg0 -haMonitor ON -haHeartbeat OFF");
        assert_eq!(Machine::new(&elsewhere).critical(&BOTH, &[], &[], None), names(&["leg0"]));
    }

    #[test]
    fn an_interface_that_becomes_a_leg_counts_from_then_on() {
        let mut machine = Machine::new(NODE);
        assert_eq!(machine.critical(&BOTH, &["10.1.0.11"], &["10.9.0.1"], None), names(&["client0"]));
        let both = names(&["cable", "client0"]);
        assert_eq!(machine.critical(&BOTH, &["10.1.0.11"], &["10.9.0.1", "10.3.0.1"], None), both);
        assert_eq!(machine.critical(&["client0"], &["10.1.0.11"], &[], None), both);
    }

    #[test]
    fn a_cable_without_addresses_does_not_count_once_the_leg_has_its_own() {
        let mut machine = Machine::new(NODE);
        assert_eq!(machine.critical(&BOTH, &[], &[], None), names(&["cable", "client0"]), "the network comes up");
        assert_eq!(machine.critical(&BOTH, &["10.1.0.11"], &[], None), names(&["client0"]));
        assert_eq!(machine.critical(&[], &[], &[], None), names(&["client0"]));
    }
}
