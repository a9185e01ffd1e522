//! The harness proves itself on plain kernels: a node here is a host that owns the VIP by `ip addr`.
//!
//! What it must see: an address that moves, how long nobody answered, two owners at once, connections that live and die, silence.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use ha_tests::harness::connections::{Connections, Fault};
use ha_tests::harness::echo::EchoServer;
use ha_tests::harness::netdev;
use ha_tests::harness::netns::Netns;
use ha_tests::harness::prober::{ANSWER_WITHIN, Prober};
use ha_tests::harness::report::{Window, stale_frames};
use ha_tests::harness::rt;
use ha_tests::harness::run::{ROOT, Run, leftovers};
use ha_tests::harness::tally::Tally;
use ha_tests::harness::tap::{Floating, Tap};
use ha_tests::harness::topology::{Host, Leg, Topology, VIP_V4, VIP_V6};
use ha_tests::harness::wire::Direction;

/// Lets the probes run on for a while: the measured time itself, not a wait for something.
fn probe_for(time: Duration) {
    rt::sleep_until(rt::now() + time);
}

/// Keeps the other tests of this file waiting: they share the machine's clock and namespaces. `None` without root.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A run with both segments probed, the VIP on `owner`.
struct Stage {
    topology: Topology,
    run: Run,
}

impl Stage {
    fn raise(owner: Host) -> Result<Self> {
        let run = Run::start()?;
        let topology = Topology::raise(&run, 1)?;
        let stage = Self { topology, run };
        stage.take(owner)?;
        Ok(stage)
    }

    /// `host` takes the VIPs and says so by gratuitous ARP.
    fn take(&self, host: Host) -> Result<()> {
        let netns = &self.topology.site(host).netns;
        netns.ip(&format!("addr add {VIP_V4}/32 dev client0\naddr add {VIP_V6}/128 dev client0 nodad\n"))?;
        netns.run(|| announce(netdev::mac("client0")?))
    }

    fn leave(&self, host: Host) -> Result<()> {
        self.topology.site(host).netns.ip(&format!("addr del {VIP_V4}/32 dev client0\naddr del {VIP_V6}/128 dev client0\n"))
    }

    fn watch(&self) -> Result<(Arc<Tally>, Tap, Prober)> {
        let tally = Arc::new(Tally::default());
        let floating = Floating { addresses: [VIP_V4.into(), VIP_V6.into()].into(), ..Floating::default() };
        let tap = Tap::start(&self.topology, floating, tally.clone())?;
        let prober = Prober::start(&self.topology, tally.clone())?;
        Ok((tally, tap, prober))
    }
}

fn announce(mac: [u8; 6]) -> Result<()> {
    let socket = ha_tests::harness::packet_socket::sender("client0")?;
    let claim = etherparse::ArpEthIpv4Packet {
        operation: etherparse::ArpOperation::REQUEST,
        sender_mac: mac,
        sender_ipv4: VIP_V4.octets(),
        target_mac: [0; 6],
        target_ipv4: VIP_V4.octets(),
    };
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(mac, [0xff; 6]).arp(claim.into()).write(&mut frame)?;
    socket.send(&frame)?;
    Ok(())
}

#[test]
fn moving_an_address_is_measured_and_leaves_nothing_behind() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let stage = Stage::raise(Host::A)?;
    let name = stage.run.name().to_owned();
    let (tally, tap, prober) = stage.watch()?;
    probe_for(Duration::from_millis(300));

    let before = tally.sent();
    let event = rt::now();
    stage.topology.silence(Host::A, true);
    rt::sleep_until(event + Duration::from_millis(100));
    stage.take(Host::B)?;
    probe_for(Duration::from_millis(300));
    // The old owner comes back and still answers: two owners.
    let healed = tally.sent();
    stage.topology.silence(Host::A, false);
    probe_for(Duration::from_millis(100));
    stage.leave(Host::A)?;
    probe_for(ANSWER_WITHIN);
    drop(prober);

    let catch = tap.finish()?;
    // The first probes may wait for the first resolution.
    let window = Window { tally: &tally, first: 100, end: healed, event };
    let outage = window.outage().as_millis();
    assert!((95..200).contains(&outage), "the VIP was silent for 100 ms and a little, not {outage} ms");
    let quiet = Window { tally: &tally, first: 100, end: before, event };
    assert_eq!((quiet.lost(), quiet.last_answerer()), (0, Some(Host::A)));
    assert_eq!(window.both_answered(), 0);
    assert_eq!(window.last_answerer(), Some(Host::B));
    let until = window.until_answer_of(Host::B).expect("b answers").as_millis();
    assert!((98..200).contains(&until), "b answered 100 ms after the event and a little, not {until} ms");
    let lost = window.lost();
    assert!(u128::from(lost).abs_diff(outage) <= 30, "{lost} probes lost in {outage} ms");

    let conflict = Window { tally: &tally, first: healed, end: tally.sent(), event };
    assert!(conflict.both_answered() > 50, "two owners for 100 ms: {} double answers", conflict.both_answered());
    assert!(!stale_frames(&catch.sightings, Host::A, event).is_empty(), "the old owner spoke again");

    assert!(!leftovers(&name)?.is_empty());
    drop(stage);
    assert_eq!(leftovers(&name)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn connections_live_through_silence_and_notice_a_reset() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let stage = Stage::raise(Host::A)?;
    let server = EchoServer::start(&stage.topology.site(Host::A).netns, (VIP_V4, 80).into())?;
    let server_v6 = EchoServer::start(&stage.topology.site(Host::A).netns, (VIP_V6, 80).into())?;
    let (_tally, tap, _prober) = stage.watch()?;
    let connections = Connections::open(&stage.topology.client, &[(VIP_V4, 80).into(), (VIP_V6, 80).into()], 10)?;
    probe_for(Duration::from_millis(200));
    assert_eq!(connections.alive_since(Duration::from_nanos(1)), 10);

    stage.topology.silence(Host::A, true);
    let silent = rt::now();
    probe_for(Duration::from_millis(100));
    assert_eq!(connections.alive_since(silent + Duration::from_millis(1)), 0, "a silent node echoes nothing");
    stage.topology.silence(Host::A, false);
    // Retransmissions at 200, 400, 800 ms.
    probe_for(Duration::from_millis(900));
    assert_eq!(connections.alive_since(silent + Duration::from_millis(100)), 10, "{:?}", connections.progress());

    // A listener that is gone with its connections answers the next segment with RST.
    drop((server, server_v6));
    let deadline = rt::now() + Duration::from_secs(5);
    while connections.progress().iter().any(|one| one.fault.is_none()) && rt::now() < deadline {
        probe_for(Duration::from_millis(10));
    }
    let faults: Vec<_> = connections.progress().into_iter().map(|one| one.fault).collect();
    assert!(faults.iter().all(|fault| matches!(fault, Some(Fault::Closed | Fault::Reset))), "{faults:?}");
    drop(connections);
    tap.finish()?;
    Ok(())
}

#[test]
fn one_way_cut_stops_one_direction_only() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let stage = Stage::raise(Host::A)?;
    let (tally, tap, prober) = stage.watch()?;
    probe_for(Duration::from_millis(100));
    let leg = stage.topology.site(Host::A).port(Leg::Client);
    stage.topology.wire.cut(&[(leg, Direction::ToHost)], true);
    probe_for(Duration::from_millis(5));
    let deaf = tally.sent();
    let deaf_since = rt::now();
    probe_for(Duration::from_millis(50));
    let still_deaf = tally.sent();
    // It hears nothing, but can still speak.
    let netns = &stage.topology.site(Host::A).netns;
    netns.run(|| announce(netdev::mac("client0")?))?;
    probe_for(Duration::from_millis(50));
    drop(prober);
    let catch = tap.finish()?;
    let window = Window { tally: &tally, first: deaf, end: still_deaf, event: Duration::ZERO };
    assert_eq!(window.lost(), window.sent());
    assert!(catch.sightings.iter().any(|frame| frame.at > deaf_since), "the announcement reached the switch");
    Ok(())
}

#[test]
fn loss_is_random_at_the_chosen_rate() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let stage = Stage::raise(Host::A)?;
    let (tally, _tap, prober) = stage.watch()?;
    probe_for(Duration::from_millis(100));
    let first = tally.sent() + 1;
    stage.topology.wire.lose(stage.topology.site(Host::A).port(Leg::Client), Direction::FromHost, 0.25);
    probe_for(Duration::from_millis(800));
    let end = tally.sent();
    probe_for(ANSWER_WITHIN);
    drop(prober);
    let lost = Window { tally: &tally, first, end, event: Duration::ZERO }.lost();
    let share = f64::from(lost) / f64::from(end - first);
    // 800 throws at 0.25: six standard deviations are 0.09.
    assert!((0.16..0.34).contains(&share), "{lost} of {} lost", end - first);
    Ok(())
}

#[test]
fn leftovers_of_a_dead_run_are_swept_by_the_next() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    // Process ids end at 4194304: this one never lived.
    let dead = "us4194305";
    let pins = Path::new(ROOT).join(dead).join("bpf");
    std::fs::create_dir_all(&pins)?;
    nix::mount::mount(Some("bpf"), &pins, Some("bpf"), nix::mount::MsFlags::empty(), None::<&str>)?;
    let netns = Netns::create(&format!("{dead}-a"))?;
    // It is inside before it is started: a process that only enters later would find the namespace gone, or outlive its name.
    let mut sleeper = std::process::Command::new("sleep");
    sleeper.arg("60");
    let mut sleeper = netns.spawn(sleeper)?;
    assert_eq!(leftovers(dead)?.len(), 3);
    let next = Run::start()?;
    assert_eq!(leftovers(dead)?, Vec::<String>::new());
    assert!(!sleeper.wait()?.success(), "it was killed");
    drop(next);
    Ok(())
}

#[test]
fn client_carrier_follows_the_switch_port() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let stage = Stage::raise(Host::B)?;
    let netns = &stage.topology.site(Host::B).netns;
    // The kernel reports carrier from a worker of its own, a gain up to a second late.
    let wait_running = |expected: bool| -> Result<()> {
        let deadline = rt::now() + Duration::from_secs(3);
        while netns.run(|| netdev::has_carrier("client0"))? != expected {
            anyhow::ensure!(rt::now() < deadline, "carrier of client0 is not {expected} within 3 s");
            probe_for(Duration::from_millis(1));
        }
        Ok(())
    };
    wait_running(true)?;
    stage.topology.set_client_carrier(Host::B, false)?;
    wait_running(false)?;
    stage.topology.set_client_carrier(Host::B, true)?;
    wait_running(true)
}
