//! What a command or transaction touched: where a projection has to look, not what to do there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::VridKey;

/// One thing whose desired state may differ from before; if the configuration no longer has it, it was removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// The NSIP or host name.
    Node,
    /// The local node's HA settings.
    Ha,
    /// The peer.
    Peer,
    /// An RPC node.
    RpcNode(IpAddr),
    /// An interface.
    Interface(String),
    /// A virtual router or its bindings.
    Vrid(VridKey),
    /// A VLAN or its bindings.
    Vlan(u16),
    /// How addresses are announced.
    L2Param,
    /// How much a node answers strangers.
    RateControl,
    /// The sizes of tables.
    Limits,
    /// How TCP is spoken to strangers.
    TcpParam,
    /// Surge protection.
    Surge,
    /// A VIP or SNIP.
    Address(IpAddr),
    /// A virtual server or its bindings.
    Vserver(String),
    /// A service.
    Service(String),
    /// A failover interface set.
    Fis(String),
    /// A set of addresses.
    IpSet(String),
}

/// The set of things touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    touched: BTreeSet<Touched>,
}

impl Change {
    /// Returns the change of one thing.
    pub fn of(touched: Touched) -> Self {
        Self { touched: BTreeSet::from([touched]) }
    }

    /// Adds a thing.
    pub fn add(&mut self, touched: Touched) {
        self.touched.insert(touched);
    }

    /// Adds all things of another change.
    pub fn merge(&mut self, other: Change) {
        self.touched.extend(other.touched);
    }

    /// Returns what was touched, each once.
    pub fn touched(&self) -> impl Iterator<Item = &Touched> {
        self.touched.iter()
    }
}
