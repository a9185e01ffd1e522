//! The pair under every fault of the lab, with real daemons, and the bounds that hold for each.
//!
//! One lab at a time: two would disturb each other's clocks on a small machine.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use ha_tests::harness::lab::{Lab, Options, daemon};
use ha_tests::harness::report::Report;
use ha_tests::harness::scenario::Scenario;

/// Keeps the other tests of this file waiting. `None` without root.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces and BPF");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// How often a bound in milliseconds is tried: its median counts.
const RUNS: usize = 5;

/// A settled pair at hello 10 ms, dead 30 ms, fit for `scenario`.
fn lab_for(scenario: &Scenario) -> Result<Lab> {
    Lab::raise(&Options {
        binary: daemon()?,
        hello: Duration::from_millis(10),
        dead: Duration::from_millis(30),
        controller_dead: Duration::from_secs(1),
        connections: 50,
        backends: 2,
        fence: scenario.has_fence(),
        packet_threads: false,
    })
}

/// Runs a scenario; fails when its own claim does not hold.
fn run_in(lab: &mut Lab, scenario: &Scenario) -> Result<Report> {
    let watch = lab.watch().map_err(|error| lab.explain(error))?;
    let findings = scenario.run(lab, watch)?;
    eprintln!("{}", serde_json::to_string(&findings.report)?);
    let late = findings.report.prober_late_max_ms;
    findings.check(lab).map_err(|error| if late >= STALL_MS { error.context(Void(late)) } else { error })?;
    Ok(findings.report)
}

/// A real-time prober that is this late, in milliseconds, was taken away by the machine itself, and so were the nodes on it.
const STALL_MS: f64 = 5.0;

/// Runs scenarios one after the other in one fresh lab; the last one's figures. A claim that does not hold while the machine
/// itself stalled says nothing of the pair: that run is void, and repeated at most twice.
fn run(names: &[&str]) -> Result<Report> {
    for _ in 0..2 {
        match run_once(names) {
            Err(error) if error.downcast_ref::<Void>().is_some() => eprintln!("void, and repeated: {error:#}"),
            result => return result,
        }
    }
    run_once(names)
}

/// A claim did not hold, and the machine stalled meanwhile.
#[derive(Debug)]
struct Void(f64);

impl std::fmt::Display for Void {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the prober itself was up to {} ms late", self.0)
    }
}

fn run_once(names: &[&str]) -> Result<Report> {
    let scenarios = names.iter().map(|name| Scenario::named(name)).collect::<Result<Vec<_>>>()?;
    let (last, before) = scenarios.split_last().expect("at least one scenario");
    let mut lab = lab_for(last)?;
    for scenario in before {
        run_in(&mut lab, scenario)?;
    }
    run_in(&mut lab, last)
}

/// Median of one figure over a few fresh labs.
fn median_ms(names: &[&str], figure: impl Fn(&Report) -> f64) -> Result<f64> {
    let mut figures = (0..RUNS).map(|_| run(names).map(|report| figure(&report))).collect::<Result<Vec<_>>>()?;
    figures.sort_by(f64::total_cmp);
    Ok(figures[RUNS / 2])
}

#[test]
fn loss_of_a_node_costs_at_most_40_ms_and_no_connection() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let median = median_ms(&["kill-node"], |report| report.vip_outage_ms)?;
    ensure!(median <= 40.0, "median outage {median} ms");
    Ok(())
}

#[test]
fn loss_of_a_node_that_took_over_before_costs_no_more() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let median = median_ms(&["force-failover", "kill-node"], |report| report.vip_outage_ms)?;
    ensure!(median <= 40.0, "median outage {median} ms");
    Ok(())
}

#[test]
fn other_node_answers_within_40_ms_after_the_client_leg_lost_carrier() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let median = median_ms(&["cut-client-link"], |report| report.until_new_primary_answers_ms.unwrap_or(f64::INFINITY))?;
    ensure!(median <= 40.0, "median {median} ms until the other node answered");
    Ok(())
}

macro_rules! claims {
    ($($test:ident: $scenario:literal,)*) => {$(
        #[test]
        fn $test() -> Result<()> {
            let Some(_alone) = alone() else { return Ok(()) };
            run(&[$scenario]).map(drop)
        }
    )*};
}

claims! {
    forced_failover_loses_nothing: "force-failover",
    restart_of_the_daemon_moves_no_packet: "restart-daemon",
    stop_hands_over_without_loss: "stop-daemon",
    death_of_the_daemon_moves_no_packet_before_the_peer_takes_over: "kill-daemon",
    frozen_daemon_is_fenced_and_stays_silent_when_it_wakes: "freeze-daemon",
    without_the_fence_both_nodes_are_seen_answering: "control-no-fence",
}
