use std::path::Path;
use std::time::Duration;

use crate::config::{Indices, load_text};
use crate::net::neighbour;

use super::*;

const PORTS: SourcePorts = SourcePorts { first: 1024, count: 15_872 };

const PAIR: &str = "
set ns config -IPAddress 10.9.0.1 -netmask 255.255.255.0
set interface client0 -haMonitor ON -haHeartbeat OFF
set interface server0 -haMonitor ON -haHeartbeat OFF
set interface ha0 -haMonitor OFF -haHeartbeat ON
set interface both -haMonitor ON -haHeartbeat ON
add ns ip 10.1.0.100 255.255.255.255 -type VIP
add ns ip 10.2.0.1 255.255.255.0 -type SNIP
add lb vserver web TCP 10.1.0.100 80 -lbMethod SRCIPSRCPORTHASH
add lb vserver dns UDP 10.1.0.100 53 -lbMethod SOURCEIPHASH
add service s1 10.2.0.11 TCP 8080 -usip YES
add service s2 10.2.0.12 TCP 8080 -usip YES -healthMonitor NO
add service d1 10.2.0.11 UDP 53 -usip YES
bind lb vserver web s1 -weight 2
bind lb vserver web s2
bind lb vserver dns d1
";

fn config(extra: &str) -> Config {
    load_text(Path::new("pair"), &format!("{PAIR}{extra}"), Indices::default()).unwrap_or_else(|error| panic!("{error:?}"))
}

fn link(name: &str, ifindex: u32) -> Link {
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

fn links() -> Vec<Link> {
    vec![link("lo", 1), link("client0", 2), link("server0", 3), link("ha0", 4), link("both", 5)]
}

fn local(ifindex: u32, text: &str) -> LocalAddress {
    LocalAddress { ifindex, address: text.parse().unwrap(), prefix_len: 24 }
}

fn plain(config: &Config) -> Desired {
    project(config, &links(), &[], &HashMap::new(), &NextHops::new(), PORTS, &BTreeSet::new())
}

fn address(desired: &Desired, text: &str) -> u32 {
    desired.addresses[&AddressKey { addr: text.parse::<IpAddr>().unwrap().into(), domain: 0 }].flags
}

#[test]
fn interfaces_are_numbered_by_name_and_only_pure_ha_links_carry_strays() {
    let desired = plain(&config(""));
    let flags = |ifindex: u32| desired.interfaces[&ifindex].flags;
    assert_eq!(desired.legs[..3], [5, 2, 3], "both, client0, server0");
    assert_eq!(desired.links[..2], [5, 4], "both, ha0");
    assert_eq!(flags(2), interface_flags::LEG);
    assert_eq!(flags(4), interface_flags::HEARTBEAT | interface_flags::STRAYS);
    assert_eq!(flags(5), interface_flags::LEG | interface_flags::HEARTBEAT);
    assert!(!desired.interfaces.contains_key(&1), "an interface that the configuration does not name is left alone");
}

#[test]
fn a_members_frames_are_the_bonds() {
    let member = |name, ifindex, bond| Link { bond: Some(bond), ..link(name, ifindex) };
    let present = [links(), vec![member("eth0", 8, 2), member("eth1", 9, 2), member("eth2", 10, 1)]].concat();
    let desired = project(&config(""), &present, &[], &HashMap::new(), &NextHops::new(), PORTS, &BTreeSet::new());
    assert!(desired.has_bonds());
    assert_eq!([desired.interfaces[&8], desired.interfaces[&9]], [desired.interfaces[&2]; 2]);
    assert!(!desired.interfaces.contains_key(&10), "a bond that the configuration does not name is left alone");
    assert!(!plain(&config("")).has_bonds());
}

#[test]
fn an_interface_that_is_missing_keeps_its_number() {
    let present: Vec<Link> = links().into_iter().filter(|link| link.name != "client0").collect();
    let desired = project(&config(""), &present, &[], &HashMap::new(), &NextHops::new(), PORTS, &BTreeSet::new());
    assert_eq!(desired.legs[..3], [5, 0, 3]);
}

#[test]
fn a_disabled_address_is_known_and_silent_and_its_vservers_are_down() {
    let config = config("disable ns ip 10.1.0.100\n");
    let desired = plain(&config);
    assert_eq!(address(&desired, "10.1.0.100"), address_flags::VIP);
    let snip = address_flags::SNIP | address_flags::LOCAL | address_flags::ARP | address_flags::ICMP;
    assert_eq!(address(&desired, "10.2.0.1"), snip);
    assert!(desired.vservers.values().all(|vserver| vserver.flags & vserver_flags::DOWN != 0));
}

#[test]
fn a_vip_without_vservers_is_the_hosts() {
    let desired = plain(&config("add ns ip 10.1.0.101 255.255.255.255 -type VIP\n"));
    let local = |text: &str| address(&desired, text) & address_flags::LOCAL != 0;
    assert_eq!(["10.1.0.100", "10.1.0.101", "10.2.0.1"].map(local), [false, true, true]);
}

#[test]
fn vserver_has_key_method_and_weighted_members() {
    let config = config("");
    let desired = plain(&config);
    let web = &desired.vservers[&config.vserver("web").unwrap().index];
    assert_eq!((web.key.port.get(), web.key.protocol, web.mode, web.hash), (80, 6, mode::NAT, hash_kind::SOURCE_PORT));
    let weights: HashMap<u32, u32> = web.members.iter().map(|member| (member.backend, member.weight)).collect();
    let index = |name: &str| config.service(name).unwrap().index;
    assert_eq!(weights, [(index("s1"), 2), (index("s2"), 1)].into());
    assert!(web.members.iter().all(|member| desired.backends.contains_key(&member.backend)));
}

#[test]
fn services_are_up_unless_a_monitor_says_otherwise() {
    let config = config("disable service d1\n");
    let verdicts = [("s1", Verdict::Down), ("s2", Verdict::Down)].map(|(name, verdict)| (name.to_owned(), verdict));
    let desired = project(&config, &links(), &[], &verdicts.into(), &NextHops::new(), PORTS, &BTreeSet::new());
    let up = |name: &str| desired.is_up(config.service(name).unwrap().index);
    assert_eq!(["s1", "s2", "d1"].map(up), [false, true, false], "s2 has no monitor, d1 is disabled");
    assert!(plain(&config).is_up(config.service("s1").unwrap().index), "nobody has asked yet");
    assert_eq!(targets(&config, &BTreeSet::new()).keys().collect::<Vec<_>>(), ["s1"]);
}

#[test]
fn a_backend_is_reached_by_the_neighbours_mac_from_the_interfaces_own() {
    let config = config("");
    let hops = NextHops::from([("10.2.0.11".parse().unwrap(), neighbour::NextHop { ifindex: 3, mac: [6; 6] })]);
    let desired = project(&config, &links(), &[], &HashMap::new(), &hops, PORTS, &BTreeSet::new());
    let hop = |name: &str| desired.backends[&config.service(name).unwrap().index].next_hop;
    assert_eq!(hop("s1"), NextHop::new([6; 6], [2, 0, 0, 0, 0, 3], 3, 0));
    assert!(hop("s2").is_unknown());
}

#[test]
fn a_restart_inherits_verdicts_of_backends_that_are_the_same() {
    let config = config("");
    let verdicts = HashMap::from([("s1".to_owned(), Verdict::Down)]);
    let before = Present {
        backends: project(&config, &links(), &[], &verdicts, &NextHops::new(), PORTS, &BTreeSet::new()).backends,
        ..Present::default()
    };
    let verdict = |name: &str| inherited_verdict(&config, &before, name);
    assert_eq!([verdict("s1"), verdict("s2")], [Verdict::Down, Verdict::Up]);
    assert_eq!(inherited_verdict(&config, &Present::default(), "s1"), Verdict::Unknown);
}

#[test]
fn own_addresses_are_the_hosts_and_floating_ones_are_not() {
    let config = config("add ns ip 10.1.0.101 255.255.255.255 -type VIP\n");
    let own = ["10.1.0.11", "10.1.0.101"].map(|text| local(2, text));
    let desired = project(&config, &links(), &own, &HashMap::new(), &NextHops::new(), PORTS, &BTreeSet::new());
    let flags = |text: &str| {
        let addr: std::net::IpAddr = text.parse().unwrap();
        desired.addresses[&AddressKey { addr: addr.into(), domain: 0 }].flags
    };
    assert_eq!(flags("10.1.0.11"), address_flags::HOST);
    assert_eq!(flags("10.1.0.101") & address_flags::HOST, 0, "what is up because this node serves still floats");
}

#[test]
fn a_bound_vrid_gives_its_family_a_virtual_mac_on_its_leg_and_is_listened_for() {
    let bound = "add vrid 60\nadd vrid6 61\nadd vrid 62\nbind vrid 60 -ifnum client0\nbind vrid6 61 -ifnum server0\n";
    let desired = plain(&config(bound));
    let macs = |ifindex: u32| [desired.interfaces[&ifindex].v4_mac, desired.interfaces[&ifindex].v6_mac];
    assert_eq!(macs(2), [[0, 0, 0x5e, 0, 1, 60], [2, 0, 0, 0, 0, 2]]);
    assert_eq!(macs(3), [[2, 0, 0, 0, 0, 3], [0, 0, 0x5e, 0, 2, 61]]);
    assert_eq!(desired.vrids, [(60, vrid_flags::V4), (61, vrid_flags::V6)].into(), "one that is bound to nothing is not used");
}

#[test]
fn frames_to_backends_leave_from_the_virtual_mac_of_their_leg() {
    let config = config("add vrid 60\nbind vrid 60 -ifnum server0\n");
    let hop = neighbour::NextHop { ifindex: 3, mac: [2, 0, 0, 0, 0, 11] };
    let hops = NextHops::from([("10.2.0.11".parse().unwrap(), hop)]);
    let desired = project(&config, &links(), &[], &HashMap::new(), &hops, PORTS, &BTreeSet::new());
    let sources: Vec<[u8; 6]> = desired
        .backends
        .values()
        .filter(|backend| !backend.next_hop.is_unknown())
        .map(|it| eth::source(it.next_hop.macs))
        .collect();
    assert_eq!(sources, [[0, 0, 0x5e, 0, 1, 60]; 2]);
}

/// Echo and neighbour bits of the VIP, with `settings` of it and its virtual servers, given what the monitors say.
fn answers(settings: &str, verdicts: &[(&str, Verdict)]) -> [bool; 2] {
    let verdicts = verdicts.iter().map(|(name, verdict)| ((*name).to_owned(), *verdict)).collect();
    let desired = project(&config(settings), &links(), &[], &verdicts, &NextHops::new(), PORTS, &BTreeSet::new());
    let flags = address(&desired, "10.1.0.100");
    [address_flags::ICMP, address_flags::ARP].map(|bit| flags & bit != 0)
}

#[test]
fn a_vip_answers_as_its_settings_and_the_states_of_its_vservers_say() {
    const ONE: &str = "set ns ip 10.1.0.100 -icmpResponse ONE_VSERVER -arpResponse ONE_VSERVER\n";
    const ALL: &str = "set ns ip 10.1.0.100 -icmpResponse ALL_VSERVERS -arpResponse ALL_VSERVERS\n";
    const CONTROLLED: &str = "set ns ip 10.1.0.100 -icmpResponse VSVR_CNTRLD\nset lb vserver web -icmpVsrResponse ACTIVE\n";
    let down = [("s1", Verdict::Down)];
    let with = |settings: &str, more: &str| answers(&format!("{settings}{more}"), &down);
    let web_down = "disable service s2\n";
    let both_down = "disable service s2\ndisable service d1\n";
    assert_eq!(with("", both_down), [true, true]);
    assert_eq!(with(ONE, web_down), [true, true]);
    assert_eq!(with(ONE, both_down), [false, false]);
    assert_eq!(with(ALL, ""), [true, true], "one usable service of each is enough");
    assert_eq!(with(ALL, web_down), [false, false]);
    assert_eq!(with(CONTROLLED, ""), [true, true]);
    assert_eq!(with(CONTROLLED, web_down), [false, true], "dns is up, and passive");
    assert_eq!(with(CONTROLLED, "disable service d1\n"), [true, true]);
    assert_eq!(answers(ALL, &[]), [true, true], "a service that was not judged yet is usable");
}

#[test]
fn a_vserver_out_of_service_is_down_and_so_is_one_without_services() {
    const ALL: &str = "set ns ip 10.1.0.100 -icmpResponse ALL_VSERVERS -arpResponse ALL_VSERVERS\n";
    assert_eq!(answers(&format!("{ALL}disable lb vserver dns\n"), &[]), [false, false]);
    assert_eq!(answers(&format!("{ALL}unbind lb vserver dns d1\n"), &[]), [false, false]);
}

#[test]
fn what_is_switched_off_stays_silent_whatever_the_vservers() {
    let set = |settings: &str| answers(&format!("set ns ip 10.1.0.100 {settings}\n"), &[]);
    assert_eq!(set("-icmp DISABLED -icmpResponse ONE_VSERVER"), [false, true]);
    assert_eq!(set("-arp DISABLED -arpResponse ONE_VSERVER"), [true, false]);
    assert_eq!(set("-state DISABLED -icmpResponse ONE_VSERVER"), [false, false]);
}

/// Flags of a vserver, but for what becomes of its connections while it is down: every one says that.
fn flags(desired: &Desired, config: &Config, vserver: &str) -> u32 {
    desired.vservers[&config.vserver(vserver).unwrap().index].flags & !vserver_flags::CUTS_OFF
}

#[test]
fn methods_and_sessions_are_flags_hashes_and_masks() {
    let settings = "set lb vserver web -lbMethod ROUNDROBIN -persistenceType SRCIPDESTIP -persistMask 255.255.0.0 -timeout 5\n\
                    set lb vserver dns -lbMethod LEASTCONNECTION\n";
    let config = config(settings);
    let desired = plain(&config);
    let both = vserver_flags::PERSIST_SOURCE | vserver_flags::PERSIST_DESTINATION;
    let known = both | vserver_flags::IN_TURN | vserver_flags::LEAST;
    assert_eq!(flags(&desired, &config, "web") & known, vserver_flags::IN_TURN | both);
    assert_eq!(flags(&desired, &config, "dns") & known, vserver_flags::LEAST);
    let web = &desired.vservers[&config.vserver("web").unwrap().index];
    assert_eq!((web.session_mask, web.sessions), (Ip::mask(112), config.vserver("web").unwrap().index));
    let rules = session_rules(&config);
    let rule = rules[&web.sessions];
    assert_eq!((rules.len(), rule.source_mask, rule.timeout), (1, Ip::mask(112), Duration::from_secs(300)));
    assert_eq!(rule.destination, "10.1.0.0".parse::<IpAddr>().unwrap().into());
    for (method, hash) in [("DESTINATIONIPHASH", hash_kind::DESTINATION), ("SRCIPDESTIPHASH", hash_kind::SOURCE_DESTINATION)] {
        let config = self::config(&format!("set lb vserver web -lbMethod {method}\n"));
        assert_eq!(plain(&config).vservers[&config.vserver("web").unwrap().index].hash, hash);
    }
}

#[test]
fn who_leaves_has_his_flows_and_gets_no_newcomers_and_a_limit_is_handed_on() {
    let config = config("disable service s2 60\nset service s1 -maxClient 9\n");
    let leaving = BTreeSet::from(["s2".to_owned(), "s1".to_owned()]);
    let desired = project(&config, &links(), &[], &HashMap::new(), &NextHops::new(), PORTS, &leaving);
    let [s1, s2] = ["s1", "s2"].map(|name| config.service(name).unwrap().index);
    assert_eq!([s1, s2].map(|index| desired.is_up(index)), [true, true]);
    assert_eq!([s1, s2].map(|index| desired.takes_newcomers(index)), [true, false], "s1 is in use, whatever leaves");
    assert_eq!([s1, s2].map(|index| desired.backends[&index].flows_max), [9, 0]);
    assert!(!desired.takes_all(s1));
    let gone = plain(&config);
    assert!(!gone.is_up(s2), "its time is over");
    let config = self::config("disable service s1 60\n");
    assert!(targets(&config, &leaving).contains_key("s1"), "it is probed as long as it has connections");
    let verdicts = HashMap::from([("s1".to_owned(), Verdict::Down)]);
    let dead = project(&config, &links(), &[], &verdicts, &NextHops::new(), PORTS, &leaving);
    assert!(!dead.is_up(s1), "who is down has nothing to go on with");
}

#[test]
fn a_backup_stands_in_while_a_virtual_server_is_down_and_answers_are_told_apart_before_that() {
    let more = "add lb vserver spare TCP 10.1.0.100 81\nadd service b1 10.2.0.21 TCP 8080 -usip YES -healthMonitor NO\n\
                bind lb vserver spare b1\nset lb vserver web -backupVServer spare\nset ns ip 10.1.0.100 -icmpResponse ALL_VSERVERS\n";
    let config = config(more);
    let [web, b1] = [config.vserver("web").unwrap().index, config.service("b1").unwrap().index];
    let served =
        |desired: &Desired| -> BTreeSet<u32> { desired.vservers[&web].members.iter().map(|member| member.backend).collect() };
    let own: BTreeSet<u32> = ["s1", "s2"].map(|name| config.service(name).unwrap().index).into();
    let up = plain(&config);
    assert_eq!(served(&up), own);
    assert!(up.backends[&b1].flags & backend_flags::SHARED != 0, "its answers may be web's at any moment");
    let down = self::config(&format!("{more}disable service s1\ndisable service s2\n"));
    let down = plain(&down);
    assert_eq!(served(&down), [b1].into());
    assert!(address(&down, "10.1.0.100") & address_flags::ICMP != 0, "it is served");
    let without = self::config(&format!("{more}disable service s1\ndisable service s2\ndisable lb vserver spare\n"));
    assert_eq!(served(&plain(&without)), own, "who is out of use stands in for nobody");
}

#[test]
fn a_set_of_addresses_makes_one_virtual_server_many_with_the_same_members_and_sessions() {
    let config = config(
        "add ns ip 10.1.0.101 255.255.255.255 -type VIP\nadd ipset more\nbind ipset more 10.1.0.101\n\
         set lb vserver web -ipset more -persistenceType SOURCEIP\n",
    );
    let desired = plain(&config);
    let web = config.vserver("web").unwrap();
    let [(first, at), (second, more)] = web.addresses().collect::<Vec<_>>()[..] else { panic!("two") };
    let [one, two] = [at, more].map(|index| &desired.vservers[&index]);
    assert_eq!((one.key.addr, two.key.addr), (first.into(), second.into()));
    assert_eq!((&one.members, one.sessions, one.flags), (&two.members, two.sessions, two.flags));
    assert_eq!(address(&desired, "10.1.0.101") & address_flags::LOCAL, 0, "it is served, not the host's");
    assert_eq!(idle_timeouts(&config).vservers.len(), 3);
    assert_eq!(session_rules(&config).len(), 2);
}

#[test]
fn what_becomes_of_connections_of_what_goes_down_is_a_flag_of_both_unless_the_address_is_out_of_use() {
    let more = "set lb vserver dns -downStateFlush DISABLED\nset service d1 -downStateFlush DISABLED\nset ns tcpParam -downStateRST ENABLED\n";
    let config = config(more);
    let desired = plain(&config);
    let of = |name: &str| desired.vservers[&config.vserver(name).unwrap().index].flags;
    let known = vserver_flags::CUTS_OFF | vserver_flags::KEEPS | vserver_flags::RESETS;
    assert_eq!(of("web") & known, vserver_flags::CUTS_OFF | vserver_flags::RESETS);
    assert_eq!(of("dns") & known, vserver_flags::KEEPS | vserver_flags::RESETS);
    let of = |name: &str| desired.backends[&config.service(name).unwrap().index].flags;
    assert_eq!(of("s1") & (backend_flags::CUTS_OFF | backend_flags::KEEPS), backend_flags::CUTS_OFF);
    assert_eq!(of("d1") & (backend_flags::CUTS_OFF | backend_flags::KEEPS), backend_flags::KEEPS);
    let silent = self::config(&format!("{more}disable ns ip 10.1.0.100\n"));
    assert!(plain(&silent).vservers.values().all(|vserver| vserver.flags & known == 0));
}

#[test]
fn a_service_that_is_spoken_to_although_it_is_down_takes_packets_unless_it_is_out_of_use() {
    let up = |more: &str| {
        let config = config(more);
        let down = HashMap::from([("s1".to_owned(), Verdict::Down)]);
        let desired = project(&config, &links(), &[], &down, &NextHops::new(), PORTS, &BTreeSet::new());
        desired.is_up(config.service("s1").unwrap().index)
    };
    assert!(!up("") && up("set service s1 -accessDown YES\n"));
    assert!(!up("set service s1 -accessDown YES\ndisable service s1\n"));
}

#[test]
fn services_with_an_idle_time_of_their_own_say_so_and_virtual_servers_always() {
    let config = config("set service s1 -svrTimeout 60\nset lb vserver web -cltTimeout 90\n");
    let timeouts = idle_timeouts(&config);
    let seconds = |name: &str| timeouts.vservers[&config.vserver(name).unwrap().index].as_secs();
    assert_eq!((seconds("web"), seconds("dns")), (90, 120));
    assert_eq!(timeouts.services.values().map(std::time::Duration::as_secs).collect::<Vec<_>>(), [60]);
}

const VLANS: &str = "
add vlan 10
add vlan 20
bind vlan 10 -ifnum client0 -tagged
bind vlan 10 -IPAddress 10.1.0.1 255.255.255.0
bind vlan 20 -ifnum server0 -tagged
bind vlan 20 -IPAddress 10.2.0.1 255.255.255.0
";

/// A VLAN's interface on another one.
fn vlan(on: u32, id: u16, ifindex: u32) -> Link {
    Link { vlan: Some(link::Vlan { on, id }), mac: [2; 6], mtu: 1400, ..link(&format!("{on}.{id}"), ifindex) }
}

#[test]
fn what_lives_in_a_vlans_subnet_is_known_in_that_vlan() {
    let config = config(&format!("{VLANS}add lb vserver far TCP 192.0.2.1 80\n"));
    let links = [links(), vec![vlan(2, 10, 12), vlan(3, 20, 23)]].concat();
    let own = [local(12, "10.1.0.11"), local(2, "192.168.0.1")];
    let desired = project(&config, &links, &own, &HashMap::new(), &NextHops::new(), PORTS, &BTreeSet::new());
    let domains = |text: &str| {
        let addr = text.parse::<IpAddr>().unwrap().into();
        desired.addresses.keys().filter(|key| key.addr == addr).map(|key| key.domain).collect::<Vec<_>>()
    };
    let asked = ["10.1.0.100", "10.2.0.1", "192.0.2.1", "10.1.0.11", "192.168.0.1"];
    assert_eq!(asked.map(domains), [[10], [20], [0], [10], [0]]);
    let of = |name: &str| desired.vservers[&config.vserver(name).unwrap().index].key.domain;
    assert_eq!([of("web"), of("far")], [10, 0]);
    assert!(desired.owners().keys().all(|key| key.domain == 20), "before anybody knows the way: {:?}", desired.owners());
}

#[test]
fn a_way_through_a_vlans_interface_is_one_on_the_leg_with_its_tag() {
    let config = config("add vrid 60\nbind vrid 60 -ifnum server0\n");
    let links = [links(), vec![vlan(3, 20, 23)]].concat();
    let hops = NextHops::from([("10.2.0.11".parse().unwrap(), neighbour::NextHop { ifindex: 23, mac: [6; 6] })]);
    let desired = project(&config, &links, &[], &HashMap::new(), &hops, PORTS, &BTreeSet::new());
    let backend = desired.backends[&config.service("s1").unwrap().index];
    assert_eq!(backend.next_hop, NextHop::new([6; 6], [0, 0, 0x5e, 0, 1, 60], 3, 20));
    assert_eq!(backend.mtu, 1400, "of the VLAN's interface");
    assert!(
        desired.owners().keys().any(|key| key.domain == 20),
        "its answers come from there, whatever the configuration says"
    );
    let leg = desired.interfaces[&3];
    assert_eq!(desired.interfaces[&23], Interface { vlan: 20, ..leg }, "answers without a flow find their way by it");
    assert!(!desired.has_bonds(), "no frame comes in on it");
    let present = Present { backends: desired.backends.clone(), ..Present::default() };
    assert_eq!(inherited_next_hops(&config, &links, &present), hops, "as the kernel names it");
}

#[test]
fn a_type_is_the_protocols_and_ports_that_carry_it() {
    let more = "
add lb vserver all ANY 10.1.0.110 *
add lb vserver some ANY 10.1.0.110 5000
add lb vserver page HTTP 10.1.0.110 80
add lb vserver ftp FTP 10.1.0.111 21
add service rest 10.2.0.20 ANY * -usip YES
add service http 10.2.0.21 HTTP 80 -usip YES
add service f 10.2.0.22 FTP 21 -usip YES
bind lb vserver all rest
bind lb vserver some rest
bind lb vserver page http
bind lb vserver ftp f
";
    let config = config(more);
    let desired = plain(&config);
    let vserver = |name: &str| &desired.vservers[&config.vserver(name).unwrap().index];
    let keys = |name: &str| {
        let mut keys: Vec<_> = vserver(name).keys().map(|key| (key.port.get(), key.protocol)).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys("all"), [(0, 6), (0, 17)]);
    assert_eq!(keys("some"), [(5000, 6), (5000, 17)]);
    assert_eq!(keys("page"), [(80, 6)]);
    assert_eq!(keys("ftp"), [(0, 6), (21, 6)]);
    assert_eq!(["all", "ftp", "page"].map(|name| vserver(name).key.port.get()), [0, 0, 80], "as its own answers are known");
    let any = vserver_flags::ANY_PORT;
    let kinds = any | vserver_flags::FTP | vserver_flags::ANY_ADDRESS | vserver_flags::HASH_ONLY;
    assert_eq!(["all", "some", "ftp"].map(|name| vserver(name).flags & kinds), [any, 0, any | vserver_flags::FTP]);
    assert_eq!(vserver("ftp").hash, hash_kind::SOURCE, "data connections come from other ports");
    let index = |name: &str| config.service(name).unwrap().index;
    let port = |name: &str| desired.backends[&index(name)].port.get();
    assert_eq!(["rest", "http", "f"].map(port), [0, 80, 0], "zero: the client's is kept");
    let owners = desired.owners();
    let answers = |name: &str| {
        let of = |(key, owner): (&ServiceKey, &ha_common::abi::Owner)| {
            (owner.backend == index(name)).then_some((key.port.get(), key.protocol))
        };
        let mut found: Vec<_> = owners.iter().filter_map(of).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(answers("rest"), [(0, 6), (0, 17), (5000, 6), (5000, 17)]);
    assert_eq!(answers("f"), [(0, 6)]);
    let flag = |text: &str| address(&desired, text) & address_flags::ANY_PORT != 0;
    assert_eq!(["10.1.0.110", "10.1.0.111", "10.1.0.100"].map(flag), [true, true, false]);
    assert!(desired.has_any_port() && !plain(&super::tests::config("")).has_any_port());
    let watched: BTreeSet<String> = targets(&config, &BTreeSet::new()).into_keys().collect();
    assert!(watched.contains("http") && watched.contains("f") && !watched.contains("rest"));
}

#[test]
fn a_vserver_of_any_address_is_found_by_none_and_keeps_no_flows() {
    let config = config("add lb vserver fw ANY * * -m MAC\nadd service w1 10.2.0.20 ANY *\nbind lb vserver fw w1\n");
    let desired = plain(&config);
    let fw = &desired.vservers[&config.vserver("fw").unwrap().index];
    let unspecified: Vec<_> = fw.keys().map(|key| (IpAddr::from(key.addr), key.port.get())).collect();
    assert_eq!(unspecified, [("0.0.0.0".parse().unwrap(), 0); 2]);
    let flags = vserver_flags::ANY_PORT | vserver_flags::ANY_ADDRESS | vserver_flags::HASH_ONLY;
    assert_eq!((fw.flags & flags, fw.mode), (flags, mode::MAC));
    assert!(desired.addresses.keys().all(|key| IpAddr::from(key.addr) != IpAddr::from([0, 0, 0, 0])), "nobody announces it");
}
