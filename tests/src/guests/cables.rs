//! The cables between the guests, with this process as switch and client.
//!
//! A cable end is a unix datagram socket; one datagram is one frame. One thread carries frames from guest to guest, asks on the client
//! segment who has the VIP, and notes who answered and when the first heartbeat reached a guest.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etherparse::{ArpEthIpv4Packet, ArpOperation, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::guest::{self, Card};
use crate::harness::topology::Host;

/// Distance of two questions for the VIP.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// UDP port of heartbeats.
const HEARTBEAT: u16 = 3003;
/// The client's addresses.
const CLIENT_MAC: [u8; 6] = [0x52, 0x54, 0, 0x55, 9, 9];
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

/// A guest's interface, in the order of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// eth0: the leg of clients.
    Client,
    /// eth1: an HA link.
    Ha0,
    /// eth2: the other one.
    Ha1,
}

/// All cables.
pub const CABLES: [Cable; 3] = [Cable::Client, Cable::Ha0, Cable::Ha1];

/// Where a guest's end of a cable is bound, and the switch's.
fn socket_paths(dir: &Path, host: Host, cable: Cable) -> (PathBuf, PathBuf) {
    let path = |end: &str| dir.join(format!("{}{}.{end}", host.name(), cable as usize));
    (path("guest"), path("switch"))
}

/// The network cards of a guest.
pub fn cards(dir: &Path, host: Host) -> [Card; 3] {
    CABLES.map(|cable| {
        let (guest, switch) = socket_paths(dir, host, cable);
        Card { mac: [0x52, 0x54, 0, 0x55, host as u8, cable as u8], cable: guest::Cable::Sockets { guest, switch } }
    })
}

/// What the client has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Who answered for the VIP, and when.
    pub answers: Vec<(Instant, Host)>,
    /// Heartbeats brought to a guest.
    pub heartbeats: Vec<(Instant, Host)>,
}

impl Seen {
    /// Answers of `host` from `since` on.
    pub fn answers_of(&self, host: Host, since: Instant) -> impl Iterator<Item = Instant> {
        self.answers.iter().filter(move |(at, who)| *who == host && *at >= since).map(|(at, _)| *at)
    }

    /// When the first heartbeat from `since` on was brought to `host`.
    pub fn first_heartbeat_to(&self, host: Host, since: Instant) -> Option<Instant> {
        self.heartbeats.iter().find(|(at, to)| *to == host && *at >= since).map(|(at, _)| *at)
    }
}

/// The switch and the client, running; end when dropped.
pub struct Cables {
    seen: Arc<Mutex<Seen>>,
    cut: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cables {
    /// Lays the cables in `dir` and asks for `vip` all the time.
    pub fn lay(dir: &Path, vip: Ipv4Addr) -> Result<Self> {
        let (seen, cut, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let ends = Host::BOTH.into_iter().flat_map(|host| CABLES.map(|cable| End::bind(dir, host, cable)));
        let switch =
            Switch { ends: ends.collect::<Result<_>>()?, vip, seen: seen.clone(), cut: cut.clone(), stop: stop.clone() };
        let thread = std::thread::Builder::new().name("switch".into()).spawn(move || switch.run())?;
        Ok(Self { seen, cut, stop, thread: Some(thread) })
    }

    /// Cuts all HA links in both directions, or heals them.
    pub fn cut_links(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    /// Everything so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `host` answers for the VIP, from `since` on; when it first did.
    pub fn wait_answer_of(&self, host: Host, since: Instant, limit: Duration) -> Result<Instant> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.seen().answers_of(host, since).next() {
                return Ok(at);
            }
            ensure!(Instant::now() < deadline, "guest {} does not answer for the VIP within {limit:?}", host.name());
            std::thread::sleep(ASK_EVERY);
        }
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("guests: the switch panicked");
        }
    }
}

struct End {
    host: Host,
    cable: Cable,
    socket: UnixDatagram,
    guest: PathBuf,
}

impl End {
    fn bind(dir: &Path, host: Host, cable: Cable) -> Result<Self> {
        let (guest, switch) = socket_paths(dir, host, cable);
        let socket = UnixDatagram::bind(&switch).with_context(|| format!("bind {}", switch.display()))?;
        socket.set_nonblocking(true)?;
        Ok(Self { host, cable, socket, guest })
    }

    /// Brings a frame to the guest; false where its queue is full, as it is while it is paused, or before it is there.
    fn bring(&self, frame: &[u8]) -> bool {
        self.socket.send_to(frame, &self.guest).is_ok()
    }
}

struct Switch {
    ends: Vec<End>,
    vip: Ipv4Addr,
    seen: Arc<Mutex<Seen>>,
    cut: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Switch {
    fn run(self) {
        let mut next = Instant::now();
        let mut frame = vec![0; 65_536];
        while !self.stop.load(Ordering::SeqCst) {
            let mut polled: Vec<_> = self.ends.iter().map(|end| PollFd::new(end.socket.as_fd(), PollFlags::POLLIN)).collect();
            let wait = next.saturating_duration_since(Instant::now()).as_millis() as u16 + 1;
            // An interrupted wait is a look that comes early.
            let _ = poll(&mut polled, PollTimeout::from(wait));
            for end in &self.ends {
                while let Ok(length) = end.socket.recv(&mut frame) {
                    self.carry(end, &frame[..length]);
                }
            }
            if Instant::now() >= next {
                next = Instant::now() + ASK_EVERY;
                self.ask();
            }
        }
    }

    fn carry(&self, from: &End, frame: &[u8]) {
        let now = Instant::now();
        if from.cable == Cable::Client {
            if self.is_answer(frame) {
                self.note(|seen| seen.answers.push((now, from.host)));
            }
        } else if self.cut.load(Ordering::SeqCst) {
            return;
        }
        for to in self.ends.iter().filter(|to| to.cable == from.cable && to.host != from.host) {
            if to.bring(frame) && is_heartbeat(frame) {
                self.note(|seen| seen.heartbeats.push((now, to.host)));
            }
        }
    }

    fn ask(&self) {
        let question = ArpEthIpv4Packet {
            operation: ArpOperation::REQUEST,
            sender_mac: CLIENT_MAC,
            sender_ipv4: CLIENT.octets(),
            target_mac: [0; 6],
            target_ipv4: self.vip.octets(),
        };
        let mut frame = Vec::new();
        if PacketBuilder::ethernet2(CLIENT_MAC, [0xff; 6]).arp(question.into()).write(&mut frame).is_ok() {
            // To the length that Ethernet asks for.
            frame.extend([0; 18]);
            for end in self.ends.iter().filter(|end| end.cable == Cable::Client) {
                end.bring(&frame);
            }
        }
    }

    /// An ARP reply for the VIP to the client.
    fn is_answer(&self, frame: &[u8]) -> bool {
        let Ok(SlicedPacket { net: Some(NetSlice::Arp(arp)), .. }) = SlicedPacket::from_ethernet(frame) else { return false };
        arp.operation() == ArpOperation::REPLY
            && arp.sender_protocol_addr() == self.vip.octets()
            && arp.target_hw_addr() == CLIENT_MAC
    }

    fn note(&self, act: impl FnOnce(&mut Seen)) {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn is_heartbeat(frame: &[u8]) -> bool {
    let Ok(SlicedPacket { transport: Some(TransportSlice::Udp(udp)), .. }) = SlicedPacket::from_ethernet(frame) else {
        return false;
    };
    udp.destination_port() == HEARTBEAT
}
