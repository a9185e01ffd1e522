//! `cargo xtask test`: is the tree good?
//!
//! What is quick to fail comes first; the test runner comes last, so that its summary is the end of the output.

mod lints;
mod runner;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;

use crate::{
    forward,
    setup::{self, Say, packages},
    step,
};

/// What `cargo xtask test` understands.
#[derive(clap::Args)]
pub struct Options {
    /// Handed to the test runner as it is: a part of a test's name, for instance.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// Runs every check and test.
///
/// # Errors
/// The first step that fails; its output has been shown.
pub fn run(options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let toolchain = setup::run(Say::Changes)?;
    lints::formatting()?;
    lints::host()?;
    lints::kernel(&toolchain)?;
    lints::documentation()?;
    let understudy = forward::build_understudy()?;
    step::run("test: examples in the documentation", forward::cargo().args(["test", "--doc", "--workspace"]))?;
    let privileged = packages::is_root();
    if !privileged {
        eprintln!("test: privileged end-to-end tests (e2e_*, xdp_*) ... skipped: they need root");
    }
    eprintln!("test: all checks before the tests: {} s", started.elapsed().as_secs());
    runner::run(&understudy, privileged, &options.filter)
}
