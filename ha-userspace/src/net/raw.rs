//! One raw socket per leg: whole Ethernet frames out.
#![allow(unsafe_code)] // a link-layer socket address has no safe constructor

use std::io;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// An AF_PACKET socket that is bound to one interface and never blocks.
#[derive(Debug)]
pub struct RawSocket(Socket);

impl RawSocket {
    /// A socket that sends on `ifindex` and hears nothing.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when there is no such interface.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        // Protocol 0 hears nothing: no frame is ever queued here for nobody to read.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))?;
        socket.bind(&link_address(ifindex))?;
        Ok(RawSocket(socket))
    }

    /// Sends `frame` as it is.
    ///
    /// # Errors
    /// When the interface is down or its queue is full; never partly.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).map(drop)
    }
}

fn link_address(ifindex: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a socket address type and smaller than the storage.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex as i32;
    // SAFETY: family and length describe the `sockaddr_ll` that was just filled in.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}
