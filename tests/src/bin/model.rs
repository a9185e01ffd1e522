//! `cargo xtask model`: every schedule of the bounded pair.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ha_tests::model::{Bounds, Limits, Rule, check};

/// Visits every schedule of a bounded pair and checks the invariants in every state.
#[derive(Parser)]
struct Options {
    /// Losses of power.
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    /// Changes of each direction of a link.
    #[arg(long, default_value_t = 0)]
    cuts: u8,
    /// Changes of a whole link, between exchanges.
    #[arg(long, default_value_t = 0)]
    parts: u8,
    /// Stalls of a daemon.
    #[arg(long, default_value_t = 0)]
    stalls: u8,
    /// Daemons that are killed.
    #[arg(long, default_value_t = 0)]
    kills: u8,
    /// Changes of a node's legs.
    #[arg(long, default_value_t = 0)]
    legs: u8,
    /// Changes of a node's key.
    #[arg(long, default_value_t = 0)]
    keys: u8,
    /// Forced failovers.
    #[arg(long, default_value_t = 0)]
    forces: u8,
    /// Lost frames.
    #[arg(long, default_value_t = 0)]
    losses: u8,
    /// Late or repeated frames.
    #[arg(long, default_value_t = 0)]
    lates: u8,
    /// Heartbeat links.
    #[arg(long, default_value_t = 1)]
    links: u8,
    /// Crashes and cuts only between exchanges.
    #[arg(long)]
    coarse: bool,
    /// Take this rule out: a violation must be found.
    #[arg(long)]
    without: Option<Rule>,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds to search for.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

fn main() -> ExitCode {
    let o = Options::parse();
    let bounds = Bounds {
        crashes: o.crashes,
        parts: o.parts,
        stalls: o.stalls,
        kills: o.kills,
        legs: o.legs,
        keys: o.keys,
        forces: o.forces,
        losses: o.losses,
        lates: o.lates,
        links: o.links,
        coarse: o.coarse,
        ..Bounds::NONE
    }
    .with_cuts(o.cuts);
    let report = check(bounds, o.without, Limits { threads: o.threads, time: Duration::from_secs(o.seconds) });
    println!(
        "{} states ({} generated, depth {}), {} healed states, {:.1?}, {}",
        report.states,
        report.generated,
        report.depth,
        report.healed,
        report.took,
        if report.complete { "complete" } else { "not complete" }
    );
    if let Some((what, history)) = &report.violation {
        println!("{history}{what}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
