//! Forwarding on the legs: without it the kernel does not tell the data plane the way back to a client.
//!
//! A connection that lives through a takeover is recreated from whichever packet comes first. If that is the server's, the way
//! to the client is asked of the kernel's routing table, which answers only for interfaces that forward. It is switched on
//! where it is off, and stays on when the daemon ends, because the kernel programs go on without it.

use std::fs;
use std::io;
use std::path::PathBuf;

use tracing::info;

/// Switches IPv4 and IPv6 forwarding on for `interface` of this thread's network namespace; whether it was off.
///
/// # Errors
/// When the host does not let it be switched.
pub fn enable(interface: &str) -> io::Result<bool> {
    let mut changed = false;
    for family in ["ipv4", "ipv6"] {
        let setting = |name: &str| PathBuf::from(format!("/proc/sys/net/{family}/conf/{interface}/{name}"));
        let forwarding = setting("forwarding");
        // A host without IPv6 has no such setting.
        if !forwarding.exists() || fs::read_to_string(&forwarding)?.trim() != "0" {
            continue;
        }
        // An interface that forwards takes no more router advertisements unless it is told to (accept_ra 2): the host's own
        // default route may have come by one.
        let advertisements = setting("accept_ra");
        if family == "ipv6" && fs::read_to_string(&advertisements).is_ok_and(|value| value.trim() == "1") {
            fs::write(&advertisements, "2")?;
        }
        fs::write(&forwarding, "1")?;
        changed = true;
    }
    if changed {
        info!(interface, "switched forwarding on: answers of backends need it to find their clients after a takeover");
    }
    Ok(changed)
}
