//! What the daemons record of their HA machines repeats to the same actions, through every kind of failover; what was tampered with does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use ha_tests::harness::client::Role;
use ha_tests::harness::lab::daemon;
use ha_tests::harness::topology::Host;
use ha_tests::harness::trial::{self, alone};

fn replay(records: &[PathBuf]) -> Result<Output> {
    Ok(Command::new(daemon()?).arg("replay").args(records).output()?)
}

/// What there is of the record in `dir`, the oldest first.
fn records(dir: &Path) -> Vec<PathBuf> {
    ["record.old", "record"].map(|name| dir.join(name)).into_iter().filter(|path| path.exists()).collect()
}

#[test]
fn record_of_both_nodes_through_failovers_replays_to_the_same_actions() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let mut lab = trial::lab(true)?;
    let first = lab.wait_settled()?;
    lab.wait_well(first)?;
    lab.node(first).command(&["force", "ha", "failover"])?;
    ensure!(lab.wait_settled()? == first.peer(), "the roles were swapped");
    // A cut that heals, a daemon that restarts, one that is killed.
    lab.topology.silence(first.peer(), true);
    lab.wait_role(first, Role::Primary)?;
    lab.topology.silence(first.peer(), false);
    let primary = lab.wait_settled()?;
    lab.node_mut(primary).terminate()?;
    lab.start_nodes()?;
    lab.wait_settled()?;
    lab.node_mut(primary).kill()?;
    lab.wait_role(primary.peer(), Role::Primary)?;
    lab.start_nodes()?;
    lab.wait_settled()?;
    for host in Host::BOTH {
        // The last page is written when the daemon ends.
        lab.node_mut(host).terminate()?;
    }
    for host in Host::BOTH {
        let records = records(&lab.node(host).state_dir());
        let output = replay(&records)?;
        let told = String::from_utf8_lossy(&output.stdout);
        eprintln!("node {}: {told}{}", host.name(), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "the record of node {} does not replay", host.name());
        for change in lab.node(host).role_changes()? {
            let line = format!("{} -> {}", change.from, change.to);
            ensure!(told.lines().any(|told| told.contains(&line) && told.ends_with(&change.cause)), "{change} is not told");
        }
        let flipped = flip(&records)?;
        let output = replay(&[flipped])?;
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && why.contains("damaged"), "a flipped bit was not found: {why}");
    }
    Ok(())
}

/// A copy of the last record with one bit of its middle flipped.
fn flip(records: &[PathBuf]) -> Result<PathBuf> {
    let path = records.last().expect("a record");
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let flipped = path.with_file_name("flipped");
    fs::write(&flipped, bytes)?;
    Ok(flipped)
}
