//! How connections live and end, with a real pair and the kernels of real clients and backends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ha_tests::harness::direct;
use ha_tests::harness::exchange::exchange;
use ha_tests::harness::lab::Lab;
use ha_tests::harness::netns::Netns;
use ha_tests::harness::topology::{Host, Topology};
use ha_tests::harness::ways::{FAMILIES, Family, WITHIN, converse, listen, pair, services};
use socket2::{Domain, Socket, Type};

/// Ports of the VIP that no harness server takes, by what is behind them.
const HIDDEN: u16 = 81;
const PLAIN: u16 = 82;
const DIRECT: u16 = 83;
/// What is not answered by then gets no answer.
const NO_ANSWER: Duration = Duration::from_millis(900);
/// An answer of the kernel's program comes at once.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Tells both nodes.
fn both(lab: &Lab, words: &[&str]) -> Result<()> {
    Host::BOTH.into_iter().try_for_each(|host| lab.node(host).command(words).map(drop))
}

/// Waits until what `host` answers to `words` holds.
fn until(lab: &Lab, host: Host, words: &[&str], holds: impl Fn(&str) -> bool) -> Result<String> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let said = lab.node(host).command(words)?;
        if holds(&said) {
            return Ok(said);
        }
        ensure!(Instant::now() < deadline, "{words:?} says {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How a try to connect ends.
fn try_to_connect(lab: &Lab, family: Family, port: u16) -> Result<(Option<ErrorKind>, Duration)> {
    let began = Instant::now();
    let to = (family.vip(), port).into();
    let tried = lab.topology.client.run(|| Ok(TcpStream::connect_timeout(&to, NO_ANSWER).err().map(|error| error.kind())))?;
    Ok((tried, began.elapsed()))
}

/// How `stream` ends when it speaks.
fn speaks(mut stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(WITHIN))?;
    // The reset comes for the first bytes, or for the next ones.
    for _ in 0..3 {
        if let Err(error) = stream.write_all(b"still there?") {
            ensure!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            return Ok(());
        }
        match stream.read(&mut [0; 64]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => bail!("no reset: {error}"),
            Ok(_) => {}
        }
    }
    bail!("no reset")
}

/// Bytes that go from one end to the other.
fn carries(mut from: &TcpStream, mut to: &TcpStream, bytes: &[u8]) -> Result<()> {
    to.set_read_timeout(Some(WITHIN))?;
    from.write_all(bytes)?;
    let mut heard = vec![0; bytes.len()];
    to.read_exact(&mut heard)?;
    ensure!(heard == bytes, "{heard:?}");
    Ok(())
}

fn service(family: Family, port: u16) -> String {
    format!("s-TCP-{port}-{family}")
}

fn vserver(family: Family, port: u16) -> String {
    format!("v-TCP-{port}-{family}")
}

#[test]
fn who_speaks_to_a_virtual_server_that_is_down_waits_in_vain_unless_it_shall_be_reset() -> Result<()> {
    let Some((lab, primary, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        let listener = listen(&lab, (family.backend(), HIDDEN).into())?;
        both(&lab, &["disable", "lb", "vserver", &vserver(family, HIDDEN)])?;
        both(&lab, &["unset", "ns", "tcpParam", "-downStateRST"])?;
        let (end, _) = try_to_connect(&lab, family, HIDDEN)?;
        ensure!(end == Some(ErrorKind::TimedOut), "without resets: {end:?}");
        both(&lab, &["set", "ns", "tcpParam", "-downStateRST", "ENABLED"])?;
        let (end, took) = try_to_connect(&lab, family, HIDDEN)?;
        ensure!(end == Some(ErrorKind::ConnectionRefused) && took < AT_ONCE, "with resets: {end:?} after {took:?}");
        both(&lab, &["enable", "lb", "vserver", &vserver(family, HIDDEN)])?;
        let (client, server, _) = converse(&lab, (family.vip(), HIDDEN).into(), &listener)?;
        exchange(client, server, 1 << 16)
    };
    let told = |family: Family| claim(family).with_context(|| format!("{family}"));
    FAMILIES.into_iter().try_for_each(told).map_err(|error| lab.explain(error))?;
    let resets = lab.node(primary).counters()?.into_iter().find(|(reason, _)| *reason == "reset_down");
    ensure!(resets.is_some_and(|(_, packets)| packets >= 2), "{resets:?}");
    Ok(())
}

/// Opens a connection, takes its service down, and lets both ends speak; whether it is seen anew after that.
fn ends_with_its_service(lab: &Lab, family: Family, port: u16, client_first: bool) -> Result<()> {
    let at = if port == DIRECT { family.vip() } else { family.backend() };
    let listener = listen(lab, (at, port).into())?;
    let (client, server, _) = converse(lab, (family.vip(), port).into(), &listener)?;
    carries(&client, &server, b"hello")?;
    carries(&server, &client, b"welcome")?;
    both(lab, &["disable", "service", &service(family, port)])?;
    let mut ends = [("client", &client), ("server", &server)];
    if !client_first {
        ends.reverse();
    }
    let ended = ends.into_iter().try_for_each(|(who, end)| speaks(end).with_context(|| format!("the {who}")));
    both(lab, &["enable", "service", &service(family, port)])?;
    ended?;
    let (client, server, _) = converse(lab, (family.vip(), port).into(), &listener)?;
    exchange(client, server, 1 << 16)
}

#[test]
fn a_connection_is_reset_on_both_sides_once_its_service_is_down_and_one_of_them_speaks() -> Result<()> {
    let more = services(HIDDEN, "IP", "NO") + &services(PLAIN, "IP", "YES");
    let Some((lab, _, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    for family in FAMILIES {
        for (port, client_first) in [(HIDDEN, true), (HIDDEN, false), (PLAIN, true), (PLAIN, false)] {
            ends_with_its_service(&lab, family, port, client_first)
                .with_context(|| format!("{family}, port {port}, client first: {client_first}"))
                .map_err(|error| lab.explain(error))?;
        }
    }
    Ok(())
}

#[test]
fn where_the_service_answers_past_the_pair_its_clients_are_reset_and_tell_it_so_themselves() -> Result<()> {
    let owner = |topology: &Topology| direct::own(topology, 1, &FAMILIES.map(Family::vip));
    let Some((lab, _, _alone)) = pair(&services(DIRECT, "MAC", "YES"), owner)? else { return Ok(()) };
    let told = |family: Family| ends_with_its_service(&lab, family, DIRECT, true).with_context(|| format!("{family}"));
    FAMILIES.into_iter().try_for_each(told).map_err(|error| lab.explain(error))
}

#[test]
fn a_connection_lives_on_while_its_service_is_down_if_nobody_shall_cut_it_off_and_no_new_one_begins() -> Result<()> {
    let more = services(HIDDEN, "IP", "NO") + &services(PLAIN, "IP", "YES");
    let Some((lab, _, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = |(family, port): (Family, u16)| {
        let (service, vserver) = (service(family, port), vserver(family, port));
        both(&lab, &["set", "service", &service, "-downStateFlush", "DISABLED"])?;
        both(&lab, &["set", "lb", "vserver", &vserver, "-downStateFlush", "DISABLED"])?;
        let listener = listen(&lab, (family.backend(), port).into())?;
        let (client, server, _) = converse(&lab, (family.vip(), port).into(), &listener)?;
        carries(&client, &server, b"hello")?;
        for (down, up) in [(["disable", "service", &service], ["enable", "service", &service]), {
            (["disable", "vserver", &vserver], ["enable", "vserver", &vserver])
        }] {
            both(&lab, &down)?;
            carries(&server, &client, b"are you there?")?;
            carries(&client, &server, b"yes, and you?")?;
            let (end, _) = try_to_connect(&lab, family, port)?;
            ensure!(end == Some(ErrorKind::TimedOut), "after {down:?} a new connection: {end:?}");
            both(&lab, &up)?;
        }
        exchange(client, server, 1 << 16)
    };
    let ways = FAMILIES.into_iter().flat_map(|family| [HIDDEN, PLAIN].map(|port| (family, port)));
    let told = |way: (Family, u16)| claim(way).with_context(|| format!("{}, port {}", way.0, way.1));
    ways.into_iter().try_for_each(told).map_err(|error| lab.explain(error))
}

#[test]
fn a_connection_that_was_cut_off_stays_so_when_its_service_is_back() -> Result<()> {
    let Some((lab, primary, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        let listener = listen(&lab, (family.backend(), HIDDEN).into())?;
        let (client, server, _) = converse(&lab, (family.vip(), HIDDEN).into(), &listener)?;
        carries(&client, &server, b"hello")?;
        both(&lab, &["disable", "service", &service(family, HIDDEN)])?;
        let port = client.local_addr()?.port().to_string();
        until(&lab, primary, &["show", "ns", "connectiontable", "-srcPort", &port], |said| said.contains("CLOSED"))?;
        both(&lab, &["enable", "service", &service(family, HIDDEN)])?;
        speaks(&client).context("the client")?;
        speaks(&server).context("the server")?;
        let (client, server, _) = converse(&lab, (family.vip(), HIDDEN).into(), &listener)?;
        exchange(client, server, 1 << 16)
    };
    let told = |family: Family| claim(family).with_context(|| format!("{family}"));
    FAMILIES.into_iter().try_for_each(told).map_err(|error| lab.explain(error))
}

#[test]
fn a_service_that_is_down_is_spoken_to_if_that_is_wanted() -> Result<()> {
    const PORT: u16 = 84;
    let [v4, _] = FAMILIES;
    let more = format!(
        "add lb vserver watched TCP {} {PORT}\nadd service watched-s {} TCP {PORT}\nbind lb vserver watched watched-s\n",
        v4.vip(),
        v4.backend()
    );
    let Some((lab, primary, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = || {
        // Nobody listens: the first probe decides.
        until(&lab, primary, &["show", "service", "watched-s"], |said| said.contains("State: DOWN"))?;
        let (end, _) = try_to_connect(&lab, v4, PORT)?;
        ensure!(end == Some(ErrorKind::TimedOut), "{end:?}");
        both(&lab, &["set", "service", "watched-s", "-accessDown", "YES"])?;
        let (end, took) = try_to_connect(&lab, v4, PORT)?;
        ensure!(
            end == Some(ErrorKind::ConnectionRefused) && took < AT_ONCE,
            "the backend's own answer: {end:?} after {took:?}"
        );
        let said = lab.node(primary).command(&["show", "service", "watched-s"])?;
        ensure!(said.contains("State: DOWN") && said.contains("Access Down Service: YES"), "{said}");
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn the_connection_table_shows_who_speaks_to_whom_how_far_they_are_and_forgets_who_is_silent() -> Result<()> {
    const NOBODY: u16 = 85;
    let [v4, v6] = FAMILIES;
    let more = services(HIDDEN, "IP", "NO")
        + &services(PLAIN, "IP", "YES")
        + &format!(
            "add lb vserver lost TCP {} {NOBODY}\nadd service lost-s 10.2.0.99 TCP {NOBODY} -healthMonitor NO\nbind lb vserver lost lost-s\n",
            v4.vip()
        );
    let Some((lab, primary, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let show = |words: &[&str]| lab.node(primary).command(&[&["show", "ns", "connectiontable"], words].concat());
    let claim = || {
        let mut held = Vec::new();
        for family in FAMILIES {
            for port in [HIDDEN, PLAIN] {
                let listener = listen(&lab, (family.backend(), port).into())?;
                let (client, server, _) = converse(&lab, (family.vip(), port).into(), &listener)?;
                carries(&client, &server, b"hello")?;
                held.push((family, port, client, server));
            }
        }
        for (family, port, client, _) in &held {
            let from = client.local_addr()?;
            let filter = format!("CONNECTION.SRCPORT.EQ({}) && CONNECTION.SRCIP.EQ({})", from.port(), from.ip());
            let said = show(&[&filter, "-detail", "FULL"])?;
            let names = [vserver(*family, *port), service(*family, *port)];
            let all = ["ESTABLISHED", &from.ip().to_string(), &family.vip().to_string(), &names[0], &names[1], "1 connections"];
            ensure!(all.iter().all(|word| said.contains(word)), "{said}");
            let masked = if family.v6 { format!("[{}]:", family.snip()) } else { format!("{}:", family.snip()) };
            ensure!(said.contains(&masked) == (*port == HIDDEN), "{said}");
        }
        let said = show(&["-count", "1"])?;
        ensure!(said.contains("1 of 4 connections; 3 more"), "{said}");
        let said = show(&["-lbVserver", &vserver(v6, PLAIN), "-json"])?;
        let json: serde_json::Value = serde_json::from_str(&said)?;
        let row = &json["nsconnectiontable"][0];
        ensure!(json["total"] == 1 && row["state"] == "ESTABLISHED" && row["rxpackets"].as_u64() > Some(1), "{said}");

        let (end, _) = try_to_connect(&lab, v4, NOBODY)?;
        ensure!(end == Some(ErrorKind::TimedOut), "{end:?}");
        let said = show(&["CONNECTION.TCPSTATE.EQ(SYN_RECEIVED)"])?;
        ensure!(said.contains(&NOBODY.to_string()) && said.contains("1 connections"), "{said}");

        let (_, _, client, server) = held.remove(0);
        exchange(client, server, 1 << 10)?;
        until(&lab, primary, &["show", "ns", "connectiontable", "-tcpState", "TIME_WAIT"], |said| {
            said.contains("1 connections")
        })?;

        both(&lab, &["set", "service", &service(v4, PLAIN), "-svrTimeout", "1"])?;
        both(&lab, &["set", "lb", "vserver", &vserver(v6, HIDDEN), "-cltTimeout", "1"])?;
        until(&lab, primary, &["show", "ns", "connectiontable", "-tcpState", "ESTABLISHED"], |said| {
            said.contains("1 connections")
        })?;
        let said = show(&["-tcpState", "ESTABLISHED", "-detail", "NAME"])?;
        ensure!(said.contains(&vserver(v6, PLAIN)), "{said}");

        let refused = show(&["CONNECTION.FROM.EQ(1)"]).err().context("no such qualifier")?;
        let refused = format!("{refused:#}");
        ensure!(refused.contains("qualifiers are SRCIP, DSTIP"), "{refused}");
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn a_service_that_cannot_be_spoken_to_is_an_alarm_until_it_can() -> Result<()> {
    let Some((lab, primary, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let [v4, _] = FAMILIES;
    let stands =
        |alarm: &str, wanted: bool| until(&lab, primary, &["show", "ns", "alarms"], |said| said.contains(alarm) == wanted);
    let claim = || {
        let name = format!("NoSourceAddress {}", service(v4, HIDDEN));
        let snip = v4.snip().to_string();
        both(&lab, &["disable", "ns", "ip", &snip])?;
        let said = stands(&name, true)?;
        ensure!(said.contains("add ns ip <ip> <netmask> -type SNIP"), "{said}");
        both(&lab, &["enable", "ns", "ip", &snip])?;
        stands(&name, false)?;

        let netns = &lab.topology.site(primary).netns;
        netns.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        let said = stands("NoSourcePorts", true)?;
        ensure!(said.contains("ip_local_port_range is 1024 65535"), "{said}");
        netns.sysctl("ipv4/ip_local_port_range", "32768 60999")?;
        stands("NoSourcePorts", false)?;
        let listener = listen(&lab, (v4.backend(), HIDDEN).into())?;
        let (client, server, _) = converse(&lab, (v4.vip(), HIDDEN).into(), &listener)?;
        exchange(client, server, 1 << 16)
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn two_stations_with_one_address_and_port_are_two_clients_where_that_is_wanted() -> Result<()> {
    const PORT: u16 = 45_680;
    let Some((lab, _, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let [v4, _] = FAMILIES;
    let claim = || {
        both(&lab, &["set", "lb", "vserver", &vserver(v4, HIDDEN), "-l2Conn", "ON"])?;
        let twin = &lab.topology.observer;
        twin.ip(&format!("addr add {}/24 dev obs0\n", v4.client()))?;
        let listener = listen(&lab, (v4.backend(), HIDDEN).into())?;
        let connect_from = |station: &Netns| {
            let client = station.run(|| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.bind(&SocketAddr::new(v4.client(), PORT).into())?;
                socket.connect_timeout(&SocketAddr::new(v4.vip(), HIDDEN).into(), WITHIN)?;
                Ok(TcpStream::from(socket))
            })?;
            let (server, seen) = listener.accept()?;
            Ok::<_, anyhow::Error>((client, server, seen))
        };
        let (one, server_of_one, seen) = connect_from(&lab.topology.client).context("the first")?;
        let (two, server_of_two, seen_too) = connect_from(twin).context("the second")?;
        ensure!(seen != seen_too, "both are {seen}");
        carries(&one, &server_of_one, b"this is one")?;
        carries(&two, &server_of_two, b"this is two")?;
        carries(&server_of_one, &one, b"to one")?;
        carries(&server_of_two, &two, b"to two")?;
        exchange(one, server_of_one, 1 << 16).context("the first")?;
        exchange(two, server_of_two, 1 << 16).context("the second")
    };
    claim().map_err(|error| lab.explain(error))
}
