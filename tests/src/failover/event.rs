//! What happens to the Primary.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use super::pair::Pair;
use crate::harness::rt;
use crate::harness::topology::Host;

/// An event that moves the role from the Primary to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Event {
    /// The switch port of the Primary's client leg goes down.
    CarrierLoss,
    /// All links of the Primary fall silent at once, with carrier up.
    SilentCut,
    /// The Primary's daemon is killed; the node itself lives.
    DaemonKilled,
    /// The operator swaps the roles; both daemons live.
    Graceful,
    /// The operator stops the Primary's daemon.
    Stopped,
}

impl Event {
    /// Its word on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::CarrierLoss => "carrier-loss",
            Self::SilentCut => "silent-cut",
            Self::DaemonKilled => "daemon-killed",
            Self::Graceful => "graceful",
            Self::Stopped => "stopped",
        }
    }

    /// Does it to `primary`; the moment at which it began.
    pub fn happen(self, pair: &mut dyn Pair, primary: Host) -> Result<Duration> {
        let at = rt::now();
        match self {
            Self::CarrierLoss => pair.topology().set_client_carrier(primary, false)?,
            Self::SilentCut => pair.topology().silence(primary, true),
            Self::DaemonKilled => pair.kill(primary)?,
            Self::Graceful => pair.hand_over(primary)?,
            Self::Stopped => pair.stop(primary)?,
        }
        Ok(at)
    }

    /// Puts right again what [`Self::happen`] did to `host`.
    pub fn undo(self, pair: &mut dyn Pair, host: Host) -> Result<()> {
        match self {
            Self::CarrierLoss => pair.topology().set_client_carrier(host, true),
            Self::SilentCut => {
                pair.topology().silence(host, false);
                Ok(())
            }
            Self::DaemonKilled | Self::Stopped => pair.start(host),
            Self::Graceful => pair.end_hand_over(host),
        }
    }
}
