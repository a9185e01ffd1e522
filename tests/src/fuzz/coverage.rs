//! Which reasons were reached, and how often.

use std::fmt::Write as _;

use ha_common::abi::Reason;
use ha_common::pipeline::Action;

/// Reasons that no test run reaches, and why.
pub const UNREACHABLE: &[(Reason, &str)] =
    &[(Reason::NoHeadroom, "a test run has room for everything that is ever put in front of a frame")];

/// How often each reason, and each action, was reached.
#[derive(Clone, Debug)]
pub struct Coverage {
    reasons: Vec<u64>,
    actions: [u64; 4],
}

impl Default for Coverage {
    fn default() -> Self {
        Coverage { reasons: vec![0; Reason::ALL.len()], actions: [0; 4] }
    }
}

impl Coverage {
    /// Counts a packet.
    pub fn count(&mut self, reason: Reason, action: Action) {
        self.reasons[reason as usize] += 1;
        let which = match action {
            Action::Pass => 0,
            Action::Drop => 1,
            Action::Transmit => 2,
            Action::Redirect(_) => 3,
        };
        self.actions[which] += 1;
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Coverage) {
        self.reasons.iter_mut().zip(&other.reasons).for_each(|(here, there)| *here += there);
        self.actions.iter_mut().zip(&other.actions).for_each(|(here, there)| *here += there);
    }

    /// Packets in all.
    pub fn packets(&self) -> u64 {
        self.actions.iter().sum()
    }

    /// Reasons that were reached.
    pub fn reached(&self) -> usize {
        self.reasons.iter().filter(|count| **count > 0).count()
    }

    /// Reasons that can be reached and were not.
    pub fn missed(&self) -> Vec<Reason> {
        let reachable = |reason: &Reason| UNREACHABLE.iter().all(|(unreachable, _)| unreachable != reason);
        Reason::ALL.iter().copied().filter(reachable).filter(|reason| self.reasons[*reason as usize] == 0).collect()
    }

    /// A table, the rarest first.
    pub fn table(&self) -> String {
        let mut rows: Vec<(u64, &str)> =
            Reason::ALL.iter().map(|reason| (self.reasons[*reason as usize], reason.name())).collect();
        rows.sort_unstable();
        let mut table = String::new();
        for (count, name) in rows {
            let why = UNREACHABLE.iter().find(|(reason, _)| reason.name() == name && count == 0).map_or("", |(_, why)| why);
            let _ = writeln!(table, "{count:>12}  {name}  {why}");
        }
        let [pass, drop, transmit, redirect] = self.actions;
        let _ = writeln!(table, "pass {pass}, drop {drop}, transmit {transmit}, redirect {redirect}");
        table
    }
}
