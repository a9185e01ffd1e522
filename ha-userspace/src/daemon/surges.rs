//! Which services have so many connections that new ones have to wait, and how long?

use std::collections::BTreeMap;

use ha_common::abi::backend_flags;
use tracing::info;

use crate::config::{Config, Service};
use crate::datapath::Desired;

/// Per cent of the threshold below which new connections are not asked to wait any more; in between they are, for no time.
const RELEASE: u64 = 70;

/// What holds now.
#[derive(Debug, Default)]
pub struct Surges {
    /// By backend: nanoseconds between two new connections.
    distances: BTreeMap<u32, u64>,
}

/// What has to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// By backend: nanoseconds between two new connections from now on.
    pub distances: Vec<(u32, u64)>,
    /// Whether backends begin or cease to be throttled at all.
    pub flips: bool,
}

impl Surges {
    /// Looks how many connections services have `open`, by backend.
    pub fn look(&mut self, config: &Config, open: impl Fn(u32) -> u64) -> Orders {
        let protected = config.services().filter(|service| service.surge_protected);
        let next: BTreeMap<u32, u64> = protected
            .filter_map(|service| Some((service.index, self.distance(config, service, open(service.index))?)))
            .collect();
        let ended: Vec<(u32, u64)> =
            self.distances.keys().filter(|index| !next.contains_key(index)).map(|index| (*index, 0)).collect();
        let begun = next.keys().any(|index| !self.distances.contains_key(index));
        let changed = next.iter().filter(|(index, distance)| self.distances.get(index) != Some(distance));
        let distances = changed.map(|(index, distance)| (*index, *distance)).chain(ended.iter().copied()).collect();
        self.distances = next;
        Orders { distances, flips: begun || !ended.is_empty() }
    }

    /// The distance of new connections of `service`; none if it has far too few to ask.
    fn distance(&self, config: &Config, service: &Service, open: u64) -> Option<u64> {
        let surge = config.surge();
        let distance = surge.distance(open).map(|distance| distance.as_nanos() as u64);
        let was = self.distances.contains_key(&service.index);
        if distance.is_some() && !was {
            info!(service = service.name, open, "surge protection: new connections wait");
        }
        let lingers = was && 100 * open >= RELEASE * u64::from(surge.threshold());
        if was && distance.is_none() && !lingers {
            info!(service = service.name, open, "surge protection: new connections do not wait any more");
        }
        distance.or(lingers.then_some(0))
    }

    /// Marks the backends whose new connections wait.
    pub fn mark(&self, desired: &mut Desired) {
        for index in self.distances.keys() {
            if let Some(backend) = desired.backends.get_mut(index) {
                backend.flags |= backend_flags::THROTTLED;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Indices, load_text};

    const NODE: &str = "
        add service s1 10.2.0.11 TCP 80 -sp ON
        add service s2 10.2.0.12 TCP 80
    ";
    const MILLI: u64 = 1_000_000;

    #[test]
    fn distances_follow_the_connections_and_end_well_below_the_threshold() {
        let config = load_text(Path::new("node.conf"), NODE, Indices::default()).unwrap();
        let index = config.service("s1").unwrap().index;
        let mut surges = Surges::default();
        let mut with = |open| surges.look(&config, |_| open);
        let orders = |distances: &[u64], flips| Orders { distances: distances.iter().map(|&to| (index, to)).collect(), flips };
        assert_eq!(with(199), Orders::default());
        assert_eq!(with(200), orders(&[10 * MILLI], true), "only the service with -sp ON");
        assert_eq!(with(201), Orders::default());
        assert_eq!(with(400), orders(&[20 * MILLI], false));
        assert_eq!(with(199), orders(&[0], false), "it may come back in a moment");
        assert_eq!(with(140), Orders::default());
        assert_eq!(with(139), orders(&[0], true));
    }
}
