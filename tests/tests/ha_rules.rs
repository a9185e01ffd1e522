//! The public product's rules about health, failSafe, maxFlips, haStatus and isolation, with the pair on a virtual clock.

use std::time::Duration;

use ha_common::ha::event::Cause;
use ha_common::ha::settings::{HaStatus, Settings};
use ha_tests::sim::{Fault, World};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn settings() -> Settings {
    let base = Settings { hello: ms(10), dead: ms(30), controller_dead: ms(300), paired: true, ..Settings::default() };
    Settings { isolation_hold: ms(30), route_hold: ms(1_800), ..base }
}

/// Node A (0, Primary) and node B (1, Secondary), half a second old.
fn pair(a: Settings, b: Settings) -> World {
    let world = World::of(1, [Settings { node_id: 1, ..a }, Settings { node_id: 2, ..b }]).started();
    assert_eq!(world.only_primary(), Some(0), "the node that comes up first serves");
    world
}

fn alike(settings: Settings) -> World {
    pair(settings.clone(), settings)
}

/// Both nodes' roles after `span`: whether each serves. Fails on any violation of the invariants.
fn after(world: &mut World, span: Duration) -> [bool; 2] {
    world.run(span);
    [world.serves(0), world.serves(1)]
}

fn assert_sound(world: World) {
    let outcome = world.outcome();
    assert!(outcome.violation.is_none(), "{}", outcome.violation.unwrap_or_default());
}

const A: [bool; 2] = [true, false];
const B: [bool; 2] = [false, true];
const NOBODY: [bool; 2] = [false, false];

/// One row of the failSafe table: which nodes fail, in this order; who serves then, without and with failSafe.
fn row(failures: &[usize], b: HaStatus, off: [bool; 2], on: [bool; 2]) {
    for (fail_safe, expected) in [(false, off), (true, on)] {
        let common = Settings { fail_safe, ..settings() };
        let mut world = pair(common.clone(), Settings { status: b, ..common });
        for &node in failures {
            world.apply(Fault::Monitor { node, works: false });
            world.run(ms(200));
        }
        assert_eq!(after(&mut world, ms(1_500)), expected, "failures {failures:?}, failSafe {fail_safe}");
        // The state holds, and heals.
        assert_eq!(after(&mut world, ms(3_000)), expected, "failures {failures:?}, failSafe {fail_safe}, later");
        world.heal();
        world.run(ms(3_000));
        assert!(world.only_primary().is_some(), "failures {failures:?}, failSafe {fail_safe}: healed");
        assert_sound(world);
    }
}

#[test]
fn fail_safe_table_a_failed_last() {
    row(&[1, 0], HaStatus::Enabled, NOBODY, A);
}

#[test]
fn fail_safe_table_a_failed_first() {
    row(&[0, 1], HaStatus::Enabled, NOBODY, B);
}

#[test]
fn fail_safe_table_both_up() {
    row(&[], HaStatus::Enabled, A, A);
}

#[test]
fn fail_safe_table_b_not_up() {
    row(&[1], HaStatus::Enabled, A, A);
}

#[test]
fn fail_safe_table_a_not_up() {
    row(&[0], HaStatus::Enabled, B, B);
}

#[test]
fn fail_safe_table_a_not_up_and_b_stays_secondary() {
    row(&[0], HaStatus::StaySecondary, NOBODY, A);
}

#[test]
fn fail_safe_cannot_override_stay_secondary_or_disabled() {
    for status in [HaStatus::StaySecondary, HaStatus::Disabled] {
        let common = Settings { fail_safe: true, ..settings() };
        let mut world = pair(common.clone(), Settings { status, ..common });
        world.apply(Fault::PowerOff { node: 0 });
        assert_eq!(after(&mut world, ms(2_000)), NOBODY, "{status:?}");
        assert_sound(world);
    }
}

#[test]
fn unwell_survivor_of_a_dead_peer_serves_only_with_fail_safe() {
    for (fail_safe, expected) in [(false, NOBODY), (true, A)] {
        let mut world = alike(Settings { fail_safe, ..settings() });
        world.apply(Fault::PowerOff { node: 1 });
        world.run(ms(100));
        world.apply(Fault::Monitor { node: 0, works: false });
        assert_eq!(after(&mut world, ms(1_500)), expected, "failSafe {fail_safe}");
        assert_sound(world);
    }
}

#[test]
fn with_fail_safe_the_last_primary_serves_when_both_come_up_unwell() {
    let mut world = alike(Settings { fail_safe: true, ..settings() });
    world.apply(Fault::Force { node: 0 });
    assert_eq!(after(&mut world, ms(100)), B);
    for node in 0..2 {
        world.apply(Fault::Monitor { node, works: false });
        world.apply(Fault::KillDaemon { node });
        world.apply(Fault::PowerOff { node });
    }
    world.run(ms(200));
    for node in 0..2 {
        world.apply(Fault::PowerOn { node });
    }
    assert_eq!(after(&mut world, ms(6_000)), B, "B was Primary last");
    assert_sound(world);
}

#[test]
fn last_primary_serves_again_when_both_get_their_legs_back() {
    for first in [0, 1] {
        let mut world = alike(settings());
        world.apply(Fault::Legs { node: 1, carrier: false });
        world.run(ms(50));
        world.apply(Fault::Legs { node: 0, carrier: false });
        assert_eq!(after(&mut world, ms(1_500)), NOBODY);
        world.apply(Fault::Legs { node: first, carrier: true });
        world.apply(Fault::Legs { node: 1 - first, carrier: true });
        assert_eq!(after(&mut world, ms(200)), A);
        assert_sound(world);
    }
}

#[test]
fn both_legs_silent_for_two_seconds_moves_nothing() {
    for gap in [0, 1, 3, 5] {
        for first in [0, 1] {
            let mut world = alike(settings());
            world.apply(Fault::Silence { node: first, silent: true });
            world.run(ms(gap));
            world.apply(Fault::Silence { node: 1 - first, silent: true });
            assert_eq!(after(&mut world, ms(2_000)), A, "node {first} first by {gap} ms");
            // One of them hears first that it is over.
            world.apply(Fault::Silence { node: 1 - first, silent: false });
            world.run(ms(gap * 2));
            world.apply(Fault::Silence { node: first, silent: false });
            assert_eq!(after(&mut world, ms(500)), A, "node {first} last by {gap} ms");
            assert!(world.nodes.iter().all(|node| node.transitions.len() <= 2), "a role moved on the way");
            assert_sound(world);
        }
    }
}

#[test]
fn primary_whose_legs_alone_fall_silent_hands_over_within_the_hold_and_ten_ms() {
    let mut world = alike(settings());
    world.apply(Fault::Silence { node: 0, silent: true });
    assert_eq!(after(&mut world, ms(25)), A, "not before the hold");
    assert_eq!(after(&mut world, ms(15)), B);
    assert_sound(world);
}

#[test]
fn isolated_secondary_does_not_claim_from_a_dead_peer() {
    let mut world = alike(settings());
    world.apply(Fault::Silence { node: 1, silent: true });
    world.run(ms(100));
    world.apply(Fault::PowerOff { node: 0 });
    assert_eq!(after(&mut world, ms(2_000)), NOBODY);
    world.apply(Fault::Silence { node: 1, silent: false });
    assert_eq!(after(&mut world, ms(100)), B);
    assert_sound(world);
}

#[test]
fn stall_of_the_daemon_is_no_silence_of_its_legs() {
    let mut world = alike(settings());
    world.apply(Fault::Stall { node: 0, span: ms(200) });
    assert_eq!(after(&mut world, ms(1_000)), A);
    assert_sound(world);
}

#[test]
fn missing_route_moves_the_role_after_the_hold_and_back_after_another() {
    let mut world = alike(settings());
    for node in 0..2 {
        world.apply(Fault::Route { node, present: false });
    }
    assert_eq!(after(&mut world, ms(1_000)), A, "the start delay is not over");
    assert_eq!(after(&mut world, ms(1_000)), B);
    assert_eq!(after(&mut world, ms(1_000)), B);
    assert_eq!(after(&mut world, ms(1_000)), A);
    assert_sound(world);
}

#[test]
fn secondary_without_the_route_counts_as_up_without_inc() {
    let mut world = alike(settings());
    world.apply(Fault::Route { node: 1, present: false });
    world.run(ms(2_500));
    world.apply(Fault::Force { node: 0 });
    assert_eq!(after(&mut world, ms(100)), B);
    assert_sound(world);
}

#[test]
fn with_inc_routes_are_judged_on_both_nodes_and_at_once() {
    let mut world = alike(Settings { inc: true, ..settings() });
    world.apply(Fault::Route { node: 0, present: false });
    assert_eq!(after(&mut world, ms(50)), B);
    world.apply(Fault::Route { node: 1, present: false });
    assert_eq!(after(&mut world, ms(1_500)), NOBODY, "both are NOT UP");
    assert_sound(world);
}

#[test]
fn missing_route_with_nobody_to_take_over_moves_nothing() {
    let mut world = alike(settings());
    world.apply(Fault::PowerOff { node: 1 });
    world.apply(Fault::Route { node: 0, present: false });
    assert_eq!(after(&mut world, ms(5_000)), A);
    assert_sound(world);
}

#[test]
fn max_flips_makes_a_sticky_primary_and_recovery_resets_them() {
    let mut world = alike(Settings { max_flips: 1, ..settings() });
    for node in 0..2 {
        world.apply(Fault::Route { node, present: false });
    }
    // A flips once, B flips once, A has used its flip up.
    assert_eq!(after(&mut world, ms(2_000)), B);
    assert_eq!(after(&mut world, ms(2_000)), A);
    assert_eq!(after(&mut world, ms(20_000)), A, "sticky");
    assert_eq!(world.nodes[0].machine.as_ref().expect("runs").said().node_state, 11, "NOT UP for its routes");
    world.apply(Fault::Route { node: 0, present: true });
    world.run(ms(500));
    world.apply(Fault::Route { node: 0, present: false });
    assert_eq!(after(&mut world, ms(500)), B, "the next failure counts anew");
    assert_sound(world);
}

#[test]
fn max_flip_time_makes_a_sticky_primary_too() {
    let mut world = alike(Settings { max_flip_time: ms(3_000), ..settings() });
    for node in 0..2 {
        world.apply(Fault::Route { node, present: false });
    }
    assert_eq!(after(&mut world, ms(2_000)), B);
    assert_eq!(after(&mut world, ms(2_000)), A);
    assert_eq!(after(&mut world, ms(20_000)), A);
    assert_sound(world);
}

#[test]
fn sticky_primary_still_leaves_for_a_failed_interface() {
    let mut world = alike(Settings { max_flips: 1, ..settings() });
    for node in 0..2 {
        world.apply(Fault::Route { node, present: false });
    }
    world.run(ms(8_000));
    assert_eq!([world.serves(0), world.serves(1)], A);
    world.apply(Fault::Monitor { node: 0, works: false });
    assert_eq!(after(&mut world, ms(50)), B);
    assert_sound(world);
}

#[test]
fn stay_primary_takes_the_role_back_after_half_a_minute_of_health_and_waits_longer_each_time() {
    let mut world = pair(Settings { status: HaStatus::StayPrimary, ..settings() }, settings());
    let mut waits = Vec::new();
    for _ in 0..3 {
        world.apply(Fault::Monitor { node: 0, works: false });
        assert_eq!(after(&mut world, ms(100)), B);
        world.apply(Fault::Monitor { node: 0, works: true });
        let from = world.elapsed();
        while world.only_primary() == Some(1) && world.elapsed() - from < Duration::from_secs(200) {
            world.run(ms(100));
        }
        waits.push((world.elapsed() - from).as_secs());
    }
    assert_eq!(waits, [30, 60, 120]);
    assert_sound(world);
}

#[test]
fn stay_primary_hold_is_short_again_after_a_quiet_hour() {
    let mut world =
        pair(Settings { status: HaStatus::StayPrimary, hello: ms(1_000), dead: ms(3_000), ..settings() }, settings());
    for _ in 0..2 {
        world.run(Duration::from_secs(3_700));
        world.apply(Fault::Monitor { node: 0, works: false });
        assert_eq!(after(&mut world, ms(5_000)), B);
        world.apply(Fault::Monitor { node: 0, works: true });
        world.run(Duration::from_secs(34));
        assert_eq!(world.only_primary(), Some(0));
    }
    assert_sound(world);
}

#[test]
fn two_stay_primary_nodes_do_not_both_serve() {
    let mut world = alike(Settings { status: HaStatus::StayPrimary, ..settings() });
    assert_eq!(after(&mut world, Duration::from_secs(70)), A);
    assert_sound(world);
}

#[test]
fn disabled_primary_gives_its_role_to_a_peer_that_can_take_it() {
    let mut world = World::of(
        1,
        [Settings { node_id: 1, status: HaStatus::Disabled, ..settings() }, Settings { node_id: 2, ..settings() }],
    )
    .started();
    assert_eq!(world.only_primary(), Some(1));
    world.apply(Fault::PowerOff { node: 1 });
    assert_eq!(after(&mut world, ms(2_000)), NOBODY, "its engine is off");
    assert_sound(world);
}

fn cut_all_links(world: &mut World, percent: u64) {
    for link in 0..2 {
        for from in 0..2 {
            world.apply(Fault::Loss { link, from, percent });
        }
    }
}

fn with_witness() -> Settings {
    Settings { witness: true, ..settings() }
}

#[test]
fn with_a_witness_exactly_one_node_serves_on_both_sides_of_a_cut() {
    for seed in 0..50 {
        let of = |node_id| Settings { node_id, ..with_witness() };
        let mut world = World::of(seed, [of(1), of(2)]).started();
        cut_all_links(&mut world, 100);
        world.run(ms(100));
        let winner = world.only_primary().expect("one serves");
        assert_eq!(after(&mut world, ms(5_000)), if winner == 0 { A } else { B }, "seed {seed}");
        cut_all_links(&mut world, 0);
        assert_eq!(after(&mut world, ms(1_000)), if winner == 0 { A } else { B }, "seed {seed}: healed");
        assert_sound(world);
    }
}

#[test]
fn witness_forgets_its_choice_only_when_both_hear_each_other_again() {
    let mut world = alike(with_witness());
    cut_all_links(&mut world, 100);
    world.run(ms(1_000));
    let winner = world.only_primary().expect("one serves");
    // The refused node stays refused, whatever happens to the other.
    world.apply(Fault::PowerOff { node: winner });
    assert_eq!(after(&mut world, ms(5_000)), NOBODY);
    world.apply(Fault::PowerOn { node: winner });
    cut_all_links(&mut world, 0);
    world.run(ms(2_000));
    let primary = world.only_primary().expect("one serves");
    // The next time either may win.
    world.apply(Fault::PowerOff { node: primary });
    assert_eq!(after(&mut world, ms(100)), if primary == 0 { B } else { A });
    assert_sound(world);
}

#[test]
fn without_an_answer_of_the_witness_a_primary_goes_on_and_a_secondary_does_not_claim() {
    let mut world = alike(with_witness());
    for node in 0..2 {
        world.apply(Fault::Witness { node, reached: false });
    }
    cut_all_links(&mut world, 100);
    assert_eq!(after(&mut world, ms(3_000)), A);
    // It answers at last.
    world.apply(Fault::Witness { node: 1, reached: true });
    assert_eq!(after(&mut world, ms(1_000)), [true, true], "the Primary cannot know, and the witness has spoken for its peer");
    world.apply(Fault::Witness { node: 0, reached: true });
    assert_eq!(after(&mut world, ms(1_000)), B, "the refused node stops");
    assert_sound(world);
}

#[test]
fn witness_costs_a_takeover_a_few_round_trips() {
    let mut world = alike(with_witness());
    world.apply(Fault::PowerOff { node: 0 });
    assert_eq!(after(&mut world, ms(36 + 15)), B, "a hello and 5 ms later than without, and the answer's time");
    assert_sound(world);
}

#[test]
fn primary_that_is_cut_off_together_with_its_peer_asks_the_witness_first() {
    for seed in 0..50 {
        let of = |node_id| Settings { node_id, ..with_witness() };
        let mut world = World::of(seed, [of(1), of(2)]).started();
        let primary = world.only_primary().expect("one serves");
        cut_all_links(&mut world, 100);
        for _ in 0..300 {
            world.run(ms(1));
            assert_eq!(world.only_primary(), Some(primary), "seed {seed}: the role moved, or both served");
        }
        assert_sound(world);
    }
}

#[test]
fn restarted_daemons_do_not_release_the_witness_on_what_their_kernels_remember() {
    for gap in (0..80).step_by(5) {
        for first_is_winner in [true, false] {
            let mut world = alike(with_witness());
            cut_all_links(&mut world, 100);
            world.run(ms(1_000));
            let winner = world.only_primary().expect("one serves");
            let first = if first_is_winner { winner } else { 1 - winner };
            for node in [first, 1 - first] {
                world.apply(Fault::KillDaemon { node });
                world.apply(Fault::StartDaemon { node });
                world.run(ms(gap));
            }
            assert_eq!(after(&mut world, ms(3_000)), if winner == 0 { A } else { B }, "{gap} ms between the restarts");
            assert_sound(world);
        }
    }
}

#[test]
fn stall_during_a_cut_does_not_decide_the_dispute_after_it() {
    for stalled in [0, 1] {
        let mut world = alike(settings());
        cut_all_links(&mut world, 100);
        world.run(ms(500));
        assert_eq!([world.serves(0), world.serves(1)], [true, true]);
        world.apply(Fault::Stall { node: stalled, span: ms(100) });
        world.run(ms(1_000));
        // The one under the newer term reaches nobody: whoever stalled meanwhile, the order decides.
        world.apply(Fault::Silence { node: 1, silent: true });
        world.run(ms(100));
        assert_eq!([world.serves(0), world.serves(1)], [true, true]);
        cut_all_links(&mut world, 0);
        assert_eq!(after(&mut world, ms(200)), A, "node {stalled} stalled");
        let overslept = |node: usize| world.nodes[node].transitions.iter().any(|change| change.cause == Cause::Overslept);
        assert!(!overslept(0) && !overslept(1), "node {stalled} stalled: nobody was away when the peer took over");
        assert_sound(world);
    }
}

#[test]
fn stay_primary_that_loses_the_role_by_a_hung_daemon_waits_too() {
    let mut world = pair(Settings { status: HaStatus::StayPrimary, ..settings() }, settings());
    world.run(Duration::from_secs(60));
    world.apply(Fault::Stall { node: 0, span: ms(600) });
    assert_eq!(after(&mut world, ms(1_000)), B);
    assert_eq!(after(&mut world, Duration::from_secs(28)), B, "it has not been well for long since");
    assert_eq!(after(&mut world, Duration::from_secs(4)), A);
    assert_sound(world);
}
