//! From what the maps hold to what they shall hold, in an order in which no packet sees half of it.
//!
//! What others point to is written before those who point there, and removed after them: interfaces, backends, rings,
//! vservers, indices, addresses; then back. A ring is never changed in place: the new one is written elsewhere, the vserver is
//! flipped to it by one store, and the old place rests for a while. Pure: the writes are carried out elsewhere, so every prefix
//! of a plan can be tested.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ha_common::abi::{
    Address, AddressKey, Backend, Choice, Choices, Interface, MAX_LEGS, MAX_LINKS, Owner, PrefixKey, Ring, ServiceKey, Slot,
    Snip, Vserver, backend_flags, vserver_flags,
};
use ha_common::abi::{FilterKind, NO_BACKEND};
use ha_common::maglev::{self, Member};
use ha_common::time::Nanos;

use super::desired::{Desired, DesiredVserver};
use super::directory::{self, Directory, Place, Wanted};
use super::filter::Filters;
use super::rings::{PoolFull, RingPool};

/// How long the ring before the present one is kept for flows that have no entry.
const PREVIOUS_HOLD: Duration = Duration::from_secs(120);

/// How long a slot of `DIRECTORY` rests after it was emptied: far longer than any packet takes that has just read it.
const SLOT_REST: Duration = Duration::from_secs(1);

/// One change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// `INTERFACES[ifindex]`.
    PutInterface(u32, Interface),
    /// `INTERFACES[ifindex]`.
    DeleteInterface(u32),
    /// `LEG_IFINDEX[number]`.
    Leg(u32, u32),
    /// `LINK_IFINDEX[number]`.
    Link(u32, u32),
    /// `VRIDS[id]`; zero to remove it.
    Vrid(u32, u32),
    /// Word `1` of the filter for `0`.
    Filter(FilterKind, u32, u64),
    /// A slot of `DIRECTORY`; all zero to empty it.
    Directory(Place, Slot),
    /// `SNIPS[index]`.
    Snip(u32, Snip),
    /// `BACKENDS[index]`; all zero to remove it.
    Backend(u32, Backend),
    /// The slots of a ring in `RINGS`.
    Ring(Ring, Arc<[u32]>),
    /// `VSERVERS[index]`; all zero to remove it.
    Vserver(u32, Vserver),
    /// `BACKEND_INDEX[key]`.
    PutOwner(ServiceKey, Owner),
    /// `BACKEND_INDEX[key]`.
    DeleteOwner(ServiceKey),
    /// `VSERVER_INDEX[key]`.
    PutVserverKey(ServiceKey, u32),
    /// `VSERVER_INDEX[key]`.
    DeleteVserverKey(ServiceKey),
    /// `ADDRESSES[key]`.
    PutAddress(AddressKey, Address),
    /// `ADDRESSES[key]`.
    DeleteAddress(AddressKey),
    /// `PREFIXES[key]`.
    PutPrefix(PrefixKey, u32),
    /// `PREFIXES[key]`.
    DeletePrefix(PrefixKey),
}

/// What the maps hold, as far as the daemon writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// `INTERFACES`.
    pub interfaces: HashMap<u32, Interface>,
    /// `LEG_IFINDEX`.
    pub legs: [u32; MAX_LEGS],
    /// `LINK_IFINDEX`.
    pub links: [u32; MAX_LINKS],
    /// `VRIDS`, those that are not zero.
    pub vrids: BTreeMap<u32, u32>,
    /// `FILTERS`.
    pub filters: Filters,
    /// `DIRECTORY`.
    pub directory: Directory,
    /// `SNIPS`, those that are not all zero.
    pub snips: BTreeMap<u32, Snip>,
    /// `ADDRESSES`.
    pub addresses: HashMap<AddressKey, Address>,
    /// `VSERVER_INDEX`.
    pub vserver_keys: HashMap<ServiceKey, u32>,
    /// `BACKEND_INDEX`.
    pub owners: HashMap<ServiceKey, Owner>,
    /// `VSERVERS`, those that are not all zero.
    pub vservers: BTreeMap<u32, Vserver>,
    /// `BACKENDS`, those that are not all zero.
    pub backends: BTreeMap<u32, Backend>,
    /// `PREFIXES`.
    pub prefixes: HashMap<PrefixKey, u32>,
}

impl Default for Present {
    fn default() -> Self {
        Present {
            interfaces: HashMap::new(),
            legs: [0; MAX_LEGS],
            links: [0; MAX_LINKS],
            vrids: BTreeMap::new(),
            filters: Filters::default(),
            directory: Directory::default(),
            snips: BTreeMap::new(),
            addresses: HashMap::new(),
            vserver_keys: HashMap::new(),
            owners: HashMap::new(),
            vservers: BTreeMap::new(),
            backends: BTreeMap::new(),
            prefixes: HashMap::new(),
        }
    }
}

impl Present {
    /// Follows a write that has been carried out.
    pub fn apply(&mut self, write: &Write) {
        match *write {
            Write::PutInterface(ifindex, interface) => drop(self.interfaces.insert(ifindex, interface)),
            Write::DeleteInterface(ifindex) => drop(self.interfaces.remove(&ifindex)),
            Write::Leg(number, ifindex) => self.legs[number as usize] = ifindex,
            Write::Link(number, ifindex) => self.links[number as usize] = ifindex,
            Write::Vrid(id, 0) => drop(self.vrids.remove(&id)),
            Write::Vrid(id, flags) => drop(self.vrids.insert(id, flags)),
            Write::Filter(kind, word, bits) => self.filters.set(kind, word, bits),
            Write::Directory(place, slot) => self.directory.set(place, slot),
            Write::Snip(index, snip) => drop(self.snips.insert(index, snip)),
            Write::Backend(index, backend) if backend == Backend::default() => drop(self.backends.remove(&index)),
            Write::Backend(index, backend) => drop(self.backends.insert(index, backend)),
            Write::Ring(..) => {}
            Write::Vserver(index, vserver) if vserver == Vserver::default() => drop(self.vservers.remove(&index)),
            Write::Vserver(index, vserver) => drop(self.vservers.insert(index, vserver)),
            Write::PutOwner(key, owner) => drop(self.owners.insert(key, owner)),
            Write::DeleteOwner(key) => drop(self.owners.remove(&key)),
            Write::PutVserverKey(key, index) => drop(self.vserver_keys.insert(key, index)),
            Write::DeleteVserverKey(key) => drop(self.vserver_keys.remove(&key)),
            Write::PutAddress(key, address) => drop(self.addresses.insert(key, address)),
            Write::DeleteAddress(key) => drop(self.addresses.remove(&key)),
            Write::PutPrefix(key, action) => drop(self.prefixes.insert(key, action)),
            Write::DeletePrefix(key) => drop(self.prefixes.remove(&key)),
        }
    }
}

/// Plans writes, and remembers what the maps alone do not tell: places of rings, since when a ring is the previous one.
#[derive(Clone, Debug)]
pub struct Planner {
    present: Present,
    pool: RingPool,
    /// By vserver: the members that its present ring was made of.
    made_of: BTreeMap<u32, Vec<Member>>,
    /// By vserver: its present list of choices.
    listed: BTreeMap<u32, Vec<Choice>>,
    /// By vserver: when its previous ring is forgotten.
    previous_until: BTreeMap<u32, Nanos>,
    /// Vservers that have entries in `EXCEPTIONS`, as far as somebody has looked.
    with_exceptions: Option<HashSet<u32>>,
    /// Slots of `DIRECTORY` that were emptied lately, and when they may be filled again.
    resting: HashMap<Place, Nanos>,
}

impl Planner {
    /// Goes on from what the maps hold. `slots` reads a ring of them.
    #[must_use]
    pub fn new(now: Nanos, present: Present, pool_len: u32, slots: impl Fn(Ring) -> Vec<u32>) -> Self {
        let mut pool = RingPool::new(pool_len);
        let mut previous_until = BTreeMap::new();
        for (&index, vserver) in &present.vservers {
            pool.adopt(vserver.ring, slots(vserver.ring).into());
            if let Some(place) = place_of(vserver.choices) {
                pool.adopt(place, slots(place).into());
            }
            if vserver.flags & vserver_flags::PREVIOUS != 0 {
                pool.adopt(vserver.previous, slots(vserver.previous).into());
                previous_until.insert(index, now + PREVIOUS_HOLD);
            }
        }
        let (made_of, listed) = (BTreeMap::new(), BTreeMap::new());
        Planner { present, pool, made_of, listed, previous_until, with_exceptions: None, resting: HashMap::new() }
    }

    /// What the maps hold.
    pub fn present(&self) -> &Present {
        &self.present
    }

    /// Slots of the ring pool that are taken, and all.
    #[must_use]
    pub fn ring_usage(&self) -> (u32, u32) {
        self.pool.usage()
    }

    /// When a plan for an unchanged state would do something: a previous ring is to be forgotten.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.previous_until.values().min().copied()
    }

    /// Somebody has looked through `EXCEPTIONS`: only these vservers have any.
    pub fn set_exceptions(&mut self, vservers: HashSet<u32>) {
        self.with_exceptions = Some(vservers);
    }

    /// The writes that lead to `desired`; this planner counts them as carried out.
    ///
    /// # Errors
    /// When the ring pool has no room; then nothing is to be written.
    pub fn plan(&mut self, now: Nanos, desired: &Desired) -> Result<Vec<Write>, PoolFull> {
        let mut desired = desired.clone();
        desired.place_sources(&self.present.snips);
        let (filters, owners) = (Filters::of(&desired), desired.owners());
        let wanted = directory::wanted(&desired, &owners);
        let mut draft = Draft { next: self.clone(), writes: Vec::new(), filters, owners, wanted };
        draft.next.resting.retain(|_, until| *until > now);
        draft.put(now, &desired)?;
        draft.remove(now, &desired);
        *self = draft.next;
        Ok(draft.writes)
    }
}

/// A vserver's way to another ring.
#[derive(Clone, Copy)]
struct Flip {
    ring: Ring,
    /// The ring before it had no members.
    from_nothing: bool,
}

/// Where a list of choices lies in the pool, which gives out powers of two.
fn place_of(choices: Choices) -> Option<Ring> {
    let len = choices.count().checked_next_power_of_two()?;
    (choices.count() > 0).then(|| Ring::new(choices.base(), len.ilog2()))
}

fn has_slots(members: &[Member]) -> bool {
    members.iter().any(|member| member.weight > 0)
}

struct Draft {
    next: Planner,
    writes: Vec<Write>,
    /// What `FILTERS` shall hold.
    filters: Filters,
    /// What `BACKEND_INDEX` shall hold.
    owners: HashMap<ServiceKey, Owner>,
    /// What `DIRECTORY` shall hold, as far as it has room.
    wanted: Wanted,
}

impl Draft {
    fn write(&mut self, write: Write) {
        self.next.present.apply(&write);
        self.writes.push(write);
    }

    fn put_vrids(&mut self, desired: &Desired) {
        let ids: BTreeSet<u32> = desired.vrids.keys().chain(self.next.present.vrids.keys()).copied().collect();
        for id in ids {
            let flags = desired.vrids.get(&id).copied().unwrap_or(0);
            if self.next.present.vrids.get(&id).copied().unwrap_or(0) != flags {
                self.write(Write::Vrid(id, flags));
            }
        }
    }

    fn put(&mut self, now: Nanos, desired: &Desired) -> Result<(), PoolFull> {
        for (ifindex, interface) in missing(&desired.interfaces, &self.next.present.interfaces) {
            self.write(Write::PutInterface(ifindex, interface));
        }
        for number in 0..MAX_LEGS {
            if self.next.present.legs[number] != desired.legs[number] {
                self.write(Write::Leg(number as u32, desired.legs[number]));
            }
        }
        for number in 0..MAX_LINKS {
            if self.next.present.links[number] != desired.links[number] {
                self.write(Write::Link(number as u32, desired.links[number]));
            }
        }
        self.put_vrids(desired);
        for (kind, word, bits) in self.next.present.filters.with(&self.filters) {
            self.write(Write::Filter(kind, word, bits));
        }
        for (&index, &snip) in &desired.snips {
            if self.next.present.snips.get(&index) != Some(&snip) {
                self.write(Write::Snip(index, snip));
            }
        }
        self.put_backends(desired, false);
        for (key, action) in missing(&desired.prefixes, &self.next.present.prefixes) {
            self.write(Write::PutPrefix(key, action));
        }
        self.put_vservers(now, desired)?;
        for (key, owner) in missing(&self.owners, &self.next.present.owners) {
            self.write(Write::PutOwner(key, owner));
        }
        let keys = desired.vserver_keys();
        for (key, index) in missing(&keys, &self.next.present.vserver_keys) {
            self.write(Write::PutVserverKey(key, index));
        }
        for (key, address) in missing(&desired.addresses, &self.next.present.addresses) {
            self.write(Write::PutAddress(key, address));
        }
        for (place, slot) in self.next.present.directory.with(&self.wanted, |place| !self.next.resting.contains_key(place)) {
            self.write(Write::Directory(place, slot));
        }
        Ok(())
    }

    fn remove(&mut self, now: Nanos, desired: &Desired) {
        for place in self.next.present.directory.surplus(&self.wanted) {
            self.write(Write::Directory(place, Slot::default()));
            self.next.resting.insert(place, now + SLOT_REST);
        }
        for key in surplus(&self.next.present.addresses, |key| desired.addresses.contains_key(key)) {
            self.write(Write::DeleteAddress(key));
        }
        let keys = desired.vserver_keys();
        for key in surplus(&self.next.present.vserver_keys, |key| keys.contains_key(key)) {
            self.write(Write::DeleteVserverKey(key));
        }
        // Only now: every vserver that can be reached must know of exceptions before a flow of it becomes one.
        self.put_backends(desired, true);
        for key in surplus(&self.next.present.owners, |key| self.owners.contains_key(key)) {
            self.write(Write::DeleteOwner(key));
        }
        let gone: Vec<(u32, Vserver)> = self.next.present.vservers.iter().map(|(&index, &vserver)| (index, vserver)).collect();
        for (index, vserver) in gone.into_iter().filter(|(index, _)| !desired.vservers.contains_key(index)) {
            self.write(Write::Vserver(index, Vserver::default()));
            self.next.pool.release(now, vserver.ring);
            if vserver.flags & vserver_flags::PREVIOUS != 0 {
                self.next.pool.release(now, vserver.previous);
            }
            if let Some(place) = place_of(vserver.choices) {
                self.next.pool.release(now, place);
            }
            self.next.made_of.remove(&index);
            self.next.listed.remove(&index);
            self.next.previous_until.remove(&index);
        }
        // A virtual server that has no list any more does not ask it any more.
        for key in surplus(&self.next.present.prefixes, |key| desired.prefixes.contains_key(key)) {
            self.write(Write::DeletePrefix(key));
        }
        let gone: Vec<u32> = self.next.present.backends.keys().copied().collect();
        for index in gone.into_iter().filter(|index| !desired.backends.contains_key(index)) {
            self.write(Write::Backend(index, Backend::default()));
        }
        for ifindex in surplus(&self.next.present.interfaces, |ifindex| desired.interfaces.contains_key(ifindex)) {
            self.write(Write::DeleteInterface(ifindex));
        }
        for (kind, word, bits) in self.next.present.filters.until(&self.filters) {
            self.write(Write::Filter(kind, word, bits));
        }
    }

    /// Writes backends that change and do (or do not) lose [`backend_flags::UP`] by it.
    fn put_backends(&mut self, desired: &Desired, falling: bool) {
        for (&index, &backend) in &desired.backends {
            let present = self.next.present.backends.get(&index).copied().unwrap_or_default();
            let falls = present.flags & !backend.flags & backend_flags::UP != 0;
            if present != backend && falls == falling {
                self.write(Write::Backend(index, backend));
            }
        }
    }

    fn put_vservers(&mut self, now: Nanos, desired: &Desired) -> Result<(), PoolFull> {
        // Rings first, all of them: when one finds no room, no vserver has been touched.
        let mut flips = Vec::new();
        let mut made: HashMap<Vec<Member>, Arc<[u32]>> = HashMap::new();
        for (&index, vserver) in &desired.vservers {
            let mut members = vserver.members.clone();
            members.sort_unstable();
            if self.next.made_of.get(&index) != Some(&members) {
                let content = made.entry(members.clone()).or_insert_with(|| maglev::ring(&members).into());
                let placed = self.next.pool.take(now, content)?;
                if placed.fresh {
                    let write = Write::Ring(placed.ring, Arc::clone(content));
                    self.write(write);
                }
                let before = self.next.made_of.insert(index, members);
                flips.push((
                    index,
                    Flip { ring: placed.ring, from_nothing: before.is_some_and(|members| !has_slots(&members)) },
                ));
            }
        }
        let mut lists = BTreeMap::new();
        for (&index, vserver) in &desired.vservers {
            lists.insert(index, self.put_choices(now, index, desired.choices(vserver))?);
        }
        let flips: BTreeMap<u32, Flip> = flips.into_iter().collect();
        for (&index, vserver) in &desired.vservers {
            let choices = lists.get(&index).copied().unwrap_or_default();
            self.put_vserver(now, desired, index, vserver, choices, flips.get(&index).copied());
        }
        Ok(())
    }

    /// Where the list of a vserver's choices is; the one that it had before is given back.
    fn put_choices(&mut self, now: Nanos, index: u32, list: Vec<Choice>) -> Result<Choices, PoolFull> {
        let present = self.next.present.vservers.get(&index).map_or(Choices::default(), |vserver| vserver.choices);
        if present.count() as usize == list.len() && self.next.listed.get(&index) == Some(&list) {
            return Ok(present);
        }
        let mut choices = Choices::default();
        if !list.is_empty() {
            // What is left over of a power of two is never looked at.
            let slots = list.iter().map(|choice| choice.slot()).chain(std::iter::repeat(NO_BACKEND));
            let content: Arc<[u32]> = slots.take(list.len().next_power_of_two()).collect();
            let placed = self.next.pool.take(now, &content)?;
            if placed.fresh {
                self.write(Write::Ring(placed.ring, content));
            }
            choices = Choices::new(placed.ring.base(), list.len() as u32);
        }
        if let Some(place) = place_of(present) {
            self.next.pool.release(now, place);
        }
        self.next.listed.insert(index, list);
        Ok(choices)
    }

    fn put_vserver(
        &mut self,
        now: Nanos,
        desired: &Desired,
        index: u32,
        vserver: &DesiredVserver,
        choices: Choices,
        flip: Option<Flip>,
    ) {
        let from_nothing = flip.is_some_and(|flip| flip.from_nothing);
        let taken = flip.map(|flip| flip.ring);
        let present = self.next.present.vservers.get(&index).copied();
        let mut next = Vserver {
            flags: vserver.flags,
            vip: vserver.key.addr,
            port: vserver.key.port,
            protocol: vserver.key.protocol as u8,
            mode: vserver.mode,
            hash: vserver.hash,
            choices,
            session_mask: vserver.session_mask,
            sessions: vserver.sessions,
            limits: vserver.limits,
            ..present.unwrap_or_default()
        };
        match (taken, present) {
            (None, _) => {}
            (Some(ring), None) => next = Vserver { ring, generation: 1, ..next },
            // The ring that it has already (known again after a restart): one user, not two.
            (Some(ring), Some(present)) if ring == present.ring => self.next.pool.release(now, ring),
            // Nothing can have begun under a ring without members.
            (Some(ring), Some(present)) if from_nothing && present.flags & vserver_flags::PREVIOUS == 0 => {
                self.next.pool.release(now, present.ring);
                next = Vserver { ring, generation: present.generation.wrapping_add(1), ..next };
            }
            (Some(ring), Some(present)) => {
                if present.flags & vserver_flags::PREVIOUS != 0 {
                    self.next.pool.release(now, present.previous);
                }
                let (previous, previous_generation) = (present.ring, present.generation);
                next = Vserver { ring, generation: present.generation.wrapping_add(1), previous, previous_generation, ..next };
                self.next.previous_until.insert(index, now + PREVIOUS_HOLD);
            }
        }
        if self.next.previous_until.get(&index).is_some_and(|&until| until <= now) {
            self.next.previous_until.remove(&index);
            self.next.pool.release(now, next.previous);
            next = Vserver { previous: Ring::default(), previous_generation: 0, ..next };
        }
        let has_previous = self.next.previous_until.contains_key(&index);
        let all_take = vserver.members.iter().all(|member| desired.takes_all(member.backend));
        let some_up = vserver.members.iter().any(|member| member.weight > 0 && desired.is_up(member.backend));
        let had_exceptions = present.is_some_and(|present| present.flags & vserver_flags::EXCEPTIONS != 0)
            && self.next.with_exceptions.as_ref().is_none_or(|vservers| vservers.contains(&index));
        for (flag, set) in [
            (vserver_flags::DOWN, !some_up),
            (vserver_flags::PREVIOUS, has_previous),
            (vserver_flags::EXCEPTIONS, has_previous || !all_take || had_exceptions || vserver.has_more_than_a_ring()),
        ] {
            next.flags |= if set { flag } else { 0 };
        }
        if present != Some(next) {
            self.write(Write::Vserver(index, next));
        }
    }
}

/// Entries of `desired` that `present` does not have, or has otherwise.
fn missing<K: Copy + Eq + Hash, V: Copy + PartialEq>(desired: &HashMap<K, V>, present: &HashMap<K, V>) -> Vec<(K, V)> {
    desired.iter().filter(|(key, value)| present.get(key) != Some(value)).map(|(&key, &value)| (key, value)).collect()
}

/// Keys of `present` that are not desired.
fn surplus<K: Copy + Eq + Hash, V>(present: &HashMap<K, V>, desired: impl Fn(&K) -> bool) -> Vec<K> {
    present.keys().filter(|key| !desired(key)).copied().collect()
}

#[cfg(test)]
mod tests;
