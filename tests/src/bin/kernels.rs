//! `cargo xtask kernels`: the golden vectors on Debian's kernels, with the programs in the drivers of a virtual machine's network cards.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use ha_tests::guests::guest::Guest;
use ha_tests::guests::image::{self, Contents};
use ha_tests::guests::inside::{self, Check};
use ha_tests::guests::kernel::Kernel;
use ha_tests::guests::scratch::Scratch;
use ha_tests::harness::lab::daemon;

/// Boots Debian's kernels under qemu and runs the golden vectors there: by test run, over virtio-net cards with the program in the driver,
/// and with clients behind bonds.
///
/// No acceleration is needed or used. Needs the packages qemu-system-x86, busybox-static and iproute2; kernels are brought from Debian's
/// archive into target/guests and not installed.
#[derive(Parser)]
#[command(name = "cargo xtask kernels")]
struct Arguments {
    /// Kernel series; may be given more than once.
    #[arg(long = "kernel", default_values = ["6.1", "6.12"])]
    kernels: Vec<String>,
    /// Only this check; may be given more than once.
    #[arg(long = "check")]
    checks: Vec<Check>,
    /// Where kernels are kept and sockets lie.
    #[arg(long, default_value = "target/guests")]
    dir: PathBuf,
    /// Runs a check here, which is in a guest.
    #[arg(long, hide = true)]
    inside: Option<Check>,
}

/// How a check that held ends what it prints.
const HELD: &str = "it held";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.inside {
        Some(check) => run_inside(check),
        None => run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kernels: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_inside(check: Check) -> Result<()> {
    for line in check.run()? {
        println!("{line}");
    }
    println!("{HELD}");
    Ok(())
}

fn run(arguments: &Arguments) -> Result<()> {
    let checks = if arguments.checks.is_empty() { &Check::ALL[..] } else { &arguments.checks };
    let mut failed = Vec::new();
    for series in &arguments.kernels {
        match run_kernel(arguments, series, checks) {
            Ok(mut checks) => failed.append(&mut checks),
            Err(error) => {
                println!("Linux {series}: {error:#}");
                failed.push(format!("Linux {series}"));
            }
        }
    }
    ensure!(failed.is_empty(), "did not hold: {}", failed.join(", "));
    println!("held: {} checks on each of {} kernels", checks.len(), arguments.kernels.len());
    Ok(())
}

/// Runs checks on one kernel; those that failed.
fn run_kernel(arguments: &Arguments, series: &str, checks: &[Check]) -> Result<Vec<String>> {
    let started = Instant::now();
    let kernel = Kernel::bring(series, &arguments.dir.join("kernels"))?;
    let scratch = Scratch::create(&arguments.dir)?;
    let mut guest = boot(scratch.path(), &kernel)?;
    let name = format!("Linux {}", kernel.release);
    println!("{name}: is up after {}", seconds(started));
    let mut failed = Vec::new();
    for &check in checks {
        let started = Instant::now();
        let printed = guest.run_within(&format!("kernels --inside {} 2>&1", check.name()), check.limit())?;
        match printed.trim_end().strip_suffix(HELD) {
            Some(held) => held.trim().lines().for_each(|line| println!("{name}: {line} ({})", seconds(started))),
            None => {
                println!("{name}: {} FAILED ({}):\n{}", check.name(), seconds(started), printed.trim());
                failed.push(format!("{} on {name}", check.name()));
            }
        }
    }
    Ok(failed)
}

fn boot(dir: &Path, kernel: &Kernel) -> Result<Guest> {
    let programs = [std::env::current_exe()?, daemon()?, on_path("ip")?];
    let contents = Contents { programs: &programs, modules: &inside::MODULES, files: &[], setup: inside::SETUP };
    let image = image::build(dir, kernel, &contents)?;
    Guest::boot(dir, "kernels", kernel, &image, &inside::cards())
}

fn on_path(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    match found {
        Some(found) => Ok(found),
        None => bail!("{program} is missing: apt-get install iproute2"),
    }
}

fn seconds(since: Instant) -> String {
    format!("{} s", (since.elapsed() + Duration::from_millis(500)).as_secs())
}
