//! Privileged: random packets over random tables, in the pipeline on the host and in the loaded programs.
//!
//! Bounded to a few seconds; `UNDERSTUDY_FUZZ_SECONDS` sets others, `UNDERSTUDY_SEED` another beginning, and `cargo xtask fuzz` does
//! the same for as long as is wanted.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use ha_tests::fuzz::case::Case;
use ha_tests::fuzz::{self, Limit, both::Both};

/// Packets that are enough to reach every reason many times.
const PACKETS: u64 = 1_000_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_packets_end_alike_in_the_kernel_and_on_the_host_and_reach_every_reason() -> Result<()> {
    let seed = number("UNDERSTUDY_SEED").unwrap_or(1);
    let span = number("UNDERSTUDY_FUZZ_SECONDS").map(Duration::from_secs);
    let packets = span.is_none().then_some(PACKETS);
    let report = fuzz::run(&Both::object()?, seed, Limit { packets, span })?;
    eprint!("{}", report.coverage.table());
    eprintln!("{} packets in {} worlds from seed {seed} on, {:.1?}", report.coverage.packets(), report.worlds, report.took);
    if let Some(difference) = report.difference {
        let again = format!("again: cargo xtask fuzz --packets 1 --seed {}", difference.seed);
        panic!("{}{again}", difference.case.text(&difference.what));
    }
    let missed = report.coverage.missed();
    ensure!(missed.is_empty(), "never reached: {missed:?}; if nothing can reach it, say why in fuzz/coverage.rs");
    Ok(())
}

#[test]
fn every_case_that_once_differed_ends_alike() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fuzz/cases");
    let mut both = Both::load(&Both::object()?, fuzz::cpus()?[0])?;
    let mut failed = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "case") {
            let difference = Case::load(&path)?.run(&mut both)?;
            failed.extend(difference.map(|(packet, what)| format!("{}, packet {packet}: {what}", path.display())));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn a_wrong_program_is_found_and_shown_by_one_packet() -> Result<()> {
    let object = fuzz::object::astray(&ha_tests::kernel::object()?, fuzz::space::INTERFACES[3])?;
    let report = fuzz::run(&object, 2, Limit { packets: Some(100_000), span: None })?;
    let difference = report.difference.expect("whatever is redirected goes astray");
    let text = difference.case.text(&difference.what);
    ensure!(difference.case.packets.len() == 1 && difference.case.entries.len() < 12, "{text}");
    Ok(())
}
