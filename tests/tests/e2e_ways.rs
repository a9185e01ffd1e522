//! Every way from a client to a backend and back, with a real pair and the kernels of real clients and backends.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::client::Role;
use ha_tests::harness::lab::Lab;
use ha_tests::harness::topology::{CLIENT_V4, CLIENT_V6, Host, Leg, SNIP_V4, SNIP_V6, Topology};
use ha_tests::harness::unwrapper::{Kind, Unwrapper};
use ha_tests::harness::ways::{
    BYTES, FAMILIES, Family, WITHIN, connect, converse, datagrams, half, listen, pair, service, services, transfer,
};
use ha_tests::harness::{direct, exchange::exchange};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// A SYN is sent again after a second: what takes less got its first one through.
const FIRST_SYN: Duration = Duration::from_secs(1);
/// Four clients fill their first windows once, and again where an answer was late.
const TOLD_MAX: u64 = 400;
/// Ports of the VIP that no harness server takes, by what is behind them.
const HIDDEN: u16 = 81;
/// The same backends again.
const HIDDEN_TOO: u16 = 90;
const PLAIN: u16 = 82;
const DIRECT: u16 = 83;
const TUNNEL_IN_V4: u16 = 84;
const TUNNEL_IN_V6: u16 = 85;

#[test]
fn a_hidden_clients_bytes_arrive_both_ways_and_its_backend_sees_a_snip_and_a_port_of_the_nodes_half() -> Result<()> {
    let Some((lab, primary, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        for (what, seen) in [
            ("TCP", transfer(&lab, family, HIDDEN, family.backend())),
            ("UDP", datagrams(&lab, family, HIDDEN, family.backend())),
        ] {
            let seen = seen.with_context(|| format!("{what} {family}"))?;
            ensure!(seen.ip() == family.snip() && half(primary).contains(&seen.port()), "{what} {family}: seen as {seen}");
        }
        server_speaks_first(&lab, family).with_context(|| format!("{family}"))
    };
    FAMILIES.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))
}

fn server_speaks_first(lab: &Lab, family: Family) -> Result<()> {
    let listener = listen(lab, (family.backend(), HIDDEN).into())?;
    let (mut client, mut server, _) = converse(lab, (family.vip(), HIDDEN).into(), &listener)?;
    client.set_read_timeout(Some(WITHIN))?;
    server.write_all(b"welcome")?;
    let mut heard = [0; 7];
    client.read_exact(&mut heard).context("what the server says first")?;
    ensure!(&heard == b"welcome");
    Ok(())
}

#[test]
fn two_hundred_hidden_clients_are_told_apart_and_their_ports_are_free_again_after_they_closed() -> Result<()> {
    const CLIENTS: usize = 200;
    const REST: Duration = Duration::from_secs(40);
    const FREE_WITHIN: Duration = Duration::from_secs(60);
    let Some((lab, primary, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let node = lab.node(primary);
    let claim = || {
        for family in FAMILIES {
            let listener = listen(&lab, (family.backend(), HIDDEN).into())?;
            let mut ends = Vec::new();
            for _ in 0..CLIENTS {
                ends.push(converse(&lab, (family.vip(), HIDDEN).into(), &listener)?);
            }
            // All are open before the first says who it is.
            for (number, (client, ..)) in ends.iter_mut().enumerate() {
                client.set_read_timeout(Some(WITHIN))?;
                client.write_all(&(number as u32).to_be_bytes())?;
            }
            for (number, (client, server, _)) in ends.iter_mut().enumerate() {
                let mut heard = [0; 4];
                server.set_read_timeout(Some(WITHIN))?;
                server.read_exact(&mut heard)?;
                ensure!(u32::from_be_bytes(heard) == number as u32, "{number} was taken for another");
                server.write_all(&heard)?;
                client.read_exact(&mut heard).with_context(|| format!("the answer to {number}"))?;
                ensure!(u32::from_be_bytes(heard) == number as u32, "{number} got another's answer");
            }
            let seen: HashSet<SocketAddr> = ends.iter().map(|(.., seen)| *seen).collect();
            ensure!(seen.len() == CLIENTS, "{CLIENTS} clients had {} sources", seen.len());
            let odd = seen.iter().find(|seen| seen.ip() != family.snip() || !half(primary).contains(&seen.port()));
            ensure!(odd.is_none(), "{odd:?}");
        }
        let (given, closed) = (node.sources()?, Instant::now());
        ensure!(given >= 2 * CLIENTS, "{given} sources are noted for {} clients", 2 * CLIENTS);
        loop {
            let left = node.sources()?;
            if left == 0 {
                break;
            }
            ensure!(closed.elapsed() < FREE_WITHIN, "{left} of {given} sources are left");
            std::thread::sleep(Duration::from_millis(200));
            ensure!(left == given || closed.elapsed() > REST, "{left} of {given} sources are left already");
        }
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn a_backend_that_sees_its_clients_gets_and_sends_every_byte() -> Result<()> {
    let Some((lab, _, _alone)) = pair(&services(PLAIN, "IP", "YES"), |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        for (what, seen) in [
            ("TCP", transfer(&lab, family, PLAIN, family.backend())),
            ("UDP", datagrams(&lab, family, PLAIN, family.backend())),
        ] {
            let seen = seen.with_context(|| format!("{what} {family}"))?;
            ensure!(seen.ip() == family.client(), "{what} {family}: seen as {seen}");
        }
        Ok(())
    };
    FAMILIES.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))
}

#[test]
fn backends_that_own_the_vip_answer_their_clients_past_the_pair() -> Result<()> {
    let owner = |topology: &Topology| direct::own(topology, 1, &FAMILIES.map(Family::vip));
    let Some((lab, _, _alone)) = pair(&services(DIRECT, "MAC", "YES"), owner)? else { return Ok(()) };
    let claim = |family: Family| owned(&lab, family, DIRECT).with_context(|| format!("{family}"));
    FAMILIES.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))
}

/// A transfer and datagrams to a backend that owns the VIP.
fn owned(lab: &Lab, family: Family, port: u16) -> Result<()> {
    for seen in
        [transfer(lab, family, port, family.vip()).context("TCP")?, datagrams(lab, family, port, family.vip()).context("UDP")?]
    {
        ensure!(seen.ip() == family.client(), "seen as {seen}");
    }
    Ok(())
}

#[test]
fn backends_behind_tunnels_of_either_family_get_packets_of_either_family() -> Result<()> {
    let [v4, v6] = FAMILIES;
    let tunnels = [(v4, TUNNEL_IN_V4, v4), (v6, TUNNEL_IN_V4, v4), (v4, TUNNEL_IN_V6, v6), (v6, TUNNEL_IN_V6, v6)];
    let more = [(TUNNEL_IN_V4, v4), (TUNNEL_IN_V6, v6)]
        .map(|(port, outer)| service(&FAMILIES, port, "IPTUNNEL", "NO", outer))
        .concat();
    let owner = |topology: &Topology| direct::own(topology, 1, &FAMILIES.map(Family::vip));
    let Some((lab, _, _alone)) = pair(&more, owner)? else { return Ok(()) };
    let unwrapper = Unwrapper::start(&lab.topology.backends[0])?;
    let claim = |(clients, port, outer): (Family, u16, Family)| {
        let kind = Kind::new(outer.v6, clients.v6);
        owned(&lab, clients, port).with_context(|| format!("{kind:?}"))?;
        let (count, least) = (unwrapper.unwrapped(kind), (BYTES / 1_500) as u64);
        ensure!(count > least, "{kind:?}: only {count} packets came out of tunnels");
        Ok(())
    };
    tunnels.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))
}

#[test]
fn a_client_learns_that_the_way_to_the_backends_is_narrow_and_goes_on() -> Result<()> {
    const NARROW: u32 = 1_400;
    let narrow = |topology: &Topology| {
        for host in Host::BOTH {
            topology.site(host).netns.ip(&format!("link set {} mtu {NARROW}\n", Leg::Server.interface()))?;
        }
        // The backend knows, but tells its clients nothing of it: they try segments that fill their own segment.
        let [v4, v6] = ["1460", "1440"].map(|most| format!("mtu {NARROW} advmss {most}"));
        topology.backends[0].ip(&format!(
            "route replace default via {SNIP_V4} {v4}\nroute replace 10.2.0.0/24 dev eth0 {v4}\n\
             route replace ::/0 via {SNIP_V6} {v6}\nroute replace fd00:2::/64 dev eth0 proto kernel metric 256 {v6}\n"
        ))
    };
    let more = services(HIDDEN, "IP", "NO") + &services(PLAIN, "IP", "YES");
    let Some((lab, primary, _alone)) = pair(&more, narrow)? else { return Ok(()) };
    let claim = |(family, port): (Family, u16)| {
        transfer(&lab, family, port, family.backend()).with_context(|| format!("{family}, port {port}"))?;
        let learnt = || lab.topology.client.ip_shows(&["route", "get", &family.vip().to_string()]);
        let [before, after] = [learnt()?, {
            let flag = if family.v6 { "-6" } else { "-4" };
            lab.topology.client.ip_shows(&[flag, "route", "flush", "cache"])?;
            learnt()?
        }];
        let mtu = format!("mtu {NARROW}");
        ensure!(before.contains(&mtu), "{family}, port {port}: the client has not learnt it: {before}");
        ensure!(!after.contains(&mtu), "{family}, port {port}: the client does not forget it: {after}");
        Ok(())
    };
    let ways = FAMILIES.into_iter().flat_map(|family| [HIDDEN, PLAIN].map(|port| (family, port)));
    ways.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))?;
    let told = lab.node(primary).counters()?.into_iter().find(|(reason, _)| *reason == "too_big");
    ensure!(told.is_some_and(|(_, packets)| packets <= TOLD_MAX), "{told:?}");
    Ok(())
}

#[test]
fn a_probe_out_of_time_is_answered_by_the_vip_and_one_with_time_by_the_service() -> Result<()> {
    let more = services(HIDDEN, "IP", "NO") + &services(PLAIN, "IP", "YES");
    let Some((lab, _, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = |(family, port): (Family, u16)| {
        probe(&lab, family, port).with_context(|| format!("{family}, port {port}"))?;
        datagrams(&lab, family, port, family.backend()).map(drop)
    };
    let probes = FAMILIES.into_iter().flat_map(|family| [HIDDEN, PLAIN].map(|port| (family, port)));
    probes.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))
}

/// Sends a datagram that lives for one hop, and waits for what becomes of it.
fn probe(lab: &Lab, family: Family, port: u16) -> Result<()> {
    let (domain, icmp) = if family.v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    let (listener, probe) = lab.topology.client.run(|| {
        let listener = Socket::new(domain, Type::RAW, Some(icmp)).context("listen for ICMP")?;
        Ok((listener, UdpSocket::bind((family.unspecified(), 0))?))
    })?;
    if family.v6 {
        Socket::from(probe.try_clone()?).set_unicast_hops_v6(1)?;
    } else {
        probe.set_ttl(1)?;
    }
    probe.connect((family.vip(), port))?;
    probe.send(b"who is there?")?;
    let deadline = Instant::now() + WITHIN;
    listener.set_read_timeout(Some(WITHIN))?;
    let mut packet = [0; 200];
    loop {
        ensure!(Instant::now() < deadline, "no time exceeded");
        let (length, from) = receive_from(&listener, &mut packet).context("no time exceeded")?;
        let (message, header) = if family.v6 { (&packet[..length], 40) } else { (&packet[20..length], 20) };
        if message[..2] != if family.v6 { [3, 0] } else { [11, 0] } {
            continue;
        }
        let quoted = &message[8 + header..];
        let ports = [probe.local_addr()?.port(), port].map(u16::to_be_bytes).concat();
        ensure!(quoted[..4] == ports, "of another packet: {message:02x?}");
        ensure!(from == family.vip(), "from {from}");
        return Ok(());
    }
}

fn receive_from(socket: &Socket, buffer: &mut [u8]) -> Result<(usize, IpAddr)> {
    let mut peeked = [std::mem::MaybeUninit::uninit(); 1];
    let (_, from): (_, SockAddr) = socket.peek_from(&mut peeked)?;
    let length = (&*socket).read(buffer)?;
    Ok((length, from.as_socket().context("an IP address")?.ip()))
}

#[test]
fn after_a_failover_new_clients_are_hidden_at_once_behind_the_other_nodes_half() -> Result<()> {
    let Some((lab, old, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let new = old.peer();
    let claim = || {
        let bound = |family: Family| Ok((family, listen(&lab, (family.backend(), HIDDEN).into())?));
        let listeners = FAMILIES.into_iter().map(bound).collect::<Result<Vec<_>>>()?;
        let mut held = Vec::new();
        for (family, listener) in &listeners {
            let (client, server, seen) = converse(&lab, (family.vip(), HIDDEN).into(), listener)?;
            ensure!(half(old).contains(&seen.port()), "{family}: {seen}");
            held.push((client, server));
        }
        lab.wait_well(old)?;
        lab.node(old).command(&["force", "ha", "failover", "-force"])?;
        lab.wait_role(new, Role::Primary)?;
        for (family, listener) in &listeners {
            let began = Instant::now();
            let (client, server, seen) = converse(&lab, (family.vip(), HIDDEN).into(), listener)?;
            let took = began.elapsed();
            ensure!(took < FIRST_SYN, "{family}: connected after {took:?}");
            ensure!(seen.ip() == family.snip() && half(new).contains(&seen.port()), "{family}: seen as {seen}");
            exchange(client, server, BYTES).with_context(|| format!("{family}"))?;
        }
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

/// A client's connection from a port of its own choice, which it may use at once again.
fn connect_from(lab: &Lab, port: u16, to: SocketAddr) -> Result<TcpStream> {
    lab.topology.client.run(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        let from = SocketAddr::new(if to.is_ipv6() { CLIENT_V6.into() } else { CLIENT_V4.into() }, port);
        socket.bind(&from.into())?;
        socket.connect_timeout(&to.into(), WITHIN).with_context(|| format!("connect from {from} to {to}"))?;
        Ok(socket.into())
    })
}

#[test]
fn a_hidden_client_that_begins_anew_from_the_same_port_is_served_at_once_however_the_last_connection_ended() -> Result<()> {
    const PORT: u16 = 45_678;
    let Some((lab, _, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        let vip = (family.vip(), HIDDEN).into();
        let refused = connect(&lab.topology.client, vip).err().context("nobody listens")?;
        let kind = refused.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        ensure!(kind == Some(std::io::ErrorKind::ConnectionRefused), "{refused:#}");
        let listener = listen(&lab, (family.backend(), HIDDEN).into())?;
        for ending in ["server first", "reset", "silence"] {
            let began = Instant::now();
            let client = connect_from(&lab, PORT, vip).with_context(|| format!("before {ending}"))?;
            let (server, _) = listener.accept()?;
            ensure!(began.elapsed() < FIRST_SYN, "before {ending}: connected after {:?}", began.elapsed());
            match ending {
                // Whoever closes first waits: the server's port is in use there.
                "server first" => {
                    drop(server);
                    ensure!((&client).read(&mut [0])? == 0);
                }
                "reset" => {
                    let client = Socket::from(client);
                    client.set_linger(Some(Duration::ZERO))?;
                    drop(client);
                    server.set_read_timeout(Some(WITHIN))?;
                    let end = (&server).read(&mut [0]).err().context("a reset")?;
                    ensure!(end.kind() == std::io::ErrorKind::ConnectionReset, "{end}");
                }
                _ => exchange(client, server, BYTES / 16)?,
            }
        }
        Ok(())
    };
    let told = |family: Family| claim(family).with_context(|| format!("{family}"));
    FAMILIES.into_iter().try_for_each(told).map_err(|error| lab.explain(error))
}

#[test]
fn one_client_port_at_two_virtual_servers_of_one_backend_is_two_clients_to_it() -> Result<()> {
    const PORT: u16 = 45_679;
    let second = FAMILIES.map(|family| {
        format!(
            "add lb vserver again-{family} TCP {} {HIDDEN_TOO}\nbind lb vserver again-{family} s-TCP-{HIDDEN}-{family}\n",
            family.vip()
        )
    });
    let more = services(HIDDEN, "IP", "NO") + &second.concat();
    let Some((lab, _, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        let listener = listen(&lab, (family.backend(), HIDDEN).into())?;
        let from_port = |port| {
            let client = connect_from(&lab, PORT, (family.vip(), port).into())?;
            let (server, seen) = listener.accept()?;
            Ok::<_, anyhow::Error>((client, server, seen))
        };
        let (client, server, seen) = from_port(HIDDEN)?;
        let (client_too, server_too, seen_too) = from_port(HIDDEN_TOO)?;
        ensure!(seen != seen_too, "both are {seen}");
        exchange(client, server, BYTES / 4)?;
        exchange(client_too, server_too, BYTES / 4)
    };
    let told = |family: Family| claim(family).with_context(|| format!("{family}"));
    FAMILIES.into_iter().try_for_each(told).map_err(|error| lab.explain(error))
}

#[test]
fn connections_of_hidden_clients_outlive_new_snips_and_the_death_of_the_daemon() -> Result<()> {
    const CLIENTS: usize = 40;
    let Some((mut lab, primary, _alone)) = pair(&services(HIDDEN, "IP", "NO"), |_| Ok(()))? else { return Ok(()) };
    let [v4, v6] = FAMILIES;
    let [listener, listener6] = FAMILIES.map(|family| listen(&lab, (family.backend(), HIDDEN).into()));
    let (listener, listener6) = (listener?, listener6?);
    let mut held =
        vec![converse(&lab, (v4.vip(), HIDDEN).into(), &listener)?, converse(&lab, (v6.vip(), HIDDEN).into(), &listener6)?];
    for host in Host::BOTH {
        lab.node(host).command(&["add", "ns", "ip", "10.2.0.2", "255.255.255.0", "-type", "SNIP"])?;
        lab.node(host).command(&["add", "ns", "ip6", "fd00:2::2/64", "-type", "SNIP"])?;
    }
    for (family, listener) in [(v4, &listener), (v6, &listener6)] {
        let mut seen = HashSet::new();
        for _ in 0..CLIENTS {
            let (client, server, from) = converse(&lab, (family.vip(), HIDDEN).into(), listener)?;
            seen.insert(from.ip());
            held.push((client, server, from));
        }
        ensure!(seen.len() == 2, "{family}: seen as {seen:?}\n{}", lab.logs());
    }
    lab.node_mut(primary).kill()?;
    lab.start_nodes()?;
    lab.wait_settled()?;
    let check = |(client, server, seen): (TcpStream, TcpStream, SocketAddr)| {
        exchange(client, server, BYTES / 64).with_context(|| format!("seen as {seen}"))
    };
    held.into_iter().try_for_each(check).map_err(|error| lab.explain(error))
}

#[test]
fn connections_outlive_that_a_service_hides_its_clients_from_now_on_or_no_more() -> Result<()> {
    let Some((lab, _, _alone)) = pair(&services(PLAIN, "IP", "YES"), |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        let listener = listen(&lab, (family.backend(), PLAIN).into())?;
        let mut held = Vec::new();
        for (usip, source) in [("YES", family.client()), ("NO", family.snip()), ("YES", family.client())] {
            for host in Host::BOTH {
                lab.node(host).command(&["set", "service", &format!("s-TCP-{PLAIN}-{family}"), "-usip", usip])?;
            }
            let deadline = Instant::now() + WITHIN;
            loop {
                let (client, server, seen) = converse(&lab, (family.vip(), PLAIN).into(), &listener)?;
                if seen.ip() == source {
                    held.push((client, server, usip));
                    break;
                }
                ensure!(Instant::now() < deadline, "-usip {usip}, and still seen as {seen}");
            }
        }
        for (number, (client, server, usip)) in held.into_iter().enumerate() {
            exchange(client, server, BYTES / 16).with_context(|| format!("connection {number}, begun under -usip {usip}"))?;
        }
        Ok(())
    };
    let told = |family: Family| claim(family).with_context(|| format!("{family}"));
    FAMILIES.into_iter().try_for_each(told).map_err(|error| lab.explain(error))
}
