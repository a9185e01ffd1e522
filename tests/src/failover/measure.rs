//! What the client saw of one event.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::event::Event;
use super::pair::Pair;
use crate::harness::lab::Watch;
use crate::harness::report::Window;
use crate::harness::rt;
use crate::harness::tally::MAX_PROBES;
use crate::harness::topology::Host;

/// How many probes before the event belong to the window.
const BEFORE: u32 = 100;
/// How long a new Primary may take; beyond the three seconds after which a node without its daemon loses the role.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(8);
/// How often the roles may change between the look at them and quiet, before the pair counts as never quiet.
const ATTEMPTS: usize = 5;

/// One event, as the client saw it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When the event began: CLOCK_MONOTONIC, and seconds since 1970.
    pub at: (Duration, Duration),
    /// The first probe lost, after the event.
    pub lost_from: Option<Duration>,
    /// From the first probe lost to the first answered again: the longest such span.
    pub outage: Duration,
    /// From the event to the first probe that the new Primary answered; `None` when none was.
    pub to_new_primary: Option<Duration>,
    /// Probes in the window.
    pub probes_sent: u32,
    /// Those of them without an answer.
    pub probes_lost: u32,
    /// Probes with a question that both nodes answered.
    pub both_answered: u32,
    /// Worst lateness of the prober itself.
    pub late_max: Duration,
}

/// Lets `event` happen to the Primary of a quiet pair, watches the client for `after` once the new Primary answers, and puts everything
/// right again.
pub fn run(pair: &mut dyn Pair, event: Event, after: Duration) -> Result<Sample> {
    let (old, watch) = quiet(pair)?;
    let first = watch.tally.sent().saturating_sub(BEFORE);
    watch.tally.take_late_max();

    let at = event.happen(pair, old)?;
    watch.wait_answer_of(old.peer(), at, TAKEOVER_WITHIN);
    rt::sleep_until(rt::now() + after);

    let (end, late_max) = (watch.tally.sent(), watch.tally.take_late_max());
    let (tally, ..) = watch.finish()?;
    ensure!((end as usize) < MAX_PROBES, "the run took longer than its probes last");
    let window = Window { tally: &tally, first, end, event: at };
    let lost_from = (first..end).find(|index| !tally.is_answered(*index)).map(|index| tally.time(index).saturating_sub(at));
    let sample = Sample {
        at: (at, at + rt::wall_offset()),
        lost_from,
        outage: window.outage(),
        to_new_primary: window.until_answer_of(old.peer()),
        probes_sent: window.sent(),
        probes_lost: window.lost(),
        both_answered: window.both_answered(),
        late_max,
    };
    event.undo(pair, old)?;
    Ok(sample)
}

/// A watch over the pair, and the node that served before and after the watch became quiet.
fn quiet(pair: &dyn Pair) -> Result<(Host, Watch)> {
    for _ in 0..ATTEMPTS {
        let primary = pair.wait_settled()?;
        let watch = Watch::start(pair.topology(), 0)?;
        if pair.wait_settled()? == primary {
            return Ok((primary, watch));
        }
    }
    bail!("the roles changed {ATTEMPTS} times while nothing happened")
}
