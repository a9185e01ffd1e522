//! Who runs the tests? cargo-nextest if it is installed, else cargo itself.
//!
//! Tests in files `tests/tests/e2e_*.rs` and `xdp_*.rs` need root and share the machine's state: they run one at a
//! time (nextest: `.config/nextest.toml`), and not at all without root.

use std::{
    fs, io,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{
    forward::{UNDERSTUDY_BIN, cargo},
    setup, step, workspace,
};

/// How the names of privileged test files begin.
const PRIVILEGED: [&str; 2] = ["e2e_", "xdp_"];

/// For how long the simulation's random histories run, in seconds.
const SIM_SECONDS: &str = "UNDERSTUDY_SIM_SECONDS";

fn sim_seconds() -> String {
    std::env::var(SIM_SECONDS).unwrap_or_else(|_| "120".to_owned())
}

/// Runs every test that may run; the runner's summary is the last output.
pub fn run(understudy: &Path, privileged: bool, filter: &[String]) -> Result<ExitCode> {
    let nextest = setup::answers(cargo().args(["nextest", "--version"]));
    let runs = if nextest { vec![nextest_run(privileged, filter)] } else { cargo_runs(privileged, filter)? };
    for mut command in runs {
        let status = command
            .env(UNDERSTUDY_BIN, understudy)
            .env(SIM_SECONDS, sim_seconds())
            // One stream: the summary stays last also through a pipe.
            .stderr(Stdio::from(io::stdout()))
            .status()
            .with_context(|| format!("cannot run {}", step::shown(&command)))?;
        if !status.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn nextest_run(privileged: bool, filter: &[String]) -> Command {
    let mut nextest = cargo();
    nextest.args(["nextest", "run", "--workspace", "--no-fail-fast", "--hide-progress-bar"]);
    if !privileged {
        nextest.args(["-E", &format!("not binary(/^({})/)", PRIVILEGED.join("|"))]);
    }
    nextest.args(filter);
    nextest
}

/// Without nextest: the privileged files in a run of their own, one test at a time.
fn cargo_runs(privileged: bool, filter: &[String]) -> Result<Vec<Command>> {
    let (alone, together): (Vec<String>, Vec<String>) =
        test_files()?.into_iter().partition(|name| PRIVILEGED.iter().any(|prefix| name.starts_with(prefix)));
    let mut ordinary = cargo();
    ordinary.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--examples"]);
    ordinary.args(together.iter().flat_map(|name| ["--test", name]));
    ordinary.args(filter);
    if !privileged || alone.is_empty() {
        return Ok(vec![ordinary]);
    }
    let mut serial = cargo();
    serial.args(["test", "--package", "ha-tests", "--no-fail-fast"]);
    serial.args(alone.iter().flat_map(|name| ["--test", name]));
    serial.args(filter).args(["--", "--test-threads=1"]);
    Ok(vec![ordinary, serial])
}

/// The names of the files in `tests/tests`, each a test binary.
fn test_files() -> Result<Vec<String>> {
    let folder = workspace().join("tests/tests");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".rs").map(str::to_owned)
    });
    Ok(names.collect())
}
