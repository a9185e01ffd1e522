//! Floating addresses that this node's own stack answers for: present while it serves, absent while it does not.
//!
//! Adding what is there and removing what is not are successes, so a role change may be repeated, and a restarted daemon
//! needs to know nothing of what the one before it did.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::{Handle, MulticastGroup};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, warn};

/// Changes within this span lead to one list of addresses.
const SETTLE: Duration = Duration::from_millis(3);

/// How soon a list that failed is asked for again.
const RETRY: Duration = Duration::from_secs(1);

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

/// Adds `local`; whether it was not there. IPv6 skips duplicate address detection: it would keep the address unusable for a second, and which node
/// may use it has been decided already.
///
/// # Errors
/// When the kernel refuses (no such interface, no permission).
pub async fn add(handle: &Handle, local: LocalAddress) -> Result<bool, AddressError> {
    let mut request = handle.address().add(local.ifindex, local.address, local.prefix_len);
    if local.address.is_ipv6() {
        request.message_mut().header.flags = AddressHeaderFlags::Nodad;
    }
    settle(request.execute().await, nix::libc::EEXIST, "add", local)
}

/// Removes `local`; whether it was there.
///
/// # Errors
/// When the kernel refuses.
pub async fn remove(handle: &Handle, local: LocalAddress) -> Result<bool, AddressError> {
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

/// All addresses of this network namespace.
///
/// # Errors
/// When the kernel refuses.
pub async fn list(handle: &Handle) -> Result<Vec<LocalAddress>, rtnetlink::Error> {
    let mut dump = handle.address().get().execute();
    let mut found = Vec::new();
    while let Some(message) = dump.try_next().await? {
        found.extend(LocalAddress::of(&message));
    }
    Ok(found)
}

/// A change of the host's addresses or interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This address is there now, or is there as before.
    Came(LocalAddress),
    /// This address is not there any more.
    Went(LocalAddress),
    /// Anything: an interface has changed, or events were lost.
    Anything,
}

/// Yields whenever an address or an interface of this network namespace comes, goes or changes, whoever did that. Must be called in a tokio runtime.
///
/// # Errors
/// When the kernel refuses a netlink socket.
pub fn watch() -> io::Result<impl Stream<Item = Change> + Unpin> {
    const GROUPS: [MulticastGroup; 3] = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr, MulticastGroup::Link];
    let (connection, _, events) = rtnetlink::new_multicast_connection(&GROUPS)?;
    tokio::spawn(connection);
    Ok(events.map(|(message, _)| match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
            LocalAddress::of(&message).map_or(Change::Anything, Change::Came)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
            LocalAddress::of(&message).map_or(Change::Anything, Change::Went)
        }
        _ => Change::Anything,
    }))
}

/// The host's addresses, told anew after every burst of changes of addresses or interfaces. Must be called in a tokio runtime.
///
/// # Errors
/// When the kernel refuses a netlink socket.
pub fn follow(handle: Handle) -> io::Result<watch::Receiver<Vec<LocalAddress>>> {
    let mut changes = self::watch()?;
    let (found, addresses) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while wait_for_burst(&mut changes).await {
            while let Err(error) = list(&handle).await.map(|own| found.send_replace(own)) {
                warn!(%error, "cannot list the host's addresses; tried again");
                tokio::time::sleep(RETRY).await;
            }
        }
        error!("the host's addresses and interfaces cannot be followed any more; restart the daemon");
    });
    Ok(addresses)
}

/// Waits for a change and for what comes with it, and forgets which they were; false when there will be none.
async fn wait_for_burst(changes: &mut (impl Stream + Unpin)) -> bool {
    if changes.next().await.is_none() {
        return false;
    }
    tokio::time::sleep(SETTLE).await;
    while let Some(Some(_)) = changes.next().now_or_never() {}
    true
}

/// The legs on whose segment `address` lives: those with an own address whose prefix contains it, or all of them if none has
/// (an address that is only routed to this node, or legs without addresses).
#[must_use]
pub fn legs_of(address: IpAddr, legs: &[u32], own: &[LocalAddress]) -> Vec<u32> {
    let here =
        |leg: &&u32| own.iter().any(|local| local.ifindex == **leg && local.address != address && local.contains(address));
    let found: Vec<u32> = legs.iter().filter(here).copied().collect();
    if found.is_empty() { legs.to_vec() } else { found }
}

impl LocalAddress {
    fn of(message: &AddressMessage) -> Option<LocalAddress> {
        // On a point-to-point interface the attribute "address" is the other end's.
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        });
        let (ifindex, prefix_len) = (message.header.index, message.header.prefix_len);
        local.or(address).map(|address| LocalAddress { ifindex, address, prefix_len })
    }

    /// Whether `other` is in the same network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let (own, other, width) = match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u128::from(own.to_bits()), u128::from(other.to_bits()), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let host_bits = width - u32::from(self.prefix_len).min(width);
        (own ^ other).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

fn settle(
    result: Result<(), rtnetlink::Error>,
    settled: i32,
    verb: &'static str,
    local: LocalAddress,
) -> Result<bool, AddressError> {
    match result {
        Ok(()) => Ok(true),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -settled => Ok(false),
        Err(source) => Err(AddressError { verb, local, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_that_come_together_are_one_burst() {
        let (told, mut changes) = futures::channel::mpsc::unbounded();
        (0..1000).for_each(|number| told.unbounded_send(number).unwrap());
        assert!(wait_for_burst(&mut changes).await);
        assert!(wait_for_burst(&mut changes).now_or_never().is_none(), "none of them is left");
        drop(told);
        assert!(!wait_for_burst(&mut changes).await);
    }

    fn local(ifindex: u32, address: &str, prefix_len: u8) -> LocalAddress {
        LocalAddress { ifindex, address: address.parse().unwrap(), prefix_len }
    }

    #[test]
    fn floating_address_lives_on_the_leg_whose_subnet_contains_it() {
        let own = [local(2, "10.1.0.11", 24), local(3, "10.2.0.251", 24), local(3, "fd00:2::251", 64), local(9, "10.1.0.9", 8)];
        let legs = |address: &str| legs_of(address.parse().unwrap(), &[2, 3], &own);
        assert_eq!(legs("10.1.0.100"), [2]);
        assert_eq!(legs("10.2.0.1"), [3]);
        assert_eq!(legs("fd00:2::1"), [3]);
        assert_eq!(legs("10.7.0.1"), [2, 3], "interface 9 is no leg");
    }

    #[test]
    fn an_address_does_not_find_its_leg_by_itself() {
        let own = [local(2, "10.1.0.100", 32), local(3, "10.1.0.11", 24)];
        assert_eq!(legs_of("10.1.0.100".parse().unwrap(), &[2, 3], &own), [3]);
    }

    #[test]
    fn prefixes_of_every_length_are_compared() {
        assert!(local(1, "10.0.0.1", 0).contains("192.0.2.1".parse().unwrap()));
        assert!(!local(1, "10.0.0.1", 32).contains("10.0.0.2".parse().unwrap()));
        assert!(local(1, "fd00::1", 0).contains("2001:db8::1".parse().unwrap()));
        assert!(!local(1, "10.0.0.1", 0).contains("2001:db8::1".parse().unwrap()));
    }
}
