//! One raw socket per leg and purpose: whole Ethernet frames out, or answers of one kind in.
#![allow(unsafe_code)] // a link-layer socket address has no safe constructor

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

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
        socket.bind(&link_address(ifindex, 0))?;
        Ok(RawSocket(socket))
    }

    /// A socket that hears what `hears` says on `ifindex`, beside the host's stack.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when there is no such interface.
    pub fn listen(ifindex: u32, hears: Hears) -> io::Result<Self> {
        let protocol = match hears {
            Hears::Arp => libc::ETH_P_ARP as u16,
            Hears::Advertisements => libc::ETH_P_IPV6 as u16,
        };
        // Bound before it hears: until then it would take frames of every interface.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))?;
        if hears == Hears::Advertisements {
            socket.attach_filter(&ADVERTISEMENTS)?;
        }
        socket.bind(&link_address(ifindex, protocol))?;
        Ok(RawSocket(socket))
    }

    /// Takes the next frame, if there is one; never waits.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; when the interface is down.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }

    /// Readable when [`Self::receive`] has something.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Sends `frame` as it is.
    ///
    /// # Errors
    /// When the interface is down or its queue is full; never partly.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).map(drop)
    }
}

/// What a socket hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// ARP.
    Arp,
    /// Neighbour advertisements.
    Advertisements,
}

/// Passes ICMPv6 (next header 58, byte 20) of type 136 (byte 54): `ldb; jeq; ldb; jeq; ret` in the classic filter language.
const ADVERTISEMENTS: [SockFilter; 6] = [
    SockFilter::new(0x30, 0, 0, 20),
    SockFilter::new(0x15, 0, 3, 58),
    SockFilter::new(0x30, 0, 0, 54),
    SockFilter::new(0x15, 0, 1, 136),
    SockFilter::new(0x06, 0, 0, 128),
    SockFilter::new(0x06, 0, 0, 0),
];

fn link_address(ifindex: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a socket address type and smaller than the storage.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = ifindex as i32;
    // SAFETY: family and length describe the `sockaddr_ll` that was just filled in.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}
