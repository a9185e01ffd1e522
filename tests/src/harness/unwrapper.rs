//! The end of tunnels on a backend: takes out what is inside and hands it to the backend's own kernel.
//!
//! Raw sockets and not tunnel devices, which not every kernel has: what is inside is sent again, as it is, to an address of this
//! host, so that it comes in from the loopback with the checksums that it came with.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::netns::Netns;

/// Protocol number of IPv4 in IP.
const IPIP: i32 = 4;
/// Protocol number of IPv6 in IP.
const IPV6: i32 = 41;
/// How soon a stopped one notices.
const STOP_CHECK_MS: u16 = 100;
const PACKET_BYTES: usize = 1 << 16;
/// Room for what waits until the thread gets the CPU.
const WAITING_BYTES: usize = 8 << 20;

/// Running; stops when dropped.
pub struct Unwrapper {
    unwrapped: Arc<[AtomicU64; 4]>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One of the four ways to put IP into IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Whether the packet outside is IPv6.
    pub outer_v6: bool,
    /// Whether the packet inside is IPv6.
    pub inner_v6: bool,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::new(false, false), Kind::new(true, false), Kind::new(false, true), Kind::new(true, true)];

    /// The one that begins and ends at addresses of the first family, for clients of the second.
    pub const fn new(outer_v6: bool, inner_v6: bool) -> Kind {
        Kind { outer_v6, inner_v6 }
    }

    fn number(self) -> usize {
        usize::from(self.outer_v6) | usize::from(self.inner_v6) << 1
    }
}

impl Unwrapper {
    /// Takes out whatever comes to an address of `netns`.
    pub fn start(netns: &Netns) -> Result<Self> {
        let (mouths, exits) = netns.run(|| {
            let mouths = Kind::ALL.into_iter().map(mouth).collect::<Result<Vec<_>>>()?;
            Ok((mouths, [exit(Domain::IPV4)?, exit(Domain::IPV6)?]))
        })?;
        let unwrapped = Arc::<[AtomicU64; 4]>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (count, stopping) = (unwrapped.clone(), stop.clone());
        let work = move || {
            if let Err(error) = unwrap(&mouths, &exits, &count, &stopping) {
                eprintln!("lab: nothing is taken out of tunnels any more: {error:#}");
            }
        };
        let thread = std::thread::Builder::new().name("unwrapper".into()).spawn(work)?;
        Ok(Self { unwrapped, stop, thread: Some(thread) })
    }

    /// Packets that came wrapped this way.
    pub fn unwrapped(&self, kind: Kind) -> u64 {
        self.unwrapped[kind.number()].load(Ordering::Relaxed)
    }
}

impl Drop for Unwrapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("lab: an unwrapper panicked");
        }
    }
}

fn mouth(kind: Kind) -> Result<(Kind, Socket)> {
    let domain = if kind.outer_v6 { Domain::IPV6 } else { Domain::IPV4 };
    let protocol = if kind.inner_v6 { IPV6 } else { IPIP };
    let socket =
        Socket::new(domain, Type::RAW, Some(Protocol::from(protocol))).with_context(|| format!("listen for {kind:?}"))?;
    socket.set_nonblocking(true)?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &WAITING_BYTES)?;
    Ok((kind, socket))
}

/// Sends packets with their own headers.
fn exit(domain: Domain) -> Result<Socket> {
    Ok(Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?)
}

fn unwrap(mouths: &[(Kind, Socket)], exits: &[Socket; 2], count: &[AtomicU64; 4], stop: &AtomicBool) -> Result<()> {
    let mut buffer = vec![0; PACKET_BYTES];
    while !stop.load(Ordering::Relaxed) {
        let mut waiting: Vec<_> = mouths.iter().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        // An interrupted poll finds nothing ready; the next round asks again.
        let _ = poll(&mut waiting, PollTimeout::from(STOP_CHECK_MS));
        for (kind, mut socket) in mouths.iter().map(|(kind, socket)| (kind, socket)) {
            loop {
                let length = match socket.read(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("receive"),
                };
                let (inside, to) = inside(*kind, &buffer[..length])?;
                exits[usize::from(kind.inner_v6)]
                    .send_to(inside, &SocketAddr::new(to, 0).into())
                    .with_context(|| format!("to {to}"))?;
                count[kind.number()].fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

/// The packet inside, and whom it is for. An IPv6 socket does not tell the header outside, an IPv4 one does.
fn inside(kind: Kind, packet: &[u8]) -> Result<(&[u8], IpAddr)> {
    let header = if kind.outer_v6 { 0 } else { 4 * usize::from(packet[0] & 0xf) };
    let inside = packet.get(header..).unwrap_or_default();
    let version = if kind.inner_v6 { 6 } else { 4 };
    ensure!(
        inside.len() >= if kind.inner_v6 { 40 } else { 20 } && inside[0] >> 4 == version,
        "{kind:?} has this inside: {inside:02x?}"
    );
    Ok(if kind.inner_v6 {
        (inside, Ipv6Addr::from(<[u8; 16]>::try_from(&inside[24..40])?).into())
    } else {
        (inside, Ipv4Addr::from(<[u8; 4]>::try_from(&inside[16..20])?).into())
    })
}
