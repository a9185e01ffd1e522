//! False takeovers: those that happen while nothing is wrong but that the machine is busy.

use std::time::Duration;

use anyhow::Result;

use super::load::BusyLoops;
use super::pair::Pair;
use super::stall::{Stall, StallWatch};
use crate::harness::lab::Watch;
use crate::harness::rt;

/// One tally holds this much and some more.
const CHUNK_MAX: Duration = Duration::from_secs(600);

/// What happened in a time in which nothing should have.
#[derive(Clone, Debug, Default)]
pub struct Steadiness {
    /// Takeovers that no stall of the machine accounts for.
    pub unexplained: usize,
    /// Takeovers that one does.
    pub explained: usize,
    /// Probes without an answer.
    pub probes_lost: u32,
    /// Longest stall of a CPU.
    pub stall_max: Duration,
    /// Stalls longer than the dead interval.
    pub stalls_beyond_dead: usize,
}

/// Watches a quiet pair for `time` with busy loops beside; its nodes wait for `dead`.
pub fn observe(pair: &dyn Pair, time: Duration, busy_loops: usize, dead: Duration) -> Result<Steadiness> {
    let mut all = Steadiness::default();
    let mut left = time;
    while !left.is_zero() {
        let chunk = left.min(CHUNK_MAX);
        observe_chunk(pair, chunk, busy_loops, dead, &mut all)?;
        left -= chunk;
    }
    Ok(all)
}

fn observe_chunk(pair: &dyn Pair, time: Duration, busy_loops: usize, dead: Duration, all: &mut Steadiness) -> Result<()> {
    pair.wait_settled()?;
    let watch = Watch::start(pair.topology(), 0)?;
    let stall_watch = StallWatch::start()?;
    let (first, from) = (watch.tally.sent(), rt::now());
    let load = BusyLoops::start(busy_loops, time)?;
    rt::sleep_until(from + time);
    let (end, to) = (watch.tally.sent(), rt::now());
    drop(load);
    let stalls = stall_watch.finish();
    let (tally, ..) = watch.finish()?;
    all.probes_lost += (first..end).filter(|index| !tally.is_answered(*index)).count() as u32;
    for at in pair.takeovers()?.into_iter().filter(|at| (from..=to).contains(at)) {
        match stalls.iter().any(|stall| stall.explains(at, dead)) {
            true => all.explained += 1,
            false => all.unexplained += 1,
        }
    }
    all.stall_max = stalls.iter().map(Stall::span).max().unwrap_or_default().max(all.stall_max);
    all.stalls_beyond_dead += stalls.iter().filter(|stall| stall.span() > dead).count();
    Ok(())
}
