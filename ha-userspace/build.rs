//! Compiles the kernel programs and tells the library where the object is (`HA_EBPF_OBJECT`).
//!
//! Not aya-build: it fixes the flags (no `-Ctarget-cpu=v3`) and compiles once per host profile; here all profiles share
//! one object. The toolchain is the one that `cargo xtask setup` has found.

use std::{path::Path, process::ExitCode};

#[path = "../xtask/src/setup/toolchain.rs"]
mod toolchain;

use toolchain::Toolchain;

/// What the object depends on, seen from the workspace's folder.
const SOURCES: [&str; 7] = [
    "ha-ebpf/src",
    "ha-ebpf/Cargo.toml",
    "ha-common/src",
    "ha-common/Cargo.toml",
    "Cargo.lock",
    "xtask/src/setup/toolchain.rs",
    toolchain::FILE,
];

fn main() -> ExitCode {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member is inside its workspace");
    match build(workspace) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn build(workspace: &Path) -> Result<(), String> {
    let Some(toolchain) = Toolchain::load(workspace) else {
        return Err("no compiler for the kernel programs is known yet: run `cargo xtask setup` once".into());
    };
    let cargo = &toolchain.cargo;
    let status = toolchain
        .command(cargo, "build", workspace)
        .status()
        .map_err(|error| format!("cannot run {}: {error}; run `cargo xtask setup` again", cargo.display()))?;
    if !status.success() {
        return Err(format!("the kernel programs (ha-ebpf) do not compile with {}", toolchain.found));
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    println!("cargo::rustc-env=HA_EBPF_OBJECT={}", Toolchain::object(workspace).display());
    Ok(())
}
