//! Named network namespaces and acting inside them.
//!
//! A socket belongs to the namespace in which it was opened, whatever thread uses it later: so only opening happens inside
//! ([`Netns::run`]), and all other threads of the harness stay where they are.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use super::process;

/// Where ip(8) keeps named namespaces.
pub const NETNS_DIR: &str = "/run/netns";

/// A named network namespace; removed with its run.
#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Creates the namespace with its loopback up.
    pub fn create(name: &str) -> Result<Self> {
        let output = Command::new("ip").args(["netns", "add", name]).output().context("run ip (package iproute2)")?;
        if !output.status.success() {
            bail!("ip netns add {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let namespace = Self { name: name.to_owned() };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as ip(8) knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that setns(2) takes.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// Runs `act` on a thread of its own inside the namespace and returns its result.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let entry = File::open(self.path()).with_context(|| format!("open namespace {}", self.name))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(entry, CloneFlags::CLONE_NEWNET).context("setns")?;
                act()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .with_context(|| format!("in namespace {}", self.name))
    }

    /// Starts `command` inside the namespace, in the mounts of the lab: `ip netns exec` would hide the bpf file system.
    pub fn spawn(&self, mut command: Command) -> Result<Child> {
        let entry = File::open(self.path()).with_context(|| format!("open namespace {}", self.name))?;
        process::before_exec(&mut command, move || setns(&entry, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from));
        command.spawn().with_context(|| format!("start {} in {}", command.get_program().display(), self.name))
    }

    /// Runs lines of ip(8) commands (without the leading `ip`) as one batch.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("run ip (package iproute2)")?;
        child.stdin.take().expect("piped").write_all(lines.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("ip -n {}: {}\nin:\n{lines}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// What one ip(8) command (without the leading `ip`) prints.
    pub fn ip_shows(&self, words: &[&str]) -> Result<String> {
        let output = Command::new("ip").args(["-n", &self.name]).args(words).output().context("run ip (package iproute2)")?;
        if !output.status.success() {
            bail!("ip -n {} {}: {}", self.name, words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Writes a value below `/proc/sys/net` of the namespace.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(key);
        self.run(|| std::fs::write(&path, value).with_context(|| format!("write {value} to {}", path.display())))
    }
}
