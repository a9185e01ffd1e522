//! Requests on time: a thread of its own that does nothing else, on every link at once.
//!
//! Raw frames from the NSIP, without help of the host's stack: a link needs no address, no route and no neighbour entry. Answers
//! never come here; the kernel takes them.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use ha_common::ha::hearing;
use ha_common::packet::HostPacket;
use ha_common::pipeline::heartbeat::{write_headers, write_payload};
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::{Extension, FRAME_LEN, kind};

use super::raw::RawSocket;
use crate::clock;
use crate::datapath::Shared;
use crate::realtime;

/// One interface that carries heartbeats.
#[derive(Debug)]
pub struct Port {
    /// Heartbeat link number.
    pub number: usize,
    /// Interface name.
    pub name: String,
    /// Its own MAC address.
    pub mac: [u8; 6],
    /// Its interface index.
    pub ifindex: u32,
    /// Since when it is used.
    pub opened_at: Nanos,
    /// MAC address of the router behind which the peer is, if it is behind one; zero if not.
    router: AtomicU64,
    socket: RawSocket,
    sent: AtomicU64,
    failed: AtomicU64,
}

impl Port {
    /// Link `number` over the interface `name`.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when there is no such interface.
    pub fn open(number: usize, name: &str, ifindex: u32, mac: [u8; 6]) -> io::Result<Port> {
        let socket = RawSocket::open(ifindex)?;
        let zero = || AtomicU64::new(0);
        let (name, opened_at) = (name.to_owned(), clock::now());
        Ok(Port { number, name, mac, ifindex, opened_at, router: zero(), socket, sent: zero(), failed: zero() })
    }

    /// Requests go to this router from now on, or to the peer itself.
    pub fn set_router(&self, mac: Option<[u8; 6]>) {
        let [a, b, c, d, e, f] = mac.unwrap_or_default();
        self.router.store(u64::from_be_bytes([0, 0, a, b, c, d, e, f]), Relaxed);
    }

    /// Requests that left, and requests that the interface did not take.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.failed.load(Relaxed))
    }
}

/// Sends requests; shared by the heartbeat thread (steady pace) and the HA driver (when it must know now).
#[derive(Debug)]
pub struct Requests {
    shared: Arc<Shared>,
    ports: RwLock<Vec<Port>>,
    hello: AtomicU64,
    /// When a request last left.
    asked_at: AtomicU64,
    stopped: AtomicBool,
}

impl Requests {
    /// No links yet; see [`Self::set_ports`].
    #[must_use]
    pub fn new(shared: Arc<Shared>, hello: Duration) -> Arc<Requests> {
        Arc::new(Requests {
            shared,
            ports: RwLock::default(),
            hello: AtomicU64::new(ha_common::time::nanos_of(hello)),
            asked_at: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        })
    }

    /// Starts the heartbeat thread.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let requests = Arc::clone(self);
        realtime::spawn("heartbeat", realtime::HEARTBEAT_PRIORITY, move || requests.run()).map(drop)
    }

    /// Changes the links.
    pub fn set_ports(&self, ports: Vec<Port>) {
        let former = std::mem::replace(&mut *self.ports.write().unwrap_or_else(|poisoned| poisoned.into_inner()), ports);
        // Closing such a socket takes the kernel milliseconds: never under the lock that every request takes.
        drop(former);
    }

    /// Changes the pace.
    pub fn set_hello(&self, hello: Duration) {
        self.hello.store(ha_common::time::nanos_of(hello), Relaxed);
    }

    /// Ends the heartbeat thread after its next turn.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// When a request last left.
    #[must_use]
    pub fn asked_at(&self) -> Nanos {
        Nanos(self.asked_at.load(Relaxed))
    }

    /// `f` of every link.
    pub fn map_ports<T>(&self, f: impl FnMut(&Port) -> T) -> Vec<T> {
        self.ports.read().unwrap_or_else(|poisoned| poisoned.into_inner()).iter().map(f).collect()
    }

    /// Sends a request (a claim while armed) on every link; whether at least one took it.
    pub fn send_round(&self) -> bool {
        if self.shared.node().peer_nsip == 0 {
            return false;
        }
        let sent = self.map_ports(|port| self.send(port));
        if !sent.contains(&true) {
            return false;
        }
        self.asked_at.store(clock::now().0, Relaxed);
        true
    }

    fn send(&self, port: &Port) -> bool {
        let Some(frame) = self.frame(port) else { return false };
        let sent = port.socket.send(frame.frame()).is_ok();
        (if sent { &port.sent } else { &port.failed }).fetch_add(1, Relaxed);
        sent
    }

    fn frame(&self, port: &Port) -> Option<HostPacket> {
        // The clock first: a thread that is held up in between must not say old things under a newer stamp.
        let now = clock::now();
        let node = &self.shared.node();
        let armed = node.groups.iter().any(|group| !group.armed_term.is_none());
        let mut said = Extension {
            kind: if armed { kind::CLAIM } else { kind::REQUEST },
            link: port.number as u8,
            seq: self.shared.next_seq(),
            stamp: now.0,
            ..Extension::default()
        };
        hearing::compose(node, self.shared.fence(), &mut said, now);
        let mut packet = HostPacket::new(&[0; FRAME_LEN]);
        write_headers(&mut packet, node, port.mac, self.peer_mac(port))?;
        write_payload(&mut packet, node, &said)?;
        Some(packet)
    }

    /// The router on the way, or where the peer was last heard from on this link; everybody, before that.
    fn peer_mac(&self, port: &Port) -> [u8; 6] {
        let router = port.router.load(Relaxed);
        let learnt = || self.shared.read_link(port.number).map_or(0, |link| link.peer_mac);
        let to = if router == 0 { learnt() } else { router };
        let [_, _, mac @ ..] = to.to_be_bytes();
        if to == 0 { [0xff; 6] } else { mac }
    }

    fn run(&self) {
        let mut next = clock::now();
        while !self.stopped.load(Relaxed) {
            self.send_round();
            let hello = Duration::from_nanos(self.hello.load(Relaxed));
            // A turn that was missed is not made up for: two requests at once tell no more than one.
            next = (next + hello).max(clock::now());
            clock::sleep_until(next);
        }
    }
}

/// `ip` as the kernel's records hold it: in network byte order.
#[must_use]
pub fn network_order(ip: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(ip.octets())
}
