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
/// Room for what the kernel tells about a frame.
const CONTROL_WORDS: usize = 16;
/// Socket option: tell about each frame, in a `tpacket_auxdata`. Not in the crate libc.
const PACKET_AUXDATA: libc::c_int = 8;
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

/// As [`capture`], for [`receive_tagged`].
pub fn tagged_capture(interface: &str) -> Result<Socket> {
    let socket = capture(interface)?;
    switch_on(&socket, PACKET_AUXDATA).context("ask for VLAN tags")?;
    Ok(socket)
}

/// Receives the next frame as it was on the wire; `None` when none waits.
///
/// The kernel takes the outer VLAN tag out of every frame before a socket sees it, and tells it aside: it is put back.
pub fn receive_tagged(socket: &Socket, buffer: &mut [u8]) -> Result<Option<Vec<u8>>> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
    // SAFETY: every pointer of `message` is to a buffer of the stated length that lives across the call.
    let length = match Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) }) {
        Ok(length) => length as usize,
        Err(Errno::EAGAIN | Errno::ENETDOWN) => return Ok(None),
        Err(error) => return Err(error).context("read the capture"),
    };
    let mut frame = buffer[..length].to_vec();
    if let Some(told) = told_aside(&message)
        && told.tp_status & libc::TP_STATUS_VLAN_VALID != 0
    {
        let tag = [told.tp_vlan_tpid.to_be_bytes(), told.tp_vlan_tci.to_be_bytes()].concat();
        frame.splice(12..12, tag);
    }
    Ok(Some(frame))
}

/// What the kernel tells about a frame that [`receive_tagged`] received.
fn told_aside(message: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: the kernel has filled the control buffer and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    loop {
        // SAFETY: null at the end, else within the control buffer.
        let part = unsafe { header.as_ref() }?;
        if (part.cmsg_level, part.cmsg_type) == (libc::SOL_PACKET, PACKET_AUXDATA) {
            // SAFETY: a message of this kind carries this record, not necessarily aligned.
            return Some(unsafe { libc::CMSG_DATA(part).cast::<libc::tpacket_auxdata>().read_unaligned() });
        }
        // SAFETY: `header` is a message in the control buffer of `message`.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
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
