//! What happens to the machine that a node runs on.

use std::time::{Duration, Instant};

use super::{Event, Host, Lab, Result, at_once, ensure, rt, sequel};
use crate::failover::load::BusyLoops;
use crate::harness::disk;
use crate::harness::topology::Leg;

/// Busy loops per CPU, and how long they run at most.
const LOOPS: usize = 8;
const LOOP_LIMIT: Duration = Duration::from_secs(20);
/// How long a node may take to say that its disk does not take what it must keep.
const ALARM_WITHIN: Duration = Duration::from_secs(5);

/// Other work takes every CPU many times over.
pub fn busy_loops(_: &mut Lab, _: Host) -> Result<Event> {
    let cpus = std::thread::available_parallelism()?.get();
    let at = rt::now();
    let loops = BusyLoops::start(LOOPS * cpus, LOOP_LIMIT)?;
    let end = sequel(move |_| {
        drop(loops);
        Ok(())
    });
    Ok(Event { at, then: None, end })
}

/// Nothing can be written any more on either node; then the operator swaps the roles.
pub fn full_disks(lab: &mut Lab, primary: Host) -> Result<Event> {
    for host in Host::BOTH {
        disk::fill(&lab.node(host).state_dir())?;
    }
    let event = super::force_failover(lab, primary)?;
    // The new Primary is the one that has a term to keep.
    let end = sequel(move |lab| wait_alarm(lab, primary.peer()));
    Ok(Event { end, ..event })
}

/// Waits until the node says that its disk does not take its terms.
fn wait_alarm(lab: &Lab, host: Host) -> Result<()> {
    let deadline = Instant::now() + ALARM_WITHIN;
    while !lab.node(host).log()?.contains("alarm=DiskFailed subject=\"\"") {
        ensure!(Instant::now() < deadline, "node {} is not alarmed although its disk is full", host.name());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The Secondary loses its power: what it says is lost, and the direct cable loses its carrier at the Primary.
pub fn kill_secondary(lab: &mut Lab, primary: Host) -> Result<Event> {
    lose_power(lab, primary.peer())
}

/// The Primary loses its power: what it says is lost, and the direct cable loses its carrier at the Secondary.
pub fn kill_cabled_node(lab: &mut Lab, primary: Host) -> Result<Event> {
    lose_power(lab, primary)
}

/// The survivor counts the carrier of the direct cable as a monitored interface does: even so it must stay UP.
fn lose_power(lab: &mut Lab, host: Host) -> Result<Event> {
    let survivor = host.peer();
    lab.node(survivor).command(&["set", "interface", Leg::Ha0.interface(), "-haMonitor", "ON"])?;
    let event = at_once(|| {
        lab.topology.silence(host, true);
        lab.topology.set_carrier(survivor, Leg::Ha0, false)?;
        // What is dead takes no role, not even where nobody sees it.
        lab.node_mut(host).kill()
    })?;
    let end = sequel(move |lab| {
        let state = lab.node(survivor).state()?;
        ensure!(state == "UP", "node {} has lost its direct cable with its peer and says that it is {state}", survivor.name());
        Ok(())
    });
    Ok(Event { end, ..event })
}
