//! The daemon's end: accepts, reads one request, lets the executor answer.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{MAX_REQUEST_BYTES, Request};
use crate::command::error::code;
use crate::command::{Answer, CommandError, Executor, Runtime};

/// Connections served at once; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 64;
/// Time for a peer to send its request, and to take its reply.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of descriptors, most likely), so that it cannot spin.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// The executor, shared by the connections of one thread. It is borrowed only while a command runs, never across a wait.
pub type Handle<R> = Rc<RefCell<Executor<R>>>;

/// Serves connections until a `stop` has succeeded and its reply was sent. Needs a current-thread tokio runtime and no local set.
pub async fn serve<R: Runtime>(listener: &UnixListener, executor: Handle<R>) {
    let mut connections = FuturesUnordered::new();
    loop {
        let has_room = connections.len() < MAX_CONNECTIONS;
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => connections.push(converse(stream, &executor)),
                Err(error) => {
                    warn!(%error, "a connection to the command socket was not accepted");
                    sleep(AFTER_FAILED_ACCEPT).await;
                }
            },
            Some(ended) = connections.next() => match ended {
                Ok(After::GoOn) => {}
                Ok(After::End) => return,
                Err(error) => debug!(%error, "a connection to the command socket ended early"),
            },
        }
    }
}

/// What the server does when a conversation has ended.
enum After {
    GoOn,
    End,
}

async fn converse<R: Runtime>(mut stream: UnixStream, executor: &Handle<R>) -> io::Result<After> {
    let answer = match timeout(PATIENCE, request(&mut stream)).await? {
        Ok(request) => {
            let answer = request.tokens().map(|words| executor.borrow_mut().execute(&words));
            answer.unwrap_or_else(|error| Answer::Now(error.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Answer::Now(CommandError::new(code::INVALID_ARGUMENT, format!("Invalid argument: {error}")).into())
        }
        Err(error) => return Err(error),
    };
    let is_last = matches!(answer, Answer::Last(_));
    let reply = answer.reply().await;
    let line = serde_json::to_string(&reply)? + "\n";
    let sent = timeout(PATIENCE, stream.write_all(line.as_bytes())).await;
    if is_last && reply.exit == 0 {
        return Ok(After::End);
    }
    sent?.map(|()| After::GoOn)
}

/// Reads one bounded request line.
async fn request(stream: &mut UnixStream) -> io::Result<Request> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_REQUEST_BYTES)).read_until(b'\n', &mut line).await?;
    match line.last() {
        Some(b'\n') => serde_json::from_slice(&line)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("the request is not understood: {error}"))),
        _ if line.len() as u64 == MAX_REQUEST_BYTES => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("the request is longer than {MAX_REQUEST_BYTES} bytes")))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
