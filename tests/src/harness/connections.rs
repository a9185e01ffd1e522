//! TCP connections from the client through the VIP, each saying something every 20 ms and checking every byte of the echo.
//!
//! One thread drives them all. A connection has one message under way; it sends the next at the next beat after the echo is complete and
//! right, so a fault shows as a stall and TCP's own retransmission decides when it goes on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::netns::Netns;
use super::rt;

/// Distance of two messages of a connection.
pub const BEAT: Duration = Duration::from_millis(20);
/// How long opening one connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const MESSAGE_BYTES: usize = 32;

/// What became of a connection.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Complete, right echoes.
    pub echoes: u64,
    /// When the message of the last right echo was sent.
    pub last_sent: Duration,
    /// Longest time from a message to its echo.
    pub stall_max: Duration,
    /// Why it ended, if it did.
    pub fault: Option<Fault>,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// By a reset.
    Reset,
    /// The other end closed.
    Closed,
    /// A byte of the echo is not what was sent.
    WrongByte,
    /// Another error of the socket.
    Other(ErrorKind),
}

/// Running connections; end when dropped.
pub struct Connections {
    progress: Arc<Mutex<Vec<Progress>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Connections {
    /// Opens `count` connections from `client` to `targets` in turn.
    pub fn open(client: &Netns, targets: &[SocketAddr], count: usize) -> Result<Self> {
        let conversations = client.run(|| {
            let targets = targets.iter().cycle().take(count);
            targets.enumerate().map(|(number, target)| Conversation::open(number, *target)).collect::<Result<Vec<_>>>()
        })?;
        let progress = Arc::new(Mutex::new(vec![Progress::default(); count]));
        let stop = Arc::new(AtomicBool::new(false));
        let (reporting, stopping) = (progress.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("connections".into())
            .spawn(move || converse(conversations, &reporting, &stopping))?;
        Ok(Self { progress, stop, thread: Some(thread) })
    }

    /// What has become of each so far.
    pub fn progress(&self) -> Vec<Progress> {
        self.progress.lock().unwrap().clone()
    }

    /// Number of connections that got a right echo of a message sent at or after `since`.
    pub fn alive_since(&self, since: Duration) -> usize {
        let progress = self.progress.lock().unwrap();
        progress.iter().filter(|one| one.fault.is_none() && one.last_sent >= since).count()
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("lab: the connections' thread panicked");
        }
    }
}

struct Conversation {
    stream: TcpStream,
    number: usize,
    message: [u8; MESSAGE_BYTES],
    /// Bytes of the message's echo that have come.
    echoed: usize,
    sent_at: Duration,
    progress: Progress,
}

impl Conversation {
    fn open(number: usize, target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&target, CONNECT_WITHIN)
            .with_context(|| format!("open connection {number} to {target}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let (message, sent_at) = ([0; MESSAGE_BYTES], Duration::ZERO);
        Ok(Self { stream, number, message, echoed: MESSAGE_BYTES, sent_at, progress: Progress::default() })
    }

    fn is_idle(&self) -> bool {
        self.progress.fault.is_none() && self.echoed == MESSAGE_BYTES
    }

    /// Sends the next message: connection, count and a pattern of both.
    fn speak(&mut self, now: Duration) {
        let seed = (self.number as u64) << 40 | self.progress.echoes;
        let mut word = seed;
        for part in self.message.chunks_exact_mut(8) {
            part.copy_from_slice(&word.to_be_bytes());
            word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
        }
        (self.echoed, self.sent_at) = (0, now);
        if let Err(error) = self.stream.write_all(&self.message) {
            self.fail(error.kind());
        }
    }

    /// Takes what has come of the echo.
    fn listen(&mut self, now: Duration) {
        let mut buffer = [0u8; MESSAGE_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.progress.fault = Some(Fault::Closed),
            Ok(length) => {
                if self.message.get(self.echoed..self.echoed + length) != Some(&buffer[..length]) {
                    self.progress.fault = Some(Fault::WrongByte);
                    return;
                }
                self.echoed += length;
                if self.echoed == MESSAGE_BYTES {
                    self.progress.echoes += 1;
                    self.progress.last_sent = self.sent_at;
                    self.progress.stall_max = self.progress.stall_max.max(now.saturating_sub(self.sent_at));
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.fail(error.kind()),
        }
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.progress.fault = Some(match kind {
            ErrorKind::ConnectionReset => Fault::Reset,
            kind => Fault::Other(kind),
        });
    }
}

fn converse(mut conversations: Vec<Conversation>, progress: &Mutex<Vec<Progress>>, stop: &AtomicBool) {
    let mut next_beat = rt::now();
    while !stop.load(Ordering::Relaxed) {
        let now = rt::now();
        if now >= next_beat {
            conversations.iter_mut().filter(|one| one.is_idle()).for_each(|one| one.speak(now));
            next_beat = now + BEAT;
        }
        let open: Vec<usize> =
            (0..conversations.len()).filter(|index| conversations[*index].progress.fault.is_none()).collect();
        let mut waiting: Vec<_> =
            open.iter().map(|index| PollFd::new(conversations[*index].stream.as_fd(), PollFlags::POLLIN)).collect();
        let pause = next_beat.saturating_sub(now).as_millis() as u16 + 1;
        // An interrupted poll finds nothing ready; the next round asks again.
        let _ = poll(&mut waiting, PollTimeout::from(pause));
        let ready: Vec<usize> =
            open.iter().zip(&waiting).filter(|(_, fd)| fd.any().unwrap_or(true)).map(|(index, _)| *index).collect();
        let now = rt::now();
        let mut progress = progress.lock().unwrap();
        for index in ready {
            conversations[index].listen(now);
        }
        for (shown, one) in progress.iter_mut().zip(&conversations) {
            shown.clone_from(&one.progress);
        }
    }
}
