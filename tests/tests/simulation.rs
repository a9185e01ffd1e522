//! The pair on a virtual clock.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ha_common::ha::settings::Settings;
use ha_tests::sim::{Fault, World, random_history};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn settings() -> Settings {
    Settings { hello: ms(10), dead: ms(30), controller_dead: ms(300), ..Settings::default() }
}

fn running_pair(seed: u64) -> World {
    World::running(seed, &settings())
}

fn assert_sound(world: World) {
    let outcome = world.outcome();
    assert!(outcome.violation.is_none(), "{}", outcome.violation.unwrap_or_default());
}

#[test]
fn a_fresh_pair_has_exactly_one_primary() {
    for seed in 0..50 {
        let world = running_pair(seed);
        assert!(world.only_primary().is_some(), "seed {seed}");
        assert_sound(world);
    }
}

#[test]
fn secondary_takes_over_from_a_dead_primary_within_the_dead_interval_and_a_round() {
    for seed in 0..50 {
        let mut world = running_pair(seed);
        let old = world.only_primary().expect("one serves");
        world.apply(Fault::PowerOff { node: old });
        world.run(ms(33));
        if world.only_primary() != Some(1 - old) {
            world.fail(&format!("seed {seed}: the Secondary does not serve"));
        }
        assert_sound(world);
    }
}

#[test]
fn forced_failover_swaps_the_roles_without_a_gap_or_an_overlap() {
    for seed in 0..50 {
        let mut world = running_pair(seed);
        let old = world.only_primary().expect("one serves");
        let on = (seed % 2) as usize;
        world.apply(Fault::Force { node: on });
        let mut both = Duration::ZERO;
        let mut none = Duration::ZERO;
        for _ in 0..2_000 {
            world.run(Duration::from_micros(10));
            match (world.serves(0), world.serves(1)) {
                (true, true) => both += Duration::from_micros(10),
                (false, false) => none += Duration::from_micros(10),
                _ => {}
            }
        }
        if world.only_primary() != Some(1 - old) {
            world.fail(&format!("seed {seed}: the roles are not swapped"));
            assert_sound(world);
            continue;
        }
        assert_eq!(both, Duration::ZERO, "seed {seed}");
        assert!(none <= Duration::from_micros(220), "seed {seed}: nobody served for {none:?}");
        assert_eq!(world.nodes[on].answers, [Ok(())], "seed {seed}");
        assert_sound(world);
    }
}

#[test]
fn hung_controller_is_taken_over_after_its_interval_and_not_before_and_stays_fenced() {
    let mut world = running_pair(1);
    let old = world.only_primary().expect("one serves");
    world.apply(Fault::Stall { node: old, span: ms(5_000) });
    world.run(ms(280));
    assert_eq!(world.only_primary(), Some(old));
    world.run(ms(60));
    assert_eq!(world.only_primary(), Some(1 - old));
    world.run(ms(6_000));
    assert_eq!(world.only_primary(), Some(1 - old), "the old node woke and must not serve");
    assert_sound(world);
}

#[test]
fn machine_that_was_paused_does_not_take_the_role_back() {
    for seed in 0..40 {
        for clock_runs in [true, false] {
            let mut world = running_pair(seed);
            let old = world.only_primary().expect("one serves");
            let span = ms(100 + seed * 7);
            world.apply(if clock_runs { Fault::Pause { node: old, span } } else { Fault::Freeze { node: old, span } });
            world.run(span);
            assert!(world.serves(1 - old), "seed {seed}: a paused machine is dead to its peer");
            world.run(ms(15));
            assert_eq!(world.only_primary(), Some(1 - old), "seed {seed}, clock runs {clock_runs}");
            world.run(ms(1_000));
            assert_eq!(world.only_primary(), Some(1 - old), "seed {seed}, clock runs {clock_runs}: later");
            assert_sound(world);
        }
    }
}

#[test]
fn killed_daemon_that_returns_in_time_keeps_the_role() {
    let mut world = running_pair(2);
    let old = world.only_primary().expect("one serves");
    world.apply(Fault::KillDaemon { node: old });
    world.run(ms(200));
    world.apply(Fault::StartDaemon { node: old });
    world.run(ms(1_000));
    assert_eq!(world.only_primary(), Some(old));
    assert_sound(world);
}

#[test]
fn returned_node_stays_secondary() {
    let mut world = running_pair(3);
    let old = world.only_primary().expect("one serves");
    world.apply(Fault::PowerOff { node: old });
    world.run(ms(100));
    world.apply(Fault::PowerOn { node: old });
    world.run(ms(1_000));
    assert_eq!(world.only_primary(), Some(1 - old));
    assert_sound(world);
}

#[test]
fn lost_client_leg_hands_over_at_once() {
    let mut world = running_pair(4);
    let old = world.only_primary().expect("one serves");
    world.apply(Fault::Legs { node: old, carrier: false });
    world.run(ms(3));
    assert_eq!(world.only_primary(), Some(1 - old));
    assert_sound(world);
}

#[test]
fn both_legs_lost_with_fail_safe_moves_nothing() {
    let mut world = World::running(5, &Settings { fail_safe: true, ..settings() });
    let old = world.only_primary().expect("one serves");
    world.apply(Fault::Legs { node: 1 - old, carrier: false });
    world.run(ms(5));
    world.apply(Fault::Legs { node: old, carrier: false });
    world.run(ms(2_000));
    assert_eq!(world.only_primary(), Some(old));
    assert_sound(world);
}

#[test]
fn secondary_that_only_cannot_be_heard_does_not_claim() {
    let mut world = running_pair(6);
    let old = world.only_primary().expect("one serves");
    for link in 0..2 {
        world.apply(Fault::Loss { link, from: 1 - old, percent: 100 });
    }
    world.run(ms(2_000));
    assert_eq!(world.only_primary(), Some(old));
    assert_sound(world);
}

#[test]
fn primary_that_only_cannot_be_heard_stops() {
    let mut world = running_pair(7);
    let old = world.only_primary().expect("one serves");
    for link in 0..2 {
        world.apply(Fault::Loss { link, from: old, percent: 100 });
    }
    world.run(ms(100));
    assert_eq!(world.only_primary(), Some(1 - old));
    assert_sound(world);
}

#[test]
fn rebooted_secondary_that_cannot_be_heard_does_not_claim_beside_a_primary_it_hears() {
    let mut world = running_pair(8);
    let old = world.only_primary().expect("one serves");
    for link in 0..2 {
        world.apply(Fault::Loss { link, from: 1 - old, percent: 100 });
    }
    world.apply(Fault::PowerOff { node: 1 - old });
    world.run(ms(100));
    world.apply(Fault::PowerOn { node: 1 - old });
    world.run(ms(2_000));
    assert_eq!(world.only_primary(), Some(old));
    assert_sound(world);
}

#[test]
fn healed_partition_leaves_exactly_one_and_it_takes_a_term_above_both() {
    for seed in 0..50 {
        let mut world = running_pair(seed);
        for from in 0..2 {
            for link in 0..2 {
                world.apply(Fault::Loss { link, from, percent: 100 });
            }
        }
        world.run(ms(200));
        assert!(world.serves(0) && world.serves(1), "a full partition without a witness leaves two");
        for from in 0..2 {
            for link in 0..2 {
                world.apply(Fault::Loss { link, from, percent: 0 });
            }
        }
        world.run(ms(25));
        let winner = world.only_primary().expect("one serves");
        world.run(ms(100));
        assert_eq!(world.only_primary(), Some(winner));
        assert!(
            world.nodes[winner].serving() > world.nodes[1 - winner].machine.as_ref().expect("runs").said().standing.last_term
        );
        assert_sound(world);
    }
}

/// `UNDERSTUDY_SEED` says where to begin, `UNDERSTUDY_SIM_SECONDS` for how long (`cargo xtask test`: two minutes); `cargo xtask sim` is
/// the same for hours.
#[test]
fn random_histories_keep_the_invariants() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first: u64 = number("UNDERSTUDY_SEED").unwrap_or(1);
    let span = number("UNDERSTUDY_SIM_SECONDS").map(Duration::from_secs);
    let begin = Instant::now();
    let (mut seed, mut events) = (first, 0);
    let mut schedules = HashSet::new();
    while span.map_or(seed < first + 400, |span| begin.elapsed() < span) {
        let outcome = random_history(seed, &settings(), false);
        assert!(outcome.violation.is_none(), "seed {seed}: {}", outcome.violation.unwrap_or_default());
        events += outcome.events;
        schedules.insert(outcome.fingerprint);
        seed += 1;
    }
    eprintln!("{} seeds from {first} on, {} distinct schedules, {events} events", seed - first, schedules.len());
}
