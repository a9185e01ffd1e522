//! A leg of clients that falls silent with its carrier up, while the HA links live.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ha_tests::harness::client::Role;
use ha_tests::harness::lab::{Lab, Options};
use ha_tests::harness::topology::{CLIENT_V4, Host, Leg};

/// Silence on the client leg that means something here.
const HOLD: Duration = Duration::from_millis(120);

/// One lab at a time: two would disturb each other's clocks on a small machine. `None` without root.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces and BPF");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A settled pair that probes the client, or somebody who is not there.
fn lab(probe: &str) -> Result<(Lab, Host)> {
    let lab = Lab::raise(&Options {
        hello: Duration::from_millis(10),
        dead: Duration::from_millis(60),
        controller_dead: Duration::from_secs(1),
        ..Options::small()?
    })?;
    for host in Host::BOTH {
        let node = lab.node(host);
        node.command(&["set", "interface", "client0", "-probe", probe])?;
        node.command(&["set", "ha", "node", "-isolationHold", &format!("{}ms", HOLD.as_millis())])?;
    }
    let primary = lab.wait_settled()?;
    Ok((lab, primary))
}

fn reach(lab: &Lab, host: Host) -> Result<String> {
    let shown = lab.node(host).command(&["show", "ha", "node", "0"])?;
    Ok(shown.lines().find(|line| line.contains("Clients' networks:")).unwrap_or_default().trim().to_owned())
}

/// Waits until the clients' network is, to `host`, as `wanted` says.
fn until(lab: &Lab, host: Host, wanted: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = reach(lab, host)?;
        if found.contains(wanted) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{found:?} instead of {wanted}\n{}", lab.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn primary_whose_client_leg_alone_is_cut_silently_hands_over_after_the_hold() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let (lab, primary) = lab(&CLIENT_V4.to_string())?;
    Host::BOTH.into_iter().try_for_each(|host| until(&lab, host, "heard"))?;
    let port = lab.topology.site(primary).port(Leg::Client);
    lab.topology.wire.silence(&[port], true);
    let cut_at = Instant::now();
    while lab.node(primary.peer()).role()? != Role::Primary {
        ensure!(cut_at.elapsed() < Duration::from_secs(5), "nobody took over\n{}", lab.logs());
    }
    eprintln!("the other node says that it serves {:?} after the cut, hold {HOLD:?}", cut_at.elapsed());
    until(&lab, primary, "SILENT")?;
    until(&lab, primary.peer(), "heard")?;
    lab.topology.wire.silence(&[port], false);
    until(&lab, primary, "heard")?;
    ensure!(lab.node(primary.peer()).role()? == Role::Primary, "the role stays where it is");
    Ok(())
}

#[test]
fn silence_on_both_nodes_client_legs_moves_nothing() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let (lab, primary) = lab(&CLIENT_V4.to_string())?;
    Host::BOTH.into_iter().try_for_each(|host| until(&lab, host, "heard"))?;
    let ports = Host::BOTH.map(|host| lab.topology.site(host).port(Leg::Client));
    lab.topology.wire.silence(&ports, true);
    let cut_at = Instant::now();
    while cut_at.elapsed() < Duration::from_secs(2) {
        ensure!(lab.node(primary).role()? == Role::Primary, "the role moved\n{}", lab.logs());
    }
    Host::BOTH.into_iter().try_for_each(|host| until(&lab, host, "SILENT"))?;
    lab.topology.wire.silence(&ports, false);
    Host::BOTH.into_iter().try_for_each(|host| until(&lab, host, "heard"))?;
    ensure!(lab.node(primary).role()? == Role::Primary, "the role moved\n{}", lab.logs());
    Ok(())
}

#[test]
fn frames_that_xdp_takes_show_that_a_leg_leads_somewhere_although_nobody_answers() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let (lab, primary) = lab("10.1.0.77")?;
    // Each node's own broadcasts for the absent one reach the other; the watch's probes reach the Primary.
    let watch = lab.watch()?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        let found = reach(&lab, primary)?;
        ensure!(found.contains("heard"), "{found}\n{}", lab.logs());
    }
    watch.finish()?;
    ensure!(lab.wait_settled()? == primary, "the role moved");
    Ok(())
}
