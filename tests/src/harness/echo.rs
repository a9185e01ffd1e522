//! A TCP server that returns what it gets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::netns::Netns;

/// How soon a stopped server notices.
const STOP_CHECK_MS: u16 = 100;

/// Running echo server; stops when dropped.
pub struct EchoServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens on `address` in `netns`.
    pub fn start(netns: &Netns, address: SocketAddr) -> Result<Self> {
        let listener = netns.run(|| TcpListener::bind(address).with_context(|| format!("listen on {address}")))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::Builder::new().name("echo".into()).spawn(move || serve(&listener, &stopping))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("lab: an echo server panicked");
        }
    }
}

/// A connection, and what was read of it and could not be returned yet.
struct Talk {
    stream: TcpStream,
    pending: Vec<u8>,
}

fn serve(listener: &TcpListener, stop: &AtomicBool) {
    let mut talks: Vec<Talk> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut waiting = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        // Nothing more is read of a peer that does not take what it gets.
        let wanted = |talk: &Talk| if talk.pending.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        waiting.extend(talks.iter().map(|talk| PollFd::new(talk.stream.as_fd(), wanted(talk))));
        if poll(&mut waiting, PollTimeout::from(STOP_CHECK_MS)).unwrap_or(0) == 0 {
            continue;
        }
        let ready: Vec<bool> = waiting[1..].iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut index = 0;
        talks.retain_mut(|talk| {
            let keep = !ready[index] || talk.go_on();
            index += 1;
            keep
        });
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).and(stream.set_nodelay(true)).is_ok() {
                talks.push(Talk { stream, pending: Vec::new() });
            }
        }
    }
}

impl Talk {
    /// Returns what waits; false when the connection has ended.
    fn go_on(&mut self) -> bool {
        if self.pending.is_empty() {
            let mut buffer = [0u8; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
                Err(error) => return is_passing(&error),
            }
        }
        match self.stream.write(&self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(error) => return is_passing(&error),
        }
        true
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
