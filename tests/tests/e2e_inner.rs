//! Packets about packets, and parts of packets, with a real pair and the kernels of real clients, backends and routers.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::direct;
use ha_tests::harness::lab::Lab;
use ha_tests::harness::netdev;
use ha_tests::harness::topology::{Host, Topology};
use ha_tests::harness::ways::{FAMILIES, Family, WITHIN, pair, services, transfer};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Ports of the VIP, by what is behind them.
const HIDDEN: u16 = 81;
const PLAIN: u16 = 82;
const DIRECT: u16 = 83;
/// A way that is narrower than every segment of the lab.
const NARROW: u32 = 1_400;

/// A router between the client and the clients' segment, with a way to the client that takes [`NARROW`] packets. The client does not know.
mod router {
    pub const V4: &str = "10.1.0.77";
    pub const V6: &str = "fd00:1::77";
    pub const CLIENT_V4: &str = "10.3.0.2";
    pub const CLIENT_V6: &str = "fd00:3::2";
}

/// Moves the client behind the router.
fn far_away(topology: &Topology) -> Result<()> {
    let (client, router) = (&topology.client, &topology.observer);
    router.ip(&format!("addr add {}/24 dev obs0\naddr add {}/64 dev obs0 nodad\n", router::V4, router::V6))?;
    router.sysctl("ipv4/ip_forward", "1")?;
    router.sysctl("ipv6/conf/all/forwarding", "1")?;
    router.ip(&format!(
        "link add near0 mtu {NARROW} type veth peer name far0 mtu {NARROW} netns {}\nlink set near0 up\n\
         addr add 10.3.0.1/24 dev near0\naddr add fd00:3::1/64 dev near0 nodad\n",
        client.name()
    ))?;
    client.ip(&format!(
        "link set client0 down\nlink set far0 up\naddr add {}/24 dev far0\naddr add {}/64 dev far0 nodad\n\
         route add 10.1.0.0/24 via 10.3.0.1 advmss 1460\nroute add fd00:1::/64 via fd00:3::1 advmss 1440\n",
        router::CLIENT_V4,
        router::CLIENT_V6
    ))?;
    router.run(|| netdev::finish_checksums("near0"))?;
    client.run(|| netdev::finish_checksums("far0"))?;
    for host in Host::BOTH {
        topology.site(host).netns.ip(&format!(
            "route add 10.3.0.0/24 via {} dev client0\nroute add fd00:3::/64 via {} dev client0\n",
            router::V4,
            router::V6
        ))?;
    }
    Ok(())
}

/// How often the Primary has counted packets for `reason`.
fn counted(lab: &Lab, primary: Host, reason: &str) -> Result<u64> {
    Ok(lab.node(primary).counters()?.into_iter().find(|(name, _)| *name == reason).map_or(0, |(_, packets)| packets))
}

#[test]
fn a_backend_learns_through_the_pair_that_the_way_to_a_client_is_narrow_and_every_byte_arrives() -> Result<()> {
    let more = services(HIDDEN, "IP", "NO") + &services(PLAIN, "IP", "YES");
    let Some((lab, primary, _alone)) = pair(&more, far_away)? else { return Ok(()) };
    let claim = |(family, port): (Family, u16)| {
        let seen = transfer(&lab, family, port, family.backend()).with_context(|| format!("{family}, port {port}"))?;
        let route = lab.topology.backends[0].ip_shows(&["route", "get", &seen.ip().to_string()])?;
        ensure!(route.contains(&format!("mtu {NARROW}")), "{family}, port {port}: the backend has not learnt it: {route}");
        Ok(())
    };
    let ways = FAMILIES.into_iter().flat_map(|family| [PLAIN, HIDDEN].map(|port| (family, port)));
    ways.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))?;
    let relayed = counted(&lab, primary, "error_forwarded")?;
    ensure!(relayed >= 4, "{relayed} errors were relayed");
    Ok(())
}

/// A datagram socket of the client that waits no longer than anything may take.
fn client(lab: &Lab, family: Family) -> Result<UdpSocket> {
    let socket = lab.topology.client.run(|| Ok(UdpSocket::bind((family.unspecified(), 0))?))?;
    socket.set_read_timeout(Some(WITHIN))?;
    Ok(socket)
}

/// Datagrams that no frame holds, each way, by way of the VIP; whom the backend sees.
fn large_datagrams(lab: &Lab, family: Family, port: u16, listening: IpAddr) -> Result<SocketAddr> {
    let server = lab.topology.backends[0].run(|| Ok(UdpSocket::bind((listening, port))?))?;
    server.set_read_timeout(Some(WITHIN))?;
    let client = client(lab, family)?;
    client.connect((family.vip(), port))?;
    let mut seen = None;
    for length in [1_473, 4_000, 9_001, 30_000] {
        let message: Vec<u8> = (0..length).map(|n| (n * 7 + length) as u8).collect();
        let mut heard = vec![0; 1 << 16];
        client.send(&message)?;
        let (count, from) = server.recv_from(&mut heard).with_context(|| format!("{length} bytes to the backend"))?;
        ensure!(heard[..count] == message, "{length} bytes came changed to the backend");
        ensure!(*seen.get_or_insert(from) == from, "one client was seen as {seen:?} and then as {from}");
        server.send_to(&message, from)?;
        let count = client.recv(&mut heard).with_context(|| format!("{length} bytes back"))?;
        ensure!(heard[..count] == message, "{length} bytes came changed to the client");
    }
    seen.context("nothing was sent")
}

#[test]
fn datagrams_in_fragments_arrive_whole_both_ways() -> Result<()> {
    let more = services(HIDDEN, "IP", "NO") + &services(PLAIN, "IP", "YES");
    let Some((lab, primary, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = |family: Family| {
        for (port, source) in [(PLAIN, family.client()), (HIDDEN, family.snip())] {
            let seen = large_datagrams(&lab, family, port, family.backend());
            let seen = seen.with_context(|| format!("{family}, port {port}"))?;
            ensure!(seen.ip() == source, "{family}, port {port}: seen as {seen}");
        }
        Ok(())
    };
    FAMILIES.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))?;
    let [there, back] = ["fragment_forwarded", "fragment_returned"].map(|reason| counted(&lab, primary, reason));
    let (there, back) = (there?, back?);
    // Of the four datagrams, 1, 2, 6 and 20 fragments follow the first.
    ensure!(there >= 4 * 29 && back >= 4 * 29, "{there} later fragments to backends, {back} to the client");
    Ok(())
}

#[test]
fn datagrams_in_fragments_arrive_whole_at_a_backend_that_owns_the_vip() -> Result<()> {
    let owner = |topology: &Topology| direct::own(topology, 1, &FAMILIES.map(Family::vip));
    let Some((lab, _, _alone)) = pair(&services(DIRECT, "MAC", "YES"), owner)? else { return Ok(()) };
    let claim = |family: Family| {
        let seen = large_datagrams(&lab, family, DIRECT, family.vip()).with_context(|| format!("{family}"))?;
        ensure!(seen.ip() == family.client(), "{family}: seen as {seen}");
        Ok(())
    };
    FAMILIES.into_iter().try_for_each(claim).map_err(|error| lab.explain(error))
}

/// Waits until `socket` hears that nobody listens.
fn refused(socket: &UdpSocket) -> Result<()> {
    let heard = socket.recv(&mut [0; 100]).err().context("somebody answered")?;
    ensure!(heard.kind() == ErrorKind::ConnectionRefused, "{heard}");
    Ok(())
}

#[test]
fn whoever_sends_a_datagram_to_a_closed_port_is_told_on_either_side() -> Result<()> {
    let more = services(HIDDEN, "IP", "NO") + &services(PLAIN, "IP", "YES");
    let Some((lab, _, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = |(family, port): (Family, u16)| {
        let visitor = client(&lab, family)?;
        visitor.connect((family.vip(), port))?;
        visitor.send(b"is anybody there?")?;
        refused(&visitor).context("the client, when the backend does not listen")?;
        let server = lab.topology.backends[0].run(|| Ok(UdpSocket::bind((family.backend(), port))?))?;
        server.set_read_timeout(Some(WITHIN))?;
        visitor.send(b"and now?")?;
        let (_, from) = server.recv_from(&mut [0; 100]).context("at the backend")?;
        drop(visitor);
        server.connect(from)?;
        server.send(b"yes")?;
        refused(&server).context("the backend, when the client does not listen any more")
    };
    let ways = FAMILIES.into_iter().flat_map(|family| [PLAIN, HIDDEN].map(|port| (family, port)));
    ways.into_iter()
        .try_for_each(|way| claim(way).with_context(|| format!("{}, port {}", way.0, way.1)))
        .map_err(|error| lab.explain(error))
}

/// Sends a datagram that lives for `hops`, and returns type, code and sender of the error about it.
fn probe(lab: &Lab, family: Family, port: u16, hops: u32) -> Result<([u8; 2], IpAddr)> {
    let (domain, icmp) = if family.v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    let listener = lab.topology.client.run(|| Socket::new(domain, Type::RAW, Some(icmp)).context("listen for ICMP"))?;
    listener.set_read_timeout(Some(WITHIN))?;
    let probe = client(lab, family)?;
    if family.v6 {
        Socket::from(probe.try_clone()?).set_unicast_hops_v6(hops)?;
    } else {
        probe.set_ttl(hops)?;
    }
    probe.send_to(b"who is there?", (family.vip(), port))?;
    let ports = [probe.local_addr()?.port(), port].map(u16::to_be_bytes).concat();
    let (deadline, mut packet) = (Instant::now() + WITHIN, [0; 600]);
    while Instant::now() < deadline {
        let mut peeked = [std::mem::MaybeUninit::uninit(); 1];
        let (_, from): (_, SockAddr) = listener.peek_from(&mut peeked).context("no error came")?;
        let length = (&listener).read(&mut packet)?;
        let (message, header) = if family.v6 { (&packet[..length], 40) } else { (&packet[20..length], 20) };
        if message.get(8 + header..12 + header) == Some(ports.as_slice()) {
            return Ok(([message[0], message[1]], from.as_socket().context("an IP address")?.ip()));
        }
    }
    anyhow::bail!("no error came about a datagram for port {port} that lives for {hops} hops")
}

#[test]
fn a_trace_through_the_vip_ends_at_the_vip() -> Result<()> {
    const BEHIND: Duration = Duration::from_millis(50);
    let more = services(HIDDEN, "IP", "NO") + &services(PLAIN, "IP", "YES");
    let Some((lab, _, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = |(family, port): (Family, u16)| {
        let (exceeded, closed) = if family.v6 { ([3, 0], [1, 4]) } else { ([11, 0], [3, 3]) };
        for (hops, says) in [(1, exceeded), (2, closed), (3, closed)] {
            let (said, by) = probe(&lab, family, port, hops)?;
            ensure!(said == says && by == family.vip(), "{hops} hops: {said:?} by {by}");
            // Kernels limit how many errors they send.
            std::thread::sleep(BEHIND);
        }
        Ok(())
    };
    let ways = FAMILIES.into_iter().flat_map(|family| [PLAIN, HIDDEN].map(|port| (family, port)));
    ways.into_iter()
        .try_for_each(|way| claim(way).with_context(|| format!("{}, port {}", way.0, way.1)))
        .map_err(|error| lab.explain(error))
}
