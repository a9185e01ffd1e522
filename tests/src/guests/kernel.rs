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

    /// Copies the modules `names`, and those that they need, to `to`; their files, in the order in which they can be loaded. What the
    /// kernel has built in is left out, and so is what it does not have at all.
    pub fn copy_modules(&self, names: &[&str], to: &Path) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for name in names {
            self.copy_module(name, to, &mut files)?;
        }
        Ok(files)
    }

    fn copy_module(&self, name: &str, to: &Path, files: &mut Vec<String>) -> Result<()> {
        let file = format!("{name}.ko");
        if files.contains(&file) {
            return Ok(());
        }
        let Some(found) = find(&self.modules.join("kernel"), name)? else { return Ok(()) };
        let module = if found.extension().is_some_and(|extension| extension == "xz") {
            Command::new("xz").args(["-dc"]).arg(&found).output().context("run xz (package xz-utils)")?.stdout
        } else {
            fs::read(&found)?
        };
        for needed in needs(&module) {
            self.copy_module(&needed, to, files)?;
        }
        fs::write(to.join(&file), module)?;
        files.push(file);
        Ok(())
    }
}

/// The modules that a module says it needs: its section `.modinfo` has one line `depends=`, ended by a zero.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let line = module[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(line).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
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
