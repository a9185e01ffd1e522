//! The maps by name, with typed handles; what is planned is written here.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use aya::maps::{MapData, MapError, PerCpuArray};
use ha_common::abi::{
    AMBIGUOUS, Address, AddressKey, Backend, Bucket, Counter, Embryo, Exception, Filter, FilterKind, Flow, FlowKey, Interface,
    Ip, Load, NextHop, Owner, PrefixKey, Reason, ReverseKey, Ring, ServiceKey, Session, SessionKey, Slot, Snip, Source,
    SourceKey, SourceLimits, Throttle, Trace, Vserver, vserver_flags,
};
use ha_common::time::Ticks;
use thiserror::Error;

use super::ageing::reverse_key;
use super::array::Array;
use super::census::Census;
use super::directory::{Directory, Place};
use super::filter::Filters;
use super::plain::Plain;
use super::plan::{Present, Write};
use super::shared::Shared;
use super::table::Table;

/// A map could not be opened or mapped.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No such pin, or no permission.
    #[error("cannot open the pinned map {name}: {source}")]
    Pin {
        /// Its name.
        name: &'static str,
        /// Why.
        source: MapError,
    },
    /// Mapping it into memory failed.
    #[error("cannot map {name} into memory: {source}")]
    Memory {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A write to a map failed.
#[derive(Debug, Error)]
#[error("cannot write {map}: {source}{}", hint(.source))]
pub struct WriteError {
    map: &'static str,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::E2BIG) => " (the table is full: remove addresses, virtual servers or services that are not needed)",
        _ => "",
    }
}

/// Handles to all maps.
pub struct Maps {
    /// Of the real-time threads.
    pub shared: Arc<Shared>,
    /// `FLOWS`.
    pub flows: Table<FlowKey, Flow>,
    /// `EMBRYONIC`.
    pub embryonic: Table<FlowKey, Embryo>,
    /// `EXCEPTIONS`.
    pub exceptions: Table<FlowKey, Exception>,
    /// `PERSIST`.
    pub sessions: Table<SessionKey, Session>,
    /// `PERSIST_EMBRYONIC`.
    pub session_embryos: Table<SessionKey, Session>,
    /// `LOADS`.
    pub loads: Array<Load>,
    /// `REVERSE`.
    pub reverse: Table<ReverseKey, FlowKey>,
    /// `REVERSE_EMBRYONIC`.
    pub reverse_embryonic: Table<ReverseKey, FlowKey>,
    /// How full those are.
    pub census: Census,
    /// Room in every map, by its name.
    sizes: BTreeMap<String, u32>,
    filters: Array<Filter>,
    directory: Array<Bucket>,
    snips: Array<Snip>,
    interfaces: Table<u32, Interface>,
    legs: Table<u32, u32>,
    links: Table<u32, u32>,
    addresses: Table<AddressKey, Address>,
    vserver_keys: Table<ServiceKey, u32>,
    vservers: Array<Vserver>,
    rings: Array<u32>,
    backends: Array<Backend>,
    owners: Table<ServiceKey, Owner>,
    vrids: Table<u32, u32>,
    prefixes: Table<PrefixKey, u32>,
    /// `SOURCES`.
    pub sources: Table<SourceKey, Source>,
    throttles: Array<Throttle>,
    counters: PerCpuArray<MapData, [u64; 2]>,
    stray_legs: PerCpuArray<MapData, u64>,
    lost: PerCpuArray<MapData, u64>,
    trace: Array<Trace>,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Maps({:?})", self.capacity())
    }
}

impl Maps {
    /// Opens the maps that are pinned in `dir`, whose layout has been checked.
    ///
    /// # Errors
    /// When one is missing.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Maps {
            shared: Arc::new(Shared::new(array(dir, "NODE", true)?, array(dir, "FENCE", false)?, array(dir, "LINKS", false)?)),
            flows: table(dir, "FLOWS")?,
            embryonic: table(dir, "EMBRYONIC")?,
            exceptions: table(dir, "EXCEPTIONS")?,
            sessions: table(dir, "PERSIST")?,
            session_embryos: table(dir, "PERSIST_EMBRYONIC")?,
            loads: array(dir, "LOADS", true)?,
            reverse: table(dir, "REVERSE")?,
            reverse_embryonic: table(dir, "REVERSE_EMBRYONIC")?,
            census: Census::default(),
            sizes: sizes(dir),
            filters: array(dir, "FILTERS", true)?,
            directory: array(dir, "DIRECTORY", true)?,
            snips: array(dir, "SNIPS", true)?,
            interfaces: table(dir, "INTERFACES")?,
            legs: table(dir, "LEG_IFINDEX")?,
            links: table(dir, "LINK_IFINDEX")?,
            addresses: table(dir, "ADDRESSES")?,
            vserver_keys: table(dir, "VSERVER_INDEX")?,
            vservers: array(dir, "VSERVERS", true)?,
            rings: array(dir, "RINGS", true)?,
            backends: array(dir, "BACKENDS", true)?,
            owners: table(dir, "BACKEND_INDEX")?,
            vrids: table(dir, "VRIDS")?,
            prefixes: table(dir, "PREFIXES")?,
            sources: table(dir, "SOURCES")?,
            throttles: array(dir, "THROTTLES", true)?,
            counters: per_cpu(dir, "COUNTERS")?,
            stray_legs: per_cpu(dir, "STRAY_LEGS")?,
            lost: per_cpu(dir, "LOST")?,
            trace: array(dir, "TRACE", false)?,
        })
    }

    /// How many vservers, backends and ring slots there is room for.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        Capacity { vservers: self.vservers.len(), backends: self.backends.len(), ring_slots: self.rings.len() }
    }

    /// Room in map `name`, in entries; bytes, for a ring buffer.
    #[must_use]
    pub fn size(&self, name: &str) -> u64 {
        self.sizes.get(name).copied().unwrap_or(0).into()
    }

    /// Events that found no room in the ring buffer of this number in `ha_common::abi::lost`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lost(&self, number: u32) -> Result<u64, MapError> {
        Ok(self.lost.get(&number, 0)?.iter().sum())
    }

    /// The addresses that this pair speaks to backends from.
    #[must_use]
    pub fn source_addresses(&self) -> HashSet<Ip> {
        records(&self.snips).into_values().map(|snip| snip.addr).collect()
    }

    /// Packets and bytes by reason, over all CPUs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counters(&self) -> Result<BTreeMap<Reason, Counter>, MapError> {
        let mut sums = BTreeMap::new();
        for (&reason, values) in Reason::ALL.iter().zip(self.counters.iter()) {
            let sum = values?.iter().fold(Counter::default(), |sum, &[packets, bytes]| Counter {
                packets: sum.packets + packets,
                bytes: sum.bytes + bytes,
            });
            sums.insert(reason, sum);
        }
        Ok(sums)
    }

    /// Strays that were sent to the peer since the maps were made, by the number of the leg that they came in on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stray_legs(&self) -> Result<Vec<u64>, MapError> {
        self.stray_legs.iter().map(|values| Ok(values?.iter().sum())).collect()
    }

    /// Clears what a trace left that was killed, once its lease has run out; whether there was one.
    ///
    /// # Errors
    /// When the time cannot be told.
    pub fn clear_trace(&self, ticks: impl FnOnce() -> io::Result<Ticks>) -> io::Result<bool> {
        self.shared.clear_trace(&self.trace, ticks)
    }

    /// Everything that [`Self::execute`] may have written before.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn present(&self) -> io::Result<Present> {
        let mut present = Present {
            interfaces: self.interfaces.entries()?.into_iter().collect(),
            addresses: self.addresses.entries()?.into_iter().collect(),
            vserver_keys: self.vserver_keys.entries()?.into_iter().collect(),
            owners: self.owners.entries()?.into_iter().collect(),
            prefixes: self.prefixes.entries()?.into_iter().collect(),
            filters: Filters::of_words(|kind, word| self.filter_word(kind, word as u32).load(Acquire)),
            directory: Directory::of_buckets((0..self.directory.len()).map(|bucket| self.directory.get(bucket))),
            snips: records(&self.snips),
            vservers: records(&self.vservers),
            backends: records(&self.backends),
            ..Present::default()
        };
        present.vrids = self.vrids.entries()?.into_iter().filter(|(_, flags)| *flags != 0).collect();
        for (numbers, table) in [(&mut present.legs[..], &self.legs), (&mut present.links[..], &self.links)] {
            for (number, ifindex) in table.entries()? {
                if let Some(place) = numbers.get_mut(number as usize) {
                    *place = ifindex;
                }
            }
        }
        Ok(present)
    }

    /// The slots of `ring`; those that lie outside of the pool are missing.
    #[must_use]
    pub fn slots(&self, ring: Ring) -> Vec<u32> {
        let base = ring.base() as usize;
        (base..base + ring.len() as usize)
            .take_while(|&slot| slot < self.rings.len())
            .map(|slot| self.rings.get(slot))
            .collect()
    }

    /// Carries out `writes`, in this order.
    ///
    /// # Errors
    /// When a table is full; the writes before have been carried out.
    pub fn execute(&self, writes: &[Write]) -> Result<(), WriteError> {
        for run in writes.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b)) {
            self.execute_run(run)?;
        }
        Ok(())
    }

    /// Carries out writes of one kind.
    fn execute_run(&self, run: &[Write]) -> Result<(), WriteError> {
        macro_rules! collect {
            ($pattern:pat => $value:expr) => {
                run.iter().filter_map(|write| if let $pattern = write { Some($value) } else { None }).collect::<Vec<_>>()
            };
        }
        let (map, result) = match &run[0] {
            Write::PutInterface(..) => {
                ("INTERFACES", self.interfaces.put(&collect!(Write::PutInterface(key, value) => (*key, *value))))
            }
            Write::DeleteInterface(_) => ("INTERFACES", self.interfaces.delete(&collect!(Write::DeleteInterface(key) => *key))),
            Write::Leg(..) => ("LEG_IFINDEX", self.legs.put(&collect!(Write::Leg(key, value) => (*key, *value)))),
            Write::Vrid(..) => ("VRIDS", self.vrids.put(&collect!(Write::Vrid(key, value) => (*key, *value)))),
            Write::Link(..) => ("LINK_IFINDEX", self.links.put(&collect!(Write::Link(key, value) => (*key, *value)))),
            Write::PutOwner(..) => ("BACKEND_INDEX", self.owners.put(&collect!(Write::PutOwner(key, value) => (*key, *value)))),
            Write::DeleteOwner(_) => ("BACKEND_INDEX", self.owners.delete(&collect!(Write::DeleteOwner(key) => *key))),
            Write::PutVserverKey(..) => {
                ("VSERVER_INDEX", self.vserver_keys.put(&collect!(Write::PutVserverKey(key, value) => (*key, *value))))
            }
            Write::DeleteVserverKey(_) => {
                ("VSERVER_INDEX", self.vserver_keys.delete(&collect!(Write::DeleteVserverKey(key) => *key)))
            }
            Write::PutAddress(..) => {
                ("ADDRESSES", self.addresses.put(&collect!(Write::PutAddress(key, value) => (*key, *value))))
            }
            Write::DeleteAddress(_) => ("ADDRESSES", self.addresses.delete(&collect!(Write::DeleteAddress(key) => *key))),
            Write::PutPrefix(..) => ("PREFIXES", self.prefixes.put(&collect!(Write::PutPrefix(key, value) => (*key, *value)))),
            Write::DeletePrefix(_) => ("PREFIXES", self.prefixes.delete(&collect!(Write::DeletePrefix(key) => *key))),
            Write::Backend(..)
            | Write::Ring(..)
            | Write::Vserver(..)
            | Write::Filter(..)
            | Write::Directory(..)
            | Write::Snip(..) => {
                run.iter().for_each(|write| self.store(write));
                return Ok(());
            }
        };
        result.map_err(|source| WriteError { map, source })
    }

    /// Records in `REVERSE` the flows of backends that these writes gave to a second vserver: until now their answers could
    /// be told from the backend alone.
    ///
    /// # Errors
    /// When the table is full, or the kernel refuses.
    pub fn tell_owners_apart(&self, writes: &[Write]) -> Result<(), WriteError> {
        let ambiguous: HashSet<u32> = writes
            .iter()
            .filter_map(|write| match write {
                Write::PutOwner(_, Owner { backend, vserver: AMBIGUOUS }) => Some(*backend),
                _ => None,
            })
            .collect();
        if ambiguous.is_empty() {
            return Ok(());
        }
        let flows = self.flows.entries().map_err(|source| WriteError { map: "FLOWS", source })?;
        let ours = flows.iter().filter(|(_, flow)| ambiguous.contains(&flow.placed_at()));
        let reverse: Vec<_> = ours.map(|(key, flow)| (reverse_key(self, key, flow.placed_at(), flow.nat), *key)).collect();
        self.reverse.put(&reverse).map_err(|source| WriteError { map: "REVERSE", source })
    }

    fn filter_word(&self, kind: FilterKind, word: u32) -> &AtomicU64 {
        self.filters.word64(kind as usize, word as usize * 8)
    }

    /// Lets new connections through to backend `index` at this distance, in nanoseconds; zero for none.
    pub fn set_throttle(&self, index: u32, cost: u64) {
        if (index as usize) < self.throttles.len() {
            self.throttles.word64(index as usize, offset_of!(Throttle, cost)).store(cost, Release);
        }
    }

    /// What each source may do with vserver `index`, if that is limited.
    #[must_use]
    pub fn source_limits(&self, index: u32) -> Option<SourceLimits> {
        let vserver = ((index as usize) < self.vservers.len()).then(|| self.vservers.get(index as usize))?;
        (vserver.flags & vserver_flags::LIMITED != 0).then_some(vserver.limits)
    }

    /// Ports that this node may give out on `source`, or on whichever address it may give out any.
    #[must_use]
    pub fn ports_of(&self, source: Option<Ip>) -> u64 {
        let snips = records(&self.snips).into_values();
        snips.filter(|snip| source.is_none_or(|source| source == snip.addr)).map(|snip| snip.ports.into()).max().unwrap_or(0)
    }

    /// What stands in `SNIPS` at `index`; nothing if there is no such place.
    #[must_use]
    pub fn snip(&self, index: u16) -> Snip {
        let index = usize::from(index);
        if index < self.snips.len() { self.snips.get(index) } else { Snip::default() }
    }

    /// Flags of the backend at `index`; none if there is no such place.
    #[must_use]
    pub fn backend_flags(&self, index: u32) -> u32 {
        let index = index as usize;
        if index < self.backends.len() { self.backends.word32(index, offset_of!(Backend, flags)).load(Acquire) } else { 0 }
    }

    /// Flags of the vserver at `index`; none if there is no such place.
    #[must_use]
    pub fn vserver_flags(&self, index: u32) -> u32 {
        let index = index as usize;
        if index < self.vservers.len() { self.vservers.word32(index, offset_of!(Vserver, flags)).load(Acquire) } else { 0 }
    }

    /// Carries out a write to memory.
    fn store(&self, write: &Write) {
        match write {
            Write::Filter(kind, word, bits) => self.filter_word(*kind, *word).store(*bits, Release),
            Write::Directory(place, slot) => self.store_slot(*place, slot),
            Write::Snip(index, snip) => self.snips.set(*index as usize, snip),
            Write::Backend(index, backend) => self.store_backend(*index as usize, backend),
            Write::Vserver(index, vserver) => self.store_vserver(*index as usize, vserver),
            Write::Ring(ring, content) => {
                for (slot, backend) in content.iter().enumerate() {
                    self.rings.set(ring.base() as usize + slot, backend);
                }
            }
            _ => {}
        }
    }

    /// A slot is filled from its address to its mark, emptied by its mark alone, and its value changes by one store.
    fn store_slot(&self, (bucket, slot): Place, content: &Slot) {
        let (bucket, base) = (bucket as usize, slot * size_of::<Slot>());
        let word = |offset: usize| self.directory.word32(bucket, base + offset);
        let mark = word(offset_of!(Slot, mark));
        if content.mark != 0 {
            let [first, second] = content.value;
            let value = self.directory.word64(bucket, base + offset_of!(Slot, value));
            for (number, part) in content.addr.0.into_iter().enumerate() {
                word(offset_of!(Slot, addr) + 4 * number).store(part, Release);
            }
            word(offset_of!(Slot, domain)).store(content.domain, Release);
            value.store(u64::from_ne_bytes(pair(first, second)), Release);
        }
        mark.store(content.mark, Release);
    }

    /// While it changes its station it is down, and while its next hop changes it has none: a packet that was built from one
    /// half of each would be lost as well, but elsewhere.
    fn store_backend(&self, index: usize, backend: &Backend) {
        let present = self.backends.get(index);
        let flags = self.backends.word32(index, offset_of!(Backend, flags));
        let ifindex = self.backends.word32(index, offset_of!(Backend, next_hop) + offset_of!(NextHop, ifindex));
        let same_station = (present.addr, present.port) == (backend.addr, backend.port);
        if !same_station {
            flags.store(0, Release);
        }
        if present.next_hop != backend.next_hop {
            ifindex.store(0, Release);
            let rest = NextHop { ifindex: 0, ..backend.next_hop };
            let flags = if same_station { present.flags } else { 0 };
            self.backends.set(index, &Backend { flags, next_hop: rest, ..*backend });
            ifindex.store(backend.next_hop.ifindex, Release);
        } else {
            let flags = if same_station { present.flags } else { 0 };
            self.backends.set(index, &Backend { flags, ..*backend });
        }
        flags.store(backend.flags, Release);
    }

    /// The ring is flipped to by one store, after the ring before it has its place and the flag that says so.
    fn store_vserver(&self, index: usize, vserver: &Vserver) {
        let present = self.vservers.get(index);
        let flags = self.vservers.word32(index, offset_of!(Vserver, flags));
        if vserver.flags & vserver_flags::PREVIOUS == 0 {
            flags.store(vserver.flags, Release);
        }
        // Where its list of choices lies is one word, too.
        let choices = self.vservers.word64(index, offset_of!(Vserver, choices));
        choices.store(vserver.choices.word(), Release);
        self.vservers.set(index, &Vserver { flags: present.flags & vserver.flags, ring: present.ring, ..*vserver });
        flags.store(vserver.flags, Release);
        self.vservers.set(index, vserver);
    }
}

/// Room in the maps whose index is allotted by the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Vserver indices lie below.
    pub vservers: usize,
    /// Backend indices lie below.
    pub backends: usize,
    /// Slots of all rings together.
    pub ring_slots: usize,
}

/// Two words side by side, as they lie in memory.
fn pair(first: u32, second: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    [a, b, c, d, e, f, g, h]
}

fn records<T: Plain + Default + PartialEq>(array: &Array<T>) -> BTreeMap<u32, T> {
    (0..array.len()).map(|index| (index as u32, array.get(index))).filter(|(_, record)| *record != T::default()).collect()
}

/// Room in every map that is pinned in `dir`.
fn sizes(dir: &Path) -> BTreeMap<String, u32> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |path: &Path| Some(MapData::from_pin(path).ok()?.info().ok()?.max_entries());
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, size(&entry.path())?))).collect()
}

fn pinned(dir: &Path, name: &'static str) -> Result<MapData, OpenError> {
    MapData::from_pin(dir.join(name)).map_err(|source| OpenError::Pin { name, source })
}

fn owned(map: &MapData, name: &'static str) -> Result<OwnedFd, OpenError> {
    map.fd().as_fd().try_clone_to_owned().map_err(|source| OpenError::Memory { name, source })
}

pub(super) fn per_cpu<T: aya::Pod>(dir: &Path, name: &'static str) -> Result<PerCpuArray<MapData, T>, OpenError> {
    let map = pinned(dir, name)?;
    aya::maps::Map::from_map_data(map).and_then(PerCpuArray::try_from).map_err(|source| OpenError::Pin { name, source })
}

pub(super) fn table<K: Plain + Clone + Default, V: Plain + Clone + Default>(
    dir: &Path,
    name: &'static str,
) -> Result<Table<K, V>, OpenError> {
    let map = pinned(dir, name)?;
    check(&map, name, size_of::<K>(), size_of::<V>())?;
    Ok(Table::new(owned(&map, name)?))
}

pub(super) fn array<T: Plain>(dir: &Path, name: &'static str, writable: bool) -> Result<Array<T>, OpenError> {
    let map = pinned(dir, name)?;
    check(&map, name, size_of::<u32>(), size_of::<T>())?;
    let len = map.info().map_err(|source| OpenError::Pin { name, source })?.max_entries();
    Array::new(&owned(&map, name)?, len, writable).map_err(|source| OpenError::Memory { name, source })
}

/// How many entries fit into a map.
pub(super) fn room(dir: &Path, name: &'static str) -> Result<usize, OpenError> {
    let info = pinned(dir, name)?.info().map_err(|source| OpenError::Pin { name, source })?;
    Ok(info.max_entries() as usize)
}

/// The kernel copies keys and values of its own sizes through our pointers: never a map of other ones.
fn check(map: &MapData, name: &'static str, key: usize, value: usize) -> Result<(), OpenError> {
    let info = map.info().map_err(|source| OpenError::Pin { name, source })?;
    if (info.key_size() as usize, info.value_size() as usize) == (key, value) {
        return Ok(());
    }
    Err(OpenError::Memory { name, source: io::Error::other("its records have other sizes than this program's") })
}
