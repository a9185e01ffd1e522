//! A server on a node itself, bound to a floating address, in the middle of sending.
//!
//! Its data comes out of the node's own host stack: what XDP on ingress never sees. When the node loses its role the host stack goes on
//! retransmitting, and only the egress guard keeps it from the wire.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::netns::Netns;
use super::rt;

const BLOCK_BYTES: usize = 16 << 10;
/// Distance of two blocks: 1.6 MB/s, enough to be under way at any moment.
const BLOCK_EVERY: Duration = Duration::from_millis(10);
/// How long a blocked read or write may last before the stop flag is looked at.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// How long the first block may take.
const START_WITHIN: Duration = Duration::from_secs(3);

/// A transfer under way; ends when dropped.
pub struct Transfer {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Transfer {
    /// Starts a server on `address` in `server`, and a receiver in `client`; returns once data flows.
    pub fn start(server: &Netns, address: SocketAddr, client: &Netns) -> Result<Self> {
        let listener = server.run(|| listen(address))?;
        let connect =
            || TcpStream::connect_timeout(&address, START_WITHIN).with_context(|| format!("connect to {address} on the node"));
        let receiver = client.run(connect)?;
        let (sender, _) = listener.accept()?;
        sender.set_write_timeout(Some(STOP_CHECK))?;
        receiver.set_read_timeout(Some(STOP_CHECK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let (send_stop, receive_stop, count) = (stop.clone(), stop.clone(), received.clone());
        let mut transfer = Self { received, stop, threads: Vec::new() };
        let spawn = |name: &str| std::thread::Builder::new().name(name.into());
        transfer.threads.push(spawn("send").spawn(move || send(sender, &send_stop))?);
        transfer.threads.push(spawn("receive").spawn(move || receive(receiver, &count, &receive_stop))?);
        let deadline = rt::now() + START_WITHIN;
        while transfer.received() < 2 * BLOCK_BYTES as u64 {
            ensure!(rt::now() < deadline, "no data flows from {address} on the node within {START_WITHIN:?}");
            std::thread::sleep(BLOCK_EVERY);
        }
        Ok(transfer)
    }

    /// Bytes that have arrived.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("lab: a transfer thread panicked");
            }
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // The address floats: it may come to this host later.
    socket.set_freebind_v4(true)?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    socket.listen(1)?;
    Ok(socket.into())
}

fn send(mut stream: TcpStream, stop: &AtomicBool) {
    let block = [0x55; BLOCK_BYTES];
    while !stop.load(Ordering::Relaxed) {
        match stream.write(&block) {
            Ok(_) => std::thread::sleep(BLOCK_EVERY),
            Err(error) if is_pause(error.kind()) => {}
            Err(_) => return,
        }
    }
}

fn receive(mut stream: TcpStream, count: &AtomicU64, stop: &AtomicBool) {
    let mut block = [0; BLOCK_BYTES];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut block) {
            Ok(0) => return,
            Ok(length) => _ = count.fetch_add(length as u64, Ordering::Relaxed),
            Err(error) if is_pause(error.kind()) => {}
            Err(_) => return,
        }
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
