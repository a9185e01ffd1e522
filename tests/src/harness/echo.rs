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

fn serve(listener: &TcpListener, stop: &AtomicBool) {
    let mut streams: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut waiting = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        waiting.extend(streams.iter().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)));
        if poll(&mut waiting, PollTimeout::from(STOP_CHECK_MS)).unwrap_or(0) == 0 {
            continue;
        }
        let ready: Vec<bool> = waiting[1..].iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut index = 0;
        streams.retain_mut(|stream| {
            let keep = !ready[index] || echo(stream);
            index += 1;
            keep
        });
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).and(stream.set_nodelay(true)).is_ok() {
                streams.push(stream);
            }
        }
    }
}

/// Returns what waits; false when the connection has ended.
fn echo(stream: &mut TcpStream) -> bool {
    let mut buffer = [0u8; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        // Messages are far smaller than the socket's send buffer and answered one by one, so this never blocks.
        Ok(length) => stream.write_all(&buffer[..length]).is_ok(),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}
