//! Every `show` against its golden file. `BLESS=1 cargo test -p understudy show` writes them anew: read the difference.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ha_common::ha::event::Testimony;
use ha_common::ha::machine::Judged;

use crate::command::runtime::recorder::Recorder;
use crate::command::runtime::{
    LinkCounts, LinkStatus, MasterState, NodeState, NodeStatus, OwnStatus, PairStatus, SyncState, Transition,
};
use crate::command::value::Route;
use crate::command::{Answer, Executor, Reply, tokens};
use crate::config::{Indices, load_text};

const NODE: &str = "
    set ns config -IPAddress 192.0.2.11 -netmask 255.255.255.0
    set ns hostName nsA
    set interface eth0 -haHeartbeat OFF
    set interface eth1 -haHeartbeat OFF
    set interface ha0 -haMonitor OFF
    disable interface spare
    add vrid 60 -priority 200 -preemptiondelaytimer 5
    add vrid 61
    add vrid6 60
    bind vrid 60 -ifnum eth0 eth1
    add fis uplinks
    bind fis uplinks eth0 eth1
    add fis spares
    add ha node 1 192.0.2.12
    set ha node -witness 192.0.2.9 -witnessPassword secret -maxFlips 3 -maxFlipTime 600 -syncvlan 7
    bind ha node -routeMonitor *
    bind ha node -routeMonitor 10.7.0.0 255.255.0.0
    set ns rpcNode 192.0.2.11 -password secret
    set ha hook -syslog 192.0.2.5 -program /usr/local/bin/notify -webhook https://hooks.example/T0/secret
    add ns ip 10.1.0.100 255.255.255.255 -type VIP
    add ns ip 10.1.0.101 255.255.255.255 -type VIP
    add ns ip 10.2.0.1 255.255.255.0 -arp DISABLED
    add ns ip6 2001:db8::1/128 -type VIP -vrID6 60
    add lb vserver web TCP 10.1.0.100 80
    add lb vserver web6 UDP 2001:db8::1 53 -m MAC -connFailover STATEFUL -state DISABLED
    add service s1 10.2.0.11 TCP 8080 -usip YES
    add service s2d 10.2.0.12 TCP 8080 -usip YES
    add service s3 10.2.0.13 TCP 8080 -usip YES -healthMonitor NO -state DISABLED
    add service s4d 10.2.0.14 TCP 8080 -usip YES -maxClient 50
    disable service s4d 300
    add ipset more
    bind ipset more 10.1.0.101
    add lb vserver wlate TCP 10.1.0.100 81 -lbMethod ROUNDROBIN -persistenceType SOURCEIP -persistMask 255.255.255.0 -ipset more -backupVServer web
    bind lb vserver wlate s2d
    bind lb vserver web s1
    bind lb vserver web s2d -weight 5
    bind lb vserver web s3
";

fn node(status: Option<PairStatus>) -> Executor<Recorder> {
    let config = load_text(Path::new("node.conf"), NODE, Indices::default()).unwrap();
    let recorder = Recorder::default();
    *recorder.status.borrow_mut() = status;
    Executor::new(config, recorder)
}

fn pair() -> PairStatus {
    let config = load_text(Path::new("node.conf"), NODE, Indices::default()).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let known = |list: &[&str]| Some(names(list));
    let seconds = Duration::from_secs;
    let local =
        NodeStatus { master: MasterState::Primary, in_master_state_for: Some(seconds(77)), ..NodeStatus::local(&config) };
    let peer = NodeStatus {
        name: Some("nsB".into()),
        state: NodeState::NotUp,
        master: MasterState::Secondary,
        inc: Some(false),
        release: Some("9.9".into()),
        fail_safe: Some(false),
        sync: SyncState::Success,
        propagation: Some(true),
        enabled_interfaces: known(&["eth0", "eth1", "ha0"]),
        monitored_interfaces: known(&["eth0", "eth1"]),
        silent_interfaces: known(&[]),
        failed_interfaces: known(&["eth1"]),
        ..NodeStatus::unheard_peer(&config).unwrap()
    };
    let (last_heard, rtt) = (Some(Duration::from_micros(4_250)), Some(Duration::from_micros(118)));
    let counts = LinkCounts {
        requests_sent: 4_001,
        requests: 4_000,
        answers: 3_999,
        unknown_keys: 1,
        bad_tags: 2,
        stale: 3,
        looped: 4,
        duplicates: 5,
        twins: 6,
    };
    let heard = LinkStatus {
        interface: "ha0".into(),
        heard: true,
        last_heard,
        rtt,
        peer_hears: Some(true),
        sent: 1_000,
        lost: 1,
        counts,
    };
    let silent = LinkStatus {
        interface: "ha1".into(),
        heard: false,
        last_heard: None,
        rtt: None,
        peer_hears: Some(false),
        sent: 0,
        lost: 0,
        counts: LinkCounts::default(),
    };
    let step = |at, from: &str, to: &str, cause: &str, evidence: &str| Transition {
        when: SystemTime::UNIX_EPOCH + seconds(1_735_689_599) + Duration::from_millis(at),
        from: from.into(),
        to: to.into(),
        cause: cause.into(),
        evidence: evidence.into(),
    };
    let transitions = vec![
        step(0, "Secondary", "Claiming", "peer dead", "no answer on ha0, ha1 for 30.1 msecs, 4 requests unanswered"),
        step(2, "Claiming", "Primary", "claim made", "term 7"),
    ];
    let own = OwnStatus {
        critical_interfaces: names(&["eth0"]),
        failed_sets: names(&["uplinks"]),
        routes: vec![(Route::Default, Some(true)), (Route::read("10.7.0.0/16").unwrap(), Some(false))],
        routes_judged: Judged::In(Duration::from_millis(97_040)),
        flips: 2,
        flip_time: Some(Duration::from_millis(42_500)),
        preference_left: Some(Duration::from_millis(12_340)),
        witness: Some(Testimony::Noted),
        unjudged: false,
        silence: Some(Duration::from_micros(480_250)),
        received: 7_999,
        sent: 8_001,
        rates: [10.0, 10.04],
    };
    PairStatus { local, peer: Some(peer), links: vec![heard, silent], transitions, own }
}

fn say(executor: &mut Executor<Recorder>, line: &str) -> Reply {
    match executor.execute(&tokens(line).unwrap()) {
        Answer::Now(reply) => reply,
        answer @ Answer::Found(_) => {
            let reply = std::pin::pin!(answer.reply()).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
            match reply {
                std::task::Poll::Ready(reply) => reply,
                std::task::Poll::Pending => panic!("{line} takes time"),
            }
        }
        Answer::Later(_) | Answer::Last(_) => panic!("{line} takes time"),
    }
}

fn is_golden(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/show/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(shown, golden, "{name}");
}

#[test]
fn shows_print_the_public_layout_and_json_the_tables_keys() {
    let shows = [
        ("show ha node", "ha_node"),
        ("show ha hook", "ha_hook"),
        ("show ha node summary", "ha_node_summary"),
        ("stat ha node", "ha_stat"),
        ("stat ha node -detail", "ha_stat_detail"),
        ("show fis", "fis"),
        ("show ci", "ci"),
        ("show ns alarms", "alarms"),
        ("show ns rpcNode", "rpc_node"),
        ("show ns ip", "ip"),
        ("show ns ip6", "ip6"),
        ("show ns ip 10.1.0.100", "ip_one"),
        ("show ns config", "config"),
        ("show ns hostName", "host_name"),
        ("show interface", "interface"),
        ("show lb vserver", "vservers"),
        ("show lb vserver web", "vserver"),
        ("show service", "service"),
        ("show ipset", "ipset"),
        ("show lb persistentSessions web", "sessions"),
        ("show vrid", "vrid"),
        ("show vrid6 60", "vrid6"),
        ("show L2Param", "l2_param"),
        ("show ns rateControl", "rate_control"),
        ("show ns limits", "limits"),
        ("show ns tcpParam", "tcp_param"),
        ("show ns connectiontable", "connections"),
        ("show ns connectiontable CONNECTION.SRCIP.EQ(10.1.0.1) -detail FULL -count 1", "connections_full"),
    ];
    for (line, name) in shows {
        let reply = say(&mut node(Some(pair())), line);
        is_golden(&format!("{name}.txt"), &reply.text);
        is_golden(&format!("{name}.json"), &format!("{:#}\n", reply.json));
    }
}

#[test]
fn a_standalone_node_shows_itself_as_primary() {
    let mut executor = Executor::new(Default::default(), Recorder::default());
    is_golden("ha_node_standalone.txt", &say(&mut executor, "show ha node").text);
}

#[test]
fn a_node_that_has_just_started_is_not_judged_yet_and_of_its_peer_nothing_is_known() {
    let starting = PairStatus {
        local: NodeStatus { state: NodeState::Init, failed_interfaces: None, ..pair().local },
        peer: NodeStatus::unheard_peer(&load_text(Path::new("node.conf"), NODE, Indices::default()).unwrap()),
        own: OwnStatus { unjudged: true, routes: vec![(Route::Default, None)], ..OwnStatus::default() },
        ..pair()
    };
    let mut executor = node(Some(starting));
    is_golden("ha_node_starting.txt", &say(&mut executor, "show ha node").text);
    for line in ["show fis", "show ci"] {
        let shown = say(&mut executor, line).text;
        assert!(shown.contains("not judged yet") && !shown.contains("UP"), "{shown}");
    }
    let rows = say(&mut executor, "show ha node").json;
    assert!(rows["hanode"][0]["pfifaces"].is_null() && rows["hanode"][1]["enaifaces"].is_null(), "{rows:#}");
}

#[test]
fn one_of_many_is_shown_alone_and_a_missing_one_is_named() {
    let mut executor = node(Some(pair()));
    let peer = say(&mut executor, "show ha node 1");
    assert!(peer.text.contains("192.0.2.12 (nsB)") && !peer.text.contains("192.0.2.11"), "{}", peer.text);
    assert_eq!(say(&mut executor, "show service s1").json["service"].as_array().map(Vec::len), Some(1));
    assert_eq!(say(&mut executor, "show ns ip 10.2.0.1").json["nsip"].as_array().map(Vec::len), Some(1));
    for line in [
        "show ha node 7",
        "show lb vserver x",
        "show service x",
        "show interface x",
        "show ns ip 1.1.1.1",
        "show ns rpcnode 1.1.1.1",
        "show vrid 9",
        "show fis x",
    ] {
        assert_eq!(say(&mut executor, line).json["errorcode"], 258, "{line}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let reply = say(&mut node(None), "show ns version");
    assert_eq!(reply.json["nsversion"]["version"], format!("Understudy {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn stat_names_the_failure_that_show_calls_not_up() {
    let states = [
        (NodeState::PartialFail, "PARTIALFAIL"),
        (NodeState::CompleteFail, "COMPLETEFAIL"),
        (NodeState::RouteMonitorFail, "ROUTEMONITORFAIL"),
    ];
    for (state, word) in states {
        let status = PairStatus { local: NodeStatus { state, ..pair().local }, ..pair() };
        let mut executor = node(Some(status));
        assert!(say(&mut executor, "show ha node 0").text.contains("Node State: NOT UP\n"));
        assert_eq!(say(&mut executor, "stat ha node").json["hanode"][0]["hacurstate"], word);
    }
}

#[test]
fn the_manuals_names_of_the_show_are_one() {
    let shown = |line| say(&mut node(Some(pair())), line).text;
    for line in ["sh ha node", "sh node", "show node"] {
        assert_eq!(shown(line), shown("show ha node"), "{line}");
    }
}

#[test]
fn a_vlan_shows_its_legs_its_subnets_and_the_floating_addresses_that_live_in_it() {
    let mut executor = node(None);
    for line in [
        "add vlan 10 -aliasName clients",
        "add vlan 20",
        "bind vlan 10 -ifnum eth0 eth1 -tagged",
        "bind vlan 10 -IPAddress 10.1.0.1 255.255.255.0",
        "bind vlan 10 -IPAddress 2001:db8::9/64",
    ] {
        assert_eq!(say(&mut executor, line).exit, 0, "{line}");
    }
    let shown = say(&mut executor, "show vlan");
    let wanted = "1)\tVLAN ID: 10\tVLAN Alias Name: clients\n\tInterfaces : eth0(T) eth1(T)\n\tIPs :\n\t     10.1.0.0\tMask: 255.255.255.0\n\
                  \t     2001:db8::/64\n\tFloating addresses : 10.1.0.100 10.1.0.101 2001:db8::1\n\
                  2)\tVLAN ID: 20\tVLAN Alias Name: \n\tInterfaces : \n\tIPs :\n Done\n";
    assert_eq!(shown.text, wanted);
    let row = &shown.json["vlan"][0];
    assert_eq!(row["vlan_interface_binding"][1]["ifnum"], "eth1");
    assert_eq!(row["vlan_nsip_binding"][0]["netmask"], "255.255.255.0");
    assert_eq!(say(&mut executor, "show vlan 20").json["vlan"].as_array().map(Vec::len), Some(1));
    assert_eq!(say(&mut executor, "show vlan 30").json["errorcode"], 258);
}
