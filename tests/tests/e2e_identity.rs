//! Who is who: others that use what is the pair's, a mistyped password, and one that is changed while everything runs.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ha_common::abi::{Key, Node};
use ha_common::packet::HostPacket;
use ha_common::pipeline::heartbeat::{write_headers, write_payload};
use ha_common::wire::heartbeat::{Extension, FRAME_LEN, MAGIC, VERSION, kind};
use ha_tests::harness::client::Role;
use ha_tests::harness::lab::{Lab, Options};
use ha_tests::harness::netdev;
use ha_tests::harness::netns::Netns;
use ha_tests::harness::packet_socket;
use ha_tests::harness::rt;
use ha_tests::harness::topology::{Host, VIP_V4};
use ha_tests::harness::trial::alone;
use ha_tests::vectors::frames::Arp;

const WITHIN: Duration = Duration::from_secs(10);
const HELLO: Duration = Duration::from_millis(10);
const DEAD: Duration = Duration::from_millis(30);
/// Many dead intervals.
const LONG: Duration = Duration::from_secs(2);
const STRANGER: [u8; 6] = [2, 9, 9, 9, 9, 9];
const STRANGER_TEXT: &str = "02:09:09:09:09:09";

fn options() -> Result<Options> {
    Ok(Options { hello: HELLO, dead: DEAD, controller_dead: Duration::from_secs(1), ..Options::small()? })
}

fn send(netns: &Netns, interface: &str, frame: &[u8]) -> Result<()> {
    let socket = netns.run(|| packet_socket::sender(interface))?;
    socket.send(frame)?;
    Ok(())
}

/// Repeats `act` until the daemon of `host` has logged a line with all of `words`.
fn until_logged(lab: &Lab, host: Host, words: &[&str], act: impl Fn() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    loop {
        act()?;
        let log = lab.node(host).log()?;
        if log.lines().any(|line| words.iter().all(|word| line.contains(word))) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "node {} logged no line with {words:?}\n{}", host.name(), lab.logs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn station_that_takes_a_vip_is_named_by_the_primary_alone() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let lab = Lab::raise(&options()?)?;
    let primary = lab.wait_settled()?;
    let claim = Arp { to: [0xff; 6], vlan: None, reply: true, sender: (STRANGER, VIP_V4), target: ([0; 6], VIP_V4) };
    let claims = || send(&lab.topology.client, "client0", &claim.bytes());
    until_logged(&lab, primary, &["IpConflict", &VIP_V4.to_string(), STRANGER_TEXT], claims)?;
    let log = lab.node(primary.peer()).log()?;
    ensure!(!log.contains("IpConflict"), "the Secondary, whose peer serves, has no say in it:\n{log}");
    Ok(())
}

#[test]
fn node_that_starts_asks_who_has_its_addresses_and_names_the_station_that_answers() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let mut lab = Lab::raise(&options()?)?;
    let primary = lab.wait_settled()?;
    for host in Host::BOTH {
        lab.node_mut(host).kill()?;
        lab.node(host).forget_kernel()?;
    }
    let log = lab.node(primary).log()?;
    ensure!(!log.contains("IpConflict"), "nobody else has had the VIP so far:\n{log}");
    // The client's stack answers questions, and announces nothing by itself.
    lab.topology.client.ip(&format!("addr add {VIP_V4}/32 dev client0\n"))?;
    let capture = lab.topology.client.run(|| packet_socket::capture("client0"))?;
    lab.node_mut(primary).start()?;
    lab.node_mut(primary).wait_ready()?;
    until_logged(&lab, primary, &["IpConflict", &VIP_V4.to_string()], || Ok(()))?;
    let mac = lab.topology.site(primary).netns.run(|| netdev::mac("client0"))?;
    let probe =
        Arp { to: [0xff; 6], vlan: None, reply: false, sender: (mac, Ipv4Addr::UNSPECIFIED), target: ([0; 6], VIP_V4) }.bytes();
    let mut frame = [0; 2048];
    while let Some((len, _)) = packet_socket::receive(&capture, &mut frame)? {
        if probe.starts_with(&frame[..len]) {
            return Ok(());
        }
    }
    bail!("the node did not ask who has its VIP")
}

/// A request as `host`, from another machine with a password of its own.
fn heartbeat_as(host: Host) -> Vec<u8> {
    let word = |addr: Ipv4Addr| u32::from_ne_bytes(addr.octets());
    let key = Key { k0: 1, k1: 2, id: 3 };
    let other = Node { nsip: word(host.nsip()), peer_nsip: word(host.peer().nsip()), tx_key: key, ..Node::default() };
    let said = Extension {
        magic: MAGIC,
        version: VERSION,
        kind: kind::REQUEST,
        sender: 1 + host as u8,
        receiver: 1 + host.peer() as u8,
        key_id: key.id,
        sender_nonce: 0x5555,
        seq: 1,
        ..Extension::default()
    };
    let mut packet = HostPacket::new(&[0; FRAME_LEN]);
    write_headers(&mut packet, &other, STRANGER, [0xff; 6]).expect("room for it");
    write_payload(&mut packet, &other, &said).expect("room for it");
    packet.frame().to_vec()
}

#[test]
fn machine_with_a_nodes_own_nsip_is_named_by_that_node() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let lab = Lab::raise(&options()?)?;
    let primary = lab.wait_settled()?;
    let from = &lab.topology.site(Host::B).netns;
    let speaks = || send(from, "ha0", &heartbeat_as(Host::A));
    until_logged(&lab, Host::A, &["DuplicateNode", "ha0", STRANGER_TEXT], speaks)?;
    ensure!(lab.wait_settled()? == primary, "somebody who calls himself a node moves no role");
    Ok(())
}

fn set_password(lab: &Lab, on: Host, of: Host, password: &str) -> Result<()> {
    lab.node(on).command(&["set", "ns", "rpcnode", &of.nsip().to_string(), "-password", password]).map(drop)
}

/// Changes of role that both nodes have logged.
fn changes(lab: &Lab) -> Result<usize> {
    Ok(lab.node(Host::A).role_changes()?.len() + lab.node(Host::B).role_changes()?.len())
}

#[test]
fn mistyped_password_on_either_node_is_said_and_moves_no_role() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let lab = Lab::raise(&options()?)?;
    let primary = lab.wait_settled()?;
    let right = format!("lab-{}", std::process::id());
    for mistaken in [primary, primary.peer()] {
        let before = changes(&lab)?;
        set_password(&lab, mistaken, mistaken, "mistyped")?;
        let unknown = || Ok(());
        until_logged(&lab, mistaken.peer(), &["alarm=Pair(UnknownKey)"], unknown)?;
        rt::sleep_until(rt::now() + LONG);
        ensure!(lab.node(primary).role()? == Role::Primary, "the Primary has lost its role\n{}", lab.logs());
        ensure!(lab.node(primary.peer()).role()? == Role::Secondary, "the Secondary has taken over\n{}", lab.logs());
        ensure!(changes(&lab)? == before, "a role has moved\n{}", lab.logs());
        let shown = lab.node(mistaken.peer()).command(&["show", "ha", "node"])?;
        ensure!(
            shown.contains("Node State: UNKNOWN"),
            "the peer of node {} is not shown as UNKNOWN:\n{shown}",
            mistaken.peer().name()
        );
        set_password(&lab, mistaken, mistaken, &right)?;
        until_logged(&lab, mistaken.peer(), &["alarm cleared", "UnknownKey"], unknown)?;
    }
    Ok(())
}

#[test]
fn password_changed_on_one_node_and_then_on_the_other_moves_no_role_and_loses_no_probe() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let lab = Lab::raise(&options()?)?;
    let primary = lab.wait_settled()?;
    let before = changes(&lab)?;
    let watch = lab.watch()?;
    let first = watch.tally.sent();
    for (round, on) in [Host::A, Host::B, Host::B, Host::A].into_iter().enumerate() {
        let password = format!("changed-{}", round / 2);
        for of in [on, on.peer()] {
            set_password(&lab, on, of, &password)?;
        }
        // Half-changed, or changed: for many dead intervals.
        rt::sleep_until(rt::now() + LONG / 4);
    }
    let end = watch.tally.sent();
    let (tally, ..) = watch.finish()?;
    let lost = (first..end).filter(|probe| !tally.is_answered(*probe)).count();
    ensure!(lost == 0, "{lost} of {} probes were lost\n{}", end - first, lab.logs());
    ensure!(changes(&lab)? == before, "a role has moved\n{}", lab.logs());
    ensure!(lab.wait_settled()? == primary);
    let shown = lab.node(primary).command(&["show", "ha", "node"])?;
    ensure!(!shown.contains("Node State: UNKNOWN"), "the peer uses the new password:\n{shown}");
    Ok(())
}

#[test]
fn nodes_with_the_same_commands_are_configured_alike_and_a_command_on_one_alone_is_an_alarm() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let lab = Lab::raise(&options()?)?;
    let primary = lab.wait_settled()?;
    let identity = |host| -> Result<String> {
        let shown = lab.node(host).command(&["show", "ns", "config"])?;
        let line = shown.lines().find(|line| line.contains("identity")).map(str::to_owned);
        line.with_context(|| format!("no identity in:\n{shown}"))
    };
    let is_alarm =
        |host| -> Result<bool> { Ok(lab.node(host).command(&["show", "ns", "alarms"])?.contains("ConfigurationsDiffer")) };
    let until = |wanted: bool| -> Result<()> {
        let deadline = Instant::now() + WITHIN + Duration::from_secs(10);
        while [is_alarm(primary)?, is_alarm(primary.peer())?] != [wanted; 2] {
            ensure!(Instant::now() < deadline, "the alarm should be {wanted} on both nodes\n{}", lab.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    };
    let add = |host: Host| lab.node(host).command(&["add", "ns", "ip", "10.77.0.1", "255.255.255.255", "-type", "VIP"]);
    ensure!(identity(primary)? == identity(primary.peer())?, "a sane pair has one identity");
    add(primary)?;
    until(true)?;
    add(primary.peer())?;
    until(false)
}
