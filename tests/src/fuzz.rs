//! Do the host and the kernel judge alike, whatever comes?
//!
//! A *world* is a set of random tables; it is given to the pipeline on the host and to the loaded programs, and then some hundreds of
//! random frames meet it, so that what one leaves behind the next one finds. For every frame the action, the interface that it
//! leaves on and every byte must be the same on both sides, and every checksum is computed anew; for every world all tables,
//! counters and events. Time stands still and redirects are visible: see [`object`].
//!
//! | room | the question it answers |
//! |---|---|
//! | [`space`] | what are worlds and frames made of? |
//! | [`world`], [`packets`] | which tables, which frames? |
//! | [`records`] | how does a table look as bytes, on both sides? |
//! | [`both`] | what did each side do? |
//! | [`sums`] | is every checksum right? |
//! | [`case`], `shrink` | what is the least that differs? |
//! | [`coverage`] | what was never reached? |

mod between;
pub mod both;
mod bytes;
pub mod case;
pub mod coverage;
mod mutate;
pub mod object;
pub mod packets;
pub mod records;
mod shrink;
pub mod space;
pub mod sums;
pub mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use both::Both;
use case::Case;
use coverage::Coverage;
use packets::Packets;

/// Frames that meet one world.
const FRAMES: usize = 256;

/// How long it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// At least as many packets, in whole worlds.
    pub packets: Option<u64>,
    /// No world begins after that.
    pub span: Option<Duration>,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// What was reached.
    pub coverage: Coverage,
    /// Worlds.
    pub worlds: u64,
    /// How long it took.
    pub took: Duration,
    /// The least that differs, if anything does.
    pub difference: Option<Difference>,
}

/// A case that ends differently on the host and in the kernel.
#[derive(Debug)]
pub struct Difference {
    /// Seed of its world.
    pub seed: u64,
    /// What differs.
    pub what: String,
    /// The case.
    pub case: Case,
}

/// What the workers share.
struct Shared<'a> {
    object: &'a [u8],
    limit: Limit,
    begin: Instant,
    next_seed: AtomicU64,
    packets: AtomicU64,
    over: AtomicBool,
}

/// Runs `object` against the host, on every CPU that this process may use, world after world from `seed` on, until the limit or the
/// first difference.
pub fn run(object: &[u8], seed: u64, limit: Limit) -> Result<Report> {
    let shared = Shared { object, limit, begin: Instant::now(), next_seed: seed.into(), packets: 0.into(), over: false.into() };
    let results: Vec<Result<(Coverage, Option<Difference>)>> = std::thread::scope(|scope| {
        let shared = &shared;
        let workers: Vec<_> = cpus()?.into_iter().map(|cpu| scope.spawn(move || work(shared, cpu))).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        anyhow::Ok(workers.into_iter().map(join).collect())
    })?;
    let took = shared.begin.elapsed();
    let mut report =
        Report { coverage: Coverage::default(), worlds: shared.next_seed.into_inner() - seed, took, difference: None };
    for result in results {
        let (coverage, difference) = result?;
        report.coverage.add(&coverage);
        report.difference = report.difference.or(difference);
    }
    Ok(report)
}

/// The CPUs that this process may use.
pub fn cpus() -> Result<Vec<usize>> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).context("ask which CPUs may be used")?;
    Ok((0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

impl Shared<'_> {
    /// The next world's seed, while there is one to go.
    fn next(&self) -> Option<u64> {
        let enough = self.limit.packets.is_some_and(|packets| self.packets.fetch_add(FRAMES as u64, Relaxed) >= packets);
        let late = self.limit.span.is_some_and(|span| self.begin.elapsed() >= span);
        if enough || late || self.over.load(Relaxed) { None } else { Some(self.next_seed.fetch_add(1, Relaxed)) }
    }
}

fn work(shared: &Shared<'_>, cpu: usize) -> Result<(Coverage, Option<Difference>)> {
    let mut both = Both::load(shared.object, cpu)?;
    let mut coverage = Coverage::default();
    while let Some(seed) = shared.next() {
        if !same(&mut both, seed, &mut coverage)? {
            shared.over.store(true, Relaxed);
            return Ok((coverage, Some(difference(&mut both, seed)?)));
        }
    }
    Ok((coverage, None))
}

/// Whether the world of `seed` ends alike on both sides.
fn same(both: &mut Both, seed: u64, coverage: &mut Coverage) -> Result<bool> {
    let tables = world::random(seed);
    let mut packets = Packets::new(seed, &tables);
    both.begin(tables)?;
    for _ in 0..FRAMES {
        match both.step(&packets.draw())? {
            Ok(verdict) => coverage.count(verdict.reason(), verdict.action()),
            Err(_) => return Ok(false),
        }
    }
    Ok(both.end()?.is_ok())
}

/// The least of the world of `seed` that differs.
fn difference(both: &mut Both, seed: u64) -> Result<Difference> {
    let tables = world::random(seed);
    let mut packets = Packets::new(seed, &tables);
    let mut case = Case::new(&tables, (0..FRAMES).map(|_| packets.draw()).collect());
    let what = shrink::shrink(both, &mut case)?;
    let what =
        what.unwrap_or_else(|| "it differed once, and did not when it was run again: what else does it depend on?".to_owned());
    Ok(Difference { seed, what, case })
}
