//! A switch that polices ARP, as access switches do to protect their processors.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::harness::topology::{Host, Leg, Topology};

/// Polices ARP from each node's client leg at `rate` packets per second; what is more, and more than `burst` at once, is dropped.
pub fn police(topology: &Topology, rate: u32, burst: u32) -> Result<()> {
    let rule = |host| {
        let port = Leg::Client.port(host);
        format!(
            "add rule bridge police arrivals iifname \"{port}\" ether type arp limit rate over {rate}/second burst {burst} packets \
             counter drop\n"
        )
    };
    let rules = Host::BOTH.map(rule).concat();
    let head = "add table bridge police\nadd chain bridge police arrivals { type filter hook prerouting priority 0; }\n";
    topology.switch.run(|| nft(&format!("{head}{rules}")).map(drop))
}

/// Packets that were dropped so far.
pub fn policed(topology: &Topology) -> Result<u64> {
    let listed = topology.switch.run(|| nft("list table bridge police\n"))?;
    let counts = listed.split("counter packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

fn nft(commands: &str) -> Result<String> {
    let output = Command::new("nft").arg(commands).output().context("run nft (package nftables)")?;
    ensure!(output.status.success(), "nft {commands}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
