//! What the maps shall hold: the running configuration, health and neighbours, in the data plane's own terms.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ha_common::abi::{
    AMBIGUOUS, Address, AddressKey, Backend, Choice, Interface, Ip, MAX_LEGS, MAX_LINKS, Owner, PrefixKey, SNIPS, ServiceKey,
    Snip, SourceLimits, backend_flags, mode, vserver_flags,
};
use ha_common::maglev::Member;
use ha_common::turns;

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
    /// By backend: what this node speaks to it from. Their places in `SNIPS` are found later.
    pub sources: BTreeMap<u32, Vec<Snip>>,
    /// By index: see [`Self::sources`].
    pub snips: BTreeMap<u32, Snip>,
    /// By index. A backend without [`backend_flags::UP`] is down.
    pub backends: BTreeMap<u32, Backend>,
    /// By index.
    pub vservers: BTreeMap<u32, DesiredVserver>,
    /// Clients that are let in or kept out: `prefix_action`.
    pub prefixes: HashMap<PrefixKey, u32>,
}

/// A vserver before it has a ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredVserver {
    /// Where clients find it.
    pub key: ServiceKey,
    /// Where else.
    pub more: Vec<ServiceKey>,
    /// `vserver_flags` of the configuration; those that follow from rings and health are added later.
    pub flags: u32,
    /// `ha_common::abi::mode`.
    pub mode: u8,
    /// `ha_common::abi::hash_kind`.
    pub hash: u8,
    /// What of an address says that two clients stay together, if it has sessions.
    pub session_mask: Ip,
    /// The vserver under whose index its sessions are kept.
    pub sessions: u32,
    /// What each source may do.
    pub limits: SourceLimits,
    /// Its backends, which are all in [`Desired::backends`], in any order.
    pub members: Vec<Member>,
    /// Backends that may have flows of it, too: its own while others stand in for them, those others while they do not.
    pub others: Vec<Member>,
}

impl DesiredVserver {
    /// Where clients find it.
    pub fn keys(&self) -> impl Iterator<Item = ServiceKey> {
        std::iter::once(self.key).chain(self.more.iter().copied())
    }

    /// IP protocols that its backends answer over.
    fn protocols(&self) -> BTreeSet<u16> {
        self.keys().map(|key| key.protocol).collect()
    }

    /// Whether something beside the ring may place its flows.
    pub const fn has_more_than_a_ring(&self) -> bool {
        use vserver_flags::{IN_TURN, LEAST, PERSIST_DESTINATION, PERSIST_SOURCE};
        self.flags & (IN_TURN | LEAST | PERSIST_DESTINATION | PERSIST_SOURCE) != 0
    }
}

impl Default for Desired {
    fn default() -> Self {
        Desired {
            interfaces: HashMap::new(),
            legs: [0; MAX_LEGS],
            links: [0; MAX_LINKS],
            vrids: BTreeMap::new(),
            addresses: HashMap::new(),
            sources: BTreeMap::new(),
            snips: BTreeMap::new(),
            backends: BTreeMap::new(),
            vservers: BTreeMap::new(),
            prefixes: HashMap::new(),
        }
    }
}

impl Desired {
    /// `VSERVER_INDEX`.
    #[must_use]
    pub fn vserver_keys(&self) -> HashMap<ServiceKey, u32> {
        self.vservers.iter().flat_map(|(&index, vserver)| vserver.keys().map(move |key| (key, index))).collect()
    }

    /// Whether some vserver takes any port, or any address.
    #[must_use]
    pub fn has_any_port(&self) -> bool {
        const ANY: u32 = vserver_flags::ANY_PORT | vserver_flags::ANY_ADDRESS;
        self.vservers.values().any(|vserver| vserver.flags & ANY != 0)
    }

    /// Whether `backend` takes packets.
    #[must_use]
    pub fn is_up(&self, backend: u32) -> bool {
        self.has(backend, backend_flags::UP)
    }

    /// Whether `backend` takes packets of newcomers, as far as it is not full.
    #[must_use]
    pub fn takes_newcomers(&self, backend: u32) -> bool {
        self.is_up(backend) && !self.has(backend, backend_flags::LEAVING)
    }

    /// Whether `backend` takes every newcomer.
    #[must_use]
    pub fn takes_all(&self, backend: u32) -> bool {
        self.takes_newcomers(backend) && self.backends.get(&backend).is_some_and(|backend| backend.flows_max == 0)
    }

    /// Whom the newcomers of `vserver` go to by its method, if that is not the ring's business.
    #[must_use]
    pub fn choices(&self, vserver: &DesiredVserver) -> Vec<Choice> {
        let present: Vec<Member> =
            vserver.members.iter().copied().filter(|member| self.takes_newcomers(member.backend)).collect();
        match vserver.flags {
            flags if flags & vserver_flags::IN_TURN != 0 => turns::round(&present),
            flags if flags & vserver_flags::LEAST != 0 => turns::each(&present),
            _ => Vec::new(),
        }
    }

    /// VLAN that the answers of `backend` come in: where its packets go to.
    fn domain_of(&self, backend: u32) -> u32 {
        self.backends.get(&backend).map_or(0, |backend| backend.next_hop.vlan)
    }

    fn has(&self, backend: u32, flag: u32) -> bool {
        self.backends.get(&backend).is_some_and(|backend| backend.flags & flag != 0)
    }

    /// Gives every list of sources its place in `SNIPS`, next to what is there already: a list that is known keeps its place, because flows
    /// name their source by it, and one that is not needed any more stays for those that do. A list that finds no room has no place.
    pub fn place_sources(&mut self, present: &BTreeMap<u32, Snip>) {
        self.snips = present.clone();
        let mut places: BTreeMap<Vec<Ip>, u32> = BTreeMap::new();
        for (index, sources) in &self.sources {
            let addresses: Vec<Ip> = sources.iter().map(|snip| snip.addr).collect();
            let known = places.get(&addresses).copied().or_else(|| place_of(&self.snips, &addresses));
            let next = self.snips.keys().next_back().map_or(0, |last| last + 1);
            let base = known.unwrap_or(next);
            if base as usize + sources.len() > SNIPS {
                continue;
            }
            self.snips.extend((base..).zip(sources.iter().copied()));
            places.insert(addresses, base);
            if let Some(backend) = self.backends.get_mut(index) {
                (backend.snips, backend.snip_count) = (base, sources.len() as u32);
            }
        }
    }

    /// Marks the backends that several vservers share: their flows have to be noted in `REVERSE`.
    pub fn mark_shared(&mut self) {
        for owner in self.owners().into_values().filter(|owner| owner.vserver == AMBIGUOUS) {
            if let Some(backend) = self.backends.get_mut(&owner.backend) {
                backend.flags |= backend_flags::SHARED;
            }
        }
    }

    /// `BACKEND_INDEX`: who answers from where, for backends whose answers return through the pair.
    #[must_use]
    pub fn owners(&self) -> HashMap<ServiceKey, Owner> {
        let mut owners: HashMap<ServiceKey, Owner> = HashMap::new();
        for (&vserver, desired) in self.vservers.iter().filter(|(_, vserver)| vserver.mode == mode::NAT) {
            let protocols = desired.protocols();
            let members = desired.members.iter().chain(&desired.others);
            for (member, protocol) in members.flat_map(|member| protocols.iter().map(move |&it| (member, it))) {
                let domain = self.domain_of(member.backend);
                let key = ServiceKey { addr: member.addr, domain, port: member.port, protocol };
                // Whoever does not see its clients answers to an address of the pair: only its port says whose answer it is.
                let vserver = if self.has(member.backend, backend_flags::SNAT) { AMBIGUOUS } else { vserver };
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
        self.interfaces.iter().any(|(&ifindex, interface)| interface.ifindex != ifindex && interface.vlan == 0)
    }
}

/// Where `addresses` follow one another in `snips`.
fn place_of(snips: &BTreeMap<u32, Snip>, addresses: &[Ip]) -> Option<u32> {
    let fits =
        |base: u32| (base..).zip(addresses).all(|(index, addr)| snips.get(&index).is_some_and(|snip| snip.addr == *addr));
    snips.keys().copied().find(|&base| fits(base))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn snip(last: u8, first_port: u16) -> Snip {
        Snip { addr: Ipv4Addr::new(10, 2, 0, last).into(), first_port, ports: 100, reserved: 0 }
    }

    fn desired(sources: &[(u32, Vec<Snip>)]) -> Desired {
        let backends = sources.iter().map(|(index, _)| (*index, Backend::default())).collect();
        Desired { sources: sources.iter().cloned().collect(), backends, ..Desired::default() }
    }

    fn places(desired: &Desired) -> Vec<(u32, u32)> {
        desired.backends.values().map(|backend| (backend.snips, backend.snip_count)).collect()
    }

    #[test]
    fn backends_with_the_same_sources_share_a_place_and_keep_it_whatever_else_comes_and_goes() {
        let (one, two) = (vec![snip(1, 1024)], vec![snip(1, 1024), snip(2, 1024)]);
        let mut first = desired(&[(0, two.clone()), (1, one.clone()), (2, two.clone())]);
        first.place_sources(&BTreeMap::new());
        // The address alone is found where it begins the list of both.
        assert_eq!(places(&first), [(0, 2), (0, 1), (0, 2)]);
        let mut later = desired(&[(1, vec![snip(3, 1024)]), (2, two)]);
        later.place_sources(&first.snips);
        assert_eq!(places(&later), [(2, 1), (0, 2)]);
        assert_eq!(later.snips.len(), 3, "what flows may still name stays");
        let mut renumbered = desired(&[(0, vec![snip(1, 16_896)])]);
        renumbered.place_sources(&later.snips);
        assert_eq!((places(&renumbered)[0], renumbered.snips[&0].first_port), ((0, 1), 16_896));
    }

    #[test]
    fn sources_without_room_have_no_place() {
        let full = (0..SNIPS as u32).map(|index| (index, snip(9, 1024))).collect();
        let mut desired = desired(&[(0, vec![snip(1, 1024)])]);
        desired.place_sources(&full);
        assert_eq!(places(&desired), [(0, 0)]);
    }
}
