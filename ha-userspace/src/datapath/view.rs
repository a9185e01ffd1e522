//! The maps of a node, to be looked at: what a packet is explained over. Nothing here can write.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::Path;

use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use ha_common::abi::{
    Address, AddressKey, Backend, Embryo, Exception, Fence, Filter, FilterBit, FilterKind, Flow, FlowKey, Fragment,
    FragmentKey, IcmpBudget, Interface, Ip, Link, Load, NO_BACKEND, Node, Owner, PrefixKey, ReverseKey, ServiceKey, Session,
    SessionKey, Snip, Source as Client, SourceKey, StrayBudget, Throttle, Vserver, prefix_action,
};
use ha_common::tables::Route;
use ha_common::time::{Nanos, Ticks};

use super::array::Array;
use super::clocks::Clocks;
use super::loader::{CLOCKS, WAY};
use super::maps::{OpenError, array, room, table};
use super::pins::{Pins, children};
use super::plain::Plain;
use super::shared::Shared;
use super::table::{Cursor, Table};
use super::ways::Ways;
use crate::clock;
use crate::explain::{Room, Source};

/// Entries that are counted by one call.
const CHUNK: usize = 4096;

/// See the module.
pub struct View {
    shared: Shared,
    filters: Array<Filter>,
    interfaces: Table<u32, Interface>,
    legs: Table<u32, u32>,
    links: Table<u32, u32>,
    addresses: Table<AddressKey, Address>,
    vserver_keys: Table<ServiceKey, u32>,
    vservers: Array<Vserver>,
    rings: Array<u32>,
    backends: Array<Backend>,
    snips: Array<Snip>,
    owners: Table<ServiceKey, Owner>,
    flows: Table<FlowKey, Flow>,
    embryos: Table<FlowKey, Embryo>,
    fragments: Table<FragmentKey, Fragment>,
    exceptions: Table<FlowKey, Exception>,
    reverse: Table<ReverseKey, FlowKey>,
    reverse_embryos: Table<ReverseKey, FlowKey>,
    loads: Array<Load>,
    turns: Array<u64>,
    sessions: Table<SessionKey, Session>,
    session_embryos: Table<SessionKey, Session>,
    prefixes: Table<PrefixKey, u32>,
    clients: Table<SourceKey, Client>,
    throttles: Array<Throttle>,
    vrids: Table<u32, u32>,
    /// How many entries fit.
    rooms: [(Room, usize); 4],
    /// Whether one more does, once that was counted.
    counted: RefCell<HashMap<Room, bool>>,
    /// Not there if the pinned programs are of a release that has none.
    programs: Option<(Clocks, Ways)>,
    fault: OnceCell<io::Error>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

impl View {
    /// Opens what a node with this pin directory left in the kernel, with or without a daemon.
    ///
    /// # Errors
    /// When a map is missing, is of another layout, or may not be opened.
    pub fn open(pins: &Path) -> Result<Self, OpenError> {
        let pins = Pins::new(pins);
        let dir = &pins.maps();
        Ok(View {
            shared: Shared::new(array(dir, "NODE", false)?, array(dir, "FENCE", false)?, array(dir, "LINKS", false)?),
            filters: array(dir, "FILTERS", false)?,
            interfaces: table(dir, "INTERFACES")?,
            legs: table(dir, "LEG_IFINDEX")?,
            links: table(dir, "LINK_IFINDEX")?,
            addresses: table(dir, "ADDRESSES")?,
            vserver_keys: table(dir, "VSERVER_INDEX")?,
            vservers: array(dir, "VSERVERS", false)?,
            rings: array(dir, "RINGS", false)?,
            backends: array(dir, "BACKENDS", false)?,
            snips: array(dir, "SNIPS", false)?,
            owners: table(dir, "BACKEND_INDEX")?,
            flows: table(dir, "FLOWS")?,
            embryos: table(dir, "EMBRYONIC")?,
            fragments: table(dir, "FRAGMENTS")?,
            exceptions: table(dir, "EXCEPTIONS")?,
            reverse: table(dir, "REVERSE")?,
            reverse_embryos: table(dir, "REVERSE_EMBRYONIC")?,
            loads: array(dir, "LOADS", false)?,
            turns: array(dir, "TURNS", false)?,
            sessions: table(dir, "PERSIST")?,
            session_embryos: table(dir, "PERSIST_EMBRYONIC")?,
            prefixes: table(dir, "PREFIXES")?,
            clients: table(dir, "SOURCES")?,
            throttles: array(dir, "THROTTLES", false)?,
            vrids: table(dir, "VRIDS")?,
            rooms: [
                (Room::Flows, room(dir, "FLOWS")?),
                (Room::Exceptions, room(dir, "EXCEPTIONS")?),
                (Room::Reverse, room(dir, "REVERSE")?),
                (Room::Sessions, room(dir, "PERSIST")?),
            ],
            counted: RefCell::default(),
            programs: programs(&pins),
            fault: OnceCell::new(),
        })
    }

    /// Why the answers were not those of the maps, if the kernel refused one.
    #[must_use]
    pub fn fault(&self) -> Option<&io::Error> {
        self.fault.get()
    }

    /// Whether the kernel's routing table can be asked.
    #[must_use]
    pub fn knows_ways(&self) -> bool {
        self.programs.is_some()
    }

    /// Interfaces that are legs, by the number of the leg.
    #[must_use]
    pub fn legs(&self) -> Vec<u32> {
        let mut legs = self.read(self.legs.entries()).unwrap_or_default();
        legs.sort_unstable();
        legs.into_iter().map(|(_, ifindex)| ifindex).filter(|&ifindex| ifindex != 0).collect()
    }

    fn read<T>(&self, answer: io::Result<T>) -> Option<T> {
        answer.map_err(|error| self.fault.set(error)).ok()
    }

    fn look_up<K, V>(&self, table: &Table<K, V>, key: &K) -> Option<V>
    where
        K: Plain + Clone + Default,
        V: Plain + Clone + Default,
    {
        self.read(table.get(key))?
    }

    fn count(&self, table: Room) -> io::Result<usize> {
        match table {
            Room::Flows => count(&self.flows),
            Room::Exceptions => count(&self.exceptions),
            Room::Reverse => count(&self.reverse),
            Room::Sessions => count(&self.sessions),
        }
    }
}

fn count<K: Plain + Clone + Default, V: Plain + Clone + Default>(table: &Table<K, V>) -> io::Result<usize> {
    let (mut cursor, mut count, mut chunk) = (Cursor::default(), 0, Vec::new());
    loop {
        let more = table.walk(&mut cursor, CHUNK, &mut chunk)?;
        count += chunk.len();
        chunk.clear();
        if !more {
            return Ok(count);
        }
    }
}

/// The element at `index`, if there is one.
fn at<T: Plain>(array: &Array<T>, index: u32) -> Option<T> {
    let index = index as usize;
    (index < array.len()).then(|| array.get(index))
}

/// The programs that answer questions: of whichever object is pinned.
fn programs(pins: &Pins) -> Option<(Clocks, Ways)> {
    Some((Clocks::new(program(pins, CLOCKS)?), Ways::new(program(pins, WAY)?)))
}

/// The program that reads the clocks.
pub(super) fn clocks(pins: &Pins) -> Option<Clocks> {
    program(pins, CLOCKS).map(Clocks::new)
}

fn program(pins: &Pins, name: &str) -> Option<Xdp> {
    let open = |dir: std::path::PathBuf| Xdp::from_pin(dir.join(name), XdpAttachType::Interface).ok();
    children(&pins.all_programs()).into_iter().find_map(open)
}

impl Source for View {
    fn node(&self) -> Node {
        self.shared.node()
    }
    fn fence(&self) -> Fence {
        self.shared.fence().clone()
    }
    fn link(&self, link: u32) -> Option<Link> {
        ((link as usize) < ha_common::abi::MAX_LINKS).then(|| self.shared.read_link(link as usize))?
    }
    fn interface(&self, ifindex: u32) -> Option<Interface> {
        self.look_up(&self.interfaces, &ifindex)
    }
    fn leg_ifindex(&self, leg: u32) -> Option<u32> {
        self.look_up(&self.legs, &leg)
    }
    fn link_ifindex(&self, link: u32) -> Option<u32> {
        self.look_up(&self.links, &link)
    }
    fn may_know(&self, kind: FilterKind, bit: FilterBit) -> bool {
        let word = self.filters.word64(kind as usize, bit.word() * 8);
        word.load(std::sync::atomic::Ordering::Relaxed) & bit.mask() != 0
    }
    fn address(&self, key: &AddressKey) -> Option<Address> {
        self.look_up(&self.addresses, key)
    }
    fn vserver_index(&self, key: &ServiceKey) -> Option<u32> {
        self.look_up(&self.vserver_keys, key)
    }
    fn vserver(&self, index: u32) -> Option<Vserver> {
        at(&self.vservers, index)
    }
    fn ring(&self, slot: u32) -> u32 {
        at(&self.rings, slot).unwrap_or(NO_BACKEND)
    }
    fn backend(&self, index: u32) -> Option<Backend> {
        at(&self.backends, index)
    }
    fn snip(&self, index: u32) -> Option<Snip> {
        at(&self.snips, index)
    }
    fn owner(&self, key: &ServiceKey) -> Option<Owner> {
        self.look_up(&self.owners, key)
    }
    fn flow(&self, key: &FlowKey) -> Option<Flow> {
        self.look_up(&self.flows, key)
    }
    fn embryo(&self, key: &FlowKey) -> Option<Embryo> {
        self.look_up(&self.embryos, key)
    }
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment> {
        self.look_up(&self.fragments, key)
    }
    fn exception(&self, key: &FlowKey) -> Option<Exception> {
        self.look_up(&self.exceptions, key)
    }
    fn reverse(&self, key: &ReverseKey) -> Option<FlowKey> {
        self.look_up(&self.reverse, key)
    }
    fn reverse_embryo(&self, key: &ReverseKey) -> Option<FlowKey> {
        self.look_up(&self.reverse_embryos, key)
    }
    fn load(&self, backend: u32) -> Option<Load> {
        at(&self.loads, backend)
    }
    fn turn(&self, vserver: u32) -> Option<u64> {
        at(&self.turns, vserver)
    }
    fn session(&self, key: &SessionKey) -> Option<Session> {
        self.look_up(&self.sessions, key)
    }
    fn session_embryo(&self, key: &SessionKey) -> Option<Session> {
        self.look_up(&self.session_embryos, key)
    }
    fn prefix(&self, key: &PrefixKey) -> u32 {
        self.look_up(&self.prefixes, key).unwrap_or(prefix_action::NONE)
    }
    fn client(&self, key: &SourceKey) -> Option<Client> {
        self.look_up(&self.clients, key)
    }
    fn throttle(&self, index: u32) -> Option<Throttle> {
        at(&self.throttles, index)
    }
    /// Counted once: nobody keeps count, and a large table takes a moment.
    fn has_room(&self, table: Room) -> bool {
        *self.counted.borrow_mut().entry(table).or_insert_with(|| {
            let most = self.rooms.iter().find(|(room, _)| *room == table).map_or(0, |(_, most)| *most);
            self.read(self.count(table)).is_none_or(|count| count < most)
        })
    }
    /// As of a CPU that has sent none lately: which one gets the packet is not known.
    fn icmp_budget(&self) -> IcmpBudget {
        IcmpBudget::default()
    }
    fn reset_budget(&self) -> IcmpBudget {
        IcmpBudget::default()
    }
    fn stray_budget(&self) -> StrayBudget {
        StrayBudget::default()
    }
    fn vrid(&self, vrid: u8) -> u32 {
        self.look_up(&self.vrids, &u32::from(vrid)).unwrap_or(0)
    }
    fn now(&self) -> Nanos {
        clock::now()
    }
    fn ticks(&self) -> Ticks {
        let ticks = self.programs.as_ref().and_then(|(clocks, _)| self.read(clocks.read()));
        ticks.map_or(Ticks(0), |(ticks, _)| ticks)
    }
    fn route(&self, ifindex: u32, source: &Ip, destination: &Ip) -> Route {
        let route = self.programs.as_ref().and_then(|(_, ways)| self.read(ways.ask(ifindex, source, destination)));
        route.unwrap_or(Route::Unknown)
    }
}
