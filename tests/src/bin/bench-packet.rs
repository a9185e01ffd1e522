//! `cargo xtask bench packet`: nanoseconds per packet of every path, with nothing but the program between two clock readings.

use anyhow::{Context, Result};
use clap::Parser;
use ha_tests::bench::{Path, Rig, Row, paths, print_json, print_table};
use ha_tests::vectors::namespace;

/// Measures what each kind of packet costs the loaded program, by `BPF_PROG_TEST_RUN`: medians, with the packet put back and another
/// client each time. Needs root.
#[derive(Parser)]
struct Options {
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Also measure on this many CPUs at once, over shared maps.
    #[arg(long, default_value_t = 1)]
    cpus: usize,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(9..=99))]
    rounds: u32,
    /// Only paths with this name (and each harness).
    #[arg(long)]
    only: Option<String>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    namespace::enter()?;
    let mut rig = Rig::new(options.rounds, options.cpus)?;
    let wanted = |path: &Path| path.is_harness() || options.only.as_ref().is_none_or(|only| only == path.name);
    let mut rows: Vec<Row> = Vec::new();
    let mut cpus = vec![1];
    cpus.extend((options.cpus > 1).then_some(options.cpus));
    for cpus in cpus {
        let mut harness = 0.0;
        for path in paths().iter().filter(|path| wanted(path)) {
            let row = rig
                .measure(path, cpus, options.rounds, harness)
                .with_context(|| format!("measure {} ({}, {} flows)", path.name, path.family, path.flows))?;
            if path.is_harness() {
                harness = row.ns;
            }
            rows.push(Row { ns_net: row.ns - harness, ..row });
        }
    }
    if options.json {
        print_json(&rows)?;
    } else {
        print_table(&rows);
    }
    Ok(())
}
