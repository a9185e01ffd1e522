//! Which service gets a client: methods, sessions, limits and services that leave, with a real pair and the kernels of real backends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::lab::{Lab, Options};
use ha_tests::harness::topology::{CLIENT_V4, Host, Topology, VIP_V4, VIP_V6, backend_v4, backend_v6};
use ha_tests::harness::trial;
use ha_tests::harness::ways::WITHIN;
use socket2::{Domain, Socket, Type};

/// Port of every service here.
const PORT: u16 = 8_100;
/// As many backends.
const BACKENDS: usize = 3;
/// Another client.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
/// Another VIP.
const VIP_TOO: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 110);
/// A SYN that nobody takes is not answered within this time.
const REFUSED_AFTER: Duration = Duration::from_millis(700);

/// Services `b1` to `b3` of IPv4 and `x1` to `x3` of IPv6, one on each backend.
fn services() -> String {
    let one = |number: usize| {
        let (v4, v6) = (backend_v4(number), backend_v6(number));
        format!(
            "add service b{number} {v4} TCP {PORT} -usip YES -healthMonitor NO\n\
             add service x{number} {v6} TCP {PORT} -usip NO -healthMonitor NO\n"
        )
    };
    (1..=BACKENDS).map(one).collect()
}

/// A virtual server on `port` with these services.
fn vserver(name: &str, ip: IpAddr, port: u16, settings: &str, bound: &[&str]) -> String {
    let bind = |service: &&str| format!("bind lb vserver {name} {service}\n");
    format!("add lb vserver {name} TCP {ip} {port} {settings}\n") + &bound.iter().map(bind).collect::<String>()
}

/// A pair with `more`, whose backends say their number to everybody, and the lock that keeps other labs waiting. `None` without root.
fn pair(more: &str) -> Result<Option<(Lab, Host, MutexGuard<'static, ()>)>> {
    let Some(alone) = trial::alone() else { return Ok(None) };
    let options = Options { dead: Duration::from_millis(500), backends: BACKENDS, ..Options::small()? };
    let prepare = |topology: &Topology| topology.client.ip(&format!("addr add {OTHER}/24 dev client0\n"));
    let lab = Lab::raise_with(&options, &(services() + more), prepare)?;
    let primary = lab.wait_settled()?;
    for (backend, number) in lab.topology.backends.iter().zip(1u8..) {
        for address in [IpAddr::from(backend_v4(number.into())), backend_v6(number.into()).into()] {
            let listener = backend.run(|| Ok(TcpListener::bind((address, PORT))?))?;
            std::thread::spawn(move || serve(&listener, number));
        }
    }
    Ok(Some((lab, primary, alone)))
}

/// Says its number to everybody, and what is said to it, until they leave.
fn serve(listener: &TcpListener, number: u8) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        std::thread::spawn(move || {
            let mut heard = [0; 64];
            let _ = stream.write_all(&[number]);
            while let Ok(count @ 1..) = stream.read(&mut heard) {
                let _ = stream.write_all(&heard[..count]);
            }
        });
    }
}

/// A connection and the backend that it is with.
struct Held {
    stream: TcpStream,
    backend: u8,
}

impl Held {
    /// Whether it still carries bytes both ways.
    fn speaks(&mut self) -> Result<()> {
        self.stream.write_all(b"still there?")?;
        let mut heard = [0; 12];
        self.stream.read_exact(&mut heard).context("the connection does not go on")?;
        ensure!(&heard == b"still there?");
        Ok(())
    }
}

/// A connection from `client` to `vip`, if it is there in time.
fn dial(lab: &Lab, client: Option<Ipv4Addr>, vip: SocketAddr, within: Duration) -> Result<Held> {
    let stream: TcpStream = lab.topology.client.run(|| {
        let socket = Socket::new(Domain::for_address(vip), Type::STREAM, None)?;
        if let Some(client) = client {
            socket.bind(&SocketAddr::new(client.into(), 0).into())?;
        }
        socket.connect_timeout(&vip.into(), within).with_context(|| format!("connect to {vip}"))?;
        Ok(socket.into())
    })?;
    stream.set_read_timeout(Some(WITHIN))?;
    let mut backend = [0];
    (&stream).read_exact(&mut backend).with_context(|| format!("nobody answers at {vip}"))?;
    Ok(Held { stream, backend: backend[0] })
}

fn call(lab: &Lab, port: u16) -> Result<Held> {
    dial(lab, None, (VIP_V4, port).into(), WITHIN)
}

fn call_from(lab: &Lab, client: Ipv4Addr, port: u16) -> Result<Held> {
    dial(lab, Some(client), (VIP_V4, port).into(), WITHIN)
}

fn order(lab: &Lab, line: &str) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    Host::BOTH.into_iter().try_for_each(|host| lab.node(host).command(&words).map(drop))
}

/// What `show service` says in JSON of one, on the Primary.
fn service(lab: &Lab, primary: Host, name: &str) -> Result<serde_json::Value> {
    let shown = lab.node(primary).command(&["show", "service", name, "-json"])?;
    let reply: serde_json::Value = serde_json::from_str(&shown).with_context(|| shown.clone())?;
    Ok(reply["service"][0].clone())
}

/// Waits until `fact` holds.
fn wait(what: &str, mut fact: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !fact()? {
        ensure!(began.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn wait_connections(lab: &Lab, primary: Host, name: &str, wanted: u64) -> Result<()> {
    wait(&format!("{name} has {wanted} connections"), || Ok(service(lab, primary, name)?["cursrvrconnections"] == wanted))
}

#[test]
fn round_robin_gives_each_service_its_turns_by_weight_in_either_family() -> Result<()> {
    let heavy = "bind lb vserver heavy b1 -weight 2\nbind lb vserver heavy b3\n";
    let more = vserver("turns", VIP_V4.into(), 9_001, "-lbMethod ROUNDROBIN", &["b1", "b2", "b3"])
        + &vserver("turns6", VIP_V6.into(), 9_001, "-lbMethod ROUNDROBIN", &["x1", "x2", "x3"])
        + &vserver("heavy", VIP_V4.into(), 9_002, "-lbMethod ROUNDROBIN", &[])
        + heavy;
    let Some((lab, _, _alone)) = pair(&more)? else { return Ok(()) };
    let claim = || {
        for vip in [SocketAddr::from((VIP_V4, 9_001)), (VIP_V6, 9_001).into()] {
            let met = (0..9).map(|_| Ok(dial(&lab, None, vip, WITHIN)?.backend)).collect::<Result<Vec<u8>>>()?;
            let round: BTreeSet<u8> = met[..3].iter().copied().collect();
            ensure!(round.len() == 3 && met[3..6] == met[..3] && met[6..] == met[..3], "{vip}: {met:?}");
        }
        let mut met = BTreeMap::<u8, usize>::new();
        for _ in 0..12 {
            *met.entry(call(&lab, 9_002)?.backend).or_default() += 1;
        }
        ensure!(met == BTreeMap::from([(1, 8), (3, 4)]), "{met:?}");
        // Who goes is passed over at once, and who comes back has its turns again.
        order(&lab, "disable service b2")?;
        let met: BTreeSet<u8> = (0..6).map(|_| Ok(call(&lab, 9_001)?.backend)).collect::<Result<_>>()?;
        ensure!(met == BTreeSet::from([1, 3]), "{met:?}");
        order(&lab, "enable service b2")?;
        let met: BTreeSet<u8> = (0..3).map(|_| Ok(call(&lab, 9_001)?.backend)).collect::<Result<_>>()?;
        ensure!(met == BTreeSet::from([1, 2, 3]), "{met:?}");
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn least_connection_fills_up_whoever_has_fewest_and_a_full_service_takes_no_more() -> Result<()> {
    let more = vserver("least", VIP_V4.into(), 9_003, "-lbMethod LEASTCONNECTION", &["b1", "b2", "b3"])
        + &vserver("narrow", VIP_V4.into(), 9_004, "", &["b2"]);
    let Some((lab, primary, _alone)) = pair(&more)? else { return Ok(()) };
    let claim = || {
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(call(&lab, 9_003)?);
            // Its record is there with its first segment, which the kernel may count a moment after the byte is here.
            let all = |name| Ok::<_, anyhow::Error>(service(&lab, primary, name)?["cursrvrconnections"].as_u64().unwrap_or(0));
            wait("it is counted", || Ok(all("b1")? + all("b2")? + all("b3")? == held.len() as u64))?;
        }
        let count = |held: &[Held], backend| held.iter().filter(|one| one.backend == backend).count();
        ensure!([1, 2, 3].map(|backend| count(&held, backend)) == [2, 2, 2], "uneven");
        held.retain(|one| one.backend != 2);
        wait_connections(&lab, primary, "b2", 0)?;
        for expected in 1..=2 {
            let one = call(&lab, 9_003)?;
            ensure!(one.backend == 2, "it went to {}, which has two", one.backend);
            held.push(one);
            wait_connections(&lab, primary, "b2", expected)?;
        }
        // What is counted of a service is counted over all virtual servers.
        order(&lab, "set service b2 -maxClient 2")?;
        let refused = dial(&lab, None, (VIP_V4, 9_004).into(), REFUSED_AFTER);
        ensure!(refused.is_err(), "a full service took one more");
        let full = lab.node(primary).counters()?.into_iter().find(|(reason, _)| *reason == "backends_full");
        ensure!(full.is_some_and(|(_, packets)| packets > 0), "{full:?}");
        for one in &mut held {
            one.speaks()?;
        }
        let gone = held.iter().position(|one| one.backend == 2).context("one of two")?;
        drop(held.swap_remove(gone));
        wait_connections(&lab, primary, "b2", 1)?;
        ensure!(call(&lab, 9_004)?.backend == 2);
        ensure!(service(&lab, primary, "b2")?["peakconnections"] == 2);
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn a_client_stays_with_its_service_until_that_fails_and_then_with_the_next_one() -> Result<()> {
    let settings = "-lbMethod ROUNDROBIN -persistenceType SOURCEIP";
    let more = vserver("sticky", VIP_V4.into(), 9_005, settings, &["b1", "b2", "b3"]);
    let Some((lab, primary, _alone)) = pair(&more)? else { return Ok(()) };
    let sessions = || {
        let shown = lab.node(primary).command(&["show", "lb", "persistentSessions", "sticky", "-json"])?;
        let reply: serde_json::Value = serde_json::from_str(&shown)?;
        let list = reply["lbpersistentsessions"].as_array().cloned().unwrap_or_default();
        let pair = |row: &serde_json::Value| {
            (row["srcip"].as_str().unwrap_or("?").to_owned(), row["servicename"].as_str().unwrap_or("?").to_owned())
        };
        Ok::<BTreeMap<String, String>, anyhow::Error>(list.iter().map(pair).collect())
    };
    let all_at = |client: Ipv4Addr| {
        let met = (0..5).map(|_| Ok(call_from(&lab, client, 9_005)?.backend)).collect::<Result<Vec<u8>>>()?;
        ensure!(met.iter().all(|one| *one == met[0]), "{client} was sent to {met:?}");
        Ok(met[0])
    };
    let claim = || {
        // Six connections at once, before any of them is confirmed.
        let at_once = std::thread::scope(|scope| {
            let dials: Vec<_> = (0..6).map(|_| scope.spawn(|| call_from(&lab, CLIENT_V4, 9_005))).collect();
            dials.into_iter().map(|dial| dial.join().expect("no panic")).collect::<Result<Vec<Held>>>()
        })?;
        let first = at_once[0].backend;
        ensure!(at_once.iter().all(|one| one.backend == first), "a client that opens six connections is one client");
        ensure!(all_at(CLIENT_V4)? == first);
        let other = all_at(OTHER)?;
        ensure!(other != first, "another client takes the next turn");
        let expected = BTreeMap::from([(CLIENT_V4.to_string(), format!("b{first}")), (OTHER.to_string(), format!("b{other}"))]);
        ensure!(sessions()? == expected, "{:?}", sessions()?);
        drop(at_once);
        // Its service fails, and comes back: the client has another by then, and keeps it.
        order(&lab, &format!("disable service b{first}"))?;
        let second = all_at(CLIENT_V4)?;
        ensure!(second != first && all_at(OTHER)? == other);
        order(&lab, &format!("enable service b{first}"))?;
        ensure!(all_at(CLIENT_V4)? == second, "{:?}", sessions()?);
        lab.node(primary).command(&["clear", "lb", "persistentSessions", "sticky"])?;
        ensure!(sessions()?.is_empty(), "{:?}", sessions()?);
        let met: BTreeSet<u8> = (0..3)
            .map(|_| {
                let met = call_from(&lab, CLIENT_V4, 9_005)?.backend;
                lab.node(primary).command(&["clear", "lb", "persistentSessions"])?;
                Ok(met)
            })
            .collect::<Result<_>>()?;
        ensure!(met.len() == 3, "without a session it is one of many: {met:?}");
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn a_service_that_leaves_gracefully_keeps_its_connections_and_is_gone_with_the_last_one() -> Result<()> {
    let more = vserver("web1", VIP_V4.into(), 9_006, "-lbMethod ROUNDROBIN", &["b1", "b2"]);
    let Some((lab, primary, _alone)) = pair(&more)? else { return Ok(()) };
    let state =
        |name| Ok::<String, anyhow::Error>(service(&lab, primary, name)?["svrstate"].as_str().unwrap_or("?").to_owned());
    let claim = || {
        let mut held = vec![call(&lab, 9_006)?, call(&lab, 9_006)?];
        wait_connections(&lab, primary, "b1", 1)?;
        order(&lab, "disable service b1 600 -graceFul YES")?;
        ensure!(state("b1")? == "GOING OUT OF SERVICE", "{}", state("b1")?);
        let shown = lab.node(primary).command(&["show", "service", "b1"])?;
        ensure!(shown.contains("Out of service: in 5") && shown.contains("Connections: 1"), "{shown}");
        for _ in 0..4 {
            ensure!(call(&lab, 9_006)?.backend == 2, "a service that leaves got a newcomer");
        }
        for one in &mut held {
            one.speaks().with_context(|| format!("with backend {}", one.backend))?;
        }
        held.retain(|one| one.backend != 1);
        wait("b1 is out of service", || Ok(state("b1")? == "OUT OF SERVICE"))?;
        held[0].speaks()?;
        // A delay alone ends whatever goes on.
        order(&lab, "disable service b2 1")?;
        ensure!(state("b2")? == "GOING OUT OF SERVICE");
        held[0].speaks()?;
        wait("b2 is out of service", || Ok(state("b2")? == "OUT OF SERVICE"))?;
        order(&lab, "enable service b1")?;
        ensure!(call(&lab, 9_006)?.backend == 1);
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn a_backup_takes_the_clients_of_a_virtual_server_that_is_down_and_gives_them_back() -> Result<()> {
    let more = vserver("front", VIP_V4.into(), 9_007, "", &["b1"])
        + &vserver("spare", VIP_V4.into(), 9_008, "", &["b3"])
        + "set lb vserver front -backupVServer spare\n";
    let Some((lab, primary, _alone)) = pair(&more)? else { return Ok(()) };
    let claim = || {
        ensure!(call(&lab, 9_007)?.backend == 1);
        order(&lab, "disable service b1")?;
        let mut held = call(&lab, 9_007)?;
        ensure!(held.backend == 3, "{}", held.backend);
        let shown = lab.node(primary).command(&["show", "lb", "vserver", "front"])?;
        ensure!(shown.contains("State: DOWN") && shown.contains("Effective State: UP"), "{shown}");
        order(&lab, "enable service b1")?;
        ensure!(call(&lab, 9_007)?.backend == 1);
        held.speaks().context("who was with the backup stays there")?;
        ensure!(call(&lab, 9_008)?.backend == 3, "the backup serves its own clients as well");
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn one_virtual_server_answers_from_each_address_of_its_set() -> Result<()> {
    let more = format!("add ns ip {VIP_TOO} 255.255.255.255 -type VIP\nadd ipset more\nbind ipset more {VIP_TOO}\n")
        + &vserver(
            "many",
            VIP_V4.into(),
            9_009,
            "-ipset more -persistenceType SOURCEIP -lbMethod ROUNDROBIN",
            &["b1", "b2", "b3"],
        );
    let Some((lab, _, _alone)) = pair(&more)? else { return Ok(()) };
    let claim = || {
        let mut held = Vec::new();
        for vip in [VIP_V4, VIP_TOO, VIP_V4, VIP_TOO] {
            held.push(dial(&lab, None, (vip, 9_009).into(), WITHIN)?);
        }
        ensure!(held.iter().all(|one| one.backend == held[0].backend), "its addresses share sessions");
        for one in &mut held {
            one.speaks()?;
        }
        order(&lab, &format!("unbind ipset more {VIP_TOO}"))?;
        ensure!(dial(&lab, None, (VIP_TOO, 9_009).into(), REFUSED_AFTER).is_err(), "it is served no more");
        held[0].speaks()
    };
    claim().map_err(|error| lab.explain(error))
}
