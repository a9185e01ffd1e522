//! What must an interface let in besides what is addressed to itself?
//!
//! A virtual MAC address, so that its card does not filter it out: as one more unicast address, as `bridge fdb add <mac> dev <leg> self`
//! does, which needs no second interface; for a card that cannot filter by several, the kernel itself lets in everything, and one that takes
//! none is made promiscuous for as long as it has a virtual MAC. It stays when the daemon ends: the kernel serves on. And the solicited-node groups
//! of IPv6 addresses that only XDP knows, so that the card and switches that snoop on MLD (RFC 3810) pass solicitations on: the kernel
//! is made a member and reports itself. Memberships end with the daemon; neighbours that know the address go on asking
//! it directly, and a node without a daemon is relieved in seconds.

mod promiscuous;

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;

use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use socket2::{Domain, Socket, Type};
use tracing::{info, warn};

pub use super::frame::solicited_node;
use promiscuous::Promiscuous;

/// Memberships of one socket: the kernel bounds a socket's memory, not the number of sockets.
const GROUPS_PER_SOCKET: usize = 100;

/// What interfaces shall let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Unicast addresses by interface index.
    pub macs: BTreeSet<(u32, [u8; 6])>,
    /// Groups by interface index.
    pub groups: BTreeSet<(u32, Ipv6Addr)>,
}

/// What they let in now, as far as this daemon has seen to it.
#[derive(Debug, Default)]
pub struct Receiver {
    macs: BTreeSet<(u32, [u8; 6])>,
    promiscuous: Promiscuous,
    members: Vec<Members>,
}

/// One socket's memberships.
#[derive(Debug)]
struct Members {
    socket: Socket,
    groups: BTreeSet<(u32, Ipv6Addr)>,
}

impl Receiver {
    /// One that has seen to nothing yet, and notes in `state` what must be taken back even by the next daemon.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Receiver { promiscuous: Promiscuous::in_dir(state), ..Receiver::default() }
    }

    /// What another one, which noted in `state`, has seen to, as far as it outlives it.
    #[must_use]
    pub fn of(left: &Reception, state: &Path) -> Self {
        Receiver { macs: left.macs.clone(), ..Receiver::new(state) }
    }

    /// Makes interfaces let in what is `wanted`, and no more of what was wanted before. What cannot be done is logged.
    pub async fn follow(&mut self, handle: &Handle, wanted: &Reception) {
        for &(ifindex, mac) in self.macs.difference(&wanted.macs) {
            if let Err(error) = remove_mac(handle, ifindex, mac).await {
                warn!(ifindex, mac = text(mac), %error, "a virtual MAC that is not used any more is still let in");
            }
        }
        for &(ifindex, mac) in wanted.macs.difference(&self.macs) {
            if let Err(error) = add_mac(handle, ifindex, mac).await {
                let why = "the interface takes no second unicast address; it is made promiscuous instead";
                warn!(ifindex, mac = text(mac), %error, "{why}");
                self.promiscuous.begin(handle, ifindex).await;
            }
        }
        let needed: BTreeSet<u32> = wanted.macs.iter().map(|(ifindex, _)| *ifindex).collect();
        let left: Vec<u32> = self.promiscuous.interfaces().difference(&needed).copied().collect();
        for ifindex in left {
            self.promiscuous.end(handle, ifindex).await;
        }
        self.macs.clone_from(&wanted.macs);
        self.leave(&wanted.groups);
        self.join(&wanted.groups);
    }

    fn leave(&mut self, wanted: &BTreeSet<(u32, Ipv6Addr)>) {
        for members in &mut self.members {
            members.groups.retain(|(ifindex, group)| {
                let stays = wanted.contains(&(*ifindex, *group));
                // An interface that is gone has taken its memberships with it.
                let _ = stays || members.socket.leave_multicast_v6(group, *ifindex).is_ok();
                stays
            });
        }
        self.members.retain(|members| !members.groups.is_empty());
    }

    fn join(&mut self, wanted: &BTreeSet<(u32, Ipv6Addr)>) {
        let joined: BTreeSet<(u32, Ipv6Addr)> = self.members.iter().flat_map(|members| &members.groups).copied().collect();
        let mut failed = 0_usize;
        let mut first = None;
        for &(ifindex, group) in wanted.difference(&joined) {
            if let Err(error) = self.join_one(ifindex, group) {
                failed += 1;
                first.get_or_insert((ifindex, error));
            }
        }
        if let Some((ifindex, error)) = first {
            warn!(
                ifindex,
                failed,
                %error,
                "cannot become a member of solicited-node groups: behind a switch that snoops on MLD, IPv6 addresses may not be found"
            );
        }
        let new = wanted.len() - wanted.intersection(&joined).count() - failed;
        if new > 0 {
            info!(groups = new, "member of solicited-node groups");
        }
    }

    fn join_one(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        if self.members.last().is_none_or(|members| members.groups.len() >= GROUPS_PER_SOCKET) {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
            self.members.push(Members { socket, groups: BTreeSet::new() });
        }
        if let Some(members) = self.members.last_mut() {
            members.socket.join_multicast_v6(&group, ifindex)?;
            members.groups.insert((ifindex, group));
        }
        Ok(())
    }
}

/// Lets `mac` in on interface `ifindex`.
///
/// # Errors
/// When the kernel or the driver refuses.
pub async fn add_mac(handle: &Handle, ifindex: u32, mac: [u8; 6]) -> Result<(), rtnetlink::Error> {
    let request = handle.neighbours().add_bridge(ifindex, &mac);
    let added = request.state(NeighbourState::Permanent).flags(NeighbourFlags::Own).execute().await;
    unless(added, nix::libc::EEXIST)
}

/// Lets `mac` in no more.
///
/// # Errors
/// When the kernel or the driver refuses.
pub async fn remove_mac(handle: &Handle, ifindex: u32, mac: [u8; 6]) -> Result<(), rtnetlink::Error> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = ifindex;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    let removed = unless(handle.neighbours().del(message).execute().await, nix::libc::ENOENT);
    unless(removed, nix::libc::ENODEV)
}

/// Success, too, if it failed because it was so already.
fn unless(result: Result<(), rtnetlink::Error>, settled: i32) -> Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -settled => Ok(()),
        other => other,
    }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
