//! Busy loops beside the pair: what an ordinary machine's other work does to its scheduler.
#![allow(unsafe_code)]

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;

use crate::harness::process;

/// Processes that do nothing but run, at ordinary priority; end when dropped.
pub struct BusyLoops(Vec<Child>);

impl BusyLoops {
    /// Starts `count` of them. Should this process vanish, each ends by itself, at the latest when it has used a CPU for `limit`.
    pub fn start(count: usize, limit: Duration) -> Result<Self> {
        let mut loops = Self(Vec::new());
        for _ in 0..count {
            loops.0.push(start_one(limit)?);
        }
        Ok(loops)
    }
}

fn start_one(limit: Duration) -> Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
    process::die_with_parent(&mut command);
    let limit = libc::rlimit { rlim_cur: limit.as_secs() + 1, rlim_max: limit.as_secs() + 2 };
    process::before_exec(&mut command, move || {
        // SAFETY: the kernel only reads `limit`, which this closure owns.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_CPU, &raw const limit) };
        Errno::result(result).map(drop).map_err(io::Error::from)
    });
    command.spawn().context("start a busy loop")
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An error means that it has ended already.
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}
