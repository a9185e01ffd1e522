//! One guest: a qemu process, its monitor and its console.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::image::READY;
use super::kernel::Kernel;
use crate::harness::process;

/// How long a guest may take to boot, without acceleration and beside other work.
const BOOT_WITHIN: Duration = Duration::from_secs(120);
/// How long a command in the guest may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How a guest is kept from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// By the monitor, as for a snapshot: its clocks stand still, and nothing in it can tell.
    Stopped,
    /// By the scheduler of its host: its clocks go on.
    Stalled,
}

impl Pause {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stopped, Self::Stalled];
}

/// A network card of a guest.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// What it is plugged into.
    pub cable: Cable,
}

/// What a network card is plugged into.
#[derive(Clone, Debug)]
pub enum Cable {
    /// A pair of unix datagram sockets; one datagram is one frame.
    Sockets {
        /// Where the guest's end is bound.
        guest: PathBuf,
        /// Where the other end is.
        switch: PathBuf,
    },
    /// The hub of this number within the guest: what one of its cards sends, the others receive.
    Hub(usize),
}

impl Cable {
    /// As an argument of qemu: the network `n<number>`.
    fn argument(&self, number: usize) -> String {
        match self {
            Self::Sockets { guest, switch } => format!(
                "dgram,id=n{number},local.type=unix,local.path={},remote.type=unix,remote.path={}",
                guest.display(),
                switch.display()
            ),
            Self::Hub(hub) => format!("hubport,id=n{number},hubid={hub}"),
        }
    }
}

/// A virtual machine; ends when dropped.
pub struct Guest {
    name: String,
    child: Child,
    monitor: UnixStream,
    console: UnixStream,
    /// What came from the console and was not asked for yet.
    heard: String,
    commands: u32,
}

impl Guest {
    /// Boots `kernel` with `image`, its interfaces eth0, eth1 … being `cards`; its sockets and logs lie in `dir` under its name.
    pub fn boot(dir: &Path, name: &str, kernel: &Kernel, image: &Path, cards: &[Card]) -> Result<Self> {
        let path = |what: &str| dir.join(format!("{name}.{what}"));
        let server = |path: &PathBuf| format!("unix:{},server=on,wait=off", path.display());
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "768",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ]);
        command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
        command.args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off"]);
        command.arg("-serial").arg(server(&path("console"))).arg("-qmp").arg(server(&path("monitor")));
        for (number, card) in cards.iter().enumerate() {
            let mac = card.mac.map(|byte| format!("{byte:02x}")).join(":");
            command.arg("-netdev").arg(card.cable.argument(number));
            // A card without a speed is of no use to an 802.3ad bond.
            command.arg("-device").arg(format!("virtio-net-pci,netdev=n{number},mac={mac},speed=10000,duplex=full,romfile="));
        }
        let log = std::fs::File::create(path("qemu.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        process::die_with_parent(&mut command);
        let child = command.spawn().context("run qemu-system-x86_64 (package qemu-system-x86)")?;
        let (monitor, console) = (connect(&path("monitor"))?, connect(&path("console"))?);
        let mut guest = Self { name: name.to_owned(), child, monitor, console, heard: String::new(), commands: 0 };
        guest.ask(&json!({"execute": "qmp_capabilities"}))?;
        guest.wait_for(READY, BOOT_WITHIN)?;
        // The shell's greeting is nobody's answer.
        guest.run(":")?;
        Ok(guest)
    }

    /// Stops every CPU of the guest where it is.
    pub fn pause(&mut self, pause: Pause) -> Result<()> {
        match pause {
            Pause::Stopped => self.ask(&json!({"execute": "stop"})),
            Pause::Stalled => self.signal(Signal::SIGSTOP),
        }
    }

    /// Lets it go on.
    pub fn resume(&mut self, pause: Pause) -> Result<()> {
        match pause {
            Pause::Stopped => self.ask(&json!({"execute": "cont"})),
            Pause::Stalled => self.signal(Signal::SIGCONT),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), signal).with_context(|| format!("{signal} to guest {}", self.name))
    }

    /// Runs `line` in the guest's shell; what it printed.
    pub fn run(&mut self, line: &str) -> Result<String> {
        self.run_within(line, ANSWER_WITHIN)
    }

    /// As [`Self::run`], for what may take longer, or shorter.
    pub fn run_within(&mut self, line: &str, limit: Duration) -> Result<String> {
        self.commands += 1;
        // In two parts, so that an echo of the command is not taken for its end.
        let mark = format!("done-{}-{}", self.name, self.commands);
        writeln!(self.console, "{line}; echo done-{}\"\"-{}", self.name, self.commands)?;
        let printed = self.wait_for(&mark, limit)?;
        Ok(printed.replace('\r', ""))
    }

    /// What `show ha node` says of the guest's own role.
    pub fn role(&mut self) -> Result<String> {
        let shown = self.run("understudy --json show ha node")?;
        let start = shown.find('{').with_context(|| format!("show ha node printed {shown}"))?;
        let shown: Value = serde_json::from_str(shown[start..].trim()).with_context(|| format!("read {shown}"))?;
        let role = shown["hanode"][0]["state"].as_str().context("show ha node names no state")?;
        Ok(role.to_owned())
    }

    /// Waits until the console has said `mark`; what came before it.
    fn wait_for(&mut self, mark: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        self.console.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut buffer = [0; 4096];
        loop {
            if let Some((before, behind)) = self.heard.split_once(mark) {
                let (before, behind) = (before.to_owned(), behind.to_owned());
                self.heard = behind;
                return Ok(before);
            }
            ensure!(
                Instant::now() < deadline,
                "guest {} does not say {mark:?} within {limit:?}; its console:\n{}",
                self.name,
                self.heard
            );
            match self.console.read(&mut buffer) {
                Ok(0) => bail!("guest {} has ended; its console:\n{}", self.name, self.heard),
                Ok(length) => self.heard += &String::from_utf8_lossy(&buffer[..length]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("read the console"),
            }
        }
    }

    /// One command of qemu's machine protocol, answered.
    fn ask(&mut self, command: &Value) -> Result<()> {
        writeln!(self.monitor, "{command}")?;
        let mut lines = BufReader::new(self.monitor.try_clone()?);
        loop {
            let mut line = String::new();
            ensure!(lines.read_line(&mut line)? != 0, "the monitor of guest {} has ended", self.name);
            let said: Value = serde_json::from_str(&line).with_context(|| format!("the monitor said {line}"))?;
            ensure!(said.get("error").is_none(), "{command}: {said}");
            if said.get("return").is_some() {
                return Ok(());
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects once qemu listens.
fn connect(path: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) => ensure!(Instant::now() < deadline, "connect to {}: {error}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
