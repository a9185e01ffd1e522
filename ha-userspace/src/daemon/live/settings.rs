//! The HA machine's settings, from the configuration.

use std::hash::{DefaultHasher, Hash, Hasher};

use ha_common::ha::settings::{HaStatus, Settings};

use crate::command::words;
use crate::config::Config;

/// The HA machine's settings, as configured.
pub fn settings(config: &Config) -> Settings {
    let ha = config.ha();
    Settings {
        node_id: config.pair().map_or(0, |pair| pair.own_id),
        paired: config.pair().is_some(),
        status: match ha.status {
            words::HaStatus::Enabled => HaStatus::Enabled,
            words::HaStatus::Disabled => HaStatus::Disabled,
            words::HaStatus::StayPrimary => HaStatus::StayPrimary,
            words::HaStatus::StaySecondary => HaStatus::StaySecondary,
        },
        hello: ha.hello_interval,
        dead: ha.dead_interval,
        controller_dead: ha.controller_dead_interval,
        isolation_hold: ha.isolation_hold(),
        fail_safe: ha.fail_safe,
        witness: ha.witness.is_some(),
        max_flips: ha.max_flips,
        max_flip_time: ha.max_flip_time,
        inc: config.peer().is_some_and(|peer| peer.inc),
        route_hold: ha.route_hold,
        route_monitors: number_of(config.route_monitors()),
        witness_id: number_of(&ha.witness),
    }
}

/// A number that changes with `value`, within this process.
fn number_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
