//! Interfaces, neighbours, addresses and announcements on a real kernel, in namespaces that end with the test.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ha_common::abi::Term;
use ha_common::ha::announce::{Announcement, Pace, Subject};
use ha_tests::alone::{alone, ip, veth};
use ha_tests::harness::packet_socket;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::watch;
use understudy::net::address::{self, LocalAddress};
use understudy::net::announce::{Announcer, Gratuitous, Outcome, Roll};
use understudy::net::link::{self, LinkEvent, LinkWatch, Statistics};
use understudy::net::neighbour;
use understudy::net::reception::{Receiver, Reception};

#[test]
fn carrier_is_told_within_milliseconds() {
    alone(|| {
        veth();
        let mut watch = LinkWatch::open(["leg0".to_owned()]).unwrap();
        let mut wait = |wanted: bool| {
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(5) {
                let carrier = |event| matches!(event, LinkEvent::Is(link) if link.carrier == wanted);
                if watch.drain().any(carrier) {
                    return started.elapsed();
                }
                thread::yield_now();
            }
            panic!("no event");
        };
        wait(true);
        let mut delays: Vec<Duration> = Vec::new();
        for _ in 0..9 {
            ip("link set peer0 down");
            delays.push(wait(false));
            ip("link set peer0 up");
            delays.push(wait(true));
        }
        delays.sort();
        assert!(delays[delays.len() / 2] < Duration::from_millis(5), "{delays:?}");
    });
}

#[test]
fn next_hops_are_resolved_and_followed() {
    alone(|| {
        veth();
        ip("addr add 10.2.0.250/24 dev leg0");
        ip("route add 10.7.0.0/16 via 10.2.0.11");
        // The neighbour is another machine: a thread with a network of its own.
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let machine = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(nix::unistd::gettid()).unwrap();
            let _ = finished.recv();
        });
        let pid = is_ready.recv().unwrap();
        let there = |arguments: &str| {
            let status =
                Command::new("nsenter").arg(format!("--net=/proc/{pid}/ns/net")).arg("ip").args(arguments.split(' ')).status();
            assert!(status.unwrap().success(), "{arguments}");
        };
        ip(&format!("link set peer0 netns {pid}"));
        there("link set peer0 address 02:00:00:00:00:11 up");
        there("addr add 10.2.0.11/24 dev peer0");

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let direct: IpAddr = "10.2.0.11".parse().unwrap();
            let routed: IpAddr = "10.7.0.1".parse().unwrap();
            let (_wanted, wanted) = watch::channel(BTreeSet::from([direct, routed]));
            let mut neighbours = neighbour::spawn(wanted).unwrap();
            let mut until = async |mac: [u8; 6]| loop {
                let known = neighbours.next_hops.borrow_and_update().clone();
                if [direct, routed].iter().all(|address| known.get(address).is_some_and(|hop| hop.mac == mac)) {
                    return;
                }
                tokio::time::timeout(Duration::from_secs(10), neighbours.next_hops.changed())
                    .await
                    .unwrap_or_else(|_| panic!("{known:?}"))
                    .unwrap();
            };
            until([2, 0, 0, 0, 0, 0x11]).await;
            there("link set peer0 address 02:00:00:00:00:12");
            ip("neigh flush dev leg0");
            until([2, 0, 0, 0, 0, 0x12]).await;
        });
        drop(finish);
        machine.join().unwrap();
    });
}

/// Announced until the first frame passes.
const FORERUNNER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1));

fn roll(leg: &link::Link, addresses: &[IpAddr]) -> Arc<Roll> {
    let announcement = |&address: &IpAddr| Announcement { ifindex: leg.ifindex, vlan: 0, subject: Subject::Address(address) };
    let announcements = addresses.iter().map(announcement).collect();
    Arc::new(Roll { announcements, macs: [(leg.ifindex, [leg.mac; 2])].into(), ..Roll::default() })
}

fn nobody() -> Outcome {
    Arc::new(|_, _| {})
}

/// An interface that has just come up drops what is sent for a moment: the kernel wires its queue up later.
fn wait_until_frames_pass(leg: &link::Link, socket: &socket2::Socket) {
    let pace = Pace { rounds: 5_000, round_gap: Duration::from_millis(1), ..Pace::default() };
    let forerunner = Gratuitous::spawn(pace, |_| {}).unwrap();
    forerunner.announce(Term::new(1, 1), &roll(leg, &[FORERUNNER]), nobody());
    let (mut frame, until) = ([0; 128], Instant::now() + Duration::from_secs(5));
    while packet_socket::receive(socket, &mut frame).unwrap().is_none() {
        assert!(Instant::now() < until, "nothing passes");
        thread::yield_now();
    }
}

#[test]
fn announcements_reach_the_segment_in_order_and_stop_at_once() {
    alone(|| {
        veth();
        let leg = link::link("leg0").unwrap();
        let socket = packet_socket::capture("peer0").unwrap();
        wait_until_frames_pass(&leg, &socket);
        let announcements = Gratuitous::spawn(Pace { burst: 8, rate: 100, ..Pace::default() }, |_| {}).unwrap();
        let addresses: Vec<IpAddr> = (1..=200).map(|n| Ipv4Addr::new(10, 1, 0, n).into()).collect();
        announcements.announce(Term::new(1, 1), &roll(&leg, &addresses), nobody());
        let mut heard = Vec::new();
        let mut listen = |enough: &dyn Fn(&[IpAddr]) -> bool, until: Instant| {
            let mut frame = [0; 128];
            while !enough(&heard) && Instant::now() < until {
                if packet_socket::receive(&socket, &mut frame).unwrap().is_some() && frame[12..14] == [8, 6] {
                    assert_eq!(
                        (&frame[0..6], &frame[6..12], frame[28..32] == frame[38..42]),
                        (&[0xff; 6][..], &leg.mac[..], true)
                    );
                    let address = IpAddr::from([frame[28], frame[29], frame[30], frame[31]]);
                    if address != FORERUNNER {
                        heard.push(address);
                    }
                } else {
                    thread::yield_now();
                }
            }
            heard.clone()
        };
        let first = listen(&|heard| heard.len() >= 12, Instant::now() + Duration::from_secs(5));
        assert_eq!(first[..12], addresses[..12]);
        announcements.withdraw();
        let sent = announcements.counts().sent as usize;
        let all = listen(&|_| false, Instant::now() + Duration::from_millis(100));
        assert!(all.len() <= sent + 1, "{} frames were sent when it stopped, {} came", sent, all.len());
    });
}

#[test]
fn floating_addresses_come_and_go_as_often_as_one_likes() {
    alone(|| {
        veth();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            let ifindex = link::link("leg0").unwrap().ifindex;
            for text in ["10.2.0.1/24", "fd00:2::1/128"] {
                let (address, prefix_len) = text.split_once('/').unwrap();
                let local =
                    LocalAddress { ifindex, address: address.parse().unwrap(), prefix_len: prefix_len.parse().unwrap() };
                for _ in 0..2 {
                    address::add(&handle, local).await.unwrap();
                    assert!(address::list(&handle).await.unwrap().contains(&local));
                }
                std::net::UdpSocket::bind((local.address, 0)).expect("usable at once");
                for _ in 0..2 {
                    address::remove(&handle, local).await.unwrap();
                    assert!(!address::list(&handle).await.unwrap().contains(&local));
                }
            }
            let nowhere = LocalAddress { ifindex: 9999, address: "10.2.0.1".parse().unwrap(), prefix_len: 32 };
            assert!(address::add(&handle, nowhere).await.unwrap_err().to_string().contains("10.2.0.1/32 on interface 9999"));
        });
    });
}

#[test]
fn a_leg_lets_in_its_virtual_mac_and_the_groups_of_its_addresses_and_no_more() {
    alone(|| {
        veth();
        let ifindex = link::link("leg0").unwrap().ifindex;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            let shown = |what: &[&str]| {
                let output = Command::new(what[0]).args(&what[1..]).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            let vmac = || shown(&["bridge", "fdb", "show", "dev", "leg0"]).contains("00:00:5e:00:01:3c self permanent");
            let groups = || shown(&["ip", "-6", "maddr", "show", "dev", "leg0"]).matches("ff02::1:ff").count();
            let before = groups();
            let group = |n: u16| (ifindex, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff10, n));
            let wanted = Reception { macs: [(ifindex, [0, 0, 0x5e, 0, 1, 60])].into(), groups: (0..400).map(group).collect() };
            let mut receiver = Receiver::default();
            for _ in 0..2 {
                receiver.follow(&handle, &wanted).await;
                assert!(vmac(), "as a second unicast address");
                assert_eq!(groups() - before, 400, "more than one socket holds");
            }
            receiver.follow(&handle, &Reception { groups: (0..3).map(group).collect(), ..Reception::default() }).await;
            assert!(!vmac());
            assert_eq!(groups() - before, 3);
        });
    });
}

#[test]
fn an_interface_that_takes_no_virtual_mac_is_promiscuous_as_long_as_it_has_one_and_no_longer_than_that() {
    alone(|| {
        // A tunnel's forwarding table wants a remote end with each address.
        ip("link add leg0 type vxlan id 7 dstport 4789");
        ip("link add leg1 type vxlan id 8 dstport 4790");
        ip("link set leg1 promisc on");
        let [leg, others] = ["leg0", "leg1"].map(|name| link::link(name).unwrap().ifindex);
        let state = std::env::temp_dir().join(format!("understudy-e2e-promiscuous-{}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            let promiscuous =
                || [leg, others].map(|ifindex| Statistics::open().unwrap().traffic(ifindex).unwrap().flags & 0x100 != 0);
            let mac = |ifindex, id| (ifindex, [0, 0, 0x5e, 0, 1, id]);
            let wanted = |macs: &[(u32, [u8; 6])]| Reception { macs: macs.iter().copied().collect(), ..Reception::default() };
            let mut receiver = Receiver::new(&state);
            receiver.follow(&handle, &wanted(&[mac(leg, 60), mac(leg, 61), mac(others, 60)])).await;
            assert_eq!(promiscuous(), [true, true]);
            receiver.follow(&handle, &wanted(&[mac(leg, 61)])).await;
            assert_eq!(promiscuous(), [true, true], "one virtual MAC is left");
            // The next daemon finds it so.
            let mut receiver = Receiver::new(&state);
            receiver.follow(&handle, &wanted(&[mac(leg, 61)])).await;
            receiver.follow(&handle, &Reception::default()).await;
            assert_eq!(promiscuous(), [false, true], "the other was so before");
        });
        std::fs::remove_dir_all(&state).unwrap();
    });
}
