//! Which compiler and linker build the kernel programs? The answer of `cargo xtask setup`, as a file.
//!
//! `xtask` writes it; `ha-userspace/build.rs` (which includes this very file) and `cargo xtask test` read it. It is
//! the only place that knows with which flags and in which environment the kernel programs are compiled.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the file is, seen from the workspace's folder.
pub const FILE: &str = "target/tools/ebpf-toolchain";

/// Where the kernel programs' artifacts are, seen from the workspace's folder: one place for all host profiles.
pub const TARGET_DIR: &str = "target/bpf";

/// The target of the kernel programs.
pub const TARGET: &str = "bpfel-unknown-none";

/// What the outer cargo or rustup would otherwise force upon the inner one.
const NOT_INHERITED: [&str; 11] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "CLIPPY_ARGS",
];

/// A compiler with library source and a linker that fits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The toolchain's own cargo, not a shim.
    pub cargo: PathBuf,
    /// The toolchain's own rustc.
    pub rustc: PathBuf,
    /// bpf-linker.
    pub linker: PathBuf,
    /// How the compiler was found, for people.
    pub found: String,
}

impl Toolchain {
    /// Reads the file under `workspace`; `None` if it is missing or incomplete.
    pub fn load(workspace: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(workspace.join(FILE)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        Some(Self {
            cargo: value("cargo")?.into(),
            rustc: value("rustc")?.into(),
            linker: value("linker")?.into(),
            found: value("found")?.into(),
        })
    }

    /// A cargo command (`build` or, as another `program`, clippy's) on the kernel programs of `workspace`.
    pub fn command(&self, program: &Path, subcommand: &str, workspace: &Path) -> Command {
        let mut command = Command::new(program);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let flags = [
            format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
            // Else copies and zeroings of a few words become calls to functions that go byte by byte.
            "-Clink-arg=--disable-expand-memcpy-in-order".into(),
            // 32-bit jumps and ALU instructions: smaller and faster programs, from Linux 5.1.
            "-Ctarget-cpu=v3".into(),
            format!("-Clinker={}", self.linker.display()),
        ];
        command
            .current_dir(workspace)
            .args([subcommand, "--locked", "--release"])
            .args(["--package", "ha-ebpf", "--bins"])
            .args(["-Z", "build-std=core", "--target", TARGET])
            .env("CARGO", &self.cargo)
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", workspace.join(TARGET_DIR))
            // One unit: the linker sees the whole program, and the object does not depend on the number of CPUs.
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command
    }

    /// Where [`Self::command`] with `build` leaves the object.
    #[allow(dead_code, reason = "only the build script asks")]
    pub fn object(workspace: &Path) -> PathBuf {
        workspace.join(TARGET_DIR).join(TARGET).join("release/ha-ebpf")
    }

    /// Writes the file under `workspace`, whole or not at all, and only if it changes (its time stamp rebuilds).
    #[allow(dead_code, reason = "the build script only reads")]
    pub fn save(&self, workspace: &Path) -> io::Result<()> {
        if Self::load(workspace).as_ref() == Some(self) {
            return Ok(());
        }
        let file = workspace.join(FILE);
        let draft = file.with_extension("new");
        fs::create_dir_all(file.parent().unwrap_or(workspace))?;
        fs::write(
            &draft,
            format!(
                "cargo={}\nrustc={}\nlinker={}\nfound={}\n",
                self.cargo.display(),
                self.rustc.display(),
                self.linker.display(),
                self.found
            ),
        )?;
        fs::rename(draft, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_toolchain_is_loaded_again() {
        let toolchain = Toolchain {
            cargo: "/usr/bin/cargo".into(),
            rustc: "/usr/bin/rustc".into(),
            linker: "/opt/a b/bpf-linker".into(),
            found: "debian-web: rustc 1.96, LLVM 22".into(),
        };
        let folder = env::temp_dir().join(format!("understudy-toolchain-{}", std::process::id()));
        toolchain.save(&folder).unwrap();
        let loaded = Toolchain::load(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(loaded, Some(toolchain));
    }

    #[test]
    fn an_incomplete_file_counts_as_missing() {
        assert_eq!(Toolchain::parse("cargo=/usr/bin/cargo\nrustc=/usr/bin/rustc\n"), None);
    }
}
