//! How does a long command show that it is alive? One line, its output kept back unless it fails.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _, Seek as _, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How often the line of a running step is redrawn on a terminal.
const REDRAW: Duration = Duration::from_secs(1);

/// Runs `command` to its end behind one line (`title ... 12 s`) on standard error.
///
/// # Errors
/// The command cannot be started, or fails: then everything that it wrote is shown first.
pub fn run(title: &str, command: &mut Command) -> Result<()> {
    let Some(failure) = behind_one_line(title, command)? else {
        return Ok(());
    };
    io::stderr().write_all(&failure.output)?;
    bail!("{} ended with {}", shown(command), failure.status);
}

/// Like [`run`] for a command that may fail because there is another way: its failure is one line.
pub fn attempt(title: &str, command: &mut Command) -> Result<()> {
    let Some(failure) = behind_one_line(title, command)? else {
        return Ok(());
    };
    let output = String::from_utf8_lossy(&failure.output);
    let why = output.lines().find(|line| line.starts_with("error")).unwrap_or("error: no message");
    bail!("{}: {why}", shown(command));
}

/// How a command failed.
struct Failure {
    status: ExitStatus,
    output: Vec<u8>,
}

fn behind_one_line(title: &str, command: &mut Command) -> Result<Option<Failure>> {
    let mut output = tempfile()?;
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let status = wait_with_clock(title, started, || command.status());
    let status = status.with_context(|| format!("cannot run {}", shown(command)))?;
    if status.success() {
        finish_line(title, started, "ok");
        return Ok(None);
    }
    finish_line(title, started, "FAILED");
    let mut text = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut text)?;
    Ok(Some(Failure { status, output: text }))
}

/// Prints the line's beginning, lets a thread redraw it on a terminal, and runs `work` meanwhile.
fn wait_with_clock(title: &str, started: Instant, work: impl FnOnce() -> io::Result<ExitStatus>) -> io::Result<ExitStatus> {
    let terminal = io::stderr().is_terminal();
    if terminal {
        eprint!("{title} ...");
    }
    thread::scope(|scope| {
        let (done, is_done) = mpsc::channel::<()>();
        if terminal {
            scope.spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(REDRAW) {
                    eprint!("\r{title} ... {} s", started.elapsed().as_secs());
                }
            });
        }
        let status = work();
        drop(done);
        status
    })
}

fn finish_line(title: &str, started: Instant, result: &str) {
    let begin = if io::stderr().is_terminal() { "\r" } else { "" };
    eprintln!("{begin}{title} ... {result} ({:.1} s)", started.elapsed().as_secs_f32());
}

/// A file without a name: nothing is left behind however this process ends.
fn tempfile() -> Result<File> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("understudy-xtask-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = File::options()
        .read(true)
        .append(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The command as one would type it, without the program's folder.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    std::iter::once(program.file_name().unwrap_or(program.as_os_str()))
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_status() {
        let error = run("step", Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh -c exit 3 ended with exit status: 3");
    }

    #[test]
    fn a_failing_attempt_is_told_in_one_line() {
        let script = "echo info: trying; echo error: no network; echo a backtrace; exit 1";
        let error = attempt("step", Command::new("sh").args(["-c", script])).unwrap_err();
        assert!(error.to_string().ends_with(": error: no network"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("step", &mut Command::new("/nowhere/at-all")).unwrap_err();
        assert_eq!(error.to_string(), "cannot run at-all");
    }
}
