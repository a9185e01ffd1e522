//! What is checked within a guest, on its own kernel and its own network cards.
//!
//! ```text
//!            namespace of the node                     the guest's first namespace
//!   client0: card 0, or a bond of cards 0 and 1 ── hubs 0, 1 ── cards 4, 5, or a bond of them
//!   server0: card 2                             ── hub 2     ── card 6
//!   ha0:     card 3                             ── hub 3     ── card 7
//! ```
//!
//! Each check is a process of its own: its namespace ends with it, and gives the cards back.

mod bond;
mod daemon;
mod port;
mod rig;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::guest::{Cable, Card};
use crate::vectors::loaded;
use bond::Mode;
use rig::Rig;

/// Hubs, each with a card of the node and one opposite.
const HUBS: usize = 4;

/// Modules that the checks need.
pub const MODULES: [&str; 3] = ["bridge", "bonding", "8021q"];

/// Run in a guest before any check: nothing but the checks' own frames is to be on the wires.
pub const SETUP: &str = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6\n\
                         echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6\n\
                         mkdir -p /run/netns";

/// The network cards that a guest needs.
pub fn cards() -> Vec<Card> {
    let card = |number: usize| Card { mac: [0x52, 0x54, 0, 0x56, 0, number as u8], cable: Cable::Hub(number % HUBS) };
    (0..2 * HUBS).map(card).collect()
}

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// Golden vectors by test run of the loaded programs.
    TestRun,
    /// Golden vectors over wires, the program in the driver of each card.
    Wire,
    /// The same, clients behind an active-backup bond, before and after it has lost its active member.
    ActiveBackup,
    /// The same, clients behind an 802.3ad bond of two links.
    Lacp,
    /// The daemon, clients behind an active-backup bond that loses its active member.
    Daemon,
}

impl Check {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::TestRun, Self::Wire, Self::ActiveBackup, Self::Lacp, Self::Daemon];

    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How long it may take, without acceleration and beside other work.
    pub fn limit(self) -> Duration {
        Duration::from_secs(300)
    }

    /// Runs it, in a guest; what held, one line each.
    ///
    /// # Errors
    /// With what did not.
    pub fn run(self) -> Result<Vec<String>> {
        match self {
            Self::TestRun => Ok(vec![test_run()?]),
            Self::Wire => Ok(vec![over_wires(None, "cards with the program in their drivers")?]),
            Self::ActiveBackup => {
                let mut rig = Rig::raise(Some(Mode::ActiveBackup))?;
                let mut kernel = rig.attach()?;
                let before = wire::run_all(&rig, &mut kernel).context("clients behind an active-backup bond")?;
                rig.lose_active_member()?;
                let after = wire::run_all(&rig, &mut kernel).context("the bond's active member is lost")?;
                Ok(vec![
                    format!("{before}: clients behind an active-backup bond"),
                    format!("{after}: its active member is lost"),
                ])
            }
            Self::Lacp => Ok(vec![over_wires(Some(Mode::Lacp), "clients behind an 802.3ad bond of two links")?]),
            Self::Daemon => daemon::check(),
        }
    }
}

fn over_wires(bond: Option<Mode>, place: &str) -> Result<String> {
    let rig = Rig::raise(bond)?;
    let held = wire::run_all(&rig, &mut rig.attach()?).context(place.to_owned())?;
    Ok(format!("{held}: {place}"))
}

fn test_run() -> Result<String> {
    let (all, failed) = loaded::run_all(&mut loaded::load()?)?;
    ensure!(failed.is_empty(), "{} of {all} vectors do not hold in a test run:\n{}", failed.len(), failed.join("\n"));
    Ok(format!("{all} vectors hold in a test run of the loaded programs"))
}
