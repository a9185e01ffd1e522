//! The pair under every fault of the lab, with real daemons, and the bounds that hold for each.
//!
//! One lab at a time: two would disturb each other's clocks on a small machine.

use anyhow::{Result, ensure};
use ha_tests::harness::report::Report;
use ha_tests::harness::trial::{alone, run};

/// How often a bound in milliseconds is tried: its median counts.
const RUNS: usize = 5;

/// Median of one figure over a few fresh labs.
fn median_ms(names: &[&str], figure: impl Fn(&Report) -> f64) -> Result<f64> {
    let mut figures = (0..RUNS).map(|_| run(names, |_| Ok(())).map(|report| figure(&report))).collect::<Result<Vec<_>>>()?;
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
            run(&[$scenario], |_| Ok(())).map(drop)
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
