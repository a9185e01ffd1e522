//! What a configuration accepts and refuses, and how it comes back from its own text.

mod files;
mod rules;
mod selection;

use super::{Change, Config};
use crate::command::{CommandError, Secrets, parse_line};

/// A pair's node with a virtual server and a service, as its canonical text.
const NODE: &str = "\
set ns config -IPAddress 10.9.0.1 -netmask 255.255.255.0
set ns hostName nsA
set interface client0 -haMonitor ON -haHeartbeat OFF
set interface ha0 -haMonitor OFF -haHeartbeat ON
set interface spare0 -haMonitor ON -haHeartbeat ON -throughput 1000 -probe 10.1.0.254
disable interface spare0
add fis empty
add fis uplinks
bind fis uplinks client0 spare0
add vrid 60 -priority 100 -preemption DISABLED -preemptiondelaytimer 5
add vrid6 7
bind vrid 60 -ifnum client0 spare0
bind vrid6 7 -ifnum client0
add vlan 10
add vlan 20 -aliasName servers
bind vlan 10 -ifnum client0 -tagged
bind vlan 20 -ifnum spare0
bind vlan 10 -IPAddress 10.1.0.0 255.255.255.0
bind vlan 20 -IPAddress 10.2.0.0 255.255.255.0
bind vlan 20 -IPAddress 2001:db8:2::/64
set L2Param -garpOnVridIntf DISABLED -garpReply ENABLED
set ns rateControl -icmpThreshold 20 -tcprstThreshold 0
set ns limits -flows 1000 -embryonic 2000 -exceptions 3000 -reverse 4000 -reverseEmbryonic 5000 -persist 5500 -sources 6000 -prefixes 7000
set ns tcpParam -downStateRST ENABLED
set ns spParams -baseThreshold 300 -throttle Relaxed
add ha node 1 10.9.0.2
set ha node -haStatus STAYPRIMARY -helloInterval 10 -deadInterval 30ms -witness 10.9.9.9:3005 -witnessPassword s3cret -maxFlips 3 -syncvlan 7 -isolationHold 90ms
bind ha node -routeMonitor *
bind ha node -routeMonitor 10.7.0.0 255.255.0.0
bind ha node -routeMonitor 2001:db8:7::/48
set ha hook -syslog LOCAL -program /usr/local/bin/notify -webhook https://hooks.example/s3cret -timeout 5
set ns rpcNode 10.9.0.1 -password s3cret
set ns rpcNode 10.9.0.2 -password s3cret -srcIP 10.9.0.1 -secure NO
add ns ip 10.1.0.100 255.255.255.255 -type VIP -vrID 60 -icmpResponse VSVR_CNTRLD -arpResponse ALL_VSERVERS
add ns ip 10.2.0.1 255.255.255.0
add ns ip6 2001:db8::1/128 -type VIP -nd DISABLED -vrID6 7 -icmpResponse ONE_VSERVER -ndResponse ONE_VSERVER
add lb vserver web TCP 10.1.0.100 80 -lbMethod SOURCEIPHASH -cltTimeout 300 -icmpVsrResponse ACTIVE -downStateFlush DISABLED -maxConnPerSource 50 -maxRatePerSource 20 -sourceMask 255.255.255.0 -v6SourceMaskLen 56
add lb vserver web6 TCP 2001:db8::1 80 -m MAC -sessionless ENABLED
add service \"s 2\" 10.2.0.12 TCP 8080 -usip YES -state DISABLED
add service s1 10.2.0.11 TCP 80 -usip YES -sp ON -svrTimeout 60 -downStateFlush DISABLED -accessDown YES
add service s6 2001:db8:2::1 TCP 80 -healthMonitor NO
bind lb vserver web \"s 2\" -weight 5
bind lb vserver web s1
bind lb vserver web -deny *
bind lb vserver web -allow 10.0.0.0 255.0.0.0
bind lb vserver web6 s6
bind lb vserver web6 -allow 2001:db8:7::/48
";

fn apply(config: &mut Config, line: &str) -> Result<Change, CommandError> {
    config.apply(&parse_line(line).unwrap_or_else(|error| panic!("{line}: {error}")).expect("a command"))
}

fn config(text: &str) -> Config {
    let mut config = Config::default();
    for line in text.lines() {
        apply(&mut config, line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    config
}

#[test]
fn the_canonical_list_makes_the_same_configuration_again() {
    let first = config(NODE);
    assert_eq!(first.text(Secrets::Clear), NODE);
    assert_eq!(config(&first.text(Secrets::Clear)).text(Secrets::Clear), NODE);
    assert!(!first.text(Secrets::Hidden).contains("s3cret"));
}

#[test]
fn every_attribute_of_the_table_reaches_its_record_and_returns_to_its_default() {
    use crate::command::schema::{ENTITIES, Place, Verb};
    use crate::command::value::Value;
    let node = config(NODE);
    let commands = node.commands();
    for entity in ENTITIES.iter().filter(|entity| entity.verbs.contains(&Verb::Unset)) {
        let command = commands.iter().find(|command| command.entity == *entity).unwrap_or_else(|| panic!("{entity:?} in NODE"));
        let keys = || command.args.iter().filter(|arg| arg.attribute.place == Place::Key).cloned();
        for attribute in entity.flags(Verb::Unset) {
            let mut changed = node.clone();
            let mut unset = crate::command::Command { verb: Verb::Unset, entity, args: keys().collect() };
            unset.args.push(crate::command::Arg { attribute, value: None });
            // Some defaults are impossible in NODE; that refusal has to come from a rule, never from a panic.
            if changed.apply(&unset).is_err() {
                continue;
            }
            let after = changed
                .commands()
                .into_iter()
                .filter(|other| other.entity == *entity)
                .find(|other| other.args.starts_with(&unset.args[..unset.args.len() - 1]));
            let value: Option<Value> = after.and_then(|command| command.arg(attribute.name).and_then(|arg| arg.value.clone()));
            assert!(value.is_none() || attribute.always_printed && value == attribute.default_value(), "{unset}: {value:?}");
        }
    }
}

#[test]
fn the_identity_is_the_pairs_and_not_the_nodes() {
    let a = config(NODE);
    let mut b = config(NODE);
    let same = [
        "set ns hostName nsB",
        "set ns rpcNode 10.9.0.2 -password other -secure YES",
        "set interface client9 -haMonitor ON",
        "set ha node -haStatus STAYSECONDARY -failSafe ON -haSync DISABLED -haProp DISABLED",
        "set ha node -maxFlips 9 -maxFlipTime 60 -syncStatusStrictMode ENABLED",
        "set interface client0 -throughput 10 -probe NONE",
        "unbind fis uplinks client0",
        "rm fis empty",
        "unbind vrid 60 -ifnum spare0",
        "unbind vlan 20 -ifnum spare0",
        "set ns config -IPAddress 10.9.0.9",
    ];
    for line in same {
        apply(&mut b, line).unwrap();
        assert_eq!(a.identity(), b.identity(), "{line}");
    }
    let different = [
        "set ha node -helloInterval 9",
        "bind ha node -routeMonitor 10.8.0.0 255.255.0.0",
        "set ha node -isolationHold 1",
        "set lb vserver web -m IP -flowLog ENABLED",
        "disable service s1",
        "unbind lb vserver web s1",
        "rm ns ip 10.2.0.1",
        "add vrid 61",
        "add vlan 30",
        "unbind vlan 10 -IPAddress 10.1.0.9 255.255.255.0",
        "unset L2Param -garpReply",
        "unset ns rateControl -icmpThreshold",
        "set ns ip 10.1.0.100 -icmpResponse NONE",
        "unset ns ip 10.1.0.100 -arpResponse",
        "unset lb vserver web -icmpVsrResponse",
    ];
    for line in different {
        let mut c = config(NODE);
        apply(&mut c, line).unwrap();
        assert_ne!(a.identity(), c.identity(), "{line}");
    }
}

/// Without its route monitors and its syncVlan, of which a node in a pair has to let go first.
const BARE: [&str; 4] = [
    "unbind ha node -routeMonitor *",
    "unbind ha node -routeMonitor 10.7.0.0 255.255.0.0",
    "unbind ha node -routeMonitor 2001:db8:7::/48",
    "unset ha node -syncvlan",
];

#[test]
fn a_peer_and_its_local_id_are_the_nodes_own() {
    let mut a = config(NODE);
    BARE.iter().for_each(|line| drop(apply(&mut a, line).unwrap()));
    let identity = a.identity();
    for line in ["rm ha node 1", "add ha node 64 10.9.0.3"] {
        apply(&mut a, line).unwrap();
        assert_eq!(a.identity(), identity, "{line}");
    }
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let mut node = config(NODE);
    let (before, generation) = (node.text(Secrets::Clear), node.generation());
    let lines = ["add service s3 10.2.0.13 TCP 80 -usip YES", "bind lb vserver web s3", "bind lb vserver web s4"];
    let commands =
        || lines.iter().enumerate().map(|(at, line)| (at + 1, parse_line(line).unwrap().unwrap())).collect::<Vec<_>>();
    let (line, error) = node.transaction(commands()).unwrap_err();
    assert_eq!((line, error.code), (3, 258));
    assert_eq!((node.text(Secrets::Clear), node.generation()), (before, generation));
    let change = node.transaction(commands()[..2].to_vec()).unwrap();
    assert_eq!(change.touched().count(), 2);
    assert_eq!(node.service("s3").unwrap().index, 4, "index 3 was allotted by the refused transaction");
}
