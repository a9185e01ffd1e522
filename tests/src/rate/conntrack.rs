//! Empties the connection table of the caller's namespace.

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

/// `struct nlmsghdr` and `struct nfgenmsg`.
const LENGTH: u32 = 16 + 4;
/// Subsystem ctnetlink, message delete; of no entry in particular: all.
const DELETE: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 2;
const FLAGS: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;

/// Forgets every connection.
pub fn flush() -> Result<()> {
    let mut socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_NETFILTER)))
        .context("open a netlink socket to netfilter")?;
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend(LENGTH.to_ne_bytes());
    request.extend(DELETE.to_ne_bytes());
    request.extend(FLAGS.to_ne_bytes());
    // Sequence number and sender: the kernel fills in what is zero.
    request.extend([0; 8]);
    // Any family, version 0, no resource.
    request.extend([0; 4]);
    socket.write_all(&request).context("ask to empty the connection table")?;
    let mut answer = [0; 64];
    let length = socket.read(&mut answer).context("hear whether the connection table is empty")?;
    ensure!(length >= 20, "netfilter answered {length} bytes");
    let error = i32::from_ne_bytes(answer[16..20].try_into().expect("four bytes"));
    ensure!(error == 0, "empty the connection table: {}", std::io::Error::from_raw_os_error(-error));
    Ok(())
}
