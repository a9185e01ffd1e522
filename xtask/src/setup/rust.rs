//! Which Rust toolchain has the library source that `-Z build-std=core` needs?

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::packages;
use crate::step;

/// Names a toolchain by hand: one that rustup knows, or the folder above its `bin`.
const CHOICE: &str = "HA_EBPF_TOOLCHAIN";

/// The newest LLVM whose bitcode our bpf-linker reads: the one it is built with.
pub const LLVM: u32 = 22;

/// What rustup is asked for when nothing installed fits: the last nightly known to work and to speak [`LLVM`].
const NIGHTLY: &str = "nightly-2026-05-20";

/// Debian's backported compiler for building browsers, new enough for us, and its library source.
const DEBIAN: [&str; 4] = ["rustc-web", "rust-web-src", "cargo-web", "rust-web-clippy"];

/// A compiler that is installed.
pub struct Rust {
    name: String,
    /// Its own cargo.
    pub cargo: PathBuf,
    /// Its own rustc.
    pub rustc: PathBuf,
    minor: u32,
    llvm: u32,
}

impl fmt::Display for Rust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, minor, llvm, .. } = self;
        write!(f, "{name} (rustc 1.{minor}, LLVM {llvm})")
    }
}

impl Rust {
    /// Looks at the toolchain in the folder `prefix` (`prefix/bin/rustc`).
    fn inspect(name: &str, prefix: &Path) -> Option<Self> {
        let rustc = prefix.join("bin/rustc");
        let cargo = prefix.join("bin/cargo");
        if !cargo.exists() {
            return None;
        }
        let version = output(Command::new(&rustc).arg("-vV"))?;
        Some(Self {
            name: name.to_owned(),
            cargo,
            rustc,
            minor: number_after(&version, "release: 1.")?,
            llvm: number_after(&version, "LLVM version: ")?,
        })
    }

    /// Looks at what rustup calls `name`.
    fn in_rustup(name: &str) -> Option<Self> {
        let rustc = output(rustup().args(["which", "--toolchain", name, "rustc"]))?;
        Self::inspect(name, Path::new(rustc.trim()).parent()?.parent()?)
    }

    /// Is the compiler new enough for the workspace and not too new for the linker?
    fn fits(&self) -> bool {
        let needed = number_after(env!("CARGO_PKG_RUST_VERSION"), "1.").unwrap_or(0);
        self.minor >= needed && self.llvm <= LLVM
    }

    /// Does it fit, with its library source?
    fn is_ready(&self) -> bool {
        self.fits() && has_source(&self.rustc)
    }
}

/// Does the toolchain of this rustc hold the source of its library?
fn has_source(rustc: &Path) -> bool {
    let core = "lib/rustlib/src/rust/library/core/Cargo.toml";
    let prefix = rustc.parent().and_then(Path::parent);
    prefix.is_some_and(|prefix| prefix.join(core).exists())
}

/// Is the toolchain that was `found` with this rustc still the same (rustup updates it in place), and whole?
pub fn is_unchanged(rustc: &Path, found: &str) -> bool {
    let name = found.split(' ').next().unwrap_or_default();
    let rust = rustc.parent().and_then(Path::parent).and_then(|prefix| Rust::inspect(name, prefix));
    rust.is_some_and(|rust| rust.to_string() == found && has_source(rustc))
}

/// The toolchain that the user names, if any.
pub fn choice() -> Option<String> {
    env::var(CHOICE).ok().filter(|name| !name.is_empty())
}

/// Finds a fitting toolchain with source, or brings one: from rustup, else from Debian's packages.
pub fn find_or_bring() -> Result<Rust> {
    if let Some(choice) = choice() {
        return named(&choice);
    }
    if let Some(rust) = installed() {
        return Ok(rust);
    }
    if let Some(rust) = ["nightly", "stable"].into_iter().find_map(add_source) {
        return Ok(rust);
    }
    if let Some(rust) = install_nightly() {
        return Ok(rust);
    }
    packages::install(&DEBIAN).with_context(|| {
        format!(
            "no Rust toolchain from {} with LLVM up to {LLVM} and library source; by hand: \
             rustup toolchain install {NIGHTLY} --profile minimal --component rust-src",
            env!("CARGO_PKG_RUST_VERSION"),
        )
    })?;
    installed().with_context(|| format!("{} are installed, yet /usr/bin/rustc does not fit", DEBIAN.join(" ")))
}

/// The first installed toolchain that is ready, in order of preference.
fn installed() -> Option<Rust> {
    let debian = || Rust::inspect("debian-web", Path::new("/usr"));
    let in_order: [&dyn Fn() -> Option<Rust>; 4] =
        [&|| Rust::in_rustup("nightly"), &debian, &|| Rust::in_rustup("stable"), &|| Rust::in_rustup(NIGHTLY)];
    in_order.into_iter().filter_map(|look| look()).find(Rust::is_ready)
}

fn named(choice: &str) -> Result<Rust> {
    let rust = if choice.starts_with('/') { Rust::inspect(choice, Path::new(choice)) } else { Rust::in_rustup(choice) };
    match rust {
        Some(rust) if has_source(&rust.rustc) => Ok(rust),
        Some(rust) => bail!("{CHOICE}={choice}: {rust} has no library source (component rust-src)"),
        None => bail!("{CHOICE}={choice}: neither a toolchain of rustup nor a folder with bin/rustc and bin/cargo"),
    }
}

/// Lets rustup add the library source to an installed toolchain that fits.
fn add_source(name: &str) -> Option<Rust> {
    Rust::in_rustup(name).filter(Rust::fits)?;
    let mut add = rustup();
    add.args(["component", "add", "rust-src", "--toolchain", name]);
    try_rustup(&format!("setup: library source for rustup's {name}"), &mut add, name)
}

/// Lets rustup install a nightly of its own for the kernel programs.
fn install_nightly() -> Option<Rust> {
    output(rustup().arg("--version"))?;
    let mut install = rustup();
    install.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]).args([
        "--component",
        "rust-src",
        "--component",
        "clippy",
    ]);
    try_rustup(&format!("setup: rustup's {NIGHTLY}"), &mut install, NIGHTLY)
}

/// Lets rustup do something that may fail (no network, for instance) without ending the search.
fn try_rustup(title: &str, command: &mut Command, name: &str) -> Option<Rust> {
    if let Err(error) = step::attempt(title, command) {
        eprintln!("setup: {error:#}; looking further");
        return None;
    }
    Rust::in_rustup(name).filter(Rust::is_ready)
}

/// rustup, told to look only and not to install what a toolchain file may name.
fn rustup() -> Command {
    let mut rustup = Command::new("rustup");
    rustup.env("RUSTUP_AUTO_INSTALL", "0").env_remove("RUSTUP_TOOLCHAIN");
    rustup
}

/// Standard output of a command that succeeds.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

/// The decimal number that follows `label` in `text`.
fn number_after(text: &str, label: &str) -> Option<u32> {
    let rest = text.split_once(label)?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nhost: x86_64-unknown-linux-gnu\n\
                           release: 1.97.0-nightly\nLLVM version: 22.1.4\n";

    #[test]
    fn versions_are_read_from_the_compiler_s_own_words() {
        assert_eq!(number_after(VERSION, "release: 1."), Some(97));
        assert_eq!(number_after(VERSION, "LLVM version: "), Some(22));
        assert_eq!(number_after("1.95", "1."), Some(95));
        assert_eq!(number_after(VERSION, "gcc "), None);
    }

    #[test]
    fn a_compiler_too_new_for_the_linker_does_not_fit() {
        let rust = |minor, llvm| Rust { name: "nightly".into(), cargo: PathBuf::new(), rustc: PathBuf::new(), minor, llvm };
        assert!(rust(97, LLVM).fits());
        assert!(!rust(99, LLVM + 1).fits());
        assert!(!rust(63, 14).fits());
    }
}
