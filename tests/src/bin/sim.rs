//! `cargo xtask sim`: random histories of the simulated pair, as many as asked for.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ha_common::ha::settings::Settings;
use ha_tests::sim::{Outcome, random_history};

/// Runs random histories of the pair on a virtual clock and checks the invariants at every step.
#[derive(Parser)]
struct Options {
    /// How many histories.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed; with `--seeds 1`, the one to look at.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print every fault and every frame.
    #[arg(long)]
    trace: bool,
    /// Stop after this many seconds, whatever is left.
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let begin = Instant::now();
    let settings = Settings {
        hello: Duration::from_millis(10),
        dead: Duration::from_millis(30),
        controller_dead: Duration::from_millis(300),
        ..Settings::default()
    };
    let (mut events, mut transitions, mut seeds) = (0, 0, 0);
    let mut schedules = HashSet::new();
    for seed in options.seed..options.seed + options.seeds {
        if options.seconds.is_some_and(|limit| begin.elapsed().as_secs() >= limit) {
            break;
        }
        let Outcome { events: steps, transitions: changes, fingerprint, violation } =
            random_history(seed, &settings, options.trace);
        if let Some(violation) = violation {
            eprintln!("seed {seed}: {violation}\nagain: cargo xtask sim --seeds 1 --seed {seed}");
            return ExitCode::FAILURE;
        }
        events += steps;
        transitions += changes;
        seeds += 1;
        schedules.insert(fingerprint);
    }
    println!(
        "{seeds} seeds, {} distinct schedules, {events} events, {transitions} changes of role, no violation, {:.1?}",
        schedules.len(),
        begin.elapsed()
    );
    ExitCode::SUCCESS
}
