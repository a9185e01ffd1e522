//! How clients are placed, and what cannot go together.

use std::time::Duration;

use super::{apply, config};
use crate::command::Secrets;
use crate::config::{Config, Drain};

const NODE: &str = "\
add ns ip 10.1.0.100 255.255.255.255 -type VIP
add ns ip 10.1.0.101 255.255.255.255 -type VIP
add ns ip 10.2.0.1 255.255.255.0
add ns ip6 2001:db8::1/128 -type VIP
add ipset empty
add ipset more
bind ipset more 10.1.0.101
add lb vserver cold TCP 10.1.0.100 8080 -sessionless ENABLED
add lb vserver stand TCP 10.1.0.100 81
add lb vserver web TCP 10.1.0.100 80 -lbMethod LEASTCONNECTION -persistenceType SOURCEIP -timeout 10 -persistMask 255.255.255.0 -ipset more
add lb vserver web6 TCP 2001:db8::1 80 -lbMethod ROUNDROBIN -persistenceType SRCIPDESTIP -v6persistmasklen 64
set lb vserver stand -backupVServer web
add service s1 10.2.0.11 TCP 80 -usip YES -maxClient 100
add service s2 10.2.0.12 TCP 80 -usip YES
add service u1 10.2.0.11 UDP 80 -usip YES
bind lb vserver cold s2
bind lb vserver web s1
";

fn refused(node: &Config, line: &str) -> String {
    let mut node = node.clone();
    let before = node.text(Secrets::Clear);
    let error = apply(&mut node, line).expect_err(line);
    assert_eq!(node.text(Secrets::Clear), before, "{line}");
    error.message
}

#[test]
fn the_canonical_list_makes_the_same_configuration_again() {
    assert_eq!(config(NODE).text(Secrets::Clear), NODE);
}

#[test]
fn what_needs_a_table_of_connections_is_refused_without_one() {
    let node = config(NODE);
    for (line, words) in [
        ("set lb vserver cold -lbMethod ROUNDROBIN", "-lbMethod ROUNDROBIN needs a table of connections"),
        ("set lb vserver cold -lbMethod LEASTCONNECTION", "-lbMethod LEASTCONNECTION needs a table of connections"),
        ("set lb vserver cold -persistenceType DESTIP", "-persistenceType DESTIP needs a table"),
        ("set lb vserver cold -ipset more", "-ipset with -m IP needs a table"),
        ("set lb vserver web -sessionless ENABLED", "SRCIPDESTIPHASH"),
        ("bind lb vserver cold s1", "which counts no connections"),
        ("set service s2 -maxClient 7", "which counts no connections"),
        ("disable service s2 -graceFul YES", "give the service s2 a delay"),
    ] {
        assert!(refused(&node, line).contains(words), "{line}: {}", refused(&node, line));
    }
    for line in ["set lb vserver cold -lbMethod SRCIPDESTIPHASH", "set lb vserver cold -lbMethod DESTINATIONIPHASH"] {
        apply(&mut node.clone(), line).unwrap();
    }
}

#[test]
fn a_backup_is_there_can_serve_and_does_not_lead_back() {
    let mut node = config(NODE);
    for (line, words) in [
        ("set lb vserver web -backupVServer nope", "show lb vserver lists"),
        ("set lb vserver web -backupVServer web", "would be its own backup"),
        ("set lb vserver web -backupVServer stand", "would be its own backup"),
        ("rm lb vserver web", "is the backup of stand; unset lb vserver stand -backupVServer first"),
        ("add lb vserver udp UDP 10.1.0.100 80 -backupVServer web", "both must be the same"),
        ("set lb vserver web6 -backupVServer web", "address families are not translated"),
        ("set lb vserver stand -m MAC", "this mode changes no port"),
    ] {
        assert!(refused(&node, line).contains(words), "{line}: {}", refused(&node, line));
    }
    apply(&mut node, "set lb vserver web -backupVServer cold").unwrap();
    let names =
        |name: &str| -> Vec<String> { node.backups(node.vserver(name).unwrap()).map(|backup| backup.name.clone()).collect() };
    assert_eq!(names("stand"), ["web", "cold"]);
    let mut node = node.clone();
    apply(&mut node, "unset lb vserver stand -backupVServer").unwrap();
    assert_eq!(node.backups(node.vserver("stand").unwrap()).count(), 0);
}

#[test]
fn a_virtual_server_has_a_place_of_its_own_at_each_address_of_its_set() {
    let mut node = config(NODE);
    let places = |node: &Config| -> Vec<String> {
        let web = node.vserver("web").unwrap();
        web.addresses().map(|(ip, index)| format!("{ip} {index}")).collect()
    };
    let first = places(&node);
    assert_eq!(first.len(), 2);
    for (line, words) in [
        ("rm ipset more", "is served by web; unset lb vserver web -ipset first"),
        ("rm ipset nope", "show ipset lists"),
        ("add ipset more", "bind ipset adds addresses"),
        ("bind ipset more 10.1.0.101", "it is in more"),
        ("bind ipset more 10.1.0.109", "add ns ip makes it"),
        ("bind ipset more 10.2.0.1", "clients speak to VIPs"),
        ("bind ipset more 2001:db8::1", "is not of the family of virtual server web"),
        ("unbind ipset empty 10.1.0.101", "it is not in empty"),
        ("set lb vserver web -ipset nope", "show ipset lists"),
        ("add lb vserver x TCP 10.1.0.101 80", "virtual server web serves TCP port 80 there"),
        ("rm ns ip 10.1.0.101", "it is in the set of addresses more"),
    ] {
        let said = refused(&node, line);
        assert!(
            said.contains(words) || line.starts_with("rm ns ip") && said.contains("in the set of addresses more"),
            "{line}: {said}"
        );
    }
    // The set's own VIP is served once.
    apply(&mut node, "bind ipset more 10.1.0.100").unwrap();
    assert_eq!(places(&node), first);
    apply(&mut node, "unbind ipset more 10.1.0.101 10.1.0.100").unwrap();
    assert_eq!(places(&node), first[..1]);
    apply(&mut node, "bind ipset more 10.1.0.101").unwrap();
    assert_ne!(places(&node)[1], first[1], "flows of the former place are not the new one's");
}

#[test]
fn an_address_that_a_set_names_stays_when_its_virtual_server_goes() {
    let mut node = Config::default();
    for line in ["add lb vserver a TCP 10.1.0.7 80", "add ipset more", "bind ipset more 10.1.0.7", "rm lb vserver a"] {
        apply(&mut node, line).unwrap();
    }
    assert!(node.address("10.1.0.7".parse().unwrap()).is_some());
    let text = node.text(Secrets::Clear);
    assert_eq!(config(&text).text(Secrets::Clear), text);
}

#[test]
fn a_service_is_disabled_at_once_with_a_delay_or_gracefully_and_only_the_first_is_saved() {
    let mut node = config(NODE);
    let mut drain = |line: &str| {
        apply(&mut node, line).unwrap();
        let service = node.service("s1").unwrap();
        (service.enabled, service.drain)
    };
    let delay = |secs| Some(Duration::from_secs(secs));
    assert_eq!(drain("disable service s1 300"), (false, Some(Drain { delay: delay(300), graceful: false })));
    assert_eq!(drain("disable service s1 30 -graceFul YES"), (false, Some(Drain { delay: delay(30), graceful: true })));
    assert_eq!(drain("disable service s1"), (false, None));
    assert_eq!(drain("disable service s1 300"), (false, None), "it has nothing to drain any more");
    assert_eq!(drain("enable service s1"), (true, None));
    assert_eq!(drain("disable service s1 -graceFul YES"), (false, Some(Drain { delay: None, graceful: true })));
    assert!(node.text(Secrets::Clear).contains("add service s1 10.2.0.11 TCP 80 -usip YES -state DISABLED -maxClient 100\n"));
}
