//! What is read from and set on an interface directly, by ioctl in the caller's namespace.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

/// Sets the interface administratively up or down: its peer sees carrier come or go.
///
/// An ioctl and not ip(8), so that the moment of the fault is known to microseconds.
pub fn set_up(interface: &str, up: bool) -> Result<()> {
    let mut request = request_for(interface)?;
    let socket = control_socket()?;
    call(&socket, libc::SIOCGIFFLAGS, &mut request).with_context(|| format!("read flags of {interface}"))?;
    // SAFETY: SIOCGIFFLAGS filled the flags member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let bit = libc::IFF_UP as libc::c_short;
    request.ifr_ifru.ifru_flags = if up { flags | bit } else { flags & !bit };
    call(&socket, libc::SIOCSIFFLAGS, &mut request).with_context(|| format!("set {interface} up={up}"))
}

/// Makes the interface's host finish checksums in software before a frame leaves.
///
/// A veth hands frames on with unfinished checksums; once a program on the way transmits or redirects such a frame nobody finishes it
/// and the receiver drops it. Real NICs finish checksums on send.
pub fn finish_checksums(interface: &str) -> Result<()> {
    const ETHTOOL_SET_TX_CHECKSUM: u32 = 0x17;
    set_feature(interface, ETHTOOL_SET_TX_CHECKSUM, false)
        .with_context(|| format!("turn off transmit checksum offload of {interface}"))
}

/// Has the interface's host join segments on receipt, without which a veth takes no frames from programs but with one of its own.
pub fn join_segments(interface: &str) -> Result<()> {
    const ETHTOOL_SET_GRO: u32 = 0x2c;
    set_feature(interface, ETHTOOL_SET_GRO, true).with_context(|| format!("turn on generic receive offload of {interface}"))
}

/// Has the interface's host write VLAN tags into the frames that leave: a veth hands them on beside the frame, where a program at the other
/// end does not see them. Real wires carry them in the frame.
pub fn write_tags(interface: &str) -> Result<()> {
    const ETHTOOL_GET_FLAGS: u32 = 0x25;
    const ETHTOOL_SET_FLAGS: u32 = 0x26;
    const TAGS_BESIDE: u32 = 1 << 7;
    let flags = ethtool(interface, ETHTOOL_GET_FLAGS, 0).with_context(|| format!("read features of {interface}"))?;
    ethtool(interface, ETHTOOL_SET_FLAGS, flags & !TAGS_BESIDE)
        .map(drop)
        .with_context(|| format!("turn off VLAN offload of {interface}"))
}

fn set_feature(interface: &str, command: u32, on: bool) -> Result<()> {
    ethtool(interface, command, on.into()).map(drop)
}

/// Has the driver carry out a command with one word; the word that it leaves there.
fn ethtool(interface: &str, command: u32, data: u32) -> Result<u32> {
    #[repr(C)]
    struct EthtoolValue {
        command: u32,
        data: u32,
    }
    let mut value = EthtoolValue { command, data };
    let mut request = request_for(interface)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    call(&control_socket()?, libc::SIOCETHTOOL, &mut request)?;
    Ok(value.data)
}

/// Whether the interface is up and its peer too.
pub fn has_carrier(interface: &str) -> Result<bool> {
    let mut request = request_for(interface)?;
    call(&control_socket()?, libc::SIOCGIFFLAGS, &mut request).with_context(|| format!("read flags of {interface}"))?;
    // SAFETY: SIOCGIFFLAGS filled the flags member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(flags & libc::IFF_RUNNING as libc::c_short != 0)
}

/// MAC address of the interface.
pub fn mac(interface: &str) -> Result<[u8; 6]> {
    let mut request = request_for(interface)?;
    call(&control_socket()?, libc::SIOCGIFHWADDR, &mut request).with_context(|| format!("read the MAC of {interface}"))?;
    // SAFETY: SIOCGIFHWADDR filled the hardware address member of the union.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    Ok(std::array::from_fn(|index| address.sa_data[index] as u8))
}

/// Index of the interface in the caller's namespace.
pub fn index(interface: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(interface).with_context(|| format!("find interface {interface}"))
}

fn control_socket() -> Result<Socket> {
    Ok(Socket::new(Domain::IPV4, Type::DGRAM, None)?)
}

fn request_for(interface: &str) -> Result<libc::ifreq> {
    ensure!(interface.len() < libc::IFNAMSIZ, "{interface}: an interface name has at most {} letters", libc::IFNAMSIZ - 1);
    // SAFETY: ifreq is plain bytes, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *slot = byte as libc::c_char;
    }
    Ok(request)
}

fn call(socket: &Socket, code: libc::Ioctl, request: &mut libc::ifreq) -> nix::Result<()> {
    // SAFETY: `request` is a filled ifreq of the kind `code` expects and lives across the call, as does what it points to.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), code, request) }).map(drop)
}
