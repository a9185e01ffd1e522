//! Where is the linker for kernel programs, and if nowhere, how is it built?

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{packages, rust};
use crate::{forward::cargo, step};

/// The version that fits the compilers which `rust` accepts.
const VERSION: &str = "0.13.0";

/// Finds bpf-linker in `tools/bin` or on PATH, else installs it into `tools`.
pub fn find_or_build(tools: &Path) -> Result<PathBuf> {
    let own = tools.join("bin/bpf-linker");
    let on_path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&on_path).map(|folder| folder.join("bpf-linker"));
    let found = std::iter::once(own.clone()).chain(on_path).find(|path| fits(path));
    match found {
        Some(linker) => Ok(linker),
        None => build(tools).map(|()| own),
    }
}

/// Is it there, able to start, and of our version?
pub fn fits(linker: &Path) -> bool {
    rust::output(Command::new(linker).arg("--version")).is_some_and(|said| said.trim() == format!("bpf-linker {VERSION}"))
}

fn build(tools: &Path) -> Result<()> {
    let llvm = PathBuf::from(format!("/usr/lib/llvm-{}", rust::LLVM));
    if !llvm.join("bin/llvm-config").exists() {
        packages::install(&[&format!("llvm-{}-dev", rust::LLVM)]).with_context(|| {
            format!(
                "bpf-linker {VERSION} is missing; by hand: put it on PATH, ready-made from \
                 https://github.com/aya-rs/bpf-linker/releases"
            )
        })?;
    }
    let mut path = vec![llvm.join("bin")];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    step::run(
        &format!("setup: building bpf-linker {VERSION} (about a minute)"),
        cargo()
            .args(["install", "bpf-linker", "--locked", "--version", VERSION, "--no-default-features"])
            .args(["--features", &format!("llvm-{}", rust::LLVM)])
            .arg("--root")
            .arg(tools)
            .env("LLVM_PREFIX", &llvm)
            .env("PATH", env::join_paths(path)?)
            .env_remove("RUSTFLAGS"),
    )
}
