//! AF_PACKET sockets bound to one interface.
#![allow(unsafe_code)]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

use super::netdev;

/// Room for frames that wait until the reader looks again.
const RECEIVE_BUFFER_BYTES: usize = 64 << 20;
/// All protocols, as a packet socket wants it.
const ALL_PROTOCOLS: u16 = (libc::ETH_P_ALL as u16).to_be();

/// Opens a socket that sends raw frames out of `interface` of the caller's namespace, and receives none.
pub fn sender(interface: &str) -> Result<Socket> {
    open(interface, 0)
}

/// As [`sender`], past the queueing discipline and tc: what a fault injector drops there does not concern it.
pub fn injector(interface: &str) -> Result<Socket> {
    let socket = sender(interface)?;
    switch_on(&socket, libc::PACKET_QDISC_BYPASS).context("bypass the queueing discipline")?;
    Ok(socket)
}

/// Opens a socket that receives, time-stamped by the kernel, the frames that arrive on `interface`; none that leave it.
pub fn capture(interface: &str) -> Result<Socket> {
    let socket = open(interface, ALL_PROTOCOLS)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).context("enlarge the capture buffer")?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).context("ask for time stamps")?;
    switch_on(&socket, libc::PACKET_IGNORE_OUTGOING).context("ignore outgoing frames")?;
    Ok(socket)
}

/// Receives the next frame's length, cut to `buffer`, and its wall-clock stamp; `None` when none waits.
pub fn receive(socket: &Socket, buffer: &mut [u8]) -> Result<Option<(usize, Duration)>> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(None),
        // The interface went down: reported once, then frames flow again.
        Err(Errno::ENETDOWN) => return Ok(None),
        Err(error) => return Err(error).context("read the capture"),
    };
    let stamp = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    });
    Ok(Some((message.bytes, stamp.context("a captured frame has no time stamp")?)))
}

/// Number of frames lost since the last call because the reader was too slow.
pub fn overruns(socket: &Socket) -> Result<u32> {
    let mut counts = MaybeUninit::<libc::tpacket_stats>::zeroed();
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the option fills a tpacket_stats of `length` bytes at the address given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            counts.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result).context("read the capture's statistics")?;
    // SAFETY: zeroed above and plain integers, so initialised in any case.
    Ok(unsafe { counts.assume_init() }.tp_drops)
}

fn switch_on(socket: &Socket, option: libc::c_int) -> nix::Result<()> {
    let yes: libc::c_int = 1;
    // SAFETY: the option takes an int, which lives across the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const yes).cast(),
            size_of_val(&yes) as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

fn open(interface: &str, protocol: u16) -> Result<Socket> {
    // Without a protocol until it is bound: otherwise frames of other interfaces would come first.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None).context("open a packet socket")?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is a socket address type that fits into the storage.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = netdev::index(interface)? as i32;
    // SAFETY: the storage holds a sockaddr_ll of this length.
    let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
    socket.bind(&address).with_context(|| format!("bind a packet socket to {interface}"))?;
    Ok(socket)
}
