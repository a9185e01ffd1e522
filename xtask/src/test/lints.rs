//! Formatting, lints and documentation: what is judged without running anything.

use anyhow::Result;

use crate::{forward::cargo, setup::toolchain::Toolchain, step, workspace};

pub fn formatting() -> Result<()> {
    step::run("check: formatting", cargo().args(["fmt", "--all", "--check"]))
}

pub fn host() -> Result<()> {
    step::run("check: clippy (host)", cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Clippy of the compiler that builds the kernel programs; not every installation brings one.
pub fn kernel(toolchain: &Toolchain) -> Result<()> {
    let clippy = toolchain.cargo.with_file_name("cargo-clippy");
    if !clippy.exists() || !clippy.with_file_name("clippy-driver").exists() {
        eprintln!(
            "check: clippy (kernel programs) ... skipped: {} has no clippy; add it with rustup's component clippy or \
             Debian's rust-web-clippy",
            toolchain.found
        );
        return Ok(());
    }
    step::run(
        "check: clippy (kernel programs)",
        toolchain.command(&clippy, "clippy", &workspace()).args(["--", "-D", "warnings"]),
    )
}

pub fn documentation() -> Result<()> {
    step::run("check: documentation", cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}
