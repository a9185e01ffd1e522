//! Frames that reach the node that does not serve, because a switch or a neighbour still points there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ha_tests::harness::client::Role;
use ha_tests::harness::lab::{Lab, Options, SERVICE_PORT};
use ha_tests::harness::netdev;
use ha_tests::harness::topology::{Host, LEG_MTU, Leg, VIP_V4};

/// Enough for many segments of the full MTU.
const BYTES: usize = 200_000;
/// How long the whole transfer may take.
const WITHIN: Duration = Duration::from_secs(10);

fn options() -> Result<Options> {
    Ok(Options {
        hello: Duration::from_millis(50),
        dead: Duration::from_secs(1),
        controller_dead: Duration::from_millis(500),
        backends: 2,
        ..Options::small()?
    })
}

/// Sends [`BYTES`] through the VIP and reads them back, in the thread's namespace.
fn echo_all() -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((VIP_V4, SERVICE_PORT)), WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let mut writer = stream.try_clone()?;
    let whole = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&whole));
    let mut back = vec![0; BYTES];
    stream.read_exact(&mut back)?;
    ensure!(back == sent, "the bytes came back changed");
    writing.join().expect("the writer does not panic")?;
    Ok(())
}

/// Makes the client believe, whatever is announced, that the VIP is at `host`, and talks to it.
fn talk_by_way_of(lab: &Lab, host: Host) -> Result<()> {
    let mac = lab.topology.site(host).netns.run(|| netdev::mac(Leg::Client.interface()))?;
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    lab.topology.client.ip(&format!("neigh replace {VIP_V4} lladdr {mac} dev client0 nud permanent\n"))?;
    let client = lab.topology.client.clone();
    let transfer = std::thread::spawn(move || client.run(echo_all)).join().expect("the transfer does not panic");
    transfer.map_err(|error| error.context(format!("segments of {LEG_MTU} bytes by way of {host:?}\n{}", lab.logs())))
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root for network namespaces and BPF");
    }
    root
}

#[test]
fn full_mtu_frames_for_the_vip_that_reach_the_secondary_are_served_by_the_primary() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let lab = Lab::raise(&options()?)?;
    let primary = lab.wait_settled()?;
    talk_by_way_of(&lab, primary.peer())
}

#[test]
fn node_whose_daemon_is_dead_still_carries_what_reaches_it_to_the_new_primary() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut lab = Lab::raise(&options()?)?;
    let old = lab.wait_settled()?;
    lab.node_mut(old).kill()?;
    let deadline = Instant::now() + WITHIN;
    while lab.node(old.peer()).role()? != Role::Primary {
        ensure!(Instant::now() < deadline, "the Secondary does not take over from a dead daemon\n{}", lab.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
    talk_by_way_of(&lab, old)
}

#[test]
fn strays_that_go_on_for_ten_seconds_raise_an_alarm_that_names_the_leg() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let lab = Lab::raise(&options()?)?;
    let secondary = lab.wait_settled()?.peer();
    let deadline = Instant::now() + 3 * WITHIN;
    loop {
        talk_by_way_of(&lab, secondary)?;
        let log = lab.node(secondary).log()?;
        if log.lines().any(|line| line.contains("alarm=Strays") && line.contains("client0")) {
            break;
        }
        ensure!(Instant::now() < deadline, "no alarm\n{}", lab.logs());
        std::thread::sleep(Duration::from_millis(200));
    }
    while !lab.node(secondary).log()?.lines().any(|line| line.contains("alarm cleared") && line.contains("Strays")) {
        ensure!(Instant::now() < deadline, "the alarm stands although no stray comes\n{}", lab.logs());
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
