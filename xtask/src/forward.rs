//! Who runs the commands that need the harness? A binary of `ha-tests`, which this process becomes.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    setup::{self, Say},
    step, workspace,
};

/// The variable that tells the harness which daemon to start.
pub const UNDERSTUDY_BIN: &str = "UNDERSTUDY_BIN";

/// Prepares the machine, builds the daemon and becomes `binary` of `ha-tests` with `arguments`.
///
/// Becomes, not starts: a signal for this process (Ctrl-C among them) is then one for the binary, which cleans up.
pub fn become_binary(binary: &str, arguments: &[OsString]) -> Result<ExitCode> {
    setup::run(Say::Changes)?;
    let understudy = build_understudy()?;
    let binary = build("ha-tests", binary)?;
    let error = Command::new(&binary).args(arguments).env(UNDERSTUDY_BIN, understudy).exec();
    Err(error).with_context(|| format!("cannot run {}", binary.display()))
}

/// Builds the release daemon; returns where it is.
pub fn build_understudy() -> Result<PathBuf> {
    build("understudy", "understudy")
}

/// Builds a release binary; returns where it is.
fn build(package: &str, binary: &str) -> Result<PathBuf> {
    step::run(&format!("build: {binary}"), cargo().args(["build", "--release", "--package", package, "--bin", binary]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let built = target.join("release").join(binary);
    built.canonicalize().with_context(|| format!("cargo did not leave {}", built.display()))
}

/// The cargo that runs us, in the workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}
