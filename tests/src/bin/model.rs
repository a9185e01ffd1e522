//! `cargo xtask model`: every schedule of the bounded pair. Without bounds, a table of many.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ha_tests::model::{Bounds, Limits, Report, Rule, Setup, check, long, quick};

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
    /// Changes of a node's monitored interface; checks the failSafe table.
    #[arg(long, default_value_t = 0)]
    monitors: u8,
    /// Questions that the witness does not answer.
    #[arg(long, default_value_t = 0)]
    mutes: u8,
    /// There is a witness.
    #[arg(long)]
    witness: bool,
    /// failSafe is ON.
    #[arg(long)]
    fail_safe: bool,
    /// The second node is STAYSECONDARY.
    #[arg(long)]
    stays: bool,
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
    /// Everything only between exchanges, whose frames come in two orders.
    #[arg(long)]
    lockstep: bool,
    /// Take this rule out: a violation must be found.
    #[arg(long)]
    without: Option<Rule>,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Without bounds: the long ones, too.
    #[arg(long)]
    full: bool,
    /// Seconds to search for, in each bound.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let bounds = bounds(&options);
    let sound = if bounds == Bounds::NONE && options.without.is_none() { table(&options) } else { one(&options, bounds) };
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bounds(o: &Options) -> Bounds {
    Bounds {
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
        lockstep: o.lockstep,
        monitors: o.monitors,
        mutes: o.mutes,
        setup: Setup { witness: o.witness, fail_safe: o.fail_safe, stays: o.stays },
        ..Bounds::NONE
    }
    .with_cuts(o.cuts)
}

fn search(options: &Options, bounds: Bounds, without: Option<Rule>) -> Report {
    check(bounds, without, Limits { threads: options.threads, time: Duration::from_secs(options.seconds) })
}

/// One search in full: whether no violation was found.
fn one(options: &Options, bounds: Bounds) -> bool {
    let report = search(options, bounds, options.without);
    println!(
        "{} states ({} generated, depth {}), {} healed states, {:.1?}, {}",
        report.states,
        report.generated,
        report.depth,
        report.healed,
        report.took,
        if report.complete { "complete" } else { "not complete" }
    );
    if let Some(violation) = &report.violation {
        println!("{}{} after {} steps", violation.history, violation.what, violation.steps);
    }
    report.violation.is_none()
}

/// Every bound, then every rule taken out: whether all is as it should be.
fn table(options: &Options) -> bool {
    let mut rows = quick();
    if options.full {
        rows.extend(long());
    }
    let mut sound = true;
    let (mut states, mut healed) = (0, 0);
    println!("{:44} {:>9} {:>6} {:>8}  result", "what goes wrong", "states", "depth", "seconds");
    for bounds in rows {
        let report = search(options, bounds, None);
        sound &= report.violation.is_none();
        (states, healed) = (states + report.states, healed + report.healed);
        let result = match &report.violation {
            Some(violation) => violation.what,
            None if report.complete => "sound",
            None => "sound as far as visited",
        };
        println!("{bounds:44} {:>9} {:>6} {:>8.1}  {result}", report.states, report.depth, report.took.as_secs_f64());
    }
    println!("{states} states, {healed} healed ones followed to their end\n");
    println!("{:14} {:29} {:>9} {:>6} {:>8}  found", "without rule", "what goes wrong", "states", "steps", "seconds");
    for rule in Rule::ALL {
        let bounds = rule.missed_within();
        let report = search(options, bounds, Some(rule));
        sound &= report.violation.is_some();
        let (steps, found) = report.violation.as_ref().map_or((0, "NOTHING"), |violation| (violation.steps, violation.what));
        println!("{:14} {bounds:29} {:>9} {steps:>6} {:>8.1}  {found}", rule.name(), report.states, report.took.as_secs_f64());
    }
    sound
}
