//! Child processes: what happens between fork and exec, and waiting with a bound.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::signal::SigSet;

/// Runs `act` in the child just before exec. It must only make system calls: no allocation, no lock.
pub fn before_exec(command: &mut Command, act: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the callers in this crate pass single system calls on values made before the fork, which are safe after it.
    unsafe { command.pre_exec(act) };
}

/// Has the kernel kill the child when the thread that spawns it ends, however that happens; the child hears every signal.
pub fn die_with_parent(command: &mut Command) {
    before_exec(command, || {
        // SAFETY: takes two integers and touches no memory.
        let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Errno::result(result).map(drop).map_err(io::Error::from)?;
        // What the lab blocks to end tidily would otherwise stay blocked in its children: they could not be terminated.
        SigSet::all().thread_unblock().map_err(io::Error::from)
    });
}

/// Waits for the child's end, at most `limit`; `None` when it still runs then.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
