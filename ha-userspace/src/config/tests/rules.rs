//! The rules between entities.

use super::{BARE, NODE, apply, config};
use crate::command::Secrets;
use crate::config::{Config, Pair};

#[test]
fn what_cannot_be_is_refused_with_its_reason_and_changes_nothing() {
    let table = [
        // Duplicates.
        ("add lb vserver web UDP 10.1.0.101 53", 273, "set lb vserver changes it"),
        ("add lb vserver other TCP 10.1.0.100 80", 273, "virtual server web serves TCP port 80 there"),
        ("add service s1 10.2.0.99 TCP 80", 273, "set service changes it"),
        ("add service other 10.2.0.11 TCP 80", 273, "service s1 is TCP port 80 there"),
        ("add ns ip 10.1.0.100 255.255.255.255 -type VIP", 273, "it is a VIP"),
        ("add ns ip6 2001:db8::1/64 -type VIP", 273, "it is a VIP"),
        ("bind lb vserver web s1", 273, "it is bound to web; unbind it first"),
        // References.
        ("rm service s1", 257, "service s1 is bound to web; unbind lb vserver first"),
        ("rm ns ip 10.1.0.100", 257, "10.1.0.100 is the VIP of web; rm lb vserver first"),
        ("rm ns ip 10.1.0.101", 258, "show ns ip lists the addresses"),
        ("rm lb vserver nope", 258, "show lb vserver lists the virtual servers"),
        ("rm interface nope", 258, "names no such interface"),
        ("enable interface nope", 258, "names no such interface"),
        ("bind lb vserver web nope", 258, "show service lists the services"),
        ("bind lb vserver nope s1", 258, "show lb vserver lists"),
        ("unbind lb vserver web s6", 258, "it is not bound to web"),
        // Addresses with another owner.
        ("add lb vserver x TCP 10.2.0.1 80", 273, "it is a SNIP; a virtual server needs a VIP"),
        ("add lb vserver x TCP 10.9.0.1 80", 273, "this node's NSIP"),
        ("add lb vserver x TCP 10.9.0.2 80", 273, "the peer's NSIP"),
        ("add lb vserver x TCP 10.2.0.11 80", 273, "service s1 has it"),
        ("add ns ip 10.2.0.11 255.255.255.0", 273, "service s1 has it"),
        ("add ns ip 10.9.0.2 255.255.255.0", 273, "the peer's NSIP"),
        ("add service x 10.1.0.100 TCP 81", 273, "packets for it would come back here"),
        ("set ns config -IPAddress 10.1.0.100", 273, "the NSIP does not float"),
        ("add lb vserver x TCP 0.0.0.0 80", 257, "passes them on as they are, which is -m MAC"),
        ("add lb vserver x TCP 224.0.0.1 80", 1097, "multicast"),
        ("add service x 127.0.0.1 TCP 80", 1097, "loopback"),
        ("add service x ::ffff:10.0.0.1 TCP 80", 1097, "write an IPv4 address as such"),
        ("add service x fe80::1 TCP 80", 1097, "link-local"),
        // Clients told apart by where they are; no connections at all.
        ("set lb vserver web -l2Conn ON", 257, "virtual server web is -l2Conn ON and service"),
        ("set lb vserver web6 -l2Conn ON", 257, "virtual server web6 is -sessionless ENABLED: who keeps no connections"),
        (
            "add lb vserver x TCP 10.1.0.7 80 -l2Conn ON -m IPTUNNEL",
            257,
            "virtual server x is -m IPTUNNEL: its services answer",
        ),
        ("set lb vserver web6 -connFailover STATEFUL", 1293, "it has no connections that could be mirrored"),
        // Types and ports.
        ("add lb vserver other HTTP 10.1.0.100 80", 273, "virtual server web serves TCP port 80 there"),
        ("add lb vserver x HTTP 10.1.0.102 *", 1097, "[port, *]: type HTTP is had at one port"),
        ("add service x 10.2.0.40 FTP 65535", 1097, "[port, *]: type FTP is had at one port"),
        ("add lb vserver x ANY * *", 257, "which is -m MAC, not -m IP"),
        ("add lb vserver x HTTP * 80 -m MAC", 257, "that is for types TCP, UDP and ANY, not HTTP"),
        ("add lb vserver x ANY 10.1.0.102 * -sessionless ENABLED", 257, "what a service begins by itself"),
        // Virtual routers.
        ("add vrid 60", 273, "set vrid changes it, rm vrid removes it"),
        ("set vrid6 60 -priority 1", 258, "add vrid6 60 makes it; show vrid6 lists them"),
        ("rm vrid 60", 257, "vrid 60 is the virtual router of 10.1.0.100; unset its -vrID first"),
        ("rm vrid -all", 257, "unset its -vrID first"),
        ("rm vrid", 1095, "name one VRID, or give -all"),
        ("rm vrid 60 -all", 1092, "name one VRID, or give -all"),
        ("rm vrid 61", 258, "add vrid 61 makes it"),
        ("bind vrid 61 -ifnum client0", 258, "add vrid 61 makes it"),
        ("bind vrid 60", 1095, "bind vrid 60 -ifnum <leg>"),
        ("bind vrid 60 -ifnum client0", 273, "it is bound to vrid 60"),
        ("bind vrid 60 -ifnum nope", 258, "set interface <name> -haMonitor ON makes it a leg"),
        ("bind vrid 60 -ifnum ha0", 257, "interface ha0 is no leg"),
        ("unbind vrid6 7 -ifnum spare0", 258, "it is not bound to vrid6 7"),
        (
            "set interface client0 -haMonitor OFF",
            257,
            "interface client0 is bound to vrid 60; unbind vrid 60 -ifnum client0 first",
        ),
        ("set interface spare0 -haMonitor OFF", 257, "unbind vrid 60 -ifnum spare0 first"),
        ("add ns ip 10.1.0.101 255.255.255.0 -vrID 61", 258, "add vrid 61 makes it"),
        ("set ns ip6 2001:db8::1 -vrID6 60", 258, "add vrid6 60 makes it"),
        // VLANs.
        ("add vlan 10", 273, "bind vlan puts it on a leg, rm vlan removes it"),
        ("rm vlan 30", 258, "add vlan 30 makes it; show vlan lists them"),
        ("bind vlan 30 -ifnum client0 -tagged", 258, "add vlan 30 makes it"),
        ("bind vlan 10", 1095, "bind vlan 10 -ifnum <leg> -tagged, or bind vlan 10 -IPAddress"),
        ("bind vlan 10 -tagged -IPAddress 10.3.0.1 255.255.255.0", 1095, "[ifnum]"),
        ("bind vlan 10 -ifnum client0 -tagged", 273, "it is bound to VLAN 10; unbind it first"),
        ("bind vlan 10 -ifnum nope -tagged", 258, "set interface <name> -haMonitor ON makes it a leg"),
        ("bind vlan 10 -ifnum ha0 -tagged", 257, "interface ha0 is no leg"),
        ("bind vlan 10 -ifnum spare0", 257, "interface spare0 has VLAN 20 without a tag"),
        (
            "bind vlan 20 -ifnum client0 -tagged",
            257,
            "VLAN 20 has no tag on spare0: an address lives in one place; bind it without -tagged",
        ),
        ("bind vlan 10 -IPAddress 10.2.0.9 255.255.255.255", 273, "10.2.0.0 255.255.255.0 is bound to VLAN 20"),
        ("bind vlan 10 -IPAddress 10.0.0.0 255.0.0.0", 273, "an address lives in one VLAN"),
        ("bind vlan 20 -IPAddress 2001:db8:2::9/64", 273, "is bound to VLAN 20"),
        ("unbind vlan 20 -ifnum client0", 258, "it is not bound to VLAN 20"),
        ("unbind vlan 20 -IPAddress 10.1.0.0 255.255.255.0", 258, "it is not bound to VLAN 20"),
        ("set interface spare0 -haMonitor OFF", 257, "unbind"),
        // The pair.
        ("add ha node 1 10.9.0.2", 273, "the peer is node 1 at 10.9.0.2"),
        ("add ha node 2 10.9.0.3", 348, "a pair has one peer"),
        ("rm ha node 2", 258, "the peer is node 1"),
        ("set ha node 1 -haStatus ENABLED", 257, "node 1 is not this node (0)"),
        (
            "set ha node -helloInterval 11",
            1097,
            "[deadInterval, 30 msecs]: with helloInterval 11 msecs it is at least 33 msecs",
        ),
        ("unset ha node -helloInterval", 1097, "at least 600 msecs"),
        ("set ns rpcnode 10.9.0.7 -secure YES", 258, "RPC nodes are this node, 10.9.0.1, and the peer, 10.9.0.2"),
        ("set ns config -netmask 255.255.255.255", 414, "not in the subnet"),
        ("set ns config -IPAddress 10.9.0.2", 994, "this node's own NSIP"),
        ("rm ha node 1", 1385, "unset ha node -syncvlan first"),
        ("bind ha node -routeMonitor *", 273, "show ha node lists them"),
        ("bind ha node 1 -routeMonitor 10.0.0.0/8", 257, "node 1 is not this node"),
        ("unbind ha node -routeMonitor 10.7.0.0", 258, "[routeMonitor, 10.7.0.0 255.255.255.255]"),
        // Failover interface sets.
        ("add fis uplinks", 273, "bind fis adds interfaces"),
        ("rm fis nope", 258, "show fis lists"),
        ("bind fis nope client0", 258, "show fis lists"),
        ("bind fis uplinks nope", 258, "names no such interface"),
        ("bind fis empty client0", 273, "it is in uplinks; unbind it first"),
        ("unbind fis empty client0", 258, "it is not in empty"),
        ("rm interface spare0", 257, "unbind fis uplinks spare0 first"),
        // Pairs of virtual server and service that cannot work.
        ("set lb vserver web -m MAC", 257, "this mode changes no port"),
        ("bind lb vserver web s6", 257, "address families are not translated"),
        // What is no change.
        ("show ha node", 257, "changes no configuration"),
        ("save ns config", 257, "changes no configuration"),
    ];
    for (line, code, words) in table {
        let mut node = config(NODE);
        let error = apply(&mut node, line).expect_err(line);
        assert_eq!(error.code, code, "{line}: {error}");
        assert!(error.message.contains(words), "{line}: {error}");
        assert_eq!(node.text(Secrets::Clear), NODE, "{line}");
    }
}

#[test]
fn a_service_of_another_protocol_is_not_bound() {
    let mut node = config(NODE);
    apply(&mut node, "add service dns 10.2.0.20 UDP 53 -usip YES").unwrap();
    assert!(apply(&mut node, "bind lb vserver web dns").unwrap_err().message.contains("both must be the same"));
}

#[test]
fn a_peer_needs_the_nodes_own_address_first() {
    let error = apply(&mut Config::default(), "add ha node 1 10.9.0.2").unwrap_err();
    assert_eq!(error.code, 1093);
    assert!(error.message.contains("set ns config -IPAddress"), "{error}");
    let error = apply(&mut Config::default(), "set ns config -IPAddress 10.9.0.1").unwrap_err();
    assert_eq!((error.code, error.message.contains("[netmask]")), (1093, true), "{error}");
}

#[test]
fn the_lower_nsip_is_the_first_of_the_pair_whatever_the_local_ids() {
    let pair = config(NODE).pair().unwrap();
    let [own, peer] = [[10, 9, 0, 1], [10, 9, 0, 2]].map(Into::into);
    assert_eq!(pair, Pair { own, peer, own_id: 1, peer_id: 2 });
    let mut node = config(NODE);
    apply(&mut node, "set ns config -IPAddress 10.9.0.200").unwrap();
    assert_eq!(node.pair().map(|pair| (pair.own_id, pair.peer_id)), Some((2, 1)));
    BARE.iter().for_each(|line| drop(apply(&mut node, line).unwrap()));
    apply(&mut node, "rm ha node 1").unwrap();
    assert_eq!(node.pair(), None);
}

#[test]
fn a_virtual_server_brings_its_vip_and_takes_only_that_away() {
    let mut node = Config::default();
    let vip = "10.1.0.7".parse().unwrap();
    apply(&mut node, "add lb vserver a TCP 10.1.0.7 80").unwrap();
    apply(&mut node, "add lb vserver b UDP 10.1.0.7 80").unwrap();
    assert!(node.address(vip).is_some_and(|address| address.implicit && address.prefix_len == 32));
    assert!(!node.text(Secrets::Clear).contains("ns ip"), "an implicit VIP is not saved");
    apply(&mut node, "rm lb vserver a").unwrap();
    assert!(node.address(vip).is_some());
    apply(&mut node, "rm lb vserver b").unwrap();
    assert_eq!(node.address(vip), None);

    apply(&mut node, "add lb vserver a TCP 10.1.0.7 80").unwrap();
    apply(&mut node, "add ns ip 10.1.0.7 255.255.255.255 -type VIP").unwrap();
    apply(&mut node, "rm lb vserver a").unwrap();
    assert!(node.address(vip).is_some(), "added by the operator as well, it stays");
}

#[test]
fn a_setting_of_an_implicit_vip_is_saved() {
    for change in ["set ns ip 10.1.0.7 -icmp DISABLED", "disable ns ip 10.1.0.7"] {
        let mut node = Config::default();
        apply(&mut node, "add lb vserver a TCP 10.1.0.7 80").unwrap();
        apply(&mut node, change).unwrap();
        let text = node.text(Secrets::Clear);
        assert!(text.contains("add ns ip 10.1.0.7 255.255.255.255 -type VIP"), "{change}: {text}");
        assert_eq!(config(&text).text(Secrets::Clear), text);
    }
}

#[test]
fn rpc_nodes_follow_the_addresses_of_the_nodes() {
    let mut node = config(NODE);
    apply(&mut node, "set ns config -IPAddress 10.9.0.9").unwrap();
    let own = node.rpc_node("10.9.0.9".parse().unwrap()).expect("the own RPC node moved");
    assert_eq!(own.password.as_ref().map(|password| password.reveal()), Some("s3cret"));
    assert_eq!(node.rpc_node("10.9.0.1".parse().unwrap()), None);
    BARE.iter().for_each(|line| drop(apply(&mut node, line).unwrap()));
    apply(&mut node, "rm ha node 1").unwrap();
    assert_eq!(node.rpc_nodes().count(), 1);
    apply(&mut node, "unset ns rpcnode 10.9.0.9 -password").unwrap();
    assert_eq!(node.rpc_nodes().next().unwrap().password, None);
}

#[test]
fn an_idle_timeout_not_given_depends_on_the_protocol() {
    let mut node = Config::default();
    apply(&mut node, "add lb vserver t TCP 10.1.0.7 80").unwrap();
    apply(&mut node, "add lb vserver u UDP 10.1.0.7 80 -cltTimeout 5").unwrap();
    let seconds = |node: &Config, name: &str| node.vserver(name).unwrap().idle_timeout().as_secs();
    assert_eq!((seconds(&node, "t"), seconds(&node, "u")), (9_000, 5));
    apply(&mut node, "unset lb vserver u -cltTimeout").unwrap();
    assert_eq!(seconds(&node, "u"), 120);
}

#[test]
fn interfaces_are_links_and_legs_as_long_as_they_are_enabled() {
    let mut node = config(NODE);
    let names = |node: &Config| {
        let of = |names: Vec<&str>| names.join(" ");
        (of(node.legs().map(|leg| leg.name.as_str()).collect()), of(node.ha_links().map(|link| link.name.as_str()).collect()))
    };
    assert_eq!(names(&node), ("client0".into(), "ha0".into()));
    apply(&mut node, "enable interface spare0").unwrap();
    assert_eq!(names(&node), ("client0 spare0".into(), "ha0 spare0".into()));
    apply(&mut node, "unbind fis uplinks spare0").unwrap();
    apply(&mut node, "unbind vrid 60 -ifnum spare0").unwrap();
    apply(&mut node, "unbind vlan 20 -ifnum spare0").unwrap();
    apply(&mut node, "rm interface spare0").unwrap();
    apply(&mut node, "disable interface ha0").unwrap();
    assert_eq!(names(&node), ("client0".into(), String::new()));
}

#[test]
fn more_links_than_the_data_plane_holds_are_refused() {
    let mut node = Config::default();
    for link in 0..8 {
        apply(&mut node, &format!("set interface ha{link} -haMonitor OFF")).unwrap();
    }
    let error = apply(&mut node, "set interface ha8 -haMonitor OFF").unwrap_err();
    assert!(error.message.contains("at most 8 HA links; set one to -haHeartbeat OFF"), "{error}");
    assert!(node.interface("ha8").is_none());
    apply(&mut node, "set interface ha8 -haMonitor ON -haHeartbeat OFF").unwrap();
}

#[test]
fn a_pair_is_dissolved_only_without_route_monitors() {
    let mut node = config(NODE);
    apply(&mut node, "unset ha node -syncvlan").unwrap();
    for unbind in &BARE[..3] {
        let error = apply(&mut node, "rm ha node 1").unwrap_err();
        assert_eq!((error.code, error.message.contains("unbind ha node -routeMonitor")), (377, true), "{error}");
        apply(&mut node, unbind).unwrap();
    }
    apply(&mut node, "rm ha node 1").unwrap();
    assert_eq!(apply(&mut node, "bind ha node -routeMonitor *").unwrap_err().code, 363);
}

#[test]
fn a_peer_in_another_subnet_is_taken_with_inc_alone() {
    let mut node = Config::default();
    apply(&mut node, "set ns config -IPAddress 10.9.1.1 -netmask 255.255.255.0").unwrap();
    let error = apply(&mut node, "add ha node 1 10.9.2.2").unwrap_err();
    assert_eq!((error.code, error.message.contains("-inc ENABLED")), (414, true), "{error}");
    apply(&mut node, "add ha node 1 10.9.2.2 -inc ENABLED").unwrap();
    assert!(node.peer().unwrap().inc && node.text(Secrets::Clear).contains("add ha node 1 10.9.2.2 -inc ENABLED"));
}

#[test]
fn a_sync_vlan_and_nodes_in_different_subnets_exclude_each_other() {
    let mut node = Config::default();
    apply(&mut node, "set ns config -IPAddress 10.9.1.1 -netmask 255.255.255.0").unwrap();
    apply(&mut node, "set ha node -syncvlan 7").unwrap();
    assert_eq!(apply(&mut node, "add ha node 1 10.9.2.2 -inc ENABLED").unwrap_err().code, 2399);
    apply(&mut node, "unset ha node -syncvlan").unwrap();
    apply(&mut node, "add ha node 1 10.9.2.2 -inc ENABLED").unwrap();
    assert_eq!(apply(&mut node, "set ha node -syncvlan 7").unwrap_err().code, 2399);
}

#[test]
fn routes_and_snips_are_the_nodes_own_where_the_nodes_are_in_different_subnets_and_vips_are_not() {
    let is_own = |inc: &str, line: &str| {
        let mut node = Config::default();
        apply(&mut node, "set ns config -IPAddress 10.9.0.1 -netmask 255.255.255.0").unwrap();
        apply(&mut node, &format!("add ha node 1 10.9.0.2 -inc {inc}")).unwrap();
        let before = node.identity();
        apply(&mut node, line).unwrap();
        before == node.identity()
    };
    for line in ["bind ha node -routeMonitor *", "add ns ip 10.2.0.1 255.255.255.0 -type SNIP"] {
        assert!(is_own("ENABLED", line) && !is_own("DISABLED", line), "{line}");
    }
    assert!(!is_own("ENABLED", "add ns ip 10.1.0.100 255.255.255.255 -type VIP"));
}

#[test]
fn an_interface_has_one_virtual_mac_for_each_family() {
    let mut node = config(NODE);
    apply(&mut node, "add vrid 61").unwrap();
    let error = apply(&mut node, "bind vrid 61 -ifnum client0").unwrap_err();
    assert!(error.message.contains("interface client0 is bound to vrid 60: an interface has one virtual MAC"), "{error}");
    apply(&mut node, "unbind vrid 60 -ifnum client0").unwrap();
    apply(&mut node, "bind vrid 61 -ifnum client0").unwrap();
    let macs = [false, true].map(|v6| node.vrid_on("client0", v6).map(|vrid| vrid.mac()));
    assert_eq!(macs, [Some([0, 0, 0x5e, 0, 1, 61]), Some([0, 0, 0x5e, 0, 2, 7])]);
}

#[test]
fn removing_every_vrid_of_a_family_leaves_the_other() {
    let mut node = config(NODE);
    for line in ["unset ns ip 10.1.0.100 -vrID", "add vrid 61", "rm vrid -all"] {
        apply(&mut node, line).unwrap();
    }
    assert_eq!(node.vrids().map(|vrid| vrid.key.to_string()).collect::<Vec<_>>(), ["vrid6 7"]);
}

#[test]
fn a_priority_is_kept_with_a_warning_that_it_has_no_effect() {
    let warnings = config(NODE).warnings();
    assert!(warnings.iter().any(|warning| warning.starts_with("vrid 60: priority and preemption")), "{warnings:?}");
    assert!(!warnings.iter().any(|warning| warning.contains("vrid6 7")), "{warnings:?}");
}

#[test]
fn an_address_lives_in_the_vlan_that_has_its_subnet_and_a_tag() {
    let mut node = config(NODE);
    let domain = |node: &Config, ip: &str| node.domain_of(ip.parse().unwrap());
    assert_eq!(["10.1.0.100", "10.2.0.1", "2001:db8:2::7", "192.0.2.1"].map(|ip| domain(&node, ip)), [10, 0, 0, 0]);
    apply(&mut node, "unbind vlan 20 -ifnum spare0").unwrap();
    apply(&mut node, "bind vlan 20 -ifnum client0 -tagged").unwrap();
    assert_eq!(["10.2.0.1", "2001:db8:2::7"].map(|ip| domain(&node, ip)), [20, 20]);
    let known = node.warnings().len();
    apply(&mut node, "unbind vlan 20 -ifnum client0").unwrap();
    assert_eq!(domain(&node, "10.2.0.1"), 0, "nowhere is nowhere");
    let warnings = node.warnings();
    assert!(
        warnings.len() == known + 1 && warnings.iter().any(|warning| warning.contains("VLAN 20 has subnets and is on no leg"))
    );
    apply(&mut node, "rm vlan 10").unwrap();
    assert_eq!(domain(&node, "10.1.0.100"), 0);
}

#[test]
fn a_virtual_server_of_any_port_stands_beside_those_of_one_and_beside_no_other_of_any() {
    let mut node = config(NODE);
    let mut refused = |line: &str| apply(&mut node, line).map_or_else(|error| error.message, |_| String::new());
    assert_eq!(refused("add lb vserver rest TCP 10.1.0.100 *"), "");
    assert!(refused("add lb vserver all ANY 10.1.0.100 65535").contains("virtual server rest serves TCP any port there"));
    assert!(refused("add lb vserver files FTP 10.1.0.100 21").contains("virtual server rest serves TCP any port there"));
    assert_eq!(refused("add lb vserver names UDP 10.1.0.100 *"), "");
    assert_eq!(refused("add lb vserver ftp FTP 10.1.0.102 21"), "");
    assert!(
        refused("add lb vserver x TCP 10.1.0.102 *").contains("serves FTP port 21, and ports for its data connections, there")
    );
    assert_eq!(refused("add lb vserver x TCP 10.1.0.102 8021"), "");
    let text = node.text(Secrets::Clear);
    assert!(text.contains("add lb vserver rest TCP 10.1.0.100 *\n"), "{text}");
    assert_eq!(config(&text).text(Secrets::Clear), text);
}

#[test]
fn any_port_needs_services_that_keep_it_and_whose_answers_can_be_told_apart() {
    let mut node = config(NODE);
    for line in [
        "add lb vserver rest TCP 10.1.0.100 *",
        "add lb vserver more TCP 10.1.0.102 *",
        "add lb vserver ftp FTP 10.1.0.103 21",
        "add service any 10.2.0.30 TCP * -usip YES",
        "add service f1 10.2.0.31 FTP 2121 -usip YES",
        "add service f2 10.2.0.30 FTP 21 -usip YES",
        "bind lb vserver rest any",
        "bind lb vserver web any",
    ] {
        apply(&mut node, line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    let mut refused = |line: &str| apply(&mut node, line).map_or_else(|error| error.message, |_| String::new());
    assert!(refused("bind lb vserver rest s1").contains("add the service with port *"));
    assert!(refused("bind lb vserver ftp f1").contains("control and data connections keep their ports; use equal ones"));
    assert!(
        refused("bind lb vserver ftp f2").contains("virtual server rest takes any port and has another service on 10.2.0.30")
    );
    assert_eq!(refused("bind lb vserver more any"), "", "one service for both is one owner");
    assert_eq!(refused("set lb vserver ftp -m MAC"), "");
    assert_eq!(refused("bind lb vserver ftp f2"), "", "these answers do not come by here");
    assert!(refused("set lb vserver ftp -m IP").contains("has another service on 10.2.0.30"));
}

#[test]
fn what_is_not_read_is_said_once_for_each_virtual_server() {
    let mut node = config(NODE);
    let known = node.warnings().len();
    for line in
        ["add lb vserver tls SSL 10.1.0.100 443", "add lb vserver ftp FTP 10.1.0.102 21", "add lb vserver t TCP 10.1.0.100 81"]
    {
        apply(&mut node, line).unwrap();
    }
    let warnings = node.warnings();
    assert_eq!(warnings.len(), known + 2);
    assert!(warnings.iter().any(|warning| warning.starts_with("virtual server tls is SSL: TLS is passed on unread")));
    assert!(warnings.iter().any(|warning| warning.contains("PASV replies name the service's own address")));
    apply(&mut node, "set lb vserver ftp -m MAC").unwrap();
    assert!(
        node.warnings().iter().any(|warning| warning.contains("every port from 1024 on of its address leads to its services"))
    );
}

#[test]
fn idle_times_are_those_of_the_type() {
    let mut node = config(NODE);
    for (name, kind, seconds) in [("a", "ANY", 120), ("h", "HTTP", 180), ("s", "SSL_BRIDGE", 180), ("f", "FTP", 9_000)] {
        apply(&mut node, &format!("add lb vserver {name} {kind} 10.1.0.110 {}", 1000 + seconds))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(node.vserver(name).unwrap().idle_timeout().as_secs(), seconds);
        apply(&mut node, &format!("rm lb vserver {name}")).unwrap();
    }
}

#[test]
fn what_takes_any_address_keeps_no_connections_and_ftp_keeps_its_connections_together() {
    let mut node = config(NODE);
    let mut refused = |line: &str| apply(&mut node, line).map_or_else(|error| error.message, |_| String::new());
    let said = refused("add lb vserver fw ANY * * -m MAC -lbMethod ROUNDROBIN");
    assert!(
        said.contains("virtual server fw is of any address (*), and -lbMethod ROUNDROBIN needs a table of connections"),
        "{said}"
    );
    assert_eq!(refused("add lb vserver fw ANY * * -m MAC -lbMethod DESTINATIONIPHASH"), "");
    let said = refused("add lb vserver ftp FTP 10.1.0.102 21 -lbMethod LEASTCONNECTION");
    assert!(said.contains("with -lbMethod LEASTCONNECTION use -persistenceType SOURCEIP"), "{said}");
    assert_eq!(refused("add lb vserver ftp FTP 10.1.0.102 21 -lbMethod LEASTCONNECTION -persistenceType SOURCEIP"), "");
}
