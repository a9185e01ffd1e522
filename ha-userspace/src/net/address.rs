//! Floating addresses that this node's own stack answers for: present while it serves, absent while it does not.
//!
//! Adding what is there and removing what is not are successes, so a role change may be repeated, and a restarted daemon
//! needs to know nothing of what the one before it did.

use std::net::IpAddr;

use rtnetlink::Handle;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use thiserror::Error;

/// An address of the host on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalAddress {
    /// Interface index.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix; the host gets a connected route for it unless it is the full length.
    pub prefix_len: u8,
}

/// The kernel refused to add or to remove an address.
#[derive(Debug, Error)]
#[error("cannot {verb} {}/{} on interface {}: {source}", .local.address, .local.prefix_len, .local.ifindex)]
pub struct AddressError {
    verb: &'static str,
    local: LocalAddress,
    source: rtnetlink::Error,
}

/// Adds `local`. IPv6 skips duplicate address detection: it would keep the address unusable for a second, and which node
/// may use it has been decided already.
///
/// # Errors
/// When the kernel refuses (no such interface, no permission).
pub async fn add(handle: &Handle, local: LocalAddress) -> Result<(), AddressError> {
    let mut request = handle.address().add(local.ifindex, local.address, local.prefix_len);
    if local.address.is_ipv6() {
        request.message_mut().header.flags = AddressHeaderFlags::Nodad;
    }
    settle(request.execute().await, nix::libc::EEXIST, "add", local)
}

/// Removes `local`.
///
/// # Errors
/// When the kernel refuses.
pub async fn remove(handle: &Handle, local: LocalAddress) -> Result<(), AddressError> {
    let mut message = AddressMessage::default();
    message.header.index = local.ifindex;
    message.header.prefix_len = local.prefix_len;
    message.header.family = match local.address {
        IpAddr::V4(_) => rtnetlink::packet_route::AddressFamily::Inet,
        IpAddr::V6(_) => rtnetlink::packet_route::AddressFamily::Inet6,
    };
    message.attributes.push(AddressAttribute::Local(local.address));
    message.attributes.push(AddressAttribute::Address(local.address));
    settle(handle.address().del(message).execute().await, nix::libc::EADDRNOTAVAIL, "remove", local)
}

fn settle(
    result: Result<(), rtnetlink::Error>,
    settled: i32,
    verb: &'static str,
    local: LocalAddress,
) -> Result<(), AddressError> {
    match result {
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -settled => Ok(()),
        other => other.map_err(|source| AddressError { verb, local, source }),
    }
}
