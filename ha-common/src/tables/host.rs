//! [`Tables`] on the host: for vectors, tests and simulation.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::{Claimed, Full, Route, Tables};
use crate::abi::{
    Address, AddressKey, Backend, Counter, Embryo, Event, Exception, Fence, FilterBit, FilterKind, Flow, FlowKey, Fragment,
    FragmentKey, FragmentRoom, IcmpBudget, Interface, Ip, Link, Load, MAX_LEGS, MAX_LINKS, NO_BACKEND, Node, Owner, PrefixKey,
    Reason, ReverseKey, ServiceKey, Session, SessionKey, Snip, Source, SourceKey, StrayBudget, Throttle, Vserver,
    prefix_action,
};
use crate::pipeline::{Plan, Steps};
use crate::time::{Nanos, Ticks};
use crate::wire::heartbeat::Extension;

/// Every map as a collection; what a daemon writes is public, what the pipeline writes is behind a checked borrow.
#[derive(Debug)]
pub struct HostTables {
    /// `NODE[0]`.
    pub node: Node,
    /// `FENCE[0]`.
    pub fence: Fence,
    /// `LINKS`.
    pub links: Vec<RefCell<Link>>,
    /// `INTERFACES`.
    pub interfaces: HashMap<u32, Interface>,
    /// `LEG_IFINDEX`.
    pub leg_ifindex: HashMap<u32, u32>,
    /// `LINK_IFINDEX`.
    pub link_ifindex: HashMap<u32, u32>,
    /// `ADDRESSES`.
    pub addresses: HashMap<AddressKey, Address>,
    /// `VSERVER_INDEX`.
    pub vserver_index: HashMap<ServiceKey, u32>,
    /// `VSERVERS`.
    pub vservers: Vec<Vserver>,
    /// `RINGS`.
    pub rings: Vec<u32>,
    /// `BACKENDS`.
    pub backends: Vec<Backend>,
    /// `LOADS`.
    pub loads: Vec<Load>,
    /// `TURNS`.
    pub turns: Vec<Cell<u64>>,
    /// `SNIPS`.
    pub snips: Vec<Snip>,
    /// `BACKEND_INDEX`.
    pub owners: HashMap<ServiceKey, Owner>,
    /// `FLOWS`.
    pub flows: RefCell<HashMap<FlowKey, Flow>>,
    /// Room in `FLOWS`.
    pub flows_max: usize,
    /// `EMBRYONIC`.
    pub embryonic: RefCell<HashMap<FlowKey, Embryo>>,
    /// `EXCEPTIONS`.
    pub exceptions: RefCell<HashMap<FlowKey, Exception>>,
    /// Room in `EXCEPTIONS`.
    pub exceptions_max: usize,
    /// `REVERSE`.
    pub reverse: RefCell<HashMap<ReverseKey, FlowKey>>,
    /// `REVERSE_EMBRYONIC`.
    pub reverse_embryonic: RefCell<HashMap<ReverseKey, FlowKey>>,
    /// Room in `REVERSE`.
    pub reverse_max: usize,
    /// `PLAN_ROOM[0]`.
    pub plan_room: RefCell<Plan>,
    /// `PERSIST`.
    pub sessions: RefCell<HashMap<SessionKey, Session>>,
    /// `PERSIST_EMBRYONIC`.
    pub session_embryos: RefCell<HashMap<SessionKey, Session>>,
    /// Room in `PERSIST`.
    pub sessions_max: usize,
    /// `PREFIXES`.
    pub prefixes: HashMap<PrefixKey, u32>,
    /// `SOURCES`.
    pub sources: RefCell<HashMap<SourceKey, Source>>,
    /// `THROTTLES`.
    pub throttles: Vec<Throttle>,
    /// `FRAGMENTS`.
    pub fragments: RefCell<HashMap<FragmentKey, Fragment>>,
    /// `FLOW_ROOM[0]`.
    pub flow_room: RefCell<Flow>,
    /// `FRAGMENT_ROOM[0]`.
    pub fragment_room: RefCell<FragmentRoom>,
    /// `FRAME_ROOM[0]`.
    pub frame_room: RefCell<Extension>,
    /// `ICMP[0]`.
    pub icmp_budget: RefCell<IcmpBudget>,
    /// `RESETS[0]`.
    pub reset_budget: RefCell<IcmpBudget>,
    /// `STRAYS[0]`.
    pub stray_budget: RefCell<StrayBudget>,
    /// `STRAY_LEGS`.
    pub stray_legs: Vec<RefCell<u64>>,
    /// `VRIDS`.
    pub vrids: HashMap<u8, u32>,
    /// The routing table, by destination.
    pub routes: HashMap<Ip, Route>,
    /// What time it is.
    pub now: Cell<Nanos>,
    /// The same, roughly.
    pub ticks: Cell<Ticks>,
    /// `COUNTERS`.
    pub counters: RefCell<BTreeMap<Reason, Counter>>,
    /// `EVENTS` and `RULINGS`.
    pub events: RefCell<Vec<Event>>,
}

impl Default for HostTables {
    fn default() -> Self {
        HostTables {
            node: Node::default(),
            fence: Fence::default(),
            links: (0..MAX_LINKS).map(|_| RefCell::default()).collect(),
            interfaces: HashMap::new(),
            leg_ifindex: HashMap::new(),
            link_ifindex: HashMap::new(),
            addresses: HashMap::new(),
            vserver_index: HashMap::new(),
            vservers: Vec::new(),
            rings: Vec::new(),
            backends: Vec::new(),
            loads: Vec::new(),
            turns: Vec::new(),
            snips: Vec::new(),
            owners: HashMap::new(),
            flows: RefCell::default(),
            flows_max: usize::MAX,
            embryonic: RefCell::default(),
            exceptions: RefCell::default(),
            exceptions_max: usize::MAX,
            reverse: RefCell::default(),
            reverse_embryonic: RefCell::default(),
            reverse_max: usize::MAX,
            plan_room: RefCell::default(),
            sessions: RefCell::default(),
            session_embryos: RefCell::default(),
            sessions_max: usize::MAX,
            prefixes: HashMap::new(),
            sources: RefCell::default(),
            throttles: Vec::new(),
            fragments: RefCell::default(),
            flow_room: RefCell::default(),
            fragment_room: RefCell::default(),
            frame_room: RefCell::default(),
            icmp_budget: RefCell::default(),
            reset_budget: RefCell::default(),
            stray_budget: RefCell::default(),
            stray_legs: (0..MAX_LEGS).map(|_| RefCell::default()).collect(),
            vrids: HashMap::new(),
            routes: HashMap::new(),
            now: Cell::default(),
            ticks: Cell::default(),
            counters: RefCell::default(),
            events: RefCell::default(),
        }
    }
}

fn entry<'a, K: Hash + Eq, V>(map: &'a RefCell<HashMap<K, V>>, key: &K) -> Option<RefMut<'a, V>> {
    RefMut::filter_map(map.borrow_mut(), |map| map.get_mut(key)).ok()
}

fn put<K: Hash + Eq, V>(map: &RefCell<HashMap<K, V>>, max: usize, key: K, value: V) -> Result<(), Full> {
    let mut map = map.borrow_mut();
    if !map.contains_key(&key) && map.len() >= max {
        return Err(Full);
    }
    map.insert(key, value);
    Ok(())
}

fn claim(map: &RefCell<HashMap<ReverseKey, FlowKey>>, max: usize, key: &ReverseKey, flow: &FlowKey) -> Claimed {
    if map.borrow().contains_key(key) {
        return Claimed::Taken;
    }
    if put(map, max, *key, *flow).is_ok() { Claimed::Yes } else { Claimed::Full }
}

impl Steps for HostTables {}

impl Tables for HostTables {
    type Mut<'a, T: 'a> = RefMut<'a, T>;

    fn node(&self) -> Option<&Node> {
        Some(&self.node)
    }
    fn fence(&self) -> Option<&Fence> {
        Some(&self.fence)
    }
    fn link_mut(&self, link: u32) -> Option<RefMut<'_, Link>> {
        self.links.get(link as usize).map(RefCell::borrow_mut)
    }
    fn interface(&self, ifindex: u32) -> Option<&Interface> {
        self.interfaces.get(&ifindex)
    }
    fn leg_interface(&self, leg: u32) -> Option<&Interface> {
        self.interfaces.get(self.leg_ifindex.get(&leg)?)
    }
    fn link_interface(&self, link: u32) -> Option<&Interface> {
        self.interfaces.get(self.link_ifindex.get(&link)?)
    }

    /// A filter that every key passes: what it saves is time.
    fn may_know(&self, _: FilterKind, _: FilterBit) -> bool {
        true
    }
    fn address(&self, key: &AddressKey) -> Option<&Address> {
        self.addresses.get(key)
    }
    fn vserver_index(&self, key: &ServiceKey) -> Option<u32> {
        self.vserver_index.get(key).copied()
    }
    fn vserver(&self, index: u32) -> Option<&Vserver> {
        self.vservers.get(index as usize)
    }
    fn ring(&self, slot: u32) -> u32 {
        self.rings.get(slot as usize).copied().unwrap_or(NO_BACKEND)
    }
    fn backend(&self, index: u32) -> Option<&Backend> {
        self.backends.get(index as usize)
    }
    fn load(&self, backend: u32) -> Option<&Load> {
        self.loads.get(backend as usize)
    }
    fn turn(&self, vserver: u32) -> u64 {
        self.turns.get(vserver as usize).map_or(0, |turn| turn.replace(turn.get().wrapping_add(1)))
    }
    fn snip(&self, index: u32) -> Option<&Snip> {
        self.snips.get(index as usize)
    }
    fn owner(&self, key: &ServiceKey) -> Option<&Owner> {
        self.owners.get(key)
    }

    fn flow_mut(&self, key: &FlowKey) -> Option<RefMut<'_, Flow>> {
        entry(&self.flows, key)
    }
    fn flow_insert(&self, key: &FlowKey, flow: &Flow) -> Result<(), Full> {
        if self.flows.borrow().contains_key(key) {
            return Ok(());
        }
        put(&self.flows, self.flows_max, *key, *flow)
    }
    fn embryo(&self, key: &FlowKey) -> Option<Embryo> {
        self.embryonic.borrow().get(key).copied()
    }
    fn embryo_insert(&self, key: &FlowKey, embryo: &Embryo) {
        self.embryonic.borrow_mut().insert(*key, *embryo);
    }
    fn exception_mut(&self, key: &FlowKey) -> Option<RefMut<'_, Exception>> {
        entry(&self.exceptions, key)
    }
    fn exception_insert(&self, key: &FlowKey, exception: &Exception) -> Result<(), Full> {
        put(&self.exceptions, self.exceptions_max, *key, *exception)
    }
    fn reverse(&self, key: &ReverseKey) -> Option<FlowKey> {
        self.reverse.borrow().get(key).or(self.reverse_embryonic.borrow().get(key)).copied()
    }
    fn reverse_recorded(&self, key: &ReverseKey) -> Option<FlowKey> {
        self.reverse.borrow().get(key).copied()
    }
    fn reverse_insert(&self, key: &ReverseKey, flow: &FlowKey) -> Result<(), Full> {
        put(&self.reverse, self.reverse_max, *key, *flow)
    }

    fn reverse_embryo_insert(&self, key: &ReverseKey, flow: &FlowKey) {
        self.reverse_embryonic.borrow_mut().insert(*key, *flow);
    }
    fn reverse_claim(&self, key: &ReverseKey, flow: &FlowKey) -> Claimed {
        claim(&self.reverse, self.reverse_max, key, flow)
    }
    fn reverse_embryo_claim(&self, key: &ReverseKey, flow: &FlowKey) -> Claimed {
        claim(&self.reverse_embryonic, usize::MAX, key, flow)
    }
    fn reverse_remove(&self, key: &ReverseKey) {
        self.reverse.borrow_mut().remove(key);
    }

    fn plan_room(&self) -> Option<RefMut<'_, Plan>> {
        Some(self.plan_room.borrow_mut())
    }
    fn session_mut(&self, key: &SessionKey) -> Option<RefMut<'_, Session>> {
        entry(&self.sessions, key)
    }
    fn session_insert(&self, key: &SessionKey, session: &Session) -> Result<(), Full> {
        if self.sessions.borrow().contains_key(key) {
            return Ok(());
        }
        put(&self.sessions, self.sessions_max, *key, *session)
    }
    fn session_embryo(&self, key: &SessionKey) -> u32 {
        self.session_embryos.borrow().get(key).map_or(NO_BACKEND, |session| session.backend)
    }
    fn session_embryo_insert(&self, key: &SessionKey, session: &Session) {
        self.session_embryos.borrow_mut().insert(*key, *session);
    }
    fn session_embryo_remove(&self, key: &SessionKey) {
        self.session_embryos.borrow_mut().remove(key);
    }

    fn prefix(&self, key: &PrefixKey) -> u32 {
        let fits = |prefix: &&PrefixKey| prefix.vserver == key.vserver && prefix.has(&key.addr);
        let longest = self.prefixes.keys().filter(fits).max_by_key(|prefix| prefix.len);
        longest.map_or(prefix_action::NONE, |prefix| self.prefixes[prefix])
    }
    fn source(&self, key: &SourceKey) -> Option<RefMut<'_, Source>> {
        entry(&self.sources, key)
    }
    fn source_insert(&self, key: &SourceKey, source: &Source) {
        self.sources.borrow_mut().insert(*key, source.clone());
    }
    fn throttle(&self, index: u32) -> Option<&Throttle> {
        self.throttles.get(index as usize)
    }

    fn fragment(&self, key: &FragmentKey) -> Option<RefMut<'_, Fragment>> {
        entry(&self.fragments, key)
    }
    fn fragment_insert(&self, key: &FragmentKey, fragment: &Fragment) {
        self.fragments.borrow_mut().insert(*key, *fragment);
    }

    fn flow_room(&self) -> Option<RefMut<'_, Flow>> {
        Some(self.flow_room.borrow_mut())
    }
    fn fragment_room(&self) -> Option<RefMut<'_, FragmentRoom>> {
        Some(self.fragment_room.borrow_mut())
    }
    fn frame_room(&self) -> Option<RefMut<'_, Extension>> {
        Some(self.frame_room.borrow_mut())
    }
    fn icmp_budget(&self) -> Option<RefMut<'_, IcmpBudget>> {
        Some(self.icmp_budget.borrow_mut())
    }
    fn reset_budget(&self) -> Option<RefMut<'_, IcmpBudget>> {
        Some(self.reset_budget.borrow_mut())
    }
    fn stray_budget(&self) -> Option<RefMut<'_, StrayBudget>> {
        Some(self.stray_budget.borrow_mut())
    }

    fn stray_leg(&self, leg: u32) -> Option<RefMut<'_, u64>> {
        self.stray_legs.get(leg as usize).map(RefCell::borrow_mut)
    }
    fn vrid(&self, vrid: u8) -> u32 {
        self.vrids.get(&vrid).copied().unwrap_or(0)
    }

    fn now(&self) -> Nanos {
        self.now.get()
    }
    fn ticks(&self) -> Ticks {
        self.ticks.get()
    }
    fn route(&self, _ifindex: u32, _source: &Ip, destination: &Ip) -> Route {
        self.routes.get(destination).copied().unwrap_or(Route::Unknown)
    }

    fn count(&self, reason: Reason, len: usize) {
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(reason).or_default();
        counter.packets += 1;
        counter.bytes += len as u64;
    }
    fn emit(&self, event: &Event) {
        self.events.borrow_mut().push(*event);
    }
}
