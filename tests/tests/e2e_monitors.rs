//! What a node knows of its own health, on a real kernel, in namespaces that end with the test.

use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ha_common::ha::event::Interfaces;
use ha_common::ha::monitor::{Rules, Set, Watch};
use ha_tests::alone::{alone, ip, veth};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::sync::watch;
use understudy::command::value::Route;
use understudy::ha::monitor::{Facts, Monitor, Watched};
use understudy::net::probe::{Probes, Target};
use understudy::net::route::{self, Routes, Wanted};
use understudy::net::{link, media};

/// Longer than any of these takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Another machine: a thread with a network of its own, at the other end of `leg0`.
struct Machine {
    pid: nix::unistd::Pid,
    finish: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    fn at_peer0() -> Machine {
        let (ready, is_ready) = channel();
        let (finish, finished) = channel::<()>();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(nix::unistd::gettid()).unwrap();
            let _ = finished.recv();
        });
        let pid = is_ready.recv().unwrap();
        ip(&format!("link set peer0 netns {pid}"));
        let machine = Machine { pid, finish: Some(finish), thread: Some(thread) };
        machine.run("sysctl -qw net.ipv6.conf.all.accept_dad=0");
        machine.run("ip link set peer0 address 02:00:00:00:00:11 up");
        machine
    }

    /// Sends frames that are nobody's answer while `act` runs.
    fn speaks(&self, act: impl FnOnce()) {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.pid)).unwrap();
        let (done, is_done) = channel::<()>();
        let speaker = thread::spawn(move || {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            let socket = std::net::UdpSocket::bind("10.1.0.253:0").unwrap();
            socket.set_broadcast(true).unwrap();
            while is_done.recv_timeout(Duration::from_millis(2)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                socket.send_to(b"anybody there?", "10.1.0.255:9").unwrap();
            }
        });
        act();
        drop(done);
        speaker.join().unwrap();
    }

    fn run(&self, line: &str) {
        let mut command = Command::new("nsenter");
        let status = command.arg(format!("--net=/proc/{}/ns/net", self.pid)).args(line.split(' ')).status();
        assert!(status.unwrap().success(), "{line}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.finish.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn leg(name: &str) -> Watch {
    Watch { name: name.into(), enabled: true, monitored: true, carries: true, ..Watch::default() }
}

fn monitor(watched: Watched) -> (Monitor, Receiver<Facts>) {
    let (told, facts) = channel();
    let monitor = Monitor::spawn(move |facts| {
        let _ = told.send(facts);
    })
    .unwrap();
    monitor.follow(watched);
    (monitor, facts)
}

/// Waits until the facts are as wanted; how long it took.
fn until(facts: &Receiver<Facts>, wanted: impl Fn(&Facts) -> bool) -> Duration {
    let began = Instant::now();
    loop {
        let found = facts.recv_timeout(PATIENCE).expect("no such facts");
        if wanted(&found) {
            return began.elapsed();
        }
    }
}

#[test]
fn lost_carrier_is_judged_within_milliseconds_and_a_set_of_two_outlives_it() {
    alone(|| {
        veth();
        ip("link add leg1 type veth peer name peer1");
        ip("link set peer1 up");
        ip("link set leg1 up");
        let set = Set { name: "uplinks".into(), members: vec!["leg0".into(), "leg1".into()] };
        let alone = Rules { interfaces: vec![leg("leg0"), leg("leg1")], sets: Vec::new() };
        let (monitor, facts) = monitor(Watched { rules: alone.clone(), ..Watched::default() });
        until(&facts, |facts| facts.findings.health.interfaces == Interfaces::Work);
        let mut delays = Vec::new();
        for _ in 0..5 {
            ip("link set peer0 down");
            delays.push(until(&facts, |facts| facts.findings.failed == ["leg0"]));
            ip("link set peer0 up");
            delays.push(until(&facts, |facts| facts.findings.health.interfaces == Interfaces::Work));
        }
        delays.sort();
        assert!(delays[delays.len() / 2] < Duration::from_millis(10), "{delays:?}");

        ip("link set peer0 down");
        until(&facts, |facts| facts.findings.health.interfaces == Interfaces::SomeFail);
        monitor.follow(Watched { rules: Rules { sets: vec![set], ..alone }, ..Watched::default() });
        until(&facts, |facts| facts.findings.health.interfaces == Interfaces::Work);
        ip("link set peer1 down");
        until(&facts, |facts| facts.findings.health.interfaces == Interfaces::AllFail && facts.findings.sets["uplinks"]);
    });
}

#[test]
fn nothing_is_told_before_it_is_known_what_to_watch() {
    alone(|| {
        let (told, facts) = channel();
        let monitor = Monitor::spawn(move |facts| {
            let _ = told.send(facts);
        })
        .unwrap();
        assert!(facts.recv_timeout(Duration::from_millis(100)).is_err());
        monitor.follow(Watched::default());
        until(&facts, |facts| facts.findings.health.interfaces == Interfaces::Work);
    });
}

#[test]
fn interface_that_is_not_there_has_no_carrier() {
    alone(|| {
        veth();
        let rules = Rules { interfaces: vec![leg("leg0"), leg("absent")], sets: Vec::new() };
        let (_monitor, facts) = monitor(Watched { rules, ..Watched::default() });
        until(&facts, |facts| facts.findings.failed == ["absent"]);
    });
}

#[test]
fn link_slower_than_its_threshold_fails() {
    alone(|| {
        veth();
        assert_eq!(media::of("leg0").speed, Some(10_000), "what a veth says of itself");
        let at = |throughput| Rules { interfaces: vec![Watch { throughput, ..leg("leg0") }], sets: Vec::new() };
        let (monitor, facts) = monitor(Watched { rules: at(10_001), ..Watched::default() });
        until(&facts, |facts| facts.findings.failed == ["leg0"] && facts.findings.health.connected);
        monitor.follow(Watched { rules: at(10_000), ..Watched::default() });
        until(&facts, |facts| facts.findings.failed.is_empty());
    });
}

#[test]
fn a_monitored_route_counts_once_it_is_known_and_while_it_is_there() {
    alone(|| {
        veth();
        let route = Route::read("10.7.0.0/16").unwrap();
        let rules = Rules { interfaces: vec![leg("leg0")], sets: Vec::new() };
        let (monitor, facts) = monitor(Watched { rules, routes: [route].into() });
        assert!(facts.recv_timeout(Duration::from_millis(100)).is_err(), "nothing is said before the table was read");
        monitor.routes([(route, false)].into());
        until(&facts, |facts| !facts.findings.health.routes);
        monitor.routes([(route, true)].into());
        until(&facts, |facts| facts.findings.health.routes);
    });
}

#[test]
fn routes_are_followed_also_when_the_kernel_tells_nothing_of_their_end() {
    alone(|| {
        veth();
        ip("addr add 10.1.0.11/24 dev leg0");
        let route = Route::read("10.7.0.0/16").unwrap();
        let wanted = Wanted { monitored: [route, Route::Default].into(), towards: "10.7.9.9".parse().ok() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_wanted, wanted) = watch::channel(wanted);
            let mut routes = route::spawn(wanted).unwrap();
            let mut until = async |wish: &dyn Fn(&Routes) -> bool| {
                let found = async { routes.wait_for(|routes| routes.as_ref().is_some_and(wish)).await.map(drop) };
                tokio::time::timeout(PATIENCE, found).await.expect("the table says something else").unwrap();
            };
            until(&|routes| !routes.monitored[&route]).await;
            ip("route add 10.7.0.0/16 via 10.1.0.253");
            until(&|routes| routes.monitored[&route] && !routes.monitored[&Route::Default]).await;
            until(&|routes| routes.towards.values().any(|via| via.to_string() == "10.1.0.253")).await;
            ip("route add default via 10.1.0.254");
            until(&|routes| routes.monitored[&Route::Default]).await;
            let gateway = Some("10.1.0.254".parse().unwrap());
            until(&|routes| routes.gateways.values().any(|[v4, _]| *v4 == gateway)).await;
            // The routes go with the interface, and only the interface is told of.
            ip("link set leg0 down");
            until(&|routes| !routes.monitored[&route] && routes.gateways.is_empty()).await;
            ip("link set leg0 up");
            ip("route add default via 10.1.0.254");
            until(&|routes| routes.monitored[&Route::Default]).await;
            // Without carrier a route leads nowhere.
            ip("link set peer0 down");
            until(&|routes| !routes.monitored[&Route::Default]).await;
        });
    });
}

fn probes_until_cut(own: Option<&str>, address: &str, cut: impl Fn(&Machine), join: impl Fn(&Machine)) {
    let machine = Machine::at_peer0();
    join(&machine);
    let leg0 = link::link("leg0").unwrap();
    let (turned, turns) = channel();
    let probes = Probes::spawn(move || {
        let _ = turned.send(());
    })
    .unwrap();
    let reach = probes.reach();
    assert_eq!(reach.silence(), None, "nobody is asked");
    let target = Target {
        ifindex: leg0.ifindex,
        leg: leg0.ifindex,
        mac: leg0.mac,
        own: own.map(|own| own.parse().unwrap()),
        address: address.parse().unwrap(),
    };
    let hold = Duration::from_millis(60);
    probes.follow(vec![target], hold);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(reach.silence().is_some_and(|silence| silence < hold), "{:?}", reach.silence());
    assert!(turns.try_recv().is_err(), "reached all the time");

    let cut_at = Instant::now();
    cut(&machine);
    turns.recv_timeout(PATIENCE).expect("silence is noticed");
    let silent = cut_at.elapsed();
    assert!(reach.silence().is_some_and(|silence| silence >= hold));
    assert!((hold - Duration::from_millis(15)..hold * 4).contains(&silent), "noticed after {silent:?}");

    // Somebody else who is heard is somebody, too.
    machine.speaks(|| {
        turns.recv_timeout(PATIENCE).expect("traffic is noticed");
        assert!(reach.silence().is_some_and(|silence| silence < hold), "{:?}", reach.silence());
    });

    probes.follow(Vec::new(), hold);
    let began = Instant::now();
    while reach.silence().is_some() {
        assert!(began.elapsed() < PATIENCE);
        thread::yield_now();
    }
}

#[test]
fn gateway_that_falls_silent_is_noticed_after_the_hold_and_other_traffic_ends_it() {
    for own in [Some("10.1.0.11"), None] {
        alone(|| {
            veth();
            if let Some(own) = own {
                ip(&format!("addr add {own}/24 dev leg0"));
            }
            let join = |machine: &Machine| machine.run("ip addr add 10.1.0.254/24 dev peer0");
            let cut = |machine: &Machine| {
                machine.run("ip addr del 10.1.0.254/24 dev peer0");
                machine.run("ip addr add 10.1.0.253/24 dev peer0");
            };
            probes_until_cut(own, "10.1.0.254", cut, join);
        });
    }
}

#[test]
fn ipv6_gateway_is_probed_by_neighbour_solicitations() {
    alone(|| {
        veth();
        let join = |machine: &Machine| machine.run("ip addr add fd00:1::fe/64 dev peer0 nodad");
        let cut = |machine: &Machine| {
            machine.run("ip addr del fd00:1::fe/64 dev peer0");
            machine.run("ip addr add 10.1.0.253/24 dev peer0");
        };
        ip("addr add fd00:1::11/64 dev leg0 nodad");
        probes_until_cut(Some("fd00:1::11"), "fd00:1::fe", cut, join);
    });
}
