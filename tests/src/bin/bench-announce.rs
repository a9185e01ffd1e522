//! `cargo xtask bench announce`: how soon thousands of VIPs are reachable after a takeover.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use ha_tests::announce::{Settings, measure};
use ha_tests::harness::run::reap_on_signals;

/// Silences the Primary of a pair with many VIPs and measures until when stations lose questions to them: with a virtual MAC,
/// and without behind a switch that polices ARP.
#[derive(Parser)]
#[command(name = "cargo xtask bench announce")]
struct Arguments {
    /// Number of VIPs.
    #[arg(long, default_value_t = 4_000)]
    vips: usize,
    /// Runs of each row.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// ARP packets per second that the switch lets pass.
    #[arg(long, default_value_t = 1_000)]
    policed: u32,
    /// ARP packets that it lets pass at once.
    #[arg(long, default_value_t = 50)]
    burst: u32,
    /// Questions per second, over all VIPs.
    #[arg(long, default_value_t = 40_000)]
    questions: u32,
    /// One JSON object per run on standard output, nothing else there.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match reap_on_signals().and_then(|()| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { vips, policed, burst, questions, .. } = *arguments;
    // Without a virtual MAC one frame for each VIP has to pass; some more for what gets lost.
    let round = Duration::from_secs_f64(vips as f64 / f64::from(policed) * 1.1 + 1.0);
    let rows = [("virtual MAC", true, Duration::from_secs(2)), ("a MAC for each node", false, round)];
    for (name, vmac, after) in rows {
        let settings = Settings { vips, vmac, policed: Some(policed), burst, questions, after };
        for _ in 0..arguments.runs {
            let sample = measure(&settings).with_context(|| name.to_owned())?;
            if arguments.json {
                let mut row = serde_json::to_value(sample)?;
                row["row"] = name.into();
                row["vips"] = vips.into();
                println!("{row}");
            } else {
                println!(
                    "{name}: {vips} VIPs: the first reachable {:.1} ms after the claim, half {:.1} ms, all {:.1} ms, never {}; the switch \
                     dropped {} announcements; claimed {:.0} ms after the silence",
                    sample.first_ms, sample.half_ms, sample.all_ms, sample.never, sample.policed, sample.claim_ms
                );
            }
        }
    }
    Ok(())
}
