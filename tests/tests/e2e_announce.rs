//! Takeovers of many VIPs behind a switch that polices ARP: `cargo xtask bench announce` in small.

use std::time::Duration;

use anyhow::{Result, ensure};
use ha_tests::announce::{Settings, measure};

const VIPS: usize = 300;
/// What announcements of all of them take at the pace of their sender, ms.
const PACED_MS: f64 = (VIPS as f64 - 32.0) / 0.968;
/// What a busy machine may add, ms.
const SLACK_MS: f64 = 150.0;

fn settings(vmac: bool) -> Settings {
    Settings { vips: VIPS, vmac, policed: Some(1_000), burst: 50, questions: 10_000, after: Duration::from_secs(2) }
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root for network namespaces and BPF");
    }
    root
}

#[test]
fn one_frame_from_the_virtual_mac_makes_every_vip_reachable() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let sample = measure(&settings(true))?;
    ensure!(sample.never == 0 && sample.all_ms < PACED_MS / 2.0, "not by way of each address: {sample:?}");
    Ok(())
}

#[test]
fn without_one_every_announcement_passes_the_police_in_the_first_round() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let sample = measure(&settings(false))?;
    ensure!(sample.never == 0 && sample.policed == 0 && sample.all_ms < PACED_MS + SLACK_MS, "{sample:?}");
    ensure!(sample.all_ms > PACED_MS / 2.0, "stations know before they are told: {sample:?}");
    Ok(())
}
