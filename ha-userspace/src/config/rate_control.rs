//! How much a node answers strangers.

use std::time::Duration;

use ha_common::abi::IcmpBudget;

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{Verb, ns};
use crate::command::{Command, CommandError};

/// `set ns rateControl`.
#[derive(Clone, Debug, PartialEq)]
pub struct RateControl {
    /// ICMP messages that the node sends within 10 ms; zero for any number.
    pub icmp_threshold: u32,
    /// TCP resets that the node sends within 10 ms; zero for any number.
    pub reset_threshold: u32,
}

record!(RateControl: ns::RATE_CONTROL, { "icmpThreshold" => icmp_threshold, "tcprstThreshold" => reset_threshold });

impl RateControl {
    pub(super) fn of_defaults() -> Self {
        Self::from_command(&Command { verb: Verb::Set, entity: &ns::RATE_CONTROL, args: Vec::new() })
    }

    /// Returns the time that each ICMP message uses up; zero if their number is not limited.
    pub fn icmp_cost(&self) -> Duration {
        cost(self.icmp_threshold)
    }

    /// Returns the same for a TCP reset.
    pub fn reset_cost(&self) -> Duration {
        cost(self.reset_threshold)
    }
}

fn cost(allowed: u32) -> Duration {
    Duration::from_nanos(IcmpBudget::WINDOW.checked_div(allowed.into()).unwrap_or(0))
}

impl Config {
    pub(super) fn apply_rate_control(&mut self, command: &Command) -> Result<Change, CommandError> {
        self.rate_control = self.rate_control.updated(command);
        Ok(Change::of(Touched::RateControl))
    }

    /// Returns how much a node answers strangers.
    pub fn rate_control(&self) -> &RateControl {
        &self.rate_control
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_in_ten_milliseconds_are_a_tenth_of_a_millisecond_each_and_none_is_no_limit() {
        assert_eq!(RateControl::of_defaults().icmp_cost(), Duration::from_micros(100));
        assert_eq!(RateControl { icmp_threshold: 0, reset_threshold: 1 }.icmp_cost(), Duration::ZERO);
        assert_eq!(RateControl { icmp_threshold: 0, reset_threshold: 1 }.reset_cost(), Duration::from_millis(10));
    }
}
