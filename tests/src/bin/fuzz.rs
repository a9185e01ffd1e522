//! `cargo xtask fuzz`: random packets over random tables, host against kernel, as many as asked for.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use ha_tests::fuzz::{self, Limit, Report, both::Both};

/// Lets random packets meet random tables, in the pipeline on the host and in the loaded programs, and compares all that they do.
///
/// A difference is made as small as it can be, printed, and written to a file. Put under tests/src/fuzz/cases with a name that says
/// what was wrong, it is tried by every test run from then on.
#[derive(Parser)]
struct Options {
    /// How many packets, in whole worlds.
    #[arg(long, default_value_t = 10_000_000)]
    packets: u64,
    /// Begin no world after this many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Seed of the first world; with `--packets 1`, of the one to look at.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where a difference is written to.
    #[arg(long, default_value = "fuzz.case")]
    output: PathBuf,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let limit = Limit { packets: Some(options.packets), span: options.seconds.map(Duration::from_secs) };
    let Report { coverage, worlds, took, difference } = fuzz::run(&Both::object()?, options.seed, limit)?;
    print!("{}", coverage.table());
    let packets = coverage.packets();
    let rate = packets as f64 / took.as_secs_f64();
    println!("{packets} packets in {worlds} worlds, {} reasons reached, {took:.1?}, {rate:.0} a second", coverage.reached());
    for reason in coverage.missed() {
        println!("never reached: {}", reason.name());
    }
    let Some(difference) = difference else {
        println!("no difference");
        return Ok(ExitCode::SUCCESS);
    };
    let again = format!("again: cargo xtask fuzz --packets 1 --seed {}", difference.seed);
    let text = difference.case.text(&format!("{}\n{again}", difference.what));
    println!("{text}{again}");
    std::fs::write(&options.output, text).with_context(|| format!("write {}", options.output.display()))?;
    println!("written to {}", options.output.display());
    Ok(ExitCode::FAILURE)
}
