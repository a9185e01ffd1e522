//! What the maps shall hold: the running configuration, health and neighbours, in the data plane's own terms.

use std::collections::{BTreeMap, HashMap};

use ha_common::abi::{
    AMBIGUOUS, Address, AddressKey, Backend, Interface, MAX_LEGS, MAX_LINKS, Owner, ServiceKey, backend_flags, mode,
};
use ha_common::maglev::Member;

/// The whole desired state of the data plane, flows apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// By interface index.
    pub interfaces: HashMap<u32, Interface>,
    /// Interface index by leg number; zero for none.
    pub legs: [u32; MAX_LEGS],
    /// Interface index by heartbeat link number; zero for none.
    pub links: [u32; MAX_LINKS],
    /// `vrid_flags` by VRID that the pair uses.
    pub vrids: BTreeMap<u32, u32>,
    /// Every floating address.
    pub addresses: HashMap<AddressKey, Address>,
    /// By index. A backend without [`backend_flags::UP`] is down.
    pub backends: BTreeMap<u32, Backend>,
    /// By index.
    pub vservers: BTreeMap<u32, DesiredVserver>,
}

/// A vserver before it has a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredVserver {
    /// Where clients find it.
    pub key: ServiceKey,
    /// `vserver_flags` of the configuration; those that follow from rings and health are added later.
    pub flags: u32,
    /// `ha_common::abi::mode`.
    pub mode: u8,
    /// `ha_common::abi::hash_kind`.
    pub hash: u8,
    /// Its backends, which are all in [`Desired::backends`], in any order.
    pub members: Vec<Member>,
}

impl Default for Desired {
    fn default() -> Self {
        Desired {
            interfaces: HashMap::new(),
            legs: [0; MAX_LEGS],
            links: [0; MAX_LINKS],
            vrids: BTreeMap::new(),
            addresses: HashMap::new(),
            backends: BTreeMap::new(),
            vservers: BTreeMap::new(),
        }
    }
}

impl Desired {
    /// Whether `backend` takes packets.
    #[must_use]
    pub fn is_up(&self, backend: u32) -> bool {
        self.backends.get(&backend).is_some_and(|backend| backend.flags & backend_flags::UP != 0)
    }

    /// `BACKEND_INDEX`: who answers from where, for backends whose answers return through the pair.
    #[must_use]
    pub fn owners(&self) -> HashMap<ServiceKey, Owner> {
        let mut owners: HashMap<ServiceKey, Owner> = HashMap::new();
        for (&vserver, desired) in self.vservers.iter().filter(|(_, vserver)| vserver.mode == mode::NAT) {
            for member in &desired.members {
                let key = ServiceKey {
                    addr: member.addr,
                    domain: desired.key.domain,
                    port: member.port,
                    protocol: u16::from(member.protocol),
                };
                owners
                    .entry(key)
                    .and_modify(|owner| owner.vserver = AMBIGUOUS)
                    .or_insert(Owner { backend: member.backend, vserver });
            }
        }
        owners
    }
}

impl Desired {
    /// Whether some interfaces are members of bonds, which are then here, too.
    #[must_use]
    pub fn has_bonds(&self) -> bool {
        self.interfaces.iter().any(|(&ifindex, interface)| interface.ifindex != ifindex)
    }
}
