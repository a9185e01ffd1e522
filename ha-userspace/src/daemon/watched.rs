//! What this node's health follows from, as configured and as the host is.

use std::net::IpAddr;

use ha_common::ha::monitor::{Rules, Set, Watch};

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

/// What to watch.
pub fn watched(config: &Config, host: &Host<'_>) -> Watched {
    let watch = |interface: &Interface| Watch {
        name: interface.name.clone(),
        enabled: interface.enabled,
        monitored: interface.monitor,
        heartbeats: interface.heartbeat,
        carries: carries(config, host, &interface.name),
        throughput: interface.throughput,
    };
    let set = |fis: &crate::config::Fis| Set { name: fis.name.clone(), members: fis.members.clone() };
    let rules = Rules { interfaces: config.interfaces().map(watch).collect(), sets: config.sets().map(set).collect() };
    Watched { rules, routes: config.route_monitors().clone() }
}

/// Whether anything but the peer is behind an interface: a network that is not the NSIP's alone, a floating address, a backend, a
/// gateway. An interface that the host does not have carried something before.
fn carries(config: &Config, host: &Host<'_>, name: &str) -> bool {
    let Some(link) = host.links.iter().find(|link| link.name == name) else { return true };
    if host.routes.gateways.contains_key(&link.ifindex) {
        return true;
    }
    let floats = |ip| config.address(ip).is_some();
    let mut own = host.own.iter().filter(|local| local.ifindex == link.ifindex && !floats(local.address));
    own.any(|local| {
        let served = || config.addresses().map(|address| address.ip).chain(config.services().map(|service| service.ip));
        !is_for_the_pair(config, local.address) || served().any(|ip| local.contains(ip))
    })
}

/// Whether an own address is of the network in which the nodes know each other, or of the link alone.
fn is_for_the_pair(config: &Config, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => config.node().is_in_subnet(ip) || ip.is_link_local(),
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

    fn critical(client: &[&str], cable: &[&str], gateway_on: Option<u32>) -> BTreeSet<String> {
        let config = load_text(Path::new("node.conf"), NODE, Indices::default()).unwrap();
        let link = |ifindex, name: &str| Link {
            ifindex,
            name: name.into(),
            mac: [0; 6],
            mtu: 1500,
            up: true,
            carrier: true,
            xdp: None,
        };
        let own = |ifindex| move |text: &&str| LocalAddress { ifindex, address: text.parse().unwrap(), prefix_len: 24 };
        let own: Vec<LocalAddress> = client.iter().map(own(1)).chain(cable.iter().map(own(2))).collect();
        let mut routes = Routes::default();
        routes.gateways.extend(gateway_on.map(|ifindex| (ifindex, [None, None])));
        let host = Host { links: &[link(1, "client0"), link(2, "cable")], own: &own, routes: &routes };
        watched(&config, &host).rules.critical().map(str::to_owned).collect()
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
}
