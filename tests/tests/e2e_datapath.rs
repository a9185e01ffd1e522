//! The kernel's side of a node on a real kernel: programs, maps, pins and attachments, in namespaces that end with the test.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use ha_common::abi::{
    Address, AddressKey, Backend, Exception, Flow, FlowKey, NextHop, Node, ReverseKey, Ring, ServiceKey, Term, address_flags,
    backend_flags, vserver_flags,
};
use ha_common::maglev::Member;
use ha_common::time::{Nanos, Ticks};
use ha_common::wire::Be16;
use ha_tests::alone::{alone, ip, veth};
use tokio::sync::watch;
use understudy::clock;
use understudy::datapath::{self, AttachError, Datapath, Desired, DesiredVserver, LoadError, Mode, Settings, Timeouts};
use understudy::net::link::{self, XdpProgram};

fn settings() -> Settings {
    Settings { pins: "/mnt/bpf/node".into(), logs: "/mnt/logs".into(), sizes: [("FLOWS", 4096)].into() }
}

fn open() -> Datapath {
    Datapath::open(&settings()).unwrap_or_else(|error| panic!("{error}"))
}

fn attach(datapath: &mut Datapath, interfaces: &[&str]) -> Result<Vec<(String, Mode)>, AttachError> {
    datapath.attach(&interfaces.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
}

fn xdp_on(interface: &str) -> Option<XdpProgram> {
    link::link(interface).unwrap().xdp
}

fn guards_on(interface: &str) -> Vec<u32> {
    let (_, programs) = SchedClassifier::query_tcx(interface, TcAttachType::Egress).unwrap();
    programs.iter().map(|program| program.id()).collect()
}

#[test]
fn loads_natively_and_leaves_nothing_behind() {
    alone(|| {
        veth();
        let mut datapath = open();
        assert_eq!(attach(&mut datapath, &["leg0"]).unwrap(), [("leg0".to_owned(), Mode::Native)]);
        assert!(!datapath.adopted());
        assert_eq!(guards_on("leg0").len(), 1);
        datapath.detach().unwrap();
        assert_eq!((xdp_on("leg0"), guards_on("leg0")), (None, vec![]));
        assert!(!Path::new("/mnt/bpf/node").exists());
        datapath::remove(Path::new("/mnt/bpf/node")).expect("removing nothing is a success");
    });
}

#[test]
fn a_daemon_that_ends_leaves_all_as_it_is_and_the_next_one_adopts_it() {
    alone(|| {
        veth();
        let mut first = open();
        attach(&mut first, &["leg0"]).unwrap();
        first.shared().set_role_term(0, Term(77));
        let before = (xdp_on("leg0"), guards_on("leg0"));
        drop(first);
        assert_eq!((xdp_on("leg0"), guards_on("leg0")), before);

        let mut second = open();
        assert!(second.adopted());
        assert_eq!(attach(&mut second, &["leg0"]).unwrap(), [("leg0".to_owned(), Mode::Native)]);
        assert_eq!((xdp_on("leg0"), guards_on("leg0")), before, "neither loaded nor attached again");
        assert_eq!(second.shared().node().groups[0].role_term, Term(77));
    });
}

#[test]
fn programs_of_another_object_are_replaced_where_they_run() {
    alone(|| {
        veth();
        let mut first = open();
        attach(&mut first, &["leg0"]).unwrap();
        let before = (xdp_on("leg0").unwrap().id, guards_on("leg0"));
        first.shared().set_sent_seq(5);
        drop(first);
        let programs = Path::new("/mnt/bpf/node").join(format!("v{}", ha_common::abi::ABI_VERSION)).join("programs");
        let own: PathBuf = std::fs::read_dir(&programs).unwrap().next().unwrap().unwrap().path();
        std::fs::rename(&own, programs.join("another")).unwrap();

        let mut second = open();
        assert!(!second.adopted());
        attach(&mut second, &["leg0"]).unwrap();
        let after = (xdp_on("leg0").unwrap().id, guards_on("leg0"));
        assert_ne!(before.0, after.0);
        assert_ne!(before.1, after.1);
        assert_eq!(after.1.len(), 1, "replaced, not added");
        assert_eq!(second.shared().node().sent_seq, 5, "the maps are the same");
        assert!(own.exists() && !programs.join("another").exists());
    });
}

#[test]
fn interfaces_come_and_go() {
    alone(|| {
        veth();
        let mut datapath = open();
        attach(&mut datapath, &["leg0", "peer0"]).unwrap();
        attach(&mut datapath, &["leg0"]).unwrap();
        assert_eq!((xdp_on("peer0"), guards_on("peer0")), (None, vec![]), "let go");
        ip("link del leg0");
        let error = attach(&mut datapath, &["leg0"]).unwrap_err().to_string();
        assert!(error.contains("there is no interface leg0"), "{error}");
        veth();
        attach(&mut datapath, &["leg0"]).unwrap();
        assert!(xdp_on("leg0").is_some());
        assert_eq!(guards_on("leg0").len(), 1);
    });
}

#[test]
fn a_foreign_program_is_named_and_stays() {
    alone(|| {
        veth();
        let mut other = Datapath::open(&Settings { pins: "/mnt/bpf/other".into(), ..settings() }).unwrap();
        attach(&mut other, &["leg0"]).unwrap();
        let there = xdp_on("leg0").unwrap().id;
        let error = attach(&mut open(), &["leg0"]).unwrap_err();
        assert!(matches!(&error, AttachError::Foreign { name, id, .. } if name == "ingress" && *id == there), "{error}");
        assert_eq!(xdp_on("leg0").unwrap().id, there);
    });
}

#[test]
fn maps_of_another_layout_are_refused_in_one_line() {
    alone(|| {
        drop(open());
        // What stands where the table of flows is looked for is the one of exceptions.
        let maps = PathBuf::from(format!("/mnt/bpf/node/v{}/maps", ha_common::abi::ABI_VERSION));
        std::fs::remove_file(maps.join("FLOWS")).unwrap();
        std::fs::rename(maps.join("EXCEPTIONS"), maps.join("FLOWS")).unwrap();
        let error = Datapath::open(&settings()).unwrap_err();
        assert!(matches!(error, LoadError::Layout { .. }));
        let text = error.to_string();
        let sizes = [size_of::<Exception>(), size_of::<Flow>()].map(|value| format!("of 24 + {value} bytes"));
        assert!(sizes.iter().all(|size| text.contains(size)) && text.contains("understudy stop"), "{text}");
        assert_eq!(text.lines().count(), 1);
    });
}

#[test]
fn a_table_keeps_its_size_and_what_is_in_it_whatever_is_configured_by_now() {
    alone(|| {
        let before = open();
        let (key, flow) = (FlowKey { port: Be16::new(40_000), protocol: 6, ..FlowKey::default() }, Flow::default());
        before.maps().flows.put(&[(key, flow)]).unwrap();
        drop(before);
        let after = Datapath::open(&Settings { sizes: [("FLOWS", 8192)].into(), ..settings() }).unwrap();
        assert_eq!(after.maps().flows.entries().unwrap(), [(key, flow)]);
        let table = after.limits().tables.into_iter().find(|table| table.name == "FLOWS").unwrap();
        assert_eq!(table.max, 4096);
    });
}

#[test]
fn an_ordinary_directory_is_refused_with_the_remedy() {
    alone(|| {
        let error = Datapath::open(&Settings { pins: "/mnt/here".into(), ..settings() }).unwrap_err().to_string();
        assert!(error.contains("mount -t bpf bpf /mnt"), "{error}");
    });
}

fn address_of(n: u8) -> ha_common::abi::Ip {
    Ipv4Addr::new(10, 2, 0, n).into()
}

/// One vserver before backends `members`, all of which are up.
fn desired(members: &[u32]) -> Desired {
    let mut desired = Desired::default();
    let vip = Ipv4Addr::new(10, 1, 0, 100).into();
    desired.addresses.insert(AddressKey { addr: vip, domain: 0 }, Address { flags: address_flags::VIP, group: 0 });
    for &n in members {
        let next_hop = NextHop::new([2; 6], [4; 6], 3, 0);
        let (addr, port) = (address_of(n as u8), Be16::new(80));
        desired.backends.insert(n, Backend { flags: backend_flags::UP, addr, port, next_hop, ..Backend::default() });
    }
    let member = |&n: &u32| Member { addr: address_of(n as u8), port: Be16::new(80), protocol: 6, weight: 1, backend: n };
    let key = ServiceKey { addr: vip, domain: 0, port: Be16::new(80), protocol: 6 };
    let vserver = DesiredVserver { key, members: members.iter().map(member).collect(), ..DesiredVserver::default() };
    desired.vservers.insert(7, vserver);
    desired.legs[0] = 3;
    desired
}

#[test]
fn maps_follow_the_configuration_across_a_restart() {
    alone(|| {
        let mut first = open();
        first.reconcile(clock::now(), &desired(&[1, 2])).unwrap();
        let present = first.present().unwrap();
        assert_eq!((present.backends.len(), present.owners.len(), present.vserver_keys.len(), present.legs[0]), (2, 2, 1, 3));
        let ring = present.vservers[&7].ring;
        let owners: HashSet<u32> = first.maps().slots(ring).into_iter().collect();
        assert_eq!((ring.len(), owners), (256, [1, 2].into()));
        drop(first);

        let mut second = open();
        second.reconcile(clock::now(), &desired(&[1, 2])).unwrap();
        assert_eq!(second.present().unwrap(), present, "nothing to do");
        second.reconcile(clock::now(), &desired(&[2, 3])).unwrap();
        let changed = second.present().unwrap();
        let vserver = changed.vservers[&7];
        assert_eq!((vserver.generation, vserver.previous), (2, ring));
        assert_ne!(vserver.flags & vserver_flags::PREVIOUS, 0);
        assert!(second.maps().slots(vserver.ring).iter().all(|slot| [2, 3].contains(slot)));
        assert!(!changed.backends.contains_key(&1));

        second.reconcile(clock::now(), &Desired::default()).unwrap();
        assert_eq!(second.present().unwrap(), datapath::Present::default());
    });
}

#[test]
fn an_index_beyond_the_maps_is_refused() {
    alone(|| {
        let mut datapath = open();
        let room = datapath.maps().capacity().backends as u32;
        let error = datapath.reconcile(clock::now(), &desired(&[1, room])).unwrap_err().to_string();
        assert!(error.contains(&format!("service number {room}")), "{error}");
        assert_eq!(datapath.present().unwrap(), datapath::Present::default());
    });
}

#[test]
fn a_backend_that_gets_a_second_vserver_has_its_flows_recorded_by_their_answers() {
    alone(|| {
        let mut datapath = open();
        let mut state = desired(&[1, 2]);
        datapath.reconcile(clock::now(), &state).unwrap();
        let flow_of = |n: u32| FlowKey {
            vserver: 7,
            addr: address_of(200),
            port: Be16::new(n as u16),
            protocol: 6,
            ..FlowKey::default()
        };
        let flows: Vec<_> = (1..=2).map(|n| (flow_of(n), Flow { backend: n, ..Flow::default() })).collect();
        datapath.maps().flows.put(&flows).unwrap();

        let mut second = state.vservers[&7].clone();
        second.key.port = Be16::new(81);
        second.members.truncate(1);
        state.vservers.insert(8, second);
        datapath.reconcile(clock::now(), &state).unwrap();
        let reverse = ReverseKey { backend: 1, addr: address_of(200), port: Be16::new(1), protocol: 6 };
        assert_eq!(datapath.maps().reverse.entries().unwrap(), [(reverse, flow_of(1))]);
    });
}

#[test]
fn tables_move_many_entries_and_do_not_mind_missing_ones() {
    alone(|| {
        let datapath = open();
        let flows = &datapath.maps().flows;
        let key =
            |n: u32| FlowKey { vserver: n as u16, addr: address_of(1), port: Be16::new(1), protocol: 6, ..FlowKey::default() };
        let entries: Vec<_> = (0..4000).map(|n| (key(n), Flow { backend: n, ..Flow::default() })).collect();
        flows.put(&entries).unwrap();
        let found: HashMap<u32, u32> =
            flows.entries().unwrap().into_iter().map(|(key, flow)| (key.index(), flow.backend)).collect();
        assert_eq!(found, (0..4000).map(|n| (n, n)).collect());
        flows.delete(&(0..5000).step_by(2).map(key).collect::<Vec<_>>()).unwrap();
        assert_eq!(flows.entries().unwrap().len(), 2000);
        let more: Vec<_> = (10_000..14_000).map(|n| (key(n), Flow::default())).collect();
        let full = flows.put(&more).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(nix::libc::E2BIG));
    });
}

#[test]
fn both_clocks_go_at_the_same_pace_and_idle_flows_are_forgotten() {
    alone(|| {
        let mut datapath = open();
        let (ticks, at) = datapath.clocks().read().unwrap();
        assert!(clock::now().since(at) < Duration::from_millis(100), "the kernel's clock is ours");
        let key = |vserver| FlowKey { vserver, addr: address_of(1), port: Be16::new(1), protocol: 6, ..FlowKey::default() };
        let flow = |seen| Flow { seen, ..Flow::default() };
        let maps = std::sync::Arc::clone(datapath.maps());
        let flows = &maps.flows;
        flows
            .put(&[(key(1), flow(ticks.low())), (key(2), flow(Ticks(ticks.0 - 100_000).low())), (key(3), flow(ticks.low()))])
            .unwrap();
        // Vserver 3 is no more; 100,000 ticks are at least 100 s.
        let vservers = HashMap::from([(1, Duration::from_secs(90)), (2, Duration::from_secs(90))]);
        let timeouts = std::sync::Arc::new(Timeouts { vservers, ..Timeouts::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_keep, timeouts) = watch::channel(timeouts);
            let (exceptions, mut passes) = watch::channel(HashSet::from([99]));
            tokio::spawn(datapath.ageing().expect("asked for once").run(timeouts, exceptions));
            tokio::time::timeout(Duration::from_secs(5), passes.changed()).await.expect("a pass within five seconds").unwrap();
        });
        let left: Vec<u32> = flows.entries().unwrap().iter().map(|(key, _)| key.index()).collect();
        assert_eq!(left, [1]);
    });
}

#[test]
fn the_shared_words_are_the_kernels() {
    alone(|| {
        let datapath = open();
        let shared = datapath.shared();
        let node = Node { nsip: 9, boot_nonce: 3, controller_at: Nanos(4), ..Node::default() };
        shared.begin(&node);
        assert_eq!(open().shared().node(), node);
        assert!(shared.fence().serving_term(&shared.node(), 0).is_none());
        assert_eq!(shared.read_link(0).unwrap().echoes, 0);
        assert!(datapath.events().unwrap().next().is_none());
        assert_eq!(datapath.maps().slots(Ring::new(0, 8)).len(), 256);
    });
}

#[test]
fn packets_are_counted_by_reason() {
    alone(|| {
        veth();
        let mut datapath = open();
        attach(&mut datapath, &["leg0"]).unwrap();
        // Both ends announce themselves by IPv6 within two seconds; an own frame is surer.
        let total = || datapath.maps().counters().unwrap().values().map(|counter| counter.packets).sum::<u64>();
        let deadline = Instant::now() + Duration::from_secs(10);
        ip("addr add 10.2.0.9/24 dev peer0");
        ip("neigh add 10.2.0.11 lladdr 02:00:00:00:00:01 dev peer0");
        let socket = std::net::UdpSocket::bind("10.2.0.9:0").unwrap();
        while total() == 0 {
            assert!(Instant::now() < deadline, "no packet was counted");
            socket.send_to(b"hello", "10.2.0.11:9").unwrap();
            thread::yield_now();
        }
    });
}
