//! The pair under faults of machines, cables and switches, with real daemons: who serves, how often a role changed, what was lost, and
//! that never both answered, except where a cut leaves them nothing to know it by.
//!
//! Intervals are hello 10 ms, dead 30 ms, controllerDeadInterval 1 s throughout. What a scenario claims by itself (see its table) is
//! not repeated here; the bounds in milliseconds are wide, because other work may run beside the tests.

use std::time::Duration;

use anyhow::{Result, ensure};
use ha_tests::harness::report::{Report, Window, ms};
use ha_tests::harness::rt;
use ha_tests::harness::topology::Host;
use ha_tests::harness::trial::{self, alone, at_most, repeat, run, unless_stalled};

/// The dead interval and what announcing, learning and the switch may take on top.
const DEAD_MS: f64 = 30.0 + 30.0;
/// controllerDeadInterval and as much again as a dead interval.
const CONTROLLER_DEAD_MS: f64 = 1000.0 + DEAD_MS;

fn taken_within(limit_ms: f64) -> impl Fn(&Report) -> Result<()> {
    move |report| {
        let after = report.until_new_primary_answers_ms.unwrap_or(f64::INFINITY);
        at_most("the peer answered after, ms", after, limit_ms)?;
        at_most("the VIP was silent for, ms", report.vip_outage_ms, limit_ms)
    }
}

fn anything(_: &Report) -> Result<()> {
    Ok(())
}

macro_rules! claims {
    ($($(#[$attribute:meta])* $test:ident: $scenario:literal, $claim:expr;)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $test() -> Result<()> {
            let Some(_alone) = alone() else { return Ok(()) };
            run(&[$scenario], $claim).map(drop)
        }
    )*};
}

claims! {
    daemon_frozen_in_all_its_threads_is_relieved_and_stays_silent_when_thawed: "freeze-cgroup", taken_within(CONTROLLER_DEAD_MS);
    busy_loops_on_every_cpu_move_nothing: "busy-loops", anything;
    a_third_of_all_heartbeats_lost_moves_nothing: "lossy-links", anything;
    heartbeats_that_come_twice_move_nothing: "duplicating-links", anything;
    heartbeats_that_overtake_each_other_move_nothing: "reordering-links", anything;
    one_silent_link_moves_nothing: "cut-link", anything;
    one_link_deaf_at_the_peer_moves_nothing: "cut-link-out", anything;
    one_link_deaf_here_moves_nothing: "cut-link-in", anything;
    primary_that_nobody_hears_learns_it_and_stops: "cut-links-out", taken_within(DEAD_MS);
    primary_that_hears_nothing_but_is_heard_serves_on: "cut-links-in", anything;
    links_that_flap_in_turn_move_nothing: "flap-links", anything;
    silence_of_all_switches_moves_nothing_while_the_direct_link_lives: "spanning-tree", |report| {
        at_most("the VIP was silent for, ms", report.vip_outage_ms, 2100.0)
    };
    full_disks_alarm_and_do_not_keep_the_roles_from_moving: "full-disks", taken_within(DEAD_MS);
    both_daemons_restarted_at_once_move_no_packet: "restart-both", anything;
    death_of_a_directly_cabled_secondary_leaves_the_primary_up: "kill-secondary", anything;
    death_of_a_directly_cabled_primary_leaves_the_survivor_up_and_serving: "kill-cabled-node", taken_within(DEAD_MS);
    healed_split_leaves_one_primary_within_a_hello_and_a_round_trip: "split-and-heal", taken_within(DEAD_MS);
    // isolationHold is the dead interval unless set.
    primary_whose_client_leg_fell_silent_hands_over_within_isolation_hold: "cut-client-silently", taken_within(30.0 + 10.0);
}

#[test]
fn switch_that_floods_the_virtual_mac_loads_no_link_and_roles_still_move_without_loss() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    run(&["flooding-switch", "force-failover"], anything).map(drop)
}

#[test]
fn both_nodes_rebooted_at_once_become_one_primary_each_time() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    for _ in 0..2 {
        repeat(reboot_both)?;
    }
    Ok(())
}

/// Both lose daemon, programs and maps at the same instant and start at the same instant.
fn reboot_both() -> Result<()> {
    let mut lab = trial::lab(true)?;
    let watch = lab.watch().map_err(|error| lab.explain(error))?;
    let first = watch.tally.sent();
    watch.tally.take_late_max();
    let event = rt::now();
    for host in Host::BOTH {
        lab.node_mut(host).kill()?;
        lab.node(host).forget_kernel()?;
    }
    lab.start_nodes()?;
    let primary = lab.wait_settled()?;
    ensure!(watch.wait_answer_of(primary, rt::now(), Duration::from_secs(5)), "node {} does not answer", primary.name());
    // A second opinion of either node would show by now.
    rt::sleep_until(rt::now() + Duration::from_millis(500));
    let (late, end) = (ms(watch.tally.take_late_max()), watch.tally.sent());
    let (tally, ..) = watch.finish()?;
    let window = Window { tally: &tally, first, end, event };
    let changes = Host::BOTH.map(|host| lab.node(host).role_changes());
    let changes = changes.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let takeovers: Vec<_> = changes.iter().filter(|change| change.at >= event && change.is_takeover()).collect();
    eprintln!("silent for {} ms; {takeovers:?}", ms(window.outage()));
    let held = || {
        ensure!(takeovers.len() == 1 && takeovers[0].host == primary, "not one node took the role once: {takeovers:?}");
        ensure!(window.both_answered() == 0, "both answered for {} ms", window.both_answered());
        ensure!(window.last_answerer() == Some(primary), "{:?} answered last", window.last_answerer());
        Ok(())
    };
    unless_stalled(late, held().map_err(|error| lab.explain(error)))
}
