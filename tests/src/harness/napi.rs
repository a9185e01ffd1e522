//! Packet processing of a node's legs on threads of its own.
//!
//! On veth a frame is processed by the CPU of whoever sent it, to its end: one node's sender runs the other node's programs. With threaded
//! NAPI each leg has a kernel thread instead, here SCHED_FIFO and pinned, so that two nodes share no more than two machines would. It costs
//! a context switch per hop, and needs a CPU per node to be worth it: on two CPUs, idle or with four busy loops beside, neither the round trip
//! (median 0.03 ms, worst 1–3 ms) nor the prober's lateness changed. So it is a choice, not the default.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::netns::Netns;
use super::rt;

const PRIORITY: i32 = 60;

/// Gives each of `interfaces` in `netns` its own thread on `cpu`; their programs must be attached already.
pub fn thread(netns: &Netns, interfaces: &[&str], cpu: usize) -> Result<()> {
    for interface in interfaces {
        for task in spawn(netns, interface, cpu)? {
            rt::set_fifo(task, PRIORITY)?;
        }
    }
    Ok(())
}

/// Gives `interface` in `netns` its own thread on `cpu`, one for each queue, of ordinary priority; the threads' ids.
pub fn spawn(netns: &Netns, interface: &str, cpu: usize) -> Result<Vec<i32>> {
    let prefix = format!("napi/{interface}-");
    let before = tasks_named(&prefix)?;
    // ip(8) mounts a sysfs that shows the namespace's own interfaces.
    let write = format!("echo 1 > /sys/class/net/{interface}/threaded");
    let output = Command::new("ip").args(["netns", "exec", netns.name(), "sh", "-c", &write]).output()?;
    if !output.status.success() {
        bail!("thread {interface} in {}: {}", netns.name(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    let made: Vec<i32> = tasks_named(&prefix)?.difference(&before).copied().collect();
    for task in &made {
        sched_setaffinity(Pid::from_raw(*task), &cpus).with_context(|| format!("pin {prefix}* to CPU {cpu}"))?;
    }
    Ok(made)
}

/// Kernel threads whose name starts with `prefix`.
pub fn tasks_named(prefix: &str) -> Result<BTreeSet<i32>> {
    let tasks = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // A task may end while we look.
    let named = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with(prefix));
    Ok(tasks.filter(named).collect())
}
