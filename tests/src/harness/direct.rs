//! A backend that owns VIPs and answers clients itself, past the pair.

use std::net::IpAddr;

use anyhow::Result;

use super::netdev;
use super::topology::{LEG_MTU, Topology};

/// Interface of such a backend on the clients' segment.
const WAY_OUT: &str = "eth1";

/// Gives backend `number` (from 1) the addresses `vips`, of which it tells nobody, and a cable to the clients.
pub fn own(topology: &Topology, number: usize, vips: &[IpAddr]) -> Result<()> {
    let backend = &topology.backends[number - 1];
    for interface in ["all", "default", "eth0"] {
        // Requests come from where the way back does not go.
        backend.sysctl(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
        backend.sysctl(&format!("ipv4/conf/{interface}/arp_ignore"), "1")?;
        backend.sysctl(&format!("ipv4/conf/{interface}/arp_announce"), "2")?;
    }
    let port = format!("c-be{number}");
    topology.switch.ip(&format!(
        "link add {port} mtu {LEG_MTU} type veth peer name {WAY_OUT} mtu {LEG_MTU} netns {}\n\
         link set {port} master brc\nlink set {port} up\n",
        backend.name()
    ))?;
    topology.switch.run(|| netdev::finish_checksums(&port))?;
    backend.ip(&format!(
        "link set {WAY_OUT} up\n\
         addr add 10.1.0.{n}/24 dev {WAY_OUT}\naddr add fd00:1::{n:x}/64 dev {WAY_OUT} nodad\n",
        n = 30 + number
    ))?;
    backend.run(|| netdev::finish_checksums(WAY_OUT))?;
    let loops = vips.iter().map(|vip| match vip {
        IpAddr::V4(vip) => format!("addr add {vip}/32 dev lo\n"),
        IpAddr::V6(vip) => format!("addr add {vip}/128 dev lo nodad\n"),
    });
    backend.ip(&loops.collect::<String>())
}
