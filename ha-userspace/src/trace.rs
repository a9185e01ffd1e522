//! `understudy trace`: packets as the kernel meets them, with what becomes of each and why.
//!
//! The command itself holds the lease and reads the ring buffer ([`Tracing`]): it needs no daemon, but root. It ends by itself; if it is
//! killed, its lease runs out and the kernel copies nothing more.

mod capture;
mod filter;
mod sight;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use ha_common::abi::TraceFilter;
use tokio::signal::unix::{SignalKind, signal};

use crate::datapath::{Losses, TraceError, Tracing};
use crate::explain::Names;
use capture::Capture;
use filter::Wanted;
pub use sight::Sight;

/// Packets that a CPU tells of in a second, at most: a few thousandths of its time.
const PER_SECOND: u64 = 5_000;
/// How often is read what the kernel has told, and the lease renewed.
const TURN: Duration = Duration::from_millis(20);
/// Packets taken in one turn; the ring buffer holds fewer.
const TURN_MAX: usize = 8_192;

/// What `understudy trace` is told.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    #[command(flatten)]
    wanted: Wanted,
    /// End after this many packets
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Write a capture (pcapng) instead of lines: each packet as it came and as it left, with the reason as its comment
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Directory of the node's pins
    #[arg(long, value_name = "DIR", default_value = crate::options::DEFAULT_PINS)]
    pins: PathBuf,
}

const EXAMPLES: &str = "\
The options may be spelt with one dash, as in commands. As root, in the network namespace of the node:
  understudy trace tcp -host 10.1.0.1 -count 10
  understudy trace -vserver web -seconds 5 -write web.pcapng
A packet is wanted if it is so as it came or as it leaves: of a connection through the pair, both directions. What the host itself
sends is not traced.";

/// Traces, and prints or writes what is told.
///
/// # Errors
/// When there is nothing to trace, somebody else does, or the file cannot be written.
pub fn run(options: &Options, socket: &Path, json: bool) -> anyhow::Result<()> {
    let filter = options.wanted.filter(|| Names::ask(socket))?;
    let mut out = Out::new(options.write.as_deref(), json)?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")?;
    let (seen, lost) = tokio.block_on(follow(options, filter, &mut out))?;
    out.end()?;
    eprintln!("{seen} packets{}", in_words(lost));
    Ok(())
}

/// What was wanted and is not told of, in words.
fn in_words(Losses { limited, full }: Losses) -> String {
    match limited + full {
        0 => "; none was lost".into(),
        lost => format!(
            "; {lost} more were not told of: {limited} above {PER_SECOND} a second on one CPU, {full} without room in the buffer"
        ),
    }
}

/// Traces until it is enough; how many packets that were, and what was lost.
async fn follow(options: &Options, filter: TraceFilter, out: &mut Out) -> anyhow::Result<(u64, Losses)> {
    // Before it begins: from then on it has something to clear away.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut tracing = Tracing::begin(&options.pins, filter, PER_SECOND).map_err(|error| match error {
        TraceError::Open(_) => anyhow!("{error}; does no node run here, or is this not root?"),
        other => other.into(),
    })?;
    eprintln!("tracing for {} s at most; Ctrl-C ends it", options.seconds);
    let deadline = Instant::now() + Duration::from_secs(options.seconds);
    let most = options.count.unwrap_or(u64::MAX);
    let mut seen = 0;
    while take(&mut tracing, most, &mut seen, out)? && Instant::now() < deadline {
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
        }
    }
    Ok((seen, tracing.losses()?))
}

/// Takes what the kernel has told, up to `most` in all; whether more is wanted.
fn take(tracing: &mut Tracing, most: u64, seen: &mut u64, out: &mut Out) -> anyhow::Result<bool> {
    tracing.renew()?;
    let room = usize::try_from(most - *seen).unwrap_or(usize::MAX).min(TURN_MAX);
    let written = tracing.by_ref().take(room).try_for_each(|traced| {
        *seen += 1;
        out.take(&Sight::of(&traced))
    });
    match written.and_then(|()| out.flush()) {
        // A reader that has gone (a closed pipe) wants no more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.context("cannot write what was traced").map(|()| *seen < most),
    }
}

/// Where it goes.
enum Out {
    Lines(BufWriter<io::Stdout>),
    Json(BufWriter<io::Stdout>),
    File(Box<Capture<BufWriter<File>>>),
}

impl Out {
    fn new(path: Option<&Path>, json: bool) -> anyhow::Result<Self> {
        let stdout = || BufWriter::new(io::stdout());
        let Some(path) = path else {
            return Ok(if json { Out::Json(stdout()) } else { Out::Lines(stdout()) });
        };
        let cannot = || format!("cannot write {}", path.display());
        let file = File::create(path).with_context(cannot)?;
        Ok(Out::File(Box::new(Capture::new(BufWriter::new(file)).with_context(cannot)?)))
    }

    fn take(&mut self, sight: &Sight) -> io::Result<()> {
        match self {
            Out::Lines(out) => writeln!(out, "{sight}"),
            Out::Json(out) => writeln!(out, "{}", serde_json::to_string(sight)?),
            Out::File(capture) => capture.take(sight),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Lines(out) | Out::Json(out) => out.flush(),
            Out::File(_) => Ok(()),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Out::File(capture) => capture.end(),
            // Flushed in each turn.
            Out::Lines(_) | Out::Json(_) => Ok(()),
        }
    }
}
