//! A program of the operator's: JSON on its standard input, and not for ever.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::{Notice, Settings};

pub fn deliver(notice: &Notice, lost: u64, settings: &Settings) -> Result<(), String> {
    let Some(program) = &settings.program else { return Ok(()) };
    let input = notice.json(settings, lost).to_string() + "\n";
    run(program, input.as_bytes(), settings.timeout).map_err(|why| format!("program {}: {why}", program.display()))
}

fn run(program: &Path, input: &[u8], timeout: Duration) -> Result<(), String> {
    // A group of its own: what it starts ends with it when it takes too long.
    let spawned =
        Command::new(program).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
    let mut child = spawned.map_err(|error| format!("it cannot be started: {error}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // Far less than the pipe holds, so this does not wait for a reader. A program that does not want to know need not read.
        let _ = pipe.write_all(input);
    }
    let in_time = ended_within(&child, timeout);
    if !matches!(in_time, Ok(true)) {
        // It has not been reaped, so its number is still its own.
        let _ = killpg(pid(&child), Signal::SIGKILL);
    }
    let status = child.wait().map_err(|error| format!("it cannot be waited for: {error}"))?;
    match in_time.map_err(|error| format!("it was killed, for it cannot be waited for: {error}"))? {
        true if status.success() => Ok(()),
        true => Err(format!("it ended with {status}")),
        false => Err(format!("it took longer than {timeout:?} and was killed; set ha hook -timeout allows more")),
    }
}

/// Whether the child ends in time. It is not reaped here.
fn ended_within(child: &Child, timeout: Duration) -> io::Result<bool> {
    let (ended, end) = channel();
    let id = Id::Pid(pid(child));
    // Ends with the child, which does not outlive `run`.
    thread::Builder::new().name("hook-wait".into()).spawn(move || {
        let _ = waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let _ = ended.send(());
    })?;
    Ok(end.recv_timeout(timeout).is_ok())
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::time::Instant;

    use super::super::notice::tests::{settings, transition};
    use super::*;

    fn script(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("understudy-hook-{name}-{}", std::process::id()));
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[test]
    fn a_program_reads_one_line_of_json() {
        let path = script("reads", "cat > \"$0.out\"");
        let settings = Settings { program: Some(path.clone()), ..settings() };
        deliver(&transition(), 4, &settings).unwrap();
        let out = PathBuf::from(format!("{}.out", path.display()));
        let read: serde_json::Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!(read, transition().json(&settings, 4));
        fs::remove_file(out).unwrap();
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_what_it_started() {
        // The child of the program holds the fifo's writing end open for as long as it lives.
        let path = script("hangs", "sleep 600 > \"$0.fifo\" & sleep 600");
        let fifo = PathBuf::from(format!("{}.fifo", path.display()));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo)
        });
        let began = Instant::now();
        let error = run(&path, b"{}", Duration::from_millis(300)).unwrap_err();
        assert!(error.contains("was killed"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(60));
        assert_eq!(reader.join().unwrap().unwrap(), b"", "the fifo ends when nobody holds it any more");
        fs::remove_file(fifo).unwrap();
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_is_named() {
        let path = script("fails", "exit 3");
        assert!(run(&path, b"{}", Duration::from_secs(10)).unwrap_err().contains("exit status: 3"));
        fs::remove_file(&path).unwrap();
        let settings = Settings { program: Some(path.clone()), ..settings() };
        let error = deliver(&transition(), 0, &settings).unwrap_err();
        assert!(error.contains("cannot be started") && error.contains(&path.display().to_string()), "{error}");
    }
}
