//! Protection and limits, with a real pair, real clients and real backends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ha_tests::harness::lab::Lab;
use ha_tests::harness::node::Node;
use ha_tests::harness::topology::Host;
use ha_tests::harness::ways::{FAMILIES, Family, WITHIN, converse, listen, pair, services};
use serde_json::Value;

/// Ports of the VIP that no harness server takes.
const HIDDEN: u16 = 81;
/// See [`HIDDEN`].
const PLAIN: u16 = 82;
/// Less than a SYN waits before it is repeated.
const AT_ONCE: Duration = Duration::from_millis(800);
/// Distance of two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn asked(node: &Node, words: &[&str], resource: &str) -> Result<Value> {
    let said = node.command(&[words, &["-json"]].concat())?;
    let mut reply: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    Ok(reply[resource].take())
}

/// Waits until `found` is something.
fn wait<T>(what: &str, mut found: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = found()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {WITHIN:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What `show ns limits` says of `table`.
fn limit(node: &Node, table: &str) -> Result<Value> {
    let limits = asked(node, &["show", "ns", "limits"], "nslimits")?;
    let rows = limits["tables"].as_array().context("tables")?;
    rows.iter().find(|row| row["name"] == table).cloned().with_context(|| format!("{table} in {limits}"))
}

#[test]
fn limits_are_shown_as_they_fill_alarmed_and_resized_by_a_stop_and_a_start() -> Result<()> {
    const CONNECTIONS: usize = 52;
    let more = format!("set ns limits -flows 64\n{}", services(HIDDEN, "IP", "NO"));
    let Some((mut lab, primary, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = |lab: &mut Lab| {
        let [v4, _]: [Family; 2] = FAMILIES;
        let listener = listen(lab, (v4.backend(), HIDDEN).into())?;
        let open = |_| converse(lab, (v4.vip(), HIDDEN).into(), &listener);
        let ends = (0..CONNECTIONS).map(open).collect::<Result<Vec<_>>>()?;
        let node = lab.node(primary);
        let flows = wait("the connections are counted", || {
            let row = limit(node, "FLOWS")?;
            Ok((row["used"].as_u64() >= Some(CONNECTIONS as u64)).then_some(row))
        })?;
        ensure!(flows["maximum"] == 64, "{flows}");
        let text = wait("an alarm", || {
            let alarms = node.command(&["show", "ns", "alarms"])?;
            Ok(alarms.contains("LimitNear FLOWS").then_some(alarms))
        })?;
        ensure!(text.contains("set ns limits -flows 128"), "{text}");
        let pool = wait("a source port pool", || {
            let pool = asked(node, &["show", "ns", "limits"], "nslimits")?["sourceports"].take();
            Ok((pool["used"].as_u64() == Some(CONNECTIONS as u64)).then_some(pool))
        })?;
        ensure!(pool["service"] == format!("s-TCP-{HIDDEN}-IPv4"), "{pool}");
        let said = node.command(&["set", "ns", "limits", "-flows", "512"])?;
        ensure!(said.contains("FLOWS goes on with room for 64") && said.contains("understudy stop"), "{said}");
        node.command(&["save", "ns", "config"])?;

        let node = lab.node_mut(primary);
        node.terminate()?;
        node.start()?;
        node.wait_ready()?;
        ensure!(limit(node, "FLOWS")?["maximum"] == 64, "the daemon came back: its table is what it was");
        node.stop()?;
        node.start()?;
        node.wait_ready()?;
        ensure!(limit(node, "FLOWS")?["maximum"] == 512, "made anew");
        drop(ends);
        Ok(())
    };
    claim(&mut lab).map_err(|error| lab.explain(error))
}

/// The name of the TCP virtual server that [`services`] makes.
fn vserver(port: u16, family: Family) -> String {
    format!("v-TCP-{port}-{family}")
}

/// Whether a client's first SYN is answered.
fn is_let_in(lab: &Lab, vip: SocketAddr) -> Result<Option<TcpStream>> {
    lab.topology.client.run(|| match TcpStream::connect_timeout(&vip, AT_ONCE) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock) => Ok(None),
        Err(error) => bail!("connect to {vip}: {error}"),
    })
}

fn counted(lab: &Lab, host: Host, reason: &str) -> Result<u64> {
    let counters = lab.node(host).counters()?;
    Ok(counters.into_iter().find(|(name, _)| *name == reason).map_or(0, |(_, packets)| packets))
}

/// A few bytes there and back; whether they came.
fn speaks((client, server): &mut (TcpStream, TcpStream)) -> bool {
    let mut heard = [0; 5];
    let mut round = || -> std::io::Result<()> {
        for socket in [&*client, &*server] {
            socket.set_read_timeout(Some(AT_ONCE))?;
        }
        client.write_all(b"hello")?;
        server.read_exact(&mut heard)?;
        server.write_all(&heard)?;
        client.read_exact(&mut heard)
    };
    round().is_ok()
}

#[test]
fn a_denied_client_gets_no_answer_an_allowed_one_does_and_a_connection_ends_when_its_client_is_denied() -> Result<()> {
    let Some((lab, primary, _alone)) = pair(&services(PLAIN, "IP", "YES"), |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        let (vip, name): (SocketAddr, _) = ((family.vip(), PLAIN).into(), vserver(PLAIN, family));
        let node = lab.node(primary);
        let command = |verb: &str, flag: &str, prefix: &str| node.command(&[verb, "lb", "vserver", &name, flag, prefix]);
        let [net, host, other] =
            if family.v6 { ["fd00:1::/64", "fd00:1::1", "2001:db8::/32"] } else { ["10.1.0.0/24", "10.1.0.1", "192.0.2.0/24"] };
        let host = if family.client().to_string() == host { host.to_owned() } else { family.client().to_string() };
        let listener = listen(&lab, (family.backend(), PLAIN).into())?;
        let (client, server, _) = converse(&lab, vip, &listener)?;
        let mut ends = (client, server);
        ensure!(speaks(&mut ends), "nobody is denied yet");

        let before = counted(&lab, primary, "denied")?;
        command("bind", "-deny", net)?;
        wait("the connection ends", || Ok((!speaks(&mut ends)).then_some(())))?;
        ensure!(is_let_in(&lab, vip)?.is_none(), "denied");
        ensure!(counted(&lab, primary, "denied")? > before, "and counted");
        let shown = node.command(&["show", "lb", "vserver", &name])?;
        ensure!(shown.contains(&format!("Clients of {net}: DENY")), "{shown}");

        command("bind", "-allow", &host)?;
        ensure!(is_let_in(&lab, vip)?.is_some(), "the longer prefix wins");
        command("unbind", "-allow", &host)?;
        command("unbind", "-deny", net)?;
        ensure!(is_let_in(&lab, vip)?.is_some(), "no list, no question");
        command("bind", "-allow", other)?;
        ensure!(is_let_in(&lab, vip)?.is_none(), "only others are allowed");
        command("bind", "-allow", "*")?;
        ensure!(is_let_in(&lab, vip)?.is_some(), "everybody is");
        Ok(())
    };
    FAMILIES.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))
}

fn accept_all(listener: &TcpListener) -> Result<Vec<TcpStream>> {
    listener.set_nonblocking(true)?;
    let accepted = std::iter::from_fn(|| listener.accept().ok()).map(|(stream, _)| stream).collect();
    listener.set_nonblocking(false)?;
    Ok(accepted)
}

#[test]
fn a_source_opens_as_many_connections_as_it_may_and_one_more_for_each_that_ends() -> Result<()> {
    const MOST: usize = 3;
    let Some((lab, primary, _alone)) = pair(&services(PLAIN, "IP", "YES"), |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        let (vip, name): (SocketAddr, _) = ((family.vip(), PLAIN).into(), vserver(PLAIN, family));
        let set = |words: &[&str]| lab.node(primary).command(&[&["set", "lb", "vserver", &name], words].concat());
        let listener = listen(&lab, (family.backend(), PLAIN).into())?;
        set(&["-maxConnPerSource", &MOST.to_string()])?;
        let mut open = Vec::new();
        for _ in 0..MOST {
            open.push(is_let_in(&lab, vip)?.context("one of those that it may open")?);
        }
        ensure!(is_let_in(&lab, vip)?.is_none(), "one more than it may open");
        ensure!(counted(&lab, primary, "source_connections")? > 0, "and counted");
        drop((open.pop(), accept_all(&listener)?));
        let again = wait("room for one more", || is_let_in(&lab, vip))?;
        set(&["-maxConnPerSource", "0", "-maxRatePerSource", "2"])?;
        let mut made = 0;
        for _ in 0..4 {
            made += usize::from(is_let_in(&lab, vip)?.is_some());
        }
        // The two of the first second, and those that have become due since: each that is refused takes as long as it waits.
        ensure!((2..=3).contains(&made), "{made} of 4 at once");
        ensure!(counted(&lab, primary, "source_rate")? > 0, "and counted");
        drop((again, open));
        set(&["-maxRatePerSource", "0"]).map(drop)
    };
    FAMILIES.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))
}

#[test]
fn connections_to_a_service_that_has_many_are_let_through_one_by_one_and_none_is_lost() -> Result<()> {
    const MANY: usize = 8;
    const MORE: usize = 3;
    let more = format!("set ns spParams -baseThreshold {MANY}\n{}", services(PLAIN, "IP", "YES"));
    let Some((lab, primary, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = || {
        let [v4, _]: [Family; 2] = FAMILIES;
        let vip: SocketAddr = (v4.vip(), PLAIN).into();
        lab.node(primary).command(&["set", "service", &format!("s-TCP-{PLAIN}-IPv4"), "-sp", "ON"])?;
        let listener = listen(&lab, (v4.backend(), PLAIN).into())?;
        let open = (0..MANY).map(|_| converse(&lab, vip, &listener)).collect::<Result<Vec<_>>>()?;
        wait("the service is protected", || {
            let at_once = (0..MORE).map(|_| lab.topology.client.run(|| begin(vip))).collect::<Result<Vec<_>>>()?;
            let refused = counted(&lab, primary, "surge")?;
            // None of them is lost: their SYNs are repeated.
            for socket in at_once {
                finish(&socket)?;
            }
            Ok((refused > 0).then_some(()))
        })?;
        drop(open);
        Ok(())
    };
    claim().map_err(|error: anyhow::Error| lab.explain(error))
}

/// Sends a SYN and does not wait for what comes of it.
fn begin(to: SocketAddr) -> Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error.into()),
        _ => Ok(socket),
    }
}

/// Waits until it is connected.
fn finish(socket: &socket2::Socket) -> Result<()> {
    wait("a connection", || match socket.take_error()? {
        Some(error) => Err(error.into()),
        None => Ok(socket.peer_addr().is_ok().then_some(())),
    })
}
