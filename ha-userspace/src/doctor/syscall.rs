//! The system calls of the doctor that no safe wrapper offers.
#![allow(unsafe_code)]

use std::{io, mem, os::fd::AsRawFd as _};

use socket2::{Domain, Socket, Type};

/// The real-time priority that is tried.
const PRIORITY: libc::c_int = 50;

/// Gives the calling thread a real-time priority.
pub fn become_real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: the parameters live across the call; 0 means the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Requests of `ethtool(8)`: each fills a table of 32-bit words that begins with the request's own number.
pub mod ethtool {
    /// Which driver is it? Words 1 to 8 are its name.
    pub const DRIVER: u32 = 0x03;
    /// Which offloads are on? Word 1 holds the flags below.
    pub const FLAGS: u32 = 0x25;
    /// How many queues? Words: 1 max rx, 4 max combined, 5 rx, 8 combined.
    pub const CHANNELS: u32 = 0x3c;
    /// Flag: VLAN tags are taken off on receipt.
    pub const RX_VLAN: u32 = 1 << 8;
    /// Flag: large receive offload.
    pub const LRO: u32 = 1 << 15;
}

/// The size of the largest table that a request above fills (`struct ethtool_drvinfo`), in words.
const WORDS: usize = 196 / 4;

/// Asks the driver of interface `name` one question; the answer is the table.
pub fn ask_driver(name: &str, request: u32) -> io::Result<[u32; WORDS]> {
    let mut table = [0_u32; WORDS];
    table[0] = request;
    // SAFETY: all-zero bytes are a valid ifreq: arrays of bytes and a union of plain data.
    let mut question: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= question.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in question.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    question.ifr_ifru.ifru_data = table.as_mut_ptr().cast();
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: the kernel reads the ifreq and writes at most the request's own structure, none of which is longer than
    // the table; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut question) };
    if result == 0 { Ok(table) } else { Err(io::Error::last_os_error()) }
}
