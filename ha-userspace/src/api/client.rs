//! The operator's end: sends the words, returns the reply.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Request;
use crate::command::{Reply, parse};

/// Longest a command may take: a forced failover waits for the peer, a save for the disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two answers of a `stat -ntimes`.
pub const STAT_EVERY: Duration = Duration::from_secs(7);

/// How often `words` are to be asked: as `stat -ntimes` says; once if they do not say, or are no command, which the daemon explains.
#[must_use]
pub fn times(words: &[String]) -> u32 {
    let request = Request { words: words.to_vec() };
    let command = request.tokens().and_then(|words| parse(&words));
    let times = command.ok().and_then(|command| command.has("ntimes").then(|| command.read("ntimes")));
    times.unwrap_or(1)
}

/// No daemon answered.
#[derive(Debug, thiserror::Error)]
#[error("no daemon answers on {}: {error}; start it (understudy run --config FILE), or name its socket with --socket PATH", .socket.display())]
pub struct NoDaemon {
    /// Where it was looked for.
    pub socket: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// Asks the daemon behind `socket` to execute `words`.
pub fn ask(socket: &Path, words: Vec<String>) -> Result<Reply, NoDaemon> {
    ask_within(socket, words, PATIENCE)
}

/// The same, for a question that nothing has to be waited for: a daemon that is silent for `patience` counts as none.
pub fn ask_within(socket: &Path, words: Vec<String>, patience: Duration) -> Result<Reply, NoDaemon> {
    converse(socket, &Request { words }, patience).map_err(|error| NoDaemon { socket: socket.to_owned(), error })
}

fn converse(socket: &Path, request: &Request, patience: Duration) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all((serde_json::to_string(request)? + "\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended without a reply"));
    }
    Ok(serde_json::from_str(&line)?)
}
