//! Bonds: how they are made, and when they carry frames.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How long a bond may take until it carries frames: LACP has timers of seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Distance of two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a bond uses its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One at a time. The other end is two ordinary ports of a switch.
    ActiveBackup,
    /// All, by agreement with the other end (IEEE 802.1AX), which is such a bond, too.
    Lacp,
}

impl Mode {
    /// The commands of ip(8) that make bond `name` of `members`, which are down; `extra` are options of the new link.
    pub fn commands(self, name: &str, extra: &str, members: [&str; 2]) -> String {
        let mode = match self {
            Self::ActiveBackup => "active-backup",
            Self::Lacp => "802.3ad",
        };
        let enslave = members.map(|member| format!("link set {member} master {name}\nlink set {member} up\n")).concat();
        format!("link add name {name} {extra} type bond mode {mode} miimon 100\n{enslave}link set {name} up promisc on\n")
    }

    /// Waits until bond `name` of this thread's namespace carries frames, over `active` if only one member does.
    pub fn wait_ready(self, name: &str, active: &str) -> Result<()> {
        let path = format!("/proc/thread-self/net/bonding/{name}");
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let shown = fs::read_to_string(&path)?;
            let is_ready = match self {
                Self::ActiveBackup => shown.contains(&format!("Currently Active Slave: {active}\n")),
                Self::Lacp => both_links_agreed(&shown),
            };
            if is_ready {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "bond {name} does not carry frames after {READY_WITHIN:?}:\n{shown}");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Both members are in the active aggregator, and both ends of each collect and distribute.
fn both_links_agreed(shown: &str) -> bool {
    /// Active, aggregatable, in synchronisation, collecting, distributing.
    const WORKS: u8 = 0b0011_1101;
    let states = shown.lines().filter_map(|line| line.trim().strip_prefix("port state: ")?.parse::<u8>().ok());
    let working = states.filter(|state| state & WORKS == WORKS).count();
    shown.contains("Number of ports: 2\n") && working == 4
}
