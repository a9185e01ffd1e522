//! Surge protection: how many connections may a service have before new ones have to wait?

use std::time::Duration;

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{Verb, ns};
use crate::command::words::Throttle;
use crate::command::{Command, CommandError};

/// `set ns spParams`.
#[derive(Clone, Debug, PartialEq)]
pub struct SurgeProtection {
    /// Open connections from which on new ones wait, if given; [`SurgeProtection::threshold`] knows the default.
    pub base_threshold: Option<u32>,
    /// How long.
    pub throttle: Throttle,
}

record!(SurgeProtection: ns::SP_PARAMS, { "baseThreshold" => base_threshold, "throttle" => throttle });

/// Open connections, and milliseconds between two new ones from there on: the public product's.
type Curve = [(u32, u64); 4];

const AGGRESSIVE: Curve = [(16, 10), (200, 30), (500, 50), (1_000, 500)];
const NORMAL: Curve = [(200, 10), (400, 20), (800, 50), (2_000, 100)];
const RELAXED: Curve = [(500, 10), (1_000, 10), (2_000, 10), (3_000, 10)];

impl SurgeProtection {
    pub(super) fn of_defaults() -> Self {
        Self::from_command(&Command { verb: Verb::Set, entity: &ns::SP_PARAMS, args: Vec::new() })
    }

    fn curve(&self) -> Curve {
        match self.throttle {
            Throttle::Aggressive => AGGRESSIVE,
            Throttle::Normal => NORMAL,
            Throttle::Relaxed => RELAXED,
        }
    }

    /// Returns the number of open connections from which on new ones wait.
    pub fn threshold(&self) -> u32 {
        self.base_threshold.unwrap_or(self.curve()[0].0)
    }

    /// Returns the time between two new connections of a service that has `open`; none if they need not wait. Another base threshold
    /// shifts the whole curve.
    pub fn distance(&self, open: u64) -> Option<Duration> {
        let curve = self.curve();
        let shifted = |connections: u32| u64::from(connections - curve[0].0 + self.threshold());
        let step = curve.iter().rev().find(|(connections, _)| open >= shifted(*connections))?;
        Some(Duration::from_millis(step.1))
    }
}

impl Config {
    pub(super) fn apply_surge(&mut self, command: &Command) -> Result<Change, CommandError> {
        self.surge = self.surge.updated(command);
        Ok(Change::of(Touched::Surge))
    }

    /// Returns how services with surge protection are protected.
    pub fn surge(&self) -> &SurgeProtection {
        &self.surge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distances(surge: &SurgeProtection, open: [u64; 5]) -> [Option<u64>; 5] {
        open.map(|open| surge.distance(open).map(|distance| distance.as_millis() as u64))
    }

    #[test]
    fn distances_are_those_of_the_public_table() {
        let normal = SurgeProtection::of_defaults();
        assert_eq!(distances(&normal, [199, 200, 400, 800, 2_000]), [None, Some(10), Some(20), Some(50), Some(100)]);
        let aggressive = SurgeProtection { throttle: Throttle::Aggressive, ..normal.clone() };
        assert_eq!(distances(&aggressive, [15, 16, 200, 500, 1_000]), [None, Some(10), Some(30), Some(50), Some(500)]);
        let relaxed = SurgeProtection { throttle: Throttle::Relaxed, ..normal };
        assert_eq!(distances(&relaxed, [499, 500, 1_000, 2_000, 30_000]), [None, Some(10), Some(10), Some(10), Some(10)]);
    }

    #[test]
    fn another_base_threshold_shifts_the_curve() {
        let shifted = SurgeProtection { base_threshold: Some(1_000), ..SurgeProtection::of_defaults() };
        assert_eq!(distances(&shifted, [999, 1_000, 1_199, 1_200, 2_800]), [None, Some(10), Some(10), Some(20), Some(100)]);
    }
}
