//! `cargo xtask lab`: a pair of real nodes in network namespaces, hurt in a chosen way.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use ha_tests::harness::lab::{Lab, Options, daemon};
use ha_tests::harness::report::Report;
use ha_tests::harness::run::reap_on_signals;
use ha_tests::harness::scenario::{Findings, SCENARIOS, Scenario};
use ha_tests::harness::screen::Screen;

/// Raises a pair of nodes, a switch, a client and backends in network namespaces, fails the Primary over and says what was lost.
///
/// Without --scenario: shows both nodes and the probes live through a forced failover and the loss of a node.
#[derive(Parser)]
#[command(name = "cargo xtask lab", after_help = scenarios())]
struct Arguments {
    /// What to do to the Primary (see below).
    #[arg(long)]
    scenario: Option<String>,
    /// Heartbeat interval, ms.
    #[arg(long, default_value_t = 10.0)]
    hello_ms: f64,
    /// Silence after which the peer is dead, ms.
    #[arg(long, default_value_t = 30.0)]
    dead_ms: f64,
    /// How long a live node may do without its daemon before the peer takes over, ms.
    #[arg(long, default_value_t = 3000.0)]
    controller_dead_ms: f64,
    /// Number of runs, each with a fresh lab.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// TCP connections held open through the VIP.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Backends.
    #[arg(long, default_value_t = 2)]
    backends: usize,
    /// Give each node's legs packet threads of their own (needs a CPU per node).
    #[arg(long)]
    packet_threads: bool,
    /// One JSON object per run and line, nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Keep the lab up afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

fn scenarios() -> String {
    let lines = SCENARIOS.iter().map(|scenario| format!("  {:18} {}\n", scenario.name, scenario.about));
    format!("Scenarios:\n{}", lines.collect::<String>())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = reap_on_signals().and_then(|()| match &arguments.scenario {
        Some(name) => run_many(&arguments, name),
        None => show(&arguments),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one scenario as often as asked; true when its claim held each time.
fn run_many(arguments: &Arguments, name: &str) -> Result<bool> {
    let scenario = Scenario::named(name)?;
    let mut held = true;
    let mut reports = Vec::new();
    for run in 1..=arguments.runs {
        let mut lab = Lab::raise(&arguments.options(scenario)?)?;
        let watch = lab.watch().map_err(|error| lab.explain(error))?;
        let findings = scenario.run(&mut lab, watch)?;
        held &= findings.faults.is_empty();
        if arguments.json {
            println!("{}", serde_json::to_string(&findings.report)?);
        } else {
            print_report(run == 1, &findings.report);
        }
        complain(&findings, &lab);
        reports.push(findings.report);
        if arguments.keep && run == arguments.runs {
            keep(&lab);
        }
    }
    if !arguments.json && reports.len() > 1 {
        print_medians(&reports);
    }
    Ok(held)
}

/// The tour: both nodes live on the screen through a forced failover and the loss of a node.
fn show(arguments: &Arguments) -> Result<bool> {
    let plan = ["force-failover", "kill-node"].map(Scenario::named);
    println!("raising the lab: client, switch, node a, node b, {} backends …", arguments.backends);
    let mut held = true;
    let mut reports = Vec::new();
    let mut lab = None;
    for scenario in plan {
        let scenario = scenario?;
        let lab = match &mut lab {
            Some(lab) => lab,
            none => none.insert(Lab::raise(&arguments.options(scenario)?)?),
        };
        let primary = lab.wait_settled()?;
        let watch = lab.watch().map_err(|error| lab.explain(error))?;
        println!("\n{}: {} (Primary: {})", scenario.name, scenario.about, primary.name());
        println!("one letter per 10 ms: the node that answers the VIP; '.' nobody, ':' some lost, 'X' both");
        let screen = Screen::start(lab, watch.tally.clone())?;
        let findings = scenario.run(lab, watch)?;
        drop(screen);
        held &= findings.faults.is_empty();
        complain(&findings, lab);
        reports.push(findings.report);
    }
    println!();
    for (index, report) in reports.iter().enumerate() {
        print_report(index == 0, report);
    }
    for report in &reports {
        println!(
            "{}: VIP unanswered for {} ms, {} of {} connections kept",
            report.scenario, report.vip_outage_ms, report.connections_kept, report.connections_open
        );
    }
    if let (true, Some(lab)) = (arguments.keep, &lab) {
        keep(lab);
    }
    Ok(held)
}

impl Arguments {
    fn options(&self, scenario: &Scenario) -> Result<Options> {
        let ms = |value: f64| Duration::from_secs_f64(value / 1000.0);
        Ok(Options {
            binary: daemon()?,
            hello: ms(self.hello_ms),
            dead: ms(self.dead_ms),
            controller_dead: ms(self.controller_dead_ms),
            connections: self.connections,
            backends: self.backends,
            fence: scenario.has_fence(),
            packet_threads: self.packet_threads,
        })
    }
}

fn complain(findings: &Findings, lab: &Lab) {
    if let Err(error) = findings.check(lab) {
        eprintln!("FAILED {error:#}");
    }
}

fn print_report(header: bool, report: &Report) {
    if header {
        println!(
            "{:16} {:>9} {:>12} {:>11} {:>10} {:>6} {:>6} {:>12} {:>7}",
            "scenario", "outage ms", "new after ms", "probes lost", "late max", "both", "stale", "connections", "resets"
        );
    }
    println!(
        "{:16} {:>9.1} {:>12} {:>5}/{:<5} {:>10.2} {:>6} {:>6} {:>12} {:>7}",
        report.scenario,
        report.vip_outage_ms,
        report.until_new_primary_answers_ms.map_or("-".into(), |ms| format!("{ms:.1}")),
        report.probes_lost,
        report.probes_sent,
        report.prober_late_max_ms,
        report.both_answered_ms,
        report.stale_frames_from_old_primary,
        format!("{}/{}", report.connections_kept, report.connections_open),
        report.resets_seen
    );
}

fn print_medians(reports: &[Report]) {
    let mut outages: Vec<f64> = reports.iter().map(|report| report.vip_outage_ms).collect();
    outages.sort_by(f64::total_cmp);
    let (least, most) = (outages[0], outages[outages.len() - 1]);
    println!("outage of {} runs: median {:.1} ms [{least:.1}..{most:.1}]", reports.len(), outages[outages.len() / 2]);
}

/// Holds the lab until a signal reaps it.
fn keep(lab: &Lab) {
    println!("kept: namespaces {0}-client, {0}-a, {0}-b, {0}-switch …; Ctrl-C removes them", lab.name());
    loop {
        std::thread::park();
    }
}
