//! Tables of what is typed, what it means, and what is refused with which words.

use crate::command::parse_line;

fn canonical(line: &str) -> String {
    let command = parse_line(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    command.unwrap_or_else(|| panic!("{line}: no command")).to_string()
}

#[test]
fn what_is_typed_means_its_canonical_form() {
    let table = [
        // Keywords in any case, abbreviated, with and without the group word.
        ("SET HA NODE -HASTATUS stayprimary", "set ha node -haStatus STAYPRIMARY"),
        ("set node -hastatus ENABLE", "set ha node -haStatus ENABLED"),
        ("set node -haSync disable", "set ha node -haSync DISABLED"),
        ("sh ha node", "show ha node"),
        ("sh node", "show ha node"),
        ("sh ha n 1", "show ha node 1"),
        ("show rpcNode", "show ns rpcNode"),
        ("show ns ip", "show ns ip"),
        ("sh ip6", "show ns ip6"),
        ("show vserver web", "show lb vserver web"),
        ("show lb vserver -json web", "show lb vserver web -json"),
        ("unset ha node -dead -hel", "unset ha node -helloInterval -deadInterval"),
        // Dashes of manuals.
        ("set ha node \u{2013}haStatus STAYSECONDARY", "set ha node -haStatus STAYSECONDARY"),
        ("save ns config \u{2013}", "save ns config"),
        // Units.
        ("set ha node -helloInterval 10 -deadInterval 30ms", "set ha node -helloInterval 10 -deadInterval 30ms"),
        ("set ha node -deadInterval 3000ms -helloInterval 0200ms", "set ha node -helloInterval 200 -deadInterval 3"),
        ("set ha node -controllerDeadInterval 100ms", "set ha node -controllerDeadInterval 100ms"),
        // Flags anywhere, arguments in the table's order.
        ("add service -usip yes s1 10.2.0.11 TCP 80", "add service s1 10.2.0.11 TCP 80 -usip YES"),
        ("add lb vserver w udp 2001:DB8:0::1 53", "add lb vserver w UDP 2001:db8::1 53"),
        ("add ns ip6 2001:db8::1 -type vip", "add ns ip6 2001:db8::1/128 -type VIP"),
        ("add lb vserver \"my web\" TCP 1.2.3.4 80", "add lb vserver \"my web\" TCP 1.2.3.4 80"),
        // A value may begin with a dash; a secret is not printed.
        ("set rpcnode 10.9.0.1 -password -x -srcIP *", "set ns rpcNode 10.9.0.1 -password \"******\" -srcIP *"),
        // A flag may take several names.
        ("bind VRID 60 -ifnum client0 server0", "bind vrid 60 -ifnum client0 server0"),
        ("unbind vrid6 7", "unbind vrid6 7"),
        ("rm vrID -all", "rm vrid -all"),
        ("add vrid 60 -preemptiondelay 1500ms", "add vrid 60 -preemptiondelaytimer 1500ms"),
        ("set l2param -garpOnVridIntf disable", "set L2Param -garpOnVridIntf DISABLED"),
        ("send arp -all", "send arp -all"),
        ("stop -force", "stop -force"),
        // A value of two words, a list, a word in a key's place.
        ("bind ha node -routemonitor 10.0.0.9 255.255.255.0", "bind ha node -routeMonitor 10.0.0.0 255.255.255.0"),
        ("bind HA node 0 -routeMonitor 10.0.0.0/8", "bind ha node 0 -routeMonitor 10.0.0.0 255.0.0.0"),
        ("unbind ha node -routeMonitor *", "unbind ha node -routeMonitor *"),
        ("unbind node -routeMonitor 2001:db8::1/32", "unbind ha node -routeMonitor 2001:db8::/32"),
        ("bind fis uplinks eth0 eth1 eth0", "bind fis uplinks eth0 eth1"),
        ("sh ha node summary", "show ha node summary"),
        ("stat node", "stat ha node"),
        ("stat node -d -n 3", "stat ha node -detail -ntimes 3"),
        ("set interface eth0 -probe none -throughput 1000", "set interface eth0 -throughput 1000 -probe NONE"),
        ("force HA failover -f", "force ha failover -force"),
        // An expression is one word, or quoted.
        ("sh connectiontable", "show ns connectiontable"),
        (
            "sh ns conn -det full \"SRCPORT.EQ(1) && SVCNAME.EQ(s1)\"",
            "show ns connectiontable \"SRCPORT.EQ(1) && SVCNAME.EQ(s1)\" -detail FULL",
        ),
    ];
    for (typed, meant) in table {
        assert_eq!(canonical(typed), meant, "{typed}");
    }
}

#[test]
fn a_refusal_names_the_fault_and_what_is_allowed() {
    let table = [
        ("frobnicate", 1240, "No such command [frobnicate]: verbs are add, bind"),
        ("s ha node", 1240, "it could be save or send or set or show or stat or stop"),
        ("show", 1094, "show takes ns config"),
        ("show lb", 1094, "show lb takes lb vserver"),
        ("show ns connectiontable SRC.EQ(1)", 1097, "no qualifier [SRC] in a filter: qualifiers are SRCIP, DSTIP"),
        ("show ns connectiontable -count 0", 1097, "a number from 1 to 10000 is needed"),
        ("show ns connectiontable -frob 0", 1090, "takes -detail, -srcIP, -srcPort"),
        ("show foo", 1232, "No such object [show foo]: show takes ns config"),
        ("show lb foo", 1232, "No such object [show lb foo]"),
        ("show n", 1232, "show takes ns or node"),
        ("rm ns config", 1232, "rm takes ns ip"),
        ("add lb vserver web", 1095, "Required argument missing [serviceType]: usage: add lb vserver <name> <serviceType>"),
        ("add vrid 256", 1097, "[id, 256]: a number from 1 to 255"),
        ("add vrid 1 -sharing ENABLE", 1097, "[sharing, ENABLE]: one node of the pair serves every address"),
        (
            "add vrid 1 -tracking ALL",
            1097,
            "[tracking, ALL]: what a node's fitness depends on is said by set interface -haMonitor",
        ),
        ("add vrid 1 -ownerNode 3", 1097, "[ownerNode, 3]: one node of the pair serves"),
        ("bind vrid 1 -trackifNum eth0", 1097, "[trackifNum, eth0]: what a node's fitness"),
        ("bind vrid 1 -ifnum", 1095, "[-ifnum]: an interface is named as Linux names it"),
        ("set L2Param -rstIntfOnHaFo ENABLED", 1097, "interfaces are not reset on a failover"),
        ("add lb vserver web TCP 10.1.0.100 0", 1097, "[port, 0]: a port is 1 to 65534"),
        ("add lb vserver web TCP 10.1.0.100 65536", 1097, "a port is 1 to 65534"),
        ("add lb vserver web TCP 10.1.0.1000 80", 1097, "[IPAddress, 10.1.0.1000]: an IPv4 or IPv6 address is needed"),
        ("add lb vserver web RTSP 10.1.0.100 554", 1097, "allowed are TCP, UDP, ANY, HTTP, SSL, SSL_BRIDGE and FTP"),
        ("add lb vserver web HTTP * 80 x", 278, "[x]: one word too many"),
        ("bind vlan 10 -IPAddress 10.1.0.1 255.0.255.0", 1097, "an address with its mask is needed"),
        ("bind vlan 1 -ifnum eth0", 1097, "a number from 2 to 4094"),
        ("add lb vserver web foo 10.1.0.100 80", 1097, "allowed are TCP, UDP"),
        ("set lb vserver web -lbMethod leastpackets", 1097, "allowed are SRCIPSRCPORTHASH, SOURCEIPHASH, DESTINATIONIPHASH"),
        ("set lb vserver web -lbMethod FASTEST", 1097, "ROUNDROBIN, LEASTCONNECTION"),
        ("set lb vserver web -persistenceType COOKIEINSERT", 1097, "use SOURCEIP, DESTIP, SRCIPDESTIP or NONE"),
        ("set lb vserver web -timeout 0", 1097, "a number from 2 to 1440"),
        ("bind lb vserver web s1 -weight 101", 1097, "a number from 1 to 100"),
        ("disable service s1 soon", 1097, "a duration from 0s"),
        ("enable service s1 10", 278, "one word too many"),
        ("bind ipset more web", 1097, "an IPv4 or IPv6 address is needed"),
        ("set lb vserver web -m TOS", 1097, "allowed are IP, MAC"),
        ("set lb vserver -rhiState", 1090, "No such argument [-rhiState]: set lb vserver takes -lbMethod"),
        ("set lb vserver web", 1094, "Too few arguments: usage: set lb vserver <name>"),
        (
            "set lb vserver web -serviceType UDP",
            257,
            "serviceType of a virtual server is not changed by set; rm it and add it anew",
        ),
        ("set lb vserver web -state", 1095, "Required argument missing [-state]: allowed are ENABLED, DISABLED"),
        ("set lb vserver web -m IP -m MAC", 1092, "[-m]: it is given twice"),
        ("set lb vserver web -s ENABLED", 1090, "it could be -state or -sessionless"),
        ("set lb vserver web -icmpVsrResponse", 1095, "allowed are PASSIVE, ACTIVE"),
        ("set ns ip 10.1.0.100 -icmpResponse ENABLED", 1097, "allowed are NONE, ONE_VSERVER, ALL_VSERVERS, VSVR_CNTRLD"),
        ("set ns ip 10.1.0.100 -arpResponse VSVR_CNTRLD", 1097, "allowed are NONE, ONE_VSERVER, ALL_VSERVERS"),
        ("set ha node -haStatus ENA", 1097, "allowed are ENABLED, DISABLED, STAYPRIMARY, STAYSECONDARY"),
        ("set ha node -deadInterval 61", 1097, "a duration from 3ms to 60s is needed; a bare number is in s"),
        ("set ha node -helloInterval 500us", 1097, "a duration from 1ms"),
        ("add ha node 0 10.9.0.2", 362, "a number from 1 to 64"),
        ("add ha node 65 10.9.0.2", 362, "a number from 1 to 64"),
        ("add ha node 1 10.9.0.256", 415, "an IPv4 address is needed"),
        ("set ha node -syncvlan 4095", 1097, "a number from 1 to 4094"),
        ("bind ha node", 1095, "Required argument missing [routeMonitor]: usage: bind ha node [<id>] -routeMonitor <ip"),
        ("bind ha node -routeMonitor 10.0.0.0 255.0.255.0", 1097, "a route is *, a network such as 10.0.0.0 255.255.255.0"),
        ("bind ha node -routeMonitor 2001:db8:: 255.0.0.0", 362, "a number from 0 to 64"),
        ("bind fis f", 1095, "usage: bind fis <name> <ifnum> ..."),
        ("set interface eth0 -probe gw", 1097, "or GATEWAY, or NONE"),
        ("stat ha node -ntimes 0", 1097, "[ntimes, 0]: a number from 1 to"),
        ("show ha node -detail", 1090, "No such argument [-detail]"),
        ("show ha node summery", 362, "a number from 0 to 64"),
        ("add ns ip 10.0.0.1 255.0.255.0", 1097, "[netmask, 255.0.255.0]: an IPv4 network mask is needed"),
        ("add ns ip 10.0.0.1 255.255.255.0 -type NSIP", 1097, "set ns config -IPAddress"),
        ("add ns ip6 2001:db8::1/129", 1097, "with its prefix length"),
        ("add service s 10.2.0.1 TCP 80 -useproxyport YES", 1097, "the client's port is kept"),
        ("set interface 1/1 -haMonitor ON", 1097, "named as Linux names it"),
        ("add service s 10.2.0.1 TCP 80 81", 278, "[81]: one word too many"),
        ("add lb vserver \"open", 278, "no closing"),
        ("add lb vserver \"-x\" TCP 1.2.3.4 80", 1097, "begins with a letter, a digit or _"),
    ];
    for (typed, code, words) in table {
        let error = parse_line(typed).expect_err(typed);
        assert_eq!(error.code, code, "{typed}: {error}");
        assert!(error.message.contains(words), "{typed}: {error}");
    }
}

#[test]
fn a_password_is_never_repeated_in_a_refusal() {
    let long = "x".repeat(128);
    let typed = [
        "set rpcnode 10.9.0.1 -password hush hush2".to_owned(),
        format!("set rpcnode 10.9.0.1 -password {long}"),
        "set ha hook -webhook hooks.example/hush".to_owned(),
        "set ha hook -webhook https://hooks.example/ hush".to_owned(),
    ];
    for typed in typed {
        let message = parse_line(&typed).unwrap_err().message;
        assert!(!message.contains("hush") && !message.contains(&long), "{message}");
    }
}

/// The commands of the public how-to texts that are about what exists here, as printed there.
#[test]
fn commands_parse_as_the_manuals_print_them() {
    let lines = [
        "set ha node -hastatus STAYPRIMARY",
        "set ha node -hastatus STAYSECONDARY",
        "disable interface eth3",
        "add HA node 2 192.0.2.2",
        "set ns rpcnode 192.0.2.1 -password secret",
        "show ns rpcnode",
        "show ha node",
        "set ha node -hastatus ENABLED",
        "force HA failover",
        "set node -hastatus STAYSECONDARY",
        "set node -hastatus ENABLE",
        "save ns config",
        "set ha node \u{2013}haStatus STAYSECONDARY",
        "rm ha node 2",
        "save ns config -",
        "show rpcNode",
        "set rpcnode 192.0.2.2 -secure YES",
        "show rpcnode",
        "set lb vserver Vserver-LB-1 -connFailover stateful",
        "show lb vserver Vserver-LB-1",
        "set lb vserver Vserver-LB-1 -connFailover disable",
    ];
    for line in lines {
        canonical(line);
    }
}

#[test]
fn blank_lines_and_comments_are_no_commands() {
    for line in ["", "   \t", "# set ha node -haStatus DISABLED"] {
        assert_eq!(parse_line(line), Ok(None));
    }
    assert_eq!(canonical("show ha node # both"), "show ha node");
}
