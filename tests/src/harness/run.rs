//! The name under which everything of one lab exists, and its removal.
//!
//! A run is called `us<pid>` (further ones of the same process `us<pid>x2`, …). Its namespaces are `us<pid>-<host>`, its files lie in
//! [`ROOT`]`/us<pid>`, its pinned BPF objects in a bpf file system of its own mounted there, so one unmount removes them all. One
//! function, `reap`, removes a run by its name; drop, signals and the sweep for runs that died without either all call it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::netns::{NETNS_DIR, Netns};
use super::{disk, freezer};

/// Directory of all runs' files.
pub const ROOT: &str = "/run/understudy-lab";

/// Names of this process's runs that are not yet reaped: what a signal has to remove.
static LIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// One lab's name and directory; removes everything that carries the name when dropped.
pub struct Run {
    name: String,
    dir: PathBuf,
    /// Held for the life of the run: another process may reap it once this lock is free.
    _lock: Flock<File>,
}

impl Run {
    /// Sweeps the leftovers of dead runs and opens a new one.
    pub fn start() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            bail!("the lab makes network namespaces and loads BPF programs: run it as root");
        }
        let _gate = gate()?;
        sweep()?;
        let name = match COUNT.fetch_add(1, Ordering::Relaxed) {
            0 => format!("us{}", std::process::id()),
            n => format!("us{}x{}", std::process::id(), n + 1),
        };
        let dir = Path::new(ROOT).join(&name);
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&dir).with_context(|| format!("create {}", dir.display()))?;
        let lock = lock(&dir)?.context("another process holds this run's lock")?;
        LIVE.lock().unwrap().push(name.clone());
        let run = Self { name, dir, _lock: lock };
        let bpf = run.bpf_dir();
        fs::create_dir(&bpf)?;
        mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount a bpf file system on {}", bpf.display()))?;
        Ok(run)
    }

    /// Name shared by everything of this run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Private directory of this run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run's own bpf file system.
    pub fn bpf_dir(&self) -> PathBuf {
        self.dir.join("bpf")
    }

    /// Creates the namespace of `host`.
    pub fn netns(&self, host: &str) -> Result<Netns> {
        // Nothing new while a signal reaps.
        let _live = LIVE.lock().unwrap();
        Netns::create(&format!("{}-{host}", self.name))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut live = LIVE.lock().unwrap();
        reap_aloud(&self.name);
        live.retain(|name| *name != self.name);
    }
}

/// Removes all processes, namespaces, pins and files of the run `name`.
fn reap(name: &str) -> Result<()> {
    let namespaces = namespaces_of(name);
    for namespace in &namespaces {
        end_processes(namespace)?;
    }
    for namespace in &namespaces {
        let deleted = ip(&["netns", "del", namespace]);
        // Another process may be reaping the same dead run.
        if Path::new(NETNS_DIR).join(namespace).exists() {
            deleted?;
        }
    }
    let dir = Path::new(ROOT).join(name);
    freezer::reap(name);
    disk::unmount_below(&dir)?;
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", dir.display()));
        }
        _ => {}
    }
    Ok(())
}

/// Lets one process at a time make or sweep runs: a run that is just being made is not dead.
fn gate() -> Result<Flock<File>> {
    let parent = Path::new(ROOT).parent().unwrap_or(Path::new("/"));
    let dir = File::open(parent).with_context(|| format!("open {}", parent.display()))?;
    Flock::lock(dir, FlockArg::LockExclusive).map_err(|(_, error)| error).with_context(|| format!("lock {}", parent.display()))
}

/// Reaps all runs whose process is gone; the caller holds the gate.
fn sweep() -> Result<()> {
    let with_dir: BTreeSet<String> = entries_of(ROOT).collect();
    for name in &with_dir {
        if let Some(_dead) = lock(&Path::new(ROOT).join(name))? {
            reap(name)?;
        }
    }
    // A run makes its directory first and loses it last: namespaces without one belong to nobody.
    let names = entries_of(NETNS_DIR).filter_map(|entry| Some(entry.split_once('-')?.0.to_owned()));
    let orphans: BTreeSet<String> = names.filter(|name| is_run_name(name) && !Path::new(ROOT).join(name).exists()).collect();
    orphans.iter().try_for_each(|name| reap(name))
}

/// Turns SIGINT, SIGTERM and SIGHUP into reaping this process's runs and leaving with 128 + signal.
///
/// Call it first in `main`: threads inherit the blocked signals only from then on.
pub fn reap_on_signals() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        let live = LIVE.lock().unwrap().clone();
        for name in live {
            if let Err(error) = reap(&name) {
                eprintln!("lab: {name} is not removed completely: {error:#}");
            }
        }
        std::process::exit(128 + signal as i32);
    })?;
    Ok(())
}

/// Everything on this machine that carries the name of run `name`, for tests that claim nothing is left.
pub fn leftovers(name: &str) -> Result<Vec<String>> {
    let mut found = namespaces_of(name);
    let dir = Path::new(ROOT).join(name);
    if dir.exists() {
        found.push(dir.display().to_string());
    }
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    found.extend(mounts.lines().filter(|line| line.contains(&format!("{ROOT}/{name}/"))).map(str::to_owned));
    Ok(found)
}

/// Takes the run's lock unless a living process holds it.
fn lock(dir: &Path) -> Result<Option<Flock<File>>> {
    let path = dir.join("lock");
    let file = match File::create(&path) {
        Ok(file) => file,
        // Another process is reaping this very run.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

/// Reaps, and the common directory too if nobody else's run is in it.
fn reap_aloud(name: &str) {
    let reaped = reap(name).and_then(|()| {
        let _gate = gate()?;
        match fs::remove_dir(ROOT) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty && error.kind() != ErrorKind::NotFound => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    });
    if let Err(error) = reaped {
        eprintln!("lab: {name} is not removed completely: {error:#}");
    }
}

/// Whether this is how a run is called: `us<pid>` or `us<pid>x<count>`.
fn is_run_name(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(numbers) = name.strip_prefix("us") else {
        return false;
    };
    match numbers.split_once('x') {
        Some((pid, count)) => is_number(pid) && is_number(count),
        None => is_number(numbers),
    }
}

fn namespaces_of(name: &str) -> Vec<String> {
    let prefix = format!("{name}-");
    entries_of(NETNS_DIR).filter(|entry| entry.starts_with(&prefix)).collect()
}

/// Names in a directory; none if it does not exist.
fn entries_of(dir: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// Kills what runs in the namespace and waits until it is gone (bounded).
fn end_processes(namespace: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let listed = ip(&["netns", "pids", namespace])?;
        let own = std::process::id() as i32;
        let pids: Vec<i32> = listed.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != own).collect();
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("processes {pids:?} in {namespace} survive SIGKILL");
        }
        for pid in pids {
            // ESRCH: it ended by itself meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ip(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(arguments).output().context("run ip (package iproute2)")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_namespaces_are_not_taken_for_a_run() {
        assert!(is_run_name("us123") && is_run_name("us123x2"));
        for foreign in ["us", "usb0", "us1x", "usx2", "us-1", "us12a", "user"] {
            assert!(!is_run_name(foreign), "{foreign}");
        }
    }
}
