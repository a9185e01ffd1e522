//! Trying a claim on a machine that may stall: one lab at a time, and what a stall has spoilt counts for nothing.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::lab::{Lab, Options, daemon};
use super::report::Report;
use super::scenario::Scenario;

/// A real-time prober that is this late, in milliseconds, was taken away by the machine itself, and so were the nodes on it.
pub const STALL_MS: f64 = 5.0;

/// How often a claim is tried anew because the machine stalled.
const VOID_MAX: usize = 2;

/// Keeps the other tests of this process waiting: two labs would disturb each other's clocks on a small machine. `None` without root.
pub fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces and BPF");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A settled pair at hello 10 ms, dead 30 ms.
pub fn lab(fence: bool) -> Result<Lab> {
    Lab::raise(&Options {
        binary: daemon()?,
        hello: Duration::from_millis(10),
        dead: Duration::from_millis(30),
        controller_dead: Duration::from_secs(1),
        connections: 50,
        backends: 2,
        fence,
        packet_threads: false,
    })
}

/// Runs scenarios one after the other in one fresh lab, and holds the last one's figures against `claim`.
///
/// A claim that does not hold while the machine itself stalled says nothing of the pair: that run is void, and repeated at most twice.
pub fn run(names: &[&str], claim: impl Fn(&Report) -> Result<()>) -> Result<Report> {
    repeat(|| {
        let scenarios = names.iter().map(|name| Scenario::named(name)).collect::<Result<Vec<_>>>()?;
        let Some((last, before)) = scenarios.split_last() else { bail!("no scenario to run") };
        let mut lab = lab(last.has_fence())?;
        for scenario in before {
            run_in(&mut lab, scenario, |_| Ok(()))?;
        }
        run_in(&mut lab, last, &claim)
    })
}

/// Tries `once`, again if it fails because of a stall.
pub fn repeat<T>(once: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 0..VOID_MAX {
        match once() {
            Err(error) if error.downcast_ref::<Void>().is_some() => eprintln!("void, and repeated: {error:#}"),
            result => return result,
        }
    }
    once()
}

/// `result`, whose error means nothing if the prober was up to `late_ms` late.
pub fn unless_stalled<T>(late_ms: f64, result: Result<T>) -> Result<T> {
    result.map_err(|error| if late_ms >= STALL_MS { error.context(Void(late_ms)) } else { error })
}

/// Fails when the scenario's own claim does not hold, or the test's.
fn run_in(lab: &mut Lab, scenario: &Scenario, claim: impl Fn(&Report) -> Result<()>) -> Result<Report> {
    let watch = lab.watch().map_err(|error| lab.explain(error))?;
    let findings = scenario.run(lab, watch)?;
    eprintln!("{}", serde_json::to_string(&findings.report)?);
    let held = findings.check(lab).and_then(|()| claim(&findings.report).map_err(|error| lab.explain(error)));
    unless_stalled(findings.report.prober_late_max_ms, held)?;
    Ok(findings.report)
}

/// Fails unless `figure` is at most `limit`.
pub fn at_most(what: &str, figure: f64, limit: f64) -> Result<()> {
    ensure!(figure <= limit, "{what}: {figure}, more than {limit}");
    Ok(())
}

/// A claim did not hold, and the machine stalled meanwhile.
#[derive(Debug)]
struct Void(f64);

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the prober itself was up to {} ms late", self.0)
    }
}
