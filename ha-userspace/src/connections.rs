//! Which conversations does this node know, and what of them?
//!
//! `show ns connectiontable` reads the kernel's flow tables as they are: [`Filter`] says which, [`find`](find()) walks the tables in
//! batches on a thread of its own and keeps as many as were asked for. Nothing here changes a flow, and nothing holds all of them.

mod filter;
mod find;
mod fronts;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use filter::Filter;
pub use find::{Query, find};
pub use fronts::{Back, Front, Fronts};

/// How far a conversation is, as its segments have shown: a load balancer at layer 4 sees no more.
pub use crate::command::words::ConnectionState as State;

/// Most rows of one answer.
pub const ROWS_MAX: u64 = 10_000;

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u32,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// One conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The client.
    pub source: SocketAddr,
    /// What it speaks to.
    pub front: Arc<Front>,
    /// The service that it is given to; none if that is gone.
    pub back: Option<Arc<Back>>,
    /// What the service sees in place of the client.
    pub seen_as: Option<SocketAddr>,
    /// How far it is.
    pub state: State,
    /// Time since its last packet, where known.
    pub idle: Option<Duration>,
    /// Time since it was recorded, where known.
    pub age: Option<Duration>,
    /// From the client.
    pub received: Traffic,
    /// From the service.
    pub sent: Traffic,
    /// The client's MAC address, or its router's.
    pub mac: [u8; 6],
    /// The interface that it is on.
    pub ifindex: u32,
    /// The VLAN that it is in; 0 for none.
    pub vlan: u32,
    /// It is not where the hash would have it: the other node cannot know it from its packets.
    pub exception: bool,
}

impl Connection {
    /// Both ends on both sides of this node.
    fn ends(&self) -> impl Iterator<Item = SocketAddr> {
        let behind = self.back.as_ref().map(|back| back.address);
        [Some(self.source), Some(self.front.address), behind, self.seen_as].into_iter().flatten()
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// As many as were asked for.
    pub shown: Vec<Connection>,
    /// How many there are.
    pub total: u64,
}

/// A socket address from its parts.
fn socket(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}
