//! The interfaces and routes that [`super::world`] speaks of, for real.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

use super::frames::Mac;
use super::world::{self, CLIENT_LEG, HA_LINK, SERVER_LEG};

/// Name, index and MAC address of each.
pub const INTERFACES: [(&str, u32, Mac); 3] = [
    ("client0", CLIENT_LEG, world::CLIENT_LEG_MAC),
    ("server0", SERVER_LEG, world::SERVER_LEG_MAC),
    ("ha0", HA_LINK, world::HA_LINK_MAC),
];

/// Moves this thread into a new network namespace that has them; it ends with the thread.
pub fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace: this needs root")?;
    for (name, index, mac) in INTERFACES {
        ip(&format!("link add name {name} index {index} address {} type bridge", text(mac)))?;
        ip(&format!("link set {name} up"))?;
    }
    furnish()
}

/// Gives the interfaces of this thread's namespace their addresses, and the host its routes.
pub fn furnish() -> Result<()> {
    ip(&format!("address add {}/24 dev client0", world::UNLISTED))?;
    ip(&format!("address add {}/24 dev server0", world::OWN))?;
    ip("address add 2001:db8:1::2/64 dev client0 nodad")?;
    ip("address add 2001:db8:2::2/64 dev server0 nodad")?;
    for client in [world::CLIENT, world::CLIENT6] {
        ip(&format!("neigh add {client} lladdr {} dev client0", text(world::CLIENT_MAC)))?;
    }
    // Else the kernel's answer to every question for a route is that it does not forward.
    fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1").context("forward IPv4 in the namespace")?;
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").context("forward IPv6 in the namespace")
}

/// A MAC address as ip(8) writes it.
pub fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Runs lines of ip(8) commands in this thread's namespace.
pub fn ip_batch(lines: &str) -> Result<()> {
    lines.lines().try_for_each(ip)
}

/// Runs ip(8) in this thread's namespace.
pub fn ip(arguments: &str) -> Result<()> {
    let status = Command::new("ip").args(arguments.split(' ')).status().context("run ip (package iproute2)")?;
    ensure!(status.success(), "ip {arguments}: {status}");
    Ok(())
}
