//! Virtual MACs, addresses of the host and gateways, with a real pair.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::lab::{Lab, Options, SERVICE_PORT};
use ha_tests::harness::netns::Netns;
use ha_tests::harness::packet_socket;
use ha_tests::harness::topology::{CLIENT_V4, CLIENT_V6, HOST_VIP_V4, Host, Leg, SNIP_V4, VIP_V4, VIP_V6};

const VMAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 60];
const VMAC6: [u8; 6] = [0, 0, 0x5e, 0, 2, 60];
/// How long anything may take that has no time of its own.
const WITHIN: Duration = Duration::from_secs(10);
/// How soon an address is put back, or removed.
const KEPT_WITHIN: Duration = Duration::from_millis(100);
/// A router that is not there at first.
const LATE_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 250);

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root for network namespaces and BPF");
    }
    root
}

/// A pair whose client legs have a virtual MAC for each family.
fn pair() -> Result<Lab> {
    let lab = Lab::raise(&Options { dead: Duration::from_millis(500), backends: 2, ..Options::small()? })?;
    for host in Host::BOTH {
        for vrid in ["vrid", "vrid6"] {
            lab.node(host).command(&["add", vrid, "60"])?;
            lab.node(host).command(&["bind", vrid, "60", "-ifnum", "client0"])?;
        }
    }
    Ok(lab)
}

fn until(what: &str, within: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let began = Instant::now();
    while !holds()? {
        ensure!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(began.elapsed())
}

fn shown(netns: &Netns, command: &[&str]) -> Result<String> {
    netns.run(|| {
        let output = Command::new(command[0]).args(&command[1..]).output().with_context(|| command.join(" "))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    })
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Speaks with a service of the pair from the client.
fn talk(lab: &Lab, address: IpAddr, port: u16) -> Result<()> {
    lab.topology.client.run(|| {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), WITHIN)?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.write_all(b"hello")?;
        let mut back = [0; 5];
        stream.read_exact(&mut back)?;
        ensure!(&back == b"hello", "{address} says {back:?}");
        Ok(())
    })
}

/// Source MACs of the frames that `host` sends on its client leg while `act` runs, for which `wanted` holds.
fn senders(lab: &Lab, host: Host, wanted: impl Fn(&[u8]) -> bool, act: impl FnOnce() -> Result<()>) -> Result<Vec<Vec<u8>>> {
    let socket = lab.topology.switch.run(|| packet_socket::capture(&Leg::Client.port(host)))?;
    act()?;
    let (mut buffer, mut macs) = ([0; 128], Vec::new());
    while let Some((len, _)) = packet_socket::receive(&socket, &mut buffer)? {
        if wanted(&buffer[..len]) {
            macs.push(buffer[6..12].to_vec());
        }
    }
    Ok(macs)
}

/// Whether `frame` is an IPv4 packet from `address`, or an ARP packet of it.
fn is_from(frame: &[u8], address: Ipv4Addr) -> bool {
    let source = match frame.get(12..14) {
        Some([8, 0]) => frame.get(26..30),
        Some([8, 6]) => frame.get(28..32),
        _ => None,
    };
    source == Some(&address.octets())
}

fn force_failover(lab: &Lab, from: Host) -> Result<()> {
    lab.wait_well(from)?;
    lab.node(from).command(&["force", "ha", "failover"])?;
    ensure!(lab.wait_settled()? == from.peer(), "the roles are swapped");
    Ok(())
}

#[test]
fn clients_keep_one_virtual_mac_for_each_family_across_a_failover_that_moves_it_in_the_switch() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let lab = pair()?;
    let old = lab.wait_settled()?;
    let client = &lab.topology.client;
    let both = [(IpAddr::V4(VIP_V4), VMAC), (IpAddr::V6(VIP_V6), VMAC6)];
    let learned = |(address, mac): &(IpAddr, [u8; 6])| -> Result<bool> {
        talk(&lab, *address, SERVICE_PORT)?;
        Ok(shown(client, &["ip", "neigh", "show", &address.to_string()])?.contains(&text(*mac)))
    };
    for one in &both {
        until("announcements tell the client the virtual MAC", WITHIN, || learned(one)).map_err(|error| lab.explain(error))?;
    }
    let port_of = |mac| -> Result<String> {
        let all = shown(&lab.topology.switch, &["bridge", "fdb", "show", "br", "brc"])?;
        Ok(all.lines().filter(|line| line.starts_with(&text(mac))).map(str::to_owned).collect())
    };
    for (_, mac) in both {
        ensure!(port_of(mac)?.contains(&Leg::Client.port(old)), "the switch has {}", port_of(mac)?);
    }
    // What the client knows does not change any more.
    for (address, mac) in both {
        client.ip(&format!("neigh replace {address} lladdr {} dev client0 nud permanent\n", text(mac)))?;
    }
    let is_mover = |frame: &[u8]| frame[12..14] == [0x80, 0x35];
    let movers = senders(&lab, old.peer(), is_mover, || force_failover(&lab, old))?;
    ensure!(movers.contains(&VMAC.to_vec()) && movers.contains(&VMAC6.to_vec()), "frames that move the MACs: {movers:02x?}");
    for (address, mac) in both {
        ensure!(port_of(mac)?.contains(&Leg::Client.port(old.peer())), "the switch has {}", port_of(mac)?);
        talk(&lab, address, SERVICE_PORT).map_err(|error| lab.explain(error))?;
    }
    let leaks = senders(
        &lab,
        old,
        |frame| [&VMAC[..], &VMAC6].contains(&&frame[6..12]),
        || both.iter().try_for_each(|(address, _)| talk(&lab, *address, SERVICE_PORT)),
    )?;
    ensure!(leaks.is_empty(), "the old Primary says nothing from a virtual MAC");
    let refused = lab.node(old).command(&["send", "arp", "-IPAddress", &VIP_V4.to_string()]);
    ensure!(refused.is_err_and(|error| format!("{error:#}").contains("secondary")), "only the Primary announces a VIP");
    lab.node(old).command(&["send", "arp", "-all"])?;
    let sent = senders(
        &lab,
        old.peer(),
        |frame| is_from(frame, VIP_V4),
        || lab.node(old.peer()).command(&["send", "arp", "-IPAddress", &VIP_V4.to_string()]).map(drop),
    )?;
    ensure!(sent.contains(&VMAC.to_vec()), "announced on request: {sent:02x?}");
    let vrid = lab.node(old.peer()).command(&["show", "vrid"])?;
    ensure!(vrid.contains("VMAC: 00:00:5e:00:01:3c  State: Master") && vrid.contains("Interfaces: client0"), "{vrid}");
    ensure!(lab.node(old).command(&["show", "vrid"])?.contains("State: Backup"), "the old Primary");
    Ok(())
}

#[test]
fn host_owned_addresses_speak_from_the_virtual_mac_and_are_kept_whatever_others_do() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut lab = pair()?;
    let primary = lab.wait_settled()?;
    let [serving, standing_by] = [primary, primary.peer()].map(|host| &lab.topology.site(host).netns);
    let has = |netns: &Netns, address: Ipv4Addr| -> Result<bool> {
        Ok(shown(netns, &["ip", "-4", "addr", "show"])?.contains(&format!("inet {address}/")))
    };
    until("the Primary's host owns its addresses", WITHIN, || Ok(has(serving, HOST_VIP_V4)? && has(serving, SNIP_V4)?))?;
    let listener = serving.run(|| Ok(TcpListener::bind((HOST_VIP_V4, 7))?))?;
    let echo = std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut said = [0; 5];
        stream.read_exact(&mut said)?;
        Ok(stream.write_all(&said)?)
    });
    let macs = senders(&lab, primary, |frame| is_from(frame, HOST_VIP_V4), || talk(&lab, HOST_VIP_V4.into(), 7))
        .map_err(|error| lab.explain(error))?;
    echo.join().expect("does not panic")?;
    ensure!(macs.len() >= 3 && macs.iter().all(|mac| *mac == VMAC), "a handshake and an answer from {macs:02x?}");
    for address in [HOST_VIP_V4, SNIP_V4] {
        let dev = if address == SNIP_V4 { "server0" } else { "client0" };
        serving.ip(&format!("addr del {address}/32 dev {dev}\n"))?;
        let took = until("an address that another program removed is back", KEPT_WITHIN, || has(serving, address))
            .map_err(|error| lab.explain(error))?;
        eprintln!("{address} was back after {took:?}");
        standing_by.ip(&format!("addr add {address}/24 dev {dev}\n"))?;
        let took = until("an address that another program added is gone", KEPT_WITHIN, || Ok(!has(standing_by, address)?))
            .map_err(|error| lab.explain(error))?;
        eprintln!("{address} was gone from the Secondary after {took:?}");
    }
    let log = lab.node(primary).log()?;
    ensure!(log.contains("it is back"), "{log}");
    lab.node_mut(primary.peer()).kill()?;
    let standing_by = &lab.topology.site(primary.peer()).netns;
    standing_by.ip(&format!("addr add {SNIP_V4}/24 dev server0\n"))?;
    lab.node_mut(primary.peer()).start()?;
    lab.node_mut(primary.peer()).wait_ready()?;
    let standing_by = &lab.topology.site(primary.peer()).netns;
    until("a copy that was there before the daemon is gone", WITHIN, || Ok(!has(standing_by, SNIP_V4)?))
        .map_err(|error| lab.explain(error))?;
    let serving = &lab.topology.site(primary).netns;
    force_failover(&lab, primary)?;
    until("the addresses have moved", WITHIN, || Ok(has(standing_by, HOST_VIP_V4)? && !has(serving, HOST_VIP_V4)?))?;
    Ok(())
}

#[test]
fn gateway_that_does_not_answer_a_vip_after_a_takeover_is_an_alarm_until_it_does() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let lab = pair()?;
    let first = lab.wait_settled()?;
    let nodes = Host::BOTH.map(|host| &lab.topology.site(host).netns);
    for netns in nodes {
        netns.ip(&format!("route add default via {CLIENT_V4} dev client0\nroute add ::/0 via {CLIENT_V6} dev client0\n"))?;
    }
    let answered = senders(&lab, first.peer(), is_question, || {
        force_failover(&lab, first)?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    })?;
    // The node asks from its own address, too: whether it is isolated.
    let as_vip = answered.iter().filter(|mac| [&VMAC[..], &VMAC6].contains(&&mac[..])).count();
    ensure!(as_vip == 2, "one question for each family is enough: {answered:02x?}");
    let says = |host: Host, what: &str| -> Result<bool> {
        Ok(lab.node(host).log()?.lines().any(|line| line.contains("GatewayUnreached") && line.contains(what)))
    };
    ensure!(!says(first.peer(), "")?, "both gateways answer\n{}", lab.logs());
    for netns in nodes {
        netns.ip(&format!("route replace default via {LATE_ROUTER} dev client0\n"))?;
    }
    force_failover(&lab, first.peer())?;
    until("the alarm of a gateway that does not answer", WITHIN, || says(first, "10.1.0.250"))
        .map_err(|error| lab.explain(error))?;
    lab.topology.client.ip(&format!("addr add {LATE_ROUTER}/24 dev client0\n"))?;
    until("the alarm is cleared", WITHIN, || says(first, "alarm cleared")).map_err(|error| lab.explain(error))?;
    Ok(())
}

/// Whether `frame` asks for a router of the lab as a VIP.
fn is_question(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([8, 6]) => frame.get(38..42) == Some(&CLIENT_V4.octets()) && frame.get(28..32) != Some(&CLIENT_V4.octets()),
        Some([0x86, 0xdd]) => frame.get(54) == Some(&135) && frame.get(62..78) == Some(&CLIENT_V6.octets()),
        _ => false,
    }
}
