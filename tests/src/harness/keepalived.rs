//! A node that runs keepalived instead of the daemon under test: same namespace, same legs, same VIP.
//!
//! keepalived tells of every change of its state by a named pipe; a real-time thread reads and stamps it, so that a takeover has a time
//! as exact as the ones that the daemon under test writes into its log.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use super::netns::Netns;
use super::run::Run;
use super::topology::{Host, Leg, SNIP_V4, VIP_V4};
use super::{process, rt};

/// How long keepalived may take to end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How soon the reader of the pipe notices that it has to end.
const LOOK_EVERY_MS: u8 = 100;
/// Above keepalived's own real-time priority, so that stamps are not late.
const READER_PRIORITY: i32 = 75;
/// The shortest distance of adverts that VRRPv3 knows.
pub const ADVERT: Duration = Duration::from_millis(10);
/// What a file drops from a node's priority to make it hand over.
const DEMOTION: i32 = -150;

/// What differs between the settings that are compared; everything else is keepalived's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Real-time priority for the VRRP process; the ordinary one otherwise.
    pub real_time: bool,
    /// Adverts that may be missing (`down_timer_adverts`).
    pub down_timer_adverts: u8,
    /// Priority of node a and of node b.
    pub priorities: [u8; 2],
    /// Where adverts go: the client leg, or an HA link with the client leg's carrier tracked.
    pub over: Leg,
}

impl Settings {
    /// Silence after which b takes over: RFC 5798, 6.1, with the number of adverts as set.
    pub fn master_down(&self) -> Duration {
        let skew = ADVERT * (256 - u32::from(self.priorities[1])) / 256;
        ADVERT * u32::from(self.down_timer_adverts) + skew
    }
}

/// A state that keepalived entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Master,
    /// It stands by.
    Backup,
    /// It may not serve, or has ended.
    Other,
}

/// States in order of time.
type States = Arc<Mutex<Vec<(Duration, State)>>>;

/// keepalived on one node.
pub struct Keepalived {
    host: Host,
    netns: Netns,
    dir: PathBuf,
    child: Option<Child>,
    states: States,
    _reader: Reader,
}

impl Keepalived {
    /// Prepares the node's files; starts nothing.
    pub fn new(run: &Run, netns: &Netns, host: Host, settings: &Settings) -> Result<Self> {
        let dir = run.dir().join(format!("keepalived-{}", host.name()));
        fs::create_dir_all(&dir)?;
        let pipe = dir.join("states");
        mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).with_context(|| format!("make {}", pipe.display()))?;
        let states = States::default();
        // For writing too: the end of one keepalived is then not the end of the file.
        let nonblocking = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&pipe)?;
        let reader = Reader::start(nonblocking, states.clone())?;
        let node = Self { host, netns: netns.clone(), dir, child: None, states, _reader: reader };
        fs::write(node.dir.join("keepalived.conf"), node.config(settings))?;
        Ok(node)
    }

    /// Starts keepalived and returns at once.
    ///
    /// The calling thread must outlive it: the kernel kills keepalived when the thread that started it ends.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "keepalived of node {} runs already", self.host.name());
        fs::write(self.dir.join("demotion"), "0")?;
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = Command::new("keepalived");
        command.args(["--vrrp", "--dont-fork", "--log-console", "--no-syslog", "--dont-respawn"]);
        for (option, file) in [("--use-file", "keepalived.conf"), ("--pid", "parent.pid"), ("--vrrp_pid", "vrrp.pid")] {
            command.arg(option).arg(self.dir.join(file));
        }
        for pid in ["parent.pid", "vrrp.pid"] {
            // A killed one leaves them behind, and a process that nobody waits for still counts as running.
            let _ = fs::remove_file(self.dir.join(pid));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        process::die_with_parent(&mut command);
        self.child = Some(self.netns.spawn(command).context("Debian's package keepalived has it")?);
        Ok(())
    }

    /// Every state entered so far.
    pub fn states(&self) -> Vec<(Duration, State)> {
        self.states.lock().unwrap().clone()
    }

    /// The state entered last; none while it does not run.
    pub fn state(&self) -> Option<State> {
        self.child.as_ref()?;
        self.states.lock().unwrap().last().map(|(_, state)| *state)
    }

    /// Ends all processes at once (SIGKILL): no last word.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("keepalived of node {} does not run", self.host.name()) };
        // The parent would restart or end its child: both go at the same time.
        let vrrp = children(child.id())?;
        for pid in vrrp.into_iter().chain([child.id() as i32]) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill keepalived ({pid})"))?;
        }
        child.wait()?;
        self.states.lock().unwrap().push((rt::now(), State::Other));
        Ok(())
    }

    /// Asks it to end (SIGTERM), which hands over by an advert of priority 0, and waits for it.
    pub fn terminate(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("keepalived of node {} does not run", self.host.name()) };
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM)?;
        if process::wait(&mut child, END_WITHIN)?.is_none() {
            child.kill()?;
            child.wait()?;
            bail!("keepalived of node {} did not end within {END_WITHIN:?}:\n{}", self.host.name(), self.log());
        }
        Ok(())
    }

    /// Lowers its priority below the other node's, or gives it back: the operator's way to hand over while both live.
    pub fn demote(&self, demoted: bool) -> Result<()> {
        let demotion = if demoted { DEMOTION } else { 0 };
        Ok(fs::write(self.dir.join("demotion"), demotion.to_string())?)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn config(&self, settings: &Settings) -> String {
        let (name, dir) = (self.host.name(), self.dir.display());
        let real_time = match settings.real_time {
            // Without the longer limit the kernel ends a real-time process that runs for 10 ms without sleeping.
            true => "vrrp_rt_priority 20\n vrrp_rlimit_rttime 1000000",
            false => "",
        };
        format!(
            "global_defs {{\n router_id {name}\n vrrp_version 3\n vrrp_notify_fifo {dir}/states\n {real_time}\n}}\n\
             track_file demotion {{\n file \"{dir}/demotion\"\n weight 1\n}}\n\
             vrrp_instance pair {{\n state BACKUP\n interface {over}\n virtual_router_id 51\n priority {priority}\n\
             advert_int {advert}\n down_timer_adverts {adverts}\n\
             track_interface {{\n {client}\n }}\n track_file {{\n demotion weight 1\n }}\n\
             virtual_ipaddress {{\n {VIP_V4}/32 dev {client}\n {SNIP_V4}/24 dev {server}\n }}\n}}\n",
            over = settings.over.interface(),
            priority = settings.priorities[self.host as usize],
            advert = ADVERT.as_secs_f64(),
            adverts = settings.down_timer_adverts,
            client = Leg::Client.interface(),
            server = Leg::Server.interface(),
        )
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        if self.child.is_some() {
            // Its processes end with the run in any case.
            let _ = self.kill();
        }
    }
}

/// Child processes of `pid`.
fn children(pid: u32) -> Result<Vec<i32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let listed = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    Ok(listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// The thread that reads and stamps states; ends when dropped.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(pipe: File, states: States) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::Builder::new().name("states".into()).spawn(move || follow(pipe, &states, &stopping))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("lab: the thread that reads keepalived's states panicked");
        }
    }
}

fn follow(mut pipe: File, states: &States, stop: &AtomicBool) {
    if let Err(error) = rt::make_realtime(READER_PRIORITY) {
        eprintln!("lab: keepalived's states are stamped late under load: {error:#}");
    }
    let mut text = String::new();
    let mut buffer = [0u8; 4096];
    while !stop.load(Ordering::Relaxed) {
        // Interrupted or not, the pipe is read: it does not block.
        let _ = poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LOOK_EVERY_MS));
        let at = rt::now();
        let Ok(length) = pipe.read(&mut buffer) else { continue };
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        while let Some((line, rest)) = text.split_once('\n') {
            if let Some(state) = state_in(line) {
                states.lock().unwrap().push((at, state));
            }
            text = rest.to_owned();
        }
    }
}

/// Reads one line of the pipe: `INSTANCE "pair" MASTER 200`.
fn state_in(line: &str) -> Option<State> {
    let mut words = line.split_whitespace();
    let word = (words.next()? == "INSTANCE").then(|| words.nth(1))??;
    match word {
        "MASTER" => Some(State::Master),
        "BACKUP" => Some(State::Backup),
        "FAULT" | "STOP" => Some(State::Other),
        // Priority changes and the like are no states.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_and_other_news_are_not() {
        assert_eq!(state_in("INSTANCE \"pair\" MASTER 200"), Some(State::Master));
        assert_eq!(state_in("INSTANCE \"pair\" FAULT 200"), Some(State::Other));
        assert_eq!(state_in("INSTANCE \"pair\" MASTER_PRIORITY 50"), None);
        assert_eq!(state_in("GROUP \"pair\" MASTER 0"), None);
    }

    #[test]
    fn master_down_is_adverts_plus_skew() {
        let settings = Settings { real_time: true, down_timer_adverts: 1, priorities: [200, 100], over: Leg::Client };
        assert_eq!(settings.master_down().as_micros(), 16_093);
    }
}
