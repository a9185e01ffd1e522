//! `cargo xtask setup`: what does a build need that a clone does not hold?
//!
//! A Rust toolchain with library source, bpf-linker and the tools that the tests call. Every command that needs them
//! calls [`run`] first; it changes nothing and takes a blink when everything is there.

mod linker;
pub mod packages;
mod rust;
pub mod toolchain;

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use self::toolchain::Toolchain;
use crate::workspace;

/// How much is said when everything is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// What was found.
    Everything,
    /// Nothing.
    Changes,
}

/// Finds or brings everything; returns the toolchain for the kernel programs.
///
/// # Errors
/// Something is missing and cannot be brought: the message says what and how to bring it by hand.
pub fn run(say: Say) -> Result<Toolchain> {
    let workspace = workspace();
    let toolchain = match recorded(&workspace) {
        Some(toolchain) => toolchain,
        None => find(&workspace)?,
    };
    packages::test_tools()?;
    if say == Say::Everything {
        eprintln!("setup: compiler for kernel programs: {}", toolchain.found);
        eprintln!("setup: linker for kernel programs: {}", toolchain.linker.display());
        eprintln!("setup: everything is there");
    }
    Ok(toolchain)
}

/// What an earlier run found, if it is still whole and nobody asks for another one.
fn recorded(workspace: &Path) -> Option<Toolchain> {
    let toolchain = Toolchain::load(workspace)?;
    let asked = rust::choice().is_none_or(|name| toolchain.found.starts_with(&format!("{name} ")));
    let whole = rust::is_unchanged(&toolchain.rustc, &toolchain.found) && linker::fits(&toolchain.linker);
    (asked && whole).then_some(toolchain)
}

fn find(workspace: &Path) -> Result<Toolchain> {
    let rust = rust::find_or_bring()?;
    let toolchain = Toolchain {
        found: rust.to_string(),
        cargo: rust.cargo,
        rustc: rust.rustc,
        linker: linker::find_or_build(&workspace.join("target/tools"))?,
    };
    toolchain.save(workspace).with_context(|| format!("cannot write {}", workspace.join(toolchain::FILE).display()))?;
    eprintln!("setup: kernel programs will be built with {}", toolchain.found);
    Ok(toolchain)
}

/// Does the command succeed? For questions such as whether a program is installed; its output is not shown.
pub fn answers(command: &mut Command) -> bool {
    rust::output(command).is_some()
}
