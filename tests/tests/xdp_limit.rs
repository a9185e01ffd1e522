//! Privileged: what a node may answer strangers, whichever of its CPUs they reach.

use anyhow::{Context, Result, ensure};
use ha_common::abi::Reason;
use ha_tests::vectors::frames::{Frame, echo};
use ha_tests::vectors::loaded;
use ha_tests::vectors::world::{self, CLIENT, CLIENT_LEG, CLIENT_LEG_MAC, CLIENT_MAC, VIP};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// What a message costs, and how many the bucket holds.
const COST: u64 = 100_000;
const ALLOWED: u64 = 100;

#[test]
fn the_budget_for_icmp_is_the_nodes_and_not_each_cpus() -> Result<()> {
    let kernel = loaded::load()?;
    let mut tables = world::pair(kernel.clocks()?.1);
    world::ration(&mut tables, COST, ALLOWED * COST);
    kernel.fill(&tables)?;
    let ping = Frame {
        from: CLIENT_MAC,
        to: CLIENT_LEG_MAC,
        vlan: None,
        source: CLIENT,
        destination: VIP,
        ttl: 64,
        body: echo(VIP, false),
    };
    let cpus = aya::util::online_cpus().map_err(|(_, error)| error).context("which CPUs are there?")?;
    ensure!(cpus.len() > 1, "one CPU shows nothing");
    for &cpu in &cpus {
        let mut set = CpuSet::new();
        set.set(cpu as usize)?;
        sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("run on CPU {cpu}"))?;
        for _ in 0..ALLOWED {
            kernel.ingress(&ping.bytes(), CLIENT_LEG)?;
        }
    }
    let counters = kernel.counters()?;
    let packets = |reason| counters.iter().find(|(other, _)| *other == reason).map_or(0, |(_, counter)| counter.packets);
    let [answered, limited] = [Reason::IcmpEcho, Reason::IcmpLimited].map(packets);
    ensure!(answered == ALLOWED && limited == (cpus.len() as u64 - 1) * ALLOWED, "{answered} answered, {limited} not");
    Ok(())
}
