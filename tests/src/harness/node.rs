//! A node's daemon: started in its namespace, asked and told through its socket, stopped in every way there is.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::{Client, Role};
use super::counters;
use super::history::{self, RoleChange};
use super::netns::Netns;
use super::process;
use super::run::Run;
use super::topology::Host;

/// How long a daemon may take from its start to its first answer: it loads and verifies its programs meanwhile.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a daemon may take to end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How long a command may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Distance of two questions while waiting.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// One node of the pair.
pub struct Node {
    host: Host,
    netns: Netns,
    binary: PathBuf,
    client: Client,
    /// Its files: configuration, state, socket, log.
    dir: PathBuf,
    pins: PathBuf,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Node {
    /// Prepares the node's files; starts nothing.
    pub fn new(run: &Run, netns: &Netns, host: Host, binary: &Path, config: &str) -> Result<Self> {
        let dir = run.dir().join(host.name());
        fs::create_dir_all(dir.join("state"))?;
        // The configuration holds the pair's password.
        let mut options = fs::OpenOptions::new();
        let path = dir.join("understudy.conf");
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("create {}", path.display()))?;
        file.write_all(config.as_bytes())?;
        let pins = run.bpf_dir().join(host.name());
        let client = Client::new(binary, &dir.join("understudy.sock"));
        Ok(Self {
            host,
            netns: netns.clone(),
            binary: binary.to_owned(),
            client,
            dir,
            pins,
            environment: Vec::new(),
            child: None,
        })
    }

    /// Sets an environment variable of all later starts.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the daemon and returns at once.
    ///
    /// The calling thread must outlive the daemon: the kernel kills the daemon when the thread that started it ends.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "node {} runs already", self.host.name());
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.binary);
        command.arg("run").arg("--config").arg(self.dir.join("understudy.conf"));
        command
            .arg("--state")
            .arg(self.dir.join("state"))
            .arg("--socket")
            .arg(self.client.socket())
            .arg("--pins")
            .arg(&self.pins);
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C at the terminal is for the lab; it ends its daemons itself.
        command.process_group(0);
        process::die_with_parent(&mut command);
        self.child = Some(self.netns.spawn(command)?);
        Ok(())
    }

    /// Waits until the daemon answers.
    pub fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("the daemon of node {} ended with {status}:\n{}", self.host.name(), self.log_tail());
            }
            if self.client.socket().exists() && self.role().is_ok() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the daemon of node {} does not answer within {READY_WITHIN:?}:\n{}",
                self.host.name(),
                self.log_tail()
            );
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Runs one command and returns what it printed.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        self.client.command(words, ANSWER_WITHIN).with_context(|| format!("node {}", self.host.name()))
    }

    /// Starts a tool of the program that looks at the node's maps, where the daemon runs; its output is piped.
    pub fn tool(&self, words: &[&str]) -> Result<Child> {
        let mut command = Command::new(&self.binary);
        command.arg("--socket").arg(self.client.socket()).args(words).arg("--pins").arg(&self.pins);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process::die_with_parent(&mut command);
        self.netns.spawn(command).with_context(|| words.join(" "))
    }

    /// Runs a tool to its end; what it printed.
    pub fn told(&self, words: &[&str]) -> Result<String> {
        let output = self.tool(words)?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{}: {text}{}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    /// Flags that userspace has set for the kernel: `node_flags`.
    pub fn flags(&self) -> Result<u32> {
        counters::flags(&self.pins)
    }

    /// The node's own role, as it says.
    pub fn role(&self) -> Result<Role> {
        self.client.role(ANSWER_WITHIN).with_context(|| format!("node {}", self.host.name()))
    }

    /// The node's own state, as it says: UP, NOT UP, …
    pub fn state(&self) -> Result<String> {
        self.client.state(ANSWER_WITHIN).with_context(|| format!("node {}", self.host.name()))
    }

    /// Its command line, for other threads.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Ends the daemon at once (SIGKILL): no last word.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait_end()
    }

    /// Stops the daemon's threads where they are.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen daemon go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Asks the daemon to end (SIGTERM) and waits for it.
    pub fn terminate(&mut self) -> Result<()> {
        self.ask_to_end()?;
        self.wait_end()
    }

    /// Asks the daemon to end (SIGTERM).
    pub fn ask_to_end(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Hands over and stops: `understudy stop`; waits for the daemon's end.
    pub fn stop(&mut self) -> Result<()> {
        self.command(&["stop"])?;
        self.wait_end()
    }

    /// Packets that left the node, by reason.
    pub fn counters(&self) -> Result<Vec<(&'static str, u64)>> {
        counters::read(&self.pins)
    }

    /// Sources that the node has given out for clients.
    pub fn sources(&self) -> Result<usize> {
        counters::sources(&self.pins)
    }

    /// The last lines of the daemon's log, and of what the kernel said of a program that it refused: the files vanish with the lab.
    pub fn log_tail(&self) -> String {
        const LINES: usize = 60;
        let refusals = fs::read_dir(self.dir.join("state")).into_iter().flatten().flatten().map(|entry| entry.path());
        let refusals =
            refusals.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"verifier-")));
        refusals.fold(tail(&self.log_path(), LINES), |text, path| text + "\n" + &tail(&path, LINES / 2))
    }

    /// Everything that the daemon has logged.
    pub fn log(&self) -> Result<String> {
        let path = self.log_path();
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// The changes of role that the daemon has logged, whichever process of it.
    pub fn role_changes(&self) -> Result<Vec<RoleChange>> {
        Ok(history::read(self.host, &self.log()?))
    }

    /// Directory of what the daemon keeps over a restart.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Whether the daemon was started and not ended by this harness.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Process id of the daemon, which must run.
    pub fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).with_context(|| format!("node {} does not run", self.host.name()))
    }

    /// Takes programs and maps out of the kernel, as a loss of power would; the daemon must be dead.
    pub fn forget_kernel(&self) -> Result<()> {
        ensure!(self.child.is_none(), "node {} still runs", self.host.name());
        match fs::remove_dir_all(&self.pins) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("remove the pins"),
            _ => Ok(()),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid()? as i32), signal).with_context(|| format!("{signal} to node {}", self.host.name()))
    }

    /// Waits until the daemon has ended.
    pub fn wait_end(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        if process::wait(&mut child, END_WITHIN)?.is_none() {
            child.kill()?;
            child.wait()?;
            bail!("the daemon of node {} did not end within {END_WITHIN:?}:\n{}", self.host.name(), self.log_tail());
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Also ends a frozen one; errors mean that it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The last lines of a file, empty if there is none.
fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
