//! Whom to ask on which leg, so that a node that reaches nobody knows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::command::value::Probe;
use crate::command::words::AddressType;
use crate::config::{Config, Interface};
use crate::net::link::Link;
use crate::net::probe::Target;

use super::floating::homes;
use super::watched::Host;

/// One address for each leg on which VIPs live; legs without one are not among them.
pub fn targets(config: &Config, host: &Host<'_>) -> Vec<Target> {
    let legs: Vec<(&Interface, &Link)> =
        config.legs().filter_map(|leg| Some((leg, host.links.iter().find(|link| link.name == leg.name)?))).collect();
    let own: Vec<_> = host.own.iter().filter(|local| config.address(local.address).is_none()).copied().collect();
    let homes = homes(config, host.links, host.own);
    let vips = config.addresses().filter(|address| address.enabled && address.kind == AddressType::Vip);
    let used: BTreeSet<&String> = vips.filter_map(|vip| homes.get(&vip.ip)).flatten().collect();
    let target = |(leg, link): (&Interface, &Link)| {
        // The leg itself, then the VLANs on it.
        let on_leg = |other: &&Link| other.place().0 == link.ifindex;
        let mut devices: Vec<&Link> = host.links.iter().filter(on_leg).collect();
        devices.sort_by_key(|device| device.place().1);
        let gateway = |device: &&Link| {
            let [gateway4, gateway6] = host.routes.gateways.get(&device.ifindex).copied().unwrap_or_default();
            gateway4.or(gateway6)
        };
        let has =
            |device: &Link, address: IpAddr| own.iter().any(|local| local.ifindex == device.ifindex && local.contains(address));
        let (device, address) = match leg.probe {
            Probe::Off => None,
            Probe::Address(address) => {
                Some((devices.iter().find(|device| has(device, address)).copied().unwrap_or(link), address))
            }
            Probe::Gateway => devices.iter().find_map(|device| Some((*device, gateway(device)?))),
        }?;
        let here = |ip: &IpAddr| ip.is_ipv4() == address.is_ipv4();
        let mut on_device = own.iter().filter(|local| local.ifindex == device.ifindex && here(&local.address));
        let first = on_device.clone().next();
        let own = on_device.find(|local| local.contains(address)).or(first).map(|local| local.address);
        Some(Target { ifindex: device.ifindex, leg: link.ifindex, mac: link.mac, own, address })
    };
    legs.into_iter().filter(|(_, link)| used.contains(&link.name)).filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Indices, load_text};
    use crate::net::address::LocalAddress;
    use crate::net::route::Routes;

    /// Addresses asked, by interface index (client0 1, server0 2), and from where.
    fn asked(probe: &str, own: &[(u32, &str)], gateways: &[(u32, &str)]) -> Vec<(u32, Option<String>, String)> {
        let text = format!(
            "set interface client0 -haHeartbeat OFF {probe}\nset interface server0 -haHeartbeat OFF\n\
             add ns ip 10.1.0.100 255.255.255.255 -type VIP\nadd ns ip 10.2.0.1 255.255.255.0 -type SNIP\n"
        );
        let config = load_text(Path::new("node.conf"), &text, Indices::default()).unwrap();
        let link = |ifindex, name: &str| Link {
            ifindex,
            name: name.into(),
            mac: [2; 6],
            mtu: 1500,
            up: true,
            carrier: true,
            xdp: None,
            bond: None,
            vlan: None,
        };
        let own: Vec<LocalAddress> = own
            .iter()
            .map(|(ifindex, address)| LocalAddress { ifindex: *ifindex, address: address.parse().unwrap(), prefix_len: 24 })
            .collect();
        let mut routes = Routes::default();
        for (ifindex, gateway) in gateways {
            let gateway: IpAddr = gateway.parse().unwrap();
            routes.gateways.entry(*ifindex).or_default()[usize::from(gateway.is_ipv6())] = Some(gateway);
        }
        let vlan = Link { vlan: Some(crate::net::link::Vlan { on: 1, id: 10 }), ..link(3, "client0.10") };
        let host = Host { links: &[vlan, link(1, "client0"), link(2, "server0")], own: &own, routes: &routes };
        let plain = |target: Target| (target.ifindex, target.own.map(|own| own.to_string()), target.address.to_string());
        targets(&config, &host).into_iter().map(plain).collect()
    }

    #[test]
    fn a_gateway_behind_a_vlan_of_the_leg_is_asked_in_that_vlan() {
        let own = [(1, "10.1.0.11"), (3, "10.3.0.11")];
        assert_eq!(asked("", &own, &[(3, "10.3.0.254")]), [(3, Some("10.3.0.11".into()), "10.3.0.254".into())]);
        assert_eq!(asked("", &own, &[(1, "10.1.0.254"), (3, "10.3.0.254")])[0].0, 1, "the leg's own first");
        assert_eq!(asked("-probe 10.3.0.7", &own, &[])[0], (3, Some("10.3.0.11".into()), "10.3.0.7".into()));
        assert_eq!(asked("-probe 10.7.0.7", &own, &[])[0].0, 1, "of no subnet");
    }

    const OWN: [(u32, &str); 2] = [(1, "10.1.0.11"), (2, "10.2.0.251")];

    #[test]
    fn the_default_gateway_is_asked_on_legs_with_vips_alone() {
        let gateways = [(1, "10.1.0.254"), (2, "10.2.0.254")];
        assert_eq!(asked("", &OWN, &gateways), [(1, Some("10.1.0.11".into()), "10.1.0.254".into())]);
        assert_eq!(asked("", &OWN, &[(2, "10.2.0.254")]), []);
    }

    #[test]
    fn the_operator_may_name_another_address_or_none() {
        let gateways = [(1, "10.1.0.254")];
        assert_eq!(asked("-probe 10.1.0.7", &OWN, &gateways)[0].2, "10.1.0.7");
        assert_eq!(asked("-probe 10.1.0.7", &OWN, &[])[0].2, "10.1.0.7");
        assert_eq!(asked("-probe NONE", &OWN, &gateways), []);
    }

    #[test]
    fn a_leg_without_an_address_asks_from_none_and_a_floating_one_is_not_its_own() {
        let gateways = [(1, "10.1.0.254"), (2, "10.2.0.254")];
        assert_eq!(asked("", &[(2, "10.2.0.251"), (1, "10.1.0.100")], &gateways)[0], (1, None, "10.1.0.254".into()));
    }

    #[test]
    fn an_ipv6_gateway_is_asked_where_there_is_no_ipv4_one() {
        assert_eq!(
            asked("", &[(1, "10.1.0.11"), (1, "fe80::b")], &[(1, "fe80::1")])[0],
            (1, Some("fe80::b".into()), "fe80::1".into())
        );
    }
}
