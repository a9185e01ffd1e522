//! Freezing a whole process by its control group, as a container's pause or an administrator's `systemctl freeze` does.
//!
//! Unlike SIGSTOP the process cannot notice, and all its threads stop wherever they are in the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long the kernel may take to stop all threads, or to let go of them.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

/// A control group of its own for one process; gives the process back, thawed, when dropped.
pub struct Freezer {
    group: PathBuf,
    pid: u32,
}

impl Freezer {
    /// Puts `pid` into the group `name`, still running.
    pub fn take(name: &str, pid: u32) -> Result<Self> {
        let group = root()?.join(name);
        fs::create_dir(&group).with_context(|| format!("create {}", group.display()))?;
        let freezer = Self { group, pid };
        freezer.move_to(&freezer.group)?;
        Ok(freezer)
    }

    /// Stops every thread; returns once all stand.
    pub fn freeze(&self) -> Result<()> {
        self.set(true)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        self.set(false)
    }

    fn set(&self, frozen: bool) -> Result<()> {
        let wanted = format!("frozen {}", u8::from(frozen));
        fs::write(self.group.join("cgroup.freeze"), if frozen { "1" } else { "0" }).context("write cgroup.freeze")?;
        let deadline = Instant::now() + SETTLE_WITHIN;
        while !fs::read_to_string(self.group.join("cgroup.events"))?.lines().any(|line| line == wanted) {
            ensure!(Instant::now() < deadline, "{} is not \"{wanted}\" within {SETTLE_WITHIN:?}", self.group.display());
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn move_to(&self, group: &Path) -> Result<()> {
        let procs = group.join("cgroup.procs");
        fs::write(&procs, self.pid.to_string()).with_context(|| format!("move process {} to {}", self.pid, procs.display()))
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        // Each fails only where the process has ended, or the group has gone.
        let _ = self.thaw();
        let _ = root().and_then(|root| self.move_to(&root));
        let _ = fs::remove_dir(&self.group);
    }
}

/// Removes the groups of the run `name`, whose processes have ended.
pub fn reap(name: &str) {
    let Ok(root) = root() else { return };
    let prefix = format!("{name}-");
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // A group that is still in use is removed by whoever reaps next.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Where the second version of control groups is mounted.
fn root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    match fields.find(|fields| fields.get(2) == Some(&"cgroup2")) {
        Some(fields) => Ok(fields[1].into()),
        None => bail!("no cgroup2 file system is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified"),
    }
}

/// The group for the daemon of node `node` in `run`.
pub fn group_name(run: &str, node: &str) -> String {
    format!("{run}-{node}")
}
