//! What goes with the Primary's role: which addresses are announced where, and which the host owns; and what legs have to let in for
//! that, on both nodes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ha_common::ha::announce::{Announcement, Subject};

use crate::config::{Address, Config, Vserver};
use crate::datapath::{is_local, served};
use crate::net::address::{LocalAddress, legs_of};
use crate::net::announce::{ArpForm, Roll};
use crate::net::link::{self, Link};
use crate::net::reception::{Reception, solicited_node};

/// Kept up to date by whoever knows the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floating {
    /// What to announce, on legs that are switched on: a change of that brings another roll.
    pub roll: Arc<Roll>,
    /// Addresses that the host owns while this node serves.
    pub local: BTreeSet<LocalAddress>,
    /// What legs let in, whether or not this node serves: a takeover waits for no interface, and strays come to the former Primary.
    pub reception: Reception,
}

impl Floating {
    /// What `config` says, given the interfaces and the host's own addresses on them.
    pub fn of(config: &Config, links: &[Link], own: &[LocalAddress]) -> Floating {
        let legs = legs(config, links);
        let mut floating = Floating::default();
        for leg in &legs {
            floating.put_leg(config, leg);
        }
        Arc::make_mut(&mut floating.roll).form = if config.l2_param().garp_reply { ArpForm::Reply } else { ArpForm::Request };
        let owned = owned(config, own);
        let served = served(config);
        for address in busiest_first(config) {
            let on = legs_for(config, address, &legs, &owned);
            floating.put_address(config, address, &served, &Home { on, links, vlan: config.domain_of(address.ip) });
        }
        floating
    }

    fn put_leg(&mut self, config: &Config, leg: &Link) {
        let virtual_macs = [false, true].map(|v6| config.vrid_on(&leg.name, v6).map(|vrid| vrid.mac()));
        let roll = Arc::make_mut(&mut self.roll);
        roll.macs.insert(leg.ifindex, virtual_macs.map(|mac| mac.unwrap_or(leg.mac)));
        for mac in virtual_macs.into_iter().flatten() {
            if leg.up {
                let subject = Subject::Mac(mac);
                let moved = |vlan| Announcement { ifindex: leg.ifindex, vlan, subject };
                roll.announcements.extend(std::iter::once(0).chain(tags(config, &leg.name)).map(moved));
            }
            self.reception.macs.insert((leg.ifindex, mac));
        }
    }

    fn put_address(&mut self, config: &Config, address: &Address, served: &HashSet<IpAddr>, home: &Home<'_>) {
        let Home { on, vlan, .. } = home;
        let is_announced = |leg: &&&Link| {
            leg.up && (config.l2_param().garp_on_vrid || config.vrid_on(&leg.name, address.ip.is_ipv6()).is_none())
        };
        if address.arp {
            let announced = on.iter().filter(is_announced);
            Arc::make_mut(&mut self.roll).announcements.extend(announced.map(|leg| Announcement {
                ifindex: leg.ifindex,
                vlan: *vlan,
                subject: Subject::Address(address.ip),
            }));
        }
        if let IpAddr::V6(ip) = address.ip {
            // Without a device for the VLAN the card lets solicitations in, at least.
            let member = |leg: &&Link| home.device(leg).unwrap_or(leg.ifindex);
            self.reception.groups.extend(on.iter().map(|leg| (member(leg), solicited_node(ip))));
        }
        if let (true, Some(ifindex)) = (is_local(address, served), on.iter().find_map(|leg| home.device(leg))) {
            self.local.insert(LocalAddress { ifindex, address: address.ip, prefix_len: full_len(address) });
        }
    }
}

/// Where a floating address lives.
struct Home<'l> {
    /// Legs.
    on: Vec<&'l Link>,
    /// VLAN on them; 0 is untagged.
    vlan: u16,
    /// All interfaces.
    links: &'l [Link],
}

impl Home<'_> {
    /// The interface through which the host itself speaks there.
    fn device(&self, leg: &Link) -> Option<u32> {
        link::at(self.links, leg.ifindex, self.vlan).map(|device| device.ifindex)
    }
}

/// The tags of the VLANs that leg `name` carries.
fn tags<'c>(config: &'c Config, name: &'c str) -> impl Iterator<Item = u16> + 'c {
    config.vlans().filter(|vlan| vlan.tagged && vlan.interfaces.contains(name)).map(|vlan| vlan.id)
}

/// The names of the legs that each floating address in use lives on.
pub fn homes(config: &Config, links: &[Link], own: &[LocalAddress]) -> BTreeMap<IpAddr, Vec<String>> {
    let (legs, owned) = (legs(config, links), owned(config, own));
    let names = |address| legs_for(config, address, &legs, &owned).iter().map(|leg| leg.name.clone()).collect();
    let used = config.addresses().filter(|address| address.enabled);
    used.map(|address| (address.ip, names(address))).collect()
}

/// The legs that are there.
fn legs<'l>(config: &Config, links: &'l [Link]) -> Vec<&'l Link> {
    config.legs().filter_map(|leg| links.iter().find(|link| link.name == leg.name)).collect()
}

/// The host's own addresses: those that do not float.
fn owned(config: &Config, own: &[LocalAddress]) -> Vec<LocalAddress> {
    own.iter().filter(|local| config.address(local.address).is_none()).copied().collect()
}

/// Addresses in use, those with most virtual servers first: which are busiest is only known of the node that has served them.
fn busiest_first(config: &Config) -> Vec<&Address> {
    let mut vservers = BTreeMap::<IpAddr, usize>::new();
    for (ip, _) in config.vservers().flat_map(Vserver::addresses) {
        *vservers.entry(ip).or_default() += 1;
    }
    let mut addresses: Vec<&Address> = config.addresses().filter(|address| address.enabled).collect();
    addresses.sort_by_key(|address| std::cmp::Reverse(vservers.get(&address.ip).copied().unwrap_or_default()));
    addresses
}

/// The legs that `address` lives on: those of its VLAN, or of its virtual router, if it names one (of both, those that are the same), else
/// those of its subnet.
fn legs_for<'l>(config: &Config, address: &Address, legs: &[&'l Link], owned: &[LocalAddress]) -> Vec<&'l Link> {
    let vrid = address.vrid_key().and_then(|key| config.vrid(key));
    if let Some(vlan) = config.vlan_of(address.ip) {
        let is_home =
            |leg: &&&Link| vlan.interfaces.contains(&leg.name) && vrid.is_none_or(|vrid| vrid.interfaces.contains(&leg.name));
        return legs.iter().filter(is_home).copied().collect();
    }
    if let Some(vrid) = vrid {
        return legs.iter().filter(|leg| vrid.interfaces.contains(&leg.name)).copied().collect();
    }
    let indices: Vec<u32> = legs.iter().map(|leg| leg.ifindex).collect();
    let on = legs_of(address.ip, &indices, owned);
    legs.iter().filter(|leg| on.contains(&leg.ifindex)).copied().collect()
}

/// A floating address brings no route with it: the leg's own address has made that.
fn full_len(address: &Address) -> u8 {
    if address.ip.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::path::Path;

    use super::*;
    use crate::config::{Indices, load_text};

    const NODE: &str = "
        set interface client0 -haHeartbeat OFF
        set interface server0 -haHeartbeat OFF
        add vrid 60
        add vrid6 61
        bind vrid 60 -ifnum client0
        bind vrid6 61 -ifnum client0
        add ns ip 10.1.0.99 255.255.255.255 -type VIP
        add ns ip 10.2.0.1 255.255.255.0
        add lb vserver web TCP 10.1.0.100 80
        add lb vserver web6 TCP 2001:db8::1:100 80
    ";
    const VMAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 60];
    const VMAC6: [u8; 6] = [0, 0, 0x5e, 0, 2, 61];

    fn link(ifindex: u32, name: &str) -> Link {
        Link {
            ifindex,
            name: name.into(),
            mac: [2, 0, 0, 0, 0, ifindex as u8],
            mtu: 1500,
            up: true,
            carrier: true,
            xdp: None,
            bond: None,
            vlan: None,
        }
    }

    fn floating(more: &str) -> Floating {
        floating_on(more, &[link(2, "client0"), link(3, "server0")])
    }

    fn floating_on(more: &str, links: &[Link]) -> Floating {
        let config = load_text(Path::new("node.conf"), &format!("{NODE}\n{more}"), Indices::default()).unwrap();
        let own = |ifindex, text: &str| LocalAddress { ifindex, address: text.parse().unwrap(), prefix_len: 24 };
        Floating::of(&config, links, &[own(2, "10.1.0.11"), own(3, "10.2.0.251")])
    }

    fn group(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn subjects(floating: &Floating) -> Vec<(u32, Subject)> {
        floating.roll.announcements.iter().map(|announcement| (announcement.ifindex, announcement.subject)).collect()
    }

    fn at(ifindex: u32, text: &str) -> (u32, Subject) {
        (ifindex, Subject::Address(text.parse().unwrap()))
    }

    #[test]
    fn virtual_macs_go_first_and_addresses_with_virtual_servers_before_the_rest() {
        let found = floating("");
        let first = [(2, Subject::Mac(VMAC)), (2, Subject::Mac(VMAC6)), at(2, "10.1.0.100")];
        assert_eq!(subjects(&found)[..3], first);
        assert_eq!(
            subjects(&found)[3..],
            [at(2, "2001:db8::1:100"), at(3, "2001:db8::1:100"), at(2, "10.1.0.99"), at(3, "10.2.0.1")]
        );
        assert_eq!(found.roll.macs, [(2, [VMAC, VMAC6]), (3, [[2, 0, 0, 0, 0, 3]; 2])].into());
        assert_eq!(found.reception.macs, [(2, VMAC), (2, VMAC6)].into());
        assert!(found.reception.groups.contains(&(2, group("ff02::1:ff01:100"))));
    }

    #[test]
    fn with_garp_off_on_interfaces_with_a_vrid_only_the_macs_are_announced_there() {
        let found = floating("set L2Param -garpOnVridIntf DISABLED -garpReply ENABLED");
        let expected = [(2, Subject::Mac(VMAC)), (2, Subject::Mac(VMAC6)), at(3, "2001:db8::1:100"), at(3, "10.2.0.1")];
        assert_eq!(subjects(&found), expected);
        assert_eq!(found.roll.form, ArpForm::Reply);
    }

    #[test]
    fn an_address_is_at_home_on_the_legs_of_its_subnet_or_of_the_virtual_router_that_it_names() {
        let config = load_text(Path::new("node.conf"), &format!("{NODE}\nset ns ip 10.2.0.1 -vrID 60"), Indices::default());
        let own = [LocalAddress { ifindex: 2, address: "10.1.0.11".parse().unwrap(), prefix_len: 24 }];
        let homes = homes(&config.unwrap(), &[link(2, "client0"), link(3, "server0")], &own);
        let at = |text: &str| homes[&text.parse::<IpAddr>().unwrap()].join(" ");
        assert_eq!(at("10.1.0.99"), "client0");
        assert_eq!(at("10.2.0.1"), "client0");
        assert_eq!(at("2001:db8::1:100"), "client0 server0");
    }

    #[test]
    fn an_address_of_a_virtual_router_lives_on_its_legs_only() {
        let found = floating("set ns ip6 2001:db8::1:100 -vrID6 61\nset ns ip 10.2.0.1 -vrID 60");
        assert!(!subjects(&found).contains(&at(3, "2001:db8::1:100")) && subjects(&found).contains(&at(2, "2001:db8::1:100")));
        assert!(found.local.iter().any(|local| local.ifindex == 2 && local.address == "10.2.0.1".parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn nothing_is_announced_on_a_leg_that_is_switched_off_and_all_is_ready_for_when_it_comes_back() {
        let off = Link { up: false, carrier: false, ..link(2, "client0") };
        let (off, on) = (floating_on("", &[off, link(3, "server0")]), floating(""));
        assert_eq!(subjects(&off), [at(3, "2001:db8::1:100"), at(3, "10.2.0.1")]);
        assert_eq!((&off.local, &off.reception), (&on.local, &on.reception));
        assert_ne!(off.roll, on.roll);
    }

    const VLANS: &str = "
        add vlan 10
        add vlan 20
        bind vlan 10 -ifnum client0 server0 -tagged
        bind vlan 10 -IPAddress 10.1.0.1 255.255.255.0
        bind vlan 10 -IPAddress 2001:db8::1/64
        bind vlan 20 -ifnum server0
        bind vlan 20 -IPAddress 10.2.0.1 255.255.255.0
    ";

    fn vlan_device(on: u32, id: u16, ifindex: u32) -> Link {
        Link { vlan: Some(link::Vlan { on, id }), ..link(ifindex, &format!("{on}.{id}")) }
    }

    fn placed(floating: &Floating) -> Vec<(u32, u16, Subject)> {
        floating.roll.announcements.iter().map(|announced| (announced.ifindex, announced.vlan, announced.subject)).collect()
    }

    #[test]
    fn an_address_of_a_vlan_is_announced_with_its_tag_on_the_legs_that_carry_it() {
        let found = placed(&floating(VLANS));
        let at = |text: &str| {
            let subject = Subject::Address(text.parse().unwrap());
            found.iter().filter(|(.., other)| *other == subject).map(|&(leg, vlan, _)| (leg, vlan)).collect::<Vec<_>>()
        };
        assert_eq!(at("10.1.0.100"), [(2, 10), (3, 10)], "though client0 alone has an address of its subnet");
        assert_eq!(at("2001:db8::1:100"), [(2, 10), (3, 10)]);
        assert_eq!(at("10.2.0.1"), [(3, 0)], "a VLAN without a tag is the leg's own");
        let moved: Vec<_> =
            found.iter().filter(|(.., subject)| *subject == Subject::Mac(VMAC)).map(|(leg, vlan, _)| (*leg, *vlan)).collect();
        assert_eq!(moved, [(2, 0), (2, 10)], "switches keep a table for each VLAN");
    }

    #[test]
    fn the_host_owns_and_listens_for_what_lives_in_a_vlan_on_the_vlans_interface() {
        let more = format!("{VLANS}\nadd ns ip 10.1.0.9 255.255.255.0");
        let links = [link(2, "client0"), link(3, "server0"), vlan_device(2, 10, 12)];
        let found = floating_on(&more, &links);
        let local = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            found.local.iter().filter(|local| local.address == address).map(|local| local.ifindex).collect::<Vec<_>>()
        };
        assert_eq!([local("10.1.0.9"), local("10.2.0.1")], [[12], [3]]);
        let group = group("ff02::1:ff01:100");
        assert!(found.reception.groups.contains(&(12, group)), "reported in the VLAN");
        assert!(found.reception.groups.contains(&(3, group)), "without an interface there: let in, at least");
        let none = floating_on(&more, &links[..2]);
        assert!(
            none.local.iter().all(|local| local.address != "10.1.0.9".parse::<IpAddr>().unwrap()),
            "not where it does not live"
        );
    }

    #[test]
    fn an_address_of_a_vlan_and_a_virtual_router_lives_where_both_are() {
        let found = floating(&format!("{VLANS}\nset ns ip6 2001:db8::1:100 -vrID6 61"));
        let subject = Subject::Address("2001:db8::1:100".parse().unwrap());
        let at: Vec<_> = placed(&found).into_iter().filter(|(.., other)| *other == subject).collect();
        assert_eq!(at, [(2, 10, subject)]);
    }
}
