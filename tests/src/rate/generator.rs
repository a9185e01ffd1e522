//! Sends: live frames from one CPU, as fast as can be or paced.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::programs::Programs;
use crate::harness::netdev;
use crate::harness::netns::Netns;

/// The CPU that frames are made on.
pub const CPU: usize = 0;
/// Frames handed on at once.
const BATCH: u32 = 64;
/// Frames per call, those that a paced sender does not send among them.
const SLICE: u32 = 1 << 18;
/// The same where they are few.
const SMALL_SLICE: u32 = 1 << 13;
/// How long is sent for frames to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// Length of what a call is given: the generator writes it anew.
const FRAME: usize = 64;

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// For this long, about.
    Time(Duration),
    /// At least this many frames.
    Sent(u64),
    /// Until this many have arrived, but not for longer than `PATIENCE`.
    Arrived(u64),
}

/// What sending took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Frames, by pattern.
    pub sent: [u64; 2],
    /// Time of the sending thread: with all that runs in its place, which is the whole path where no thread of its own has it.
    pub cpu: Duration,
    /// Time on the wall.
    pub wall: Duration,
}

/// Sends what `programs` were told to out of `interface` of `netns`.
pub fn send(programs: &Programs, netns: &Netns, interface: &str, amount: Amount) -> Result<Spent> {
    netns.run(|| send_here(programs, interface, amount))
}

/// The same in the caller's namespace; the calling thread stays on [`CPU`].
pub fn send_here(programs: &Programs, interface: &str, amount: Amount) -> Result<Spent> {
    let mut cpus = CpuSet::new();
    cpus.set(CPU)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).with_context(|| format!("run on CPU {CPU}"))?;
    let generate = programs.generate()?;
    let context = [0, FRAME as u32, 0, netdev::index(interface)?, 0, 0].map(u32::to_ne_bytes).concat();
    let run = |frames: u32| {
        let mut options = TestRunOptions::new();
        options.data_in = Some(&[0; FRAME]);
        options.ctx_in = Some(&context);
        options.repeat = frames;
        options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        generate.test_run(options).with_context(|| format!("send live frames out of {interface}"))
    };
    let (begun, cpu) = (Instant::now(), clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
    let arrived = programs.arrived()?;
    loop {
        let slice = if matches!(amount, Amount::Arrived(_)) { SMALL_SLICE } else { SLICE };
        run(slice)?;
        let enough = match amount {
            Amount::Time(time) => begun.elapsed() >= time,
            Amount::Sent(frames) => programs.sent()?[0] >= frames,
            Amount::Arrived(frames) => programs.arrived()? - arrived >= frames || begun.elapsed() >= PATIENCE,
        };
        if enough {
            break;
        }
    }
    let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)? - cpu;
    Ok(Spent { sent: programs.sent()?, cpu: cpu.into(), wall: begun.elapsed() })
}
