//! The pair on a virtual clock: two shipped machines, two shipped kernel rules, lossy links, random faults by seed.
//!
//! Kernel side and daemon side of each node run the very functions that XDP and the daemon run (`ha::hearing`, `ha::dispute`,
//! `ha::machine`); only the wires, the disks and the clock are simulated. Each node has a clock of its own.
//!
//! Checked at every step (numbers as in the README):
//! - **4, 5** — while a link works in both directions and one daemon runs, two nodes do not both serve for longer than one hello and
//!   one round trip;
//! - **6** — no stall of a daemon shorter than the controller's dead interval, and no pause of the asking machine, makes a node take
//!   over from a peer that serves and can be reached;
//! - and at the end, healed: exactly one node serves within a bounded time.

mod faults;
pub(crate) mod node;
pub mod rng;
mod witness;
mod world;

pub use faults::{Fault, plan};
pub use rng::Rng;
pub use world::{Outcome, World};

use std::time::Duration;

use ha_common::ha::settings::{HaStatus, Settings};

/// What the operator of the pair of `seed` has set besides: every combination comes up.
fn varied(seed: u64, settings: &Settings) -> [Settings; 2] {
    let status = |node_id: u64| match (seed >> 3) % 4 {
        3 if seed % 2 + 1 == node_id => HaStatus::StayPrimary,
        _ => HaStatus::Enabled,
    };
    [1, 2].map(|node_id| Settings {
        node_id: node_id as u8,
        paired: true,
        status: status(node_id),
        fail_safe: seed.is_multiple_of(2),
        witness: seed % 4 >= 2,
        inc: (seed >> 2) % 2 == 1,
        route_hold: Duration::from_millis(200),
        max_flips: (seed >> 5) as u32 % 3,
        isolation_hold: settings.dead,
        ..settings.clone()
    })
}

/// The history that follows from `seed`: a running pair, three seconds of faults, then everything is healed.
#[must_use]
pub fn random_history(seed: u64, settings: &Settings, trace: bool) -> Outcome {
    let mut world = World::of(seed, varied(seed, settings)).started();
    world.trace = trace;
    let mut rng = Rng::new(seed ^ 0x5eed);
    let begin = world.elapsed();
    for (at, fault) in plan(&mut rng, Duration::from_secs(3), 24) {
        let wait = (begin + at).saturating_sub(world.elapsed());
        world.run(wait);
        world.apply(fault);
    }
    world.run(Duration::from_millis(200));
    world.heal();
    world.run(Duration::from_secs(3));
    if world.only_primary().is_none() {
        world.fail("healed, and not exactly one serves");
    }
    world.outcome()
}
