//! The client that asks the VIP once per millisecond.
//!
//! Each millisecond it sends one unicast ICMP echo request from the client (an ordinary socket: the client's kernel resolves the VIP and
//! honours gratuitous ARP, as any client's would) and one broadcast ARP request and one neighbour solicitation from the observer, whose
//! answers cannot help the client. The sender is a SCHED_FIFO thread on absolute time with locked memory; its own lateness is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::tally::Tally;
use super::topology::{Topology, VIP_V4, VIP_V6};
use super::{frame, packet_socket, rt};

/// Distance of two probes.
pub const PERIOD: Duration = Duration::from_millis(1);
/// An answer that takes longer counts as none: a client would have asked again.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(200);

const SENDER_PRIORITY: i32 = 80;
const RECEIVER_PRIORITY: i32 = 70;

/// Running prober; stops when dropped.
pub struct Prober {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Prober {
    /// Starts probing into `tally`.
    pub fn start(topology: &Topology, tally: Arc<Tally>) -> Result<Self> {
        let echo = topology.client.run(echo_socket)?;
        let observer = topology.observer.run(|| packet_socket::sender("obs0"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let receiving =
            Receiver { echo: echo.try_clone()?, tally: tally.clone(), stop: stop.clone(), wall_offset: rt::wall_offset() };
        let sending = Sender { echo, observer, tally, stop: stop.clone() };
        let mut prober = Self { stop, threads: Vec::new() };
        prober.threads.push(std::thread::Builder::new().name("answers".into()).spawn(move || receiving.run())?);
        prober.threads.push(std::thread::Builder::new().name("prober".into()).spawn(move || sending.run())?);
        Ok(prober)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("lab: a prober thread panicked");
            }
        }
    }
}

fn echo_socket() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).context("open an ICMP socket")?;
    socket.connect(&std::net::SocketAddr::from((VIP_V4, 0)).into())?;
    // Long enough not to spin, short enough to end soon.
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.set_recv_buffer_size(4 << 20)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).context("ask for time stamps")?;
    Ok(socket)
}

struct Sender {
    echo: Socket,
    observer: Socket,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
}

impl Sender {
    fn run(self) {
        if let Err(error) = rt::make_realtime(SENDER_PRIORITY) {
            eprintln!("lab: the prober is not real-time, outages will look longer: {error:#}");
        }
        let mut next = rt::now() + PERIOD;
        while !self.stop.load(Ordering::Relaxed) {
            rt::sleep_until(next);
            let now = rt::now();
            let late = now.saturating_sub(next);
            let Some(index) = self.tally.send(now, late) else {
                return;
            };
            self.ask(index);
            next += PERIOD;
            // After a stall go on from now: a burst of missed probes would measure nothing.
            if late > 10 * PERIOD {
                next = now + PERIOD;
            }
        }
    }

    /// Send errors (no route, no neighbour, queue full) leave the probe unanswered, which is the truth.
    fn ask(&self, index: u32) {
        let _ = self.echo.send(&frame::echo_request(index));
        if let Ok(question) = frame::arp_request(index, VIP_V4) {
            let _ = self.observer.send(&question);
        }
        if let Ok(question) = frame::neighbor_solicitation(index, VIP_V6) {
            let _ = self.observer.send(&question);
        }
    }
}

struct Receiver {
    echo: Socket,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    wall_offset: Duration,
}

impl Receiver {
    fn run(self) {
        if let Err(error) = rt::make_realtime(RECEIVER_PRIORITY) {
            eprintln!("lab: the prober's receiver is not real-time: {error:#}");
        }
        let mut buffer = [0u8; 256];
        while !self.stop.load(Ordering::Relaxed) {
            // Errors are ICMP's of a connected socket, such as host unreachable: no answer.
            if let Ok(Some((length, stamp))) = packet_socket::receive(&self.echo, &mut buffer) {
                self.take(&buffer[..length], stamp.saturating_sub(self.wall_offset));
            }
        }
    }

    /// An answer counts when it reached the client's host, however late this thread comes to read it.
    fn take(&self, packet: &[u8], at: Duration) {
        let header_len = usize::from(packet.first().copied().unwrap_or(0) & 0x0f) * 4;
        let Some(index) = packet.get(header_len..).and_then(frame::echo_reply) else {
            return;
        };
        if index < self.tally.sent() && at.saturating_sub(self.tally.time(index)) <= ANSWER_WITHIN {
            self.tally.answered(index);
        }
    }
}
