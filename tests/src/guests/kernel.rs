//! Debian's kernels, unpacked from their packages and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its release, as `uname -r` prints it.
    pub release: String,
    /// The image that qemu boots.
    pub image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    /// The newest kernel of `series` (6.12, for instance) that the package archive has, brought to `dir`.
    pub fn bring(series: &str, dir: &Path) -> Result<Self> {
        let package = newest(series)?;
        let unpacked = dir.join(&package);
        if !unpacked.exists() {
            fs::create_dir_all(dir)?;
            run(Command::new("apt-get").args(["download", "--quiet", &package]).current_dir(dir))?;
            let archive = entry(dir, |name| name.starts_with(&format!("{package}_")) && name.ends_with(".deb"))?;
            let half = dir.join("unpacking");
            run(Command::new("dpkg").arg("-x").arg(&archive).arg(&half))?;
            fs::rename(&half, &unpacked).with_context(|| format!("rename {}", half.display()))?;
            fs::remove_file(archive)?;
        }
        let image = entry(&unpacked.join("boot"), |name| name.starts_with("vmlinuz-"))?;
        let modules = entry(&unpacked.join("lib/modules"), |_| true)?;
        let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { release, image, modules })
    }

    /// Copies the module `name` to `to` as `name.ko`; false if the kernel has it built in, or not at all.
    pub fn copy_module(&self, name: &str, to: &Path) -> Result<bool> {
        let Some(found) = find(&self.modules.join("kernel"), name)? else { return Ok(false) };
        let target = to.join(format!("{name}.ko"));
        if found.extension().is_some_and(|extension| extension == "xz") {
            let unpacked = Command::new("xz").args(["-dc"]).arg(&found).output().context("run xz (package xz-utils)")?;
            fs::write(target, unpacked.stdout)?;
        } else {
            fs::copy(&found, target)?;
        }
        Ok(true)
    }
}

/// The newest package of a series.
fn newest(series: &str) -> Result<String> {
    let pattern = format!("^linux-image-{}[.-][.0-9-]*(\\+deb[0-9]+)?-cloud-amd64$", series.replace('.', "\\."));
    let output = Command::new("apt-cache").args(["search", "--names-only", &pattern]).output().context("run apt-cache")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    let numbers = |name: &&str| -> Vec<u32> {
        name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    // The package without a full version only points at one.
    let real = names.filter(|name| numbers(name).len() > 3);
    let newest = real.max_by_key(numbers).map(str::to_owned);
    newest.with_context(|| format!("no package linux-image-{series}…-cloud-amd64: run apt-get update"))
}

/// The module's file, below `dir`; names are told apart as modprobe does.
fn find(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name)? {
                return Ok(Some(found));
            }
        } else if let Some((stem, _)) = path.file_name().and_then(|file| file.to_str()).and_then(|file| file.split_once('.'))
            && stem.replace('-', "_") == name
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn entry(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted))
        .with_context(|| format!("{} lacks a file", dir.display()))
}

pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{}: {}", command.get_program().display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
