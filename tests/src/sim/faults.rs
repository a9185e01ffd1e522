//! What goes wrong, and when.

use std::time::Duration;

use super::node::LINKS;
use super::rng::Rng;

/// One thing that happens to the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Fault {
    /// Loss of power.
    PowerOff { node: usize },
    /// Power is back.
    PowerOn { node: usize },
    /// The daemon is killed, the kernel stays.
    KillDaemon { node: usize },
    /// The daemon is started.
    StartDaemon { node: usize },
    /// The daemon does not run for a while (SIGSTOP, a full run queue, a slow disk).
    Stall { node: usize, span: Duration },
    /// Nothing of the machine runs for a while (a hypervisor's pause); frames wait for it.
    Pause { node: usize, span: Duration },
    /// The same, and its clock stands still meanwhile (a guest that was stopped and continued).
    Freeze { node: usize, span: Duration },
    /// Frames from `from` on `link` are lost in this share of a hundred cases.
    Loss { link: usize, from: usize, percent: u64 },
    /// All legs of `node` have carrier, or none.
    Legs { node: usize, carrier: bool },
    /// One of several monitored interfaces of `node` fails, or not.
    Monitor { node: usize, works: bool },
    /// A monitored route of `node` is there, or not.
    Route { node: usize, present: bool },
    /// Nobody is heard any more on the legs of `node`, which have carrier; or somebody is.
    Silence { node: usize, silent: bool },
    /// `node` does not reach the witness, or does again.
    Witness { node: usize, reached: bool },
    /// The operator forces a failover, on `node`.
    Force { node: usize },
}

/// A random history: `(when, what)` in order, over `span`.
pub fn plan(rng: &mut Rng, span: Duration, count: usize) -> Vec<(Duration, Fault)> {
    let mut history: Vec<(Duration, Fault)> =
        (0..count).map(|_| (Duration::from_micros(rng.below(span.as_micros() as u64)), random(rng))).collect();
    history.sort_by_key(|(at, _)| *at);
    history
}

fn random(rng: &mut Rng) -> Fault {
    let node = rng.below(2) as usize;
    let link = rng.below(LINKS as u64) as usize;
    match rng.below(21) {
        0 => Fault::PowerOff { node },
        1 | 2 => Fault::PowerOn { node },
        3 => Fault::KillDaemon { node },
        4 | 5 => Fault::StartDaemon { node },
        6 => Fault::Stall { node, span: Duration::from_millis(rng.below(400)) },
        7 => Fault::Pause { node, span: Duration::from_millis(rng.below(100)) },
        8 => Fault::Loss { link, from: node, percent: 100 },
        9 => Fault::Loss { link, from: node, percent: rng.below(60) },
        10 => Fault::Loss { link, from: node, percent: 0 },
        11 => Fault::Legs { node, carrier: false },
        12 => Fault::Legs { node, carrier: true },
        13 => Fault::Monitor { node, works: false },
        14 => Fault::Monitor { node, works: true },
        15 => Fault::Silence { node, silent: true },
        16 => Fault::Silence { node, silent: false },
        19 => Fault::Freeze { node, span: Duration::from_millis(rng.below(100)) },
        18 => Fault::Witness { node, reached: rng.chance(50) },
        17 => Fault::Route { node, present: rng.chance(50) },
        _ => Fault::Force { node },
    }
}
