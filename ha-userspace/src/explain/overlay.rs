//! [`Tables`] over a [`Source`]: what the pipeline writes stays here and is thrown away, and what it asks is taken down.
//!
//! Records are read once and kept, so that one explanation is of one moment. Several packets in a row, as a capture has them, find what
//! those before them would have left.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::hash::Hash;

use elsa::FrozenMap;
use ha_common::abi::{
    Address, AddressKey, Backend, Embryo, Event, Exception, Fence, FilterBit, FilterKind, Flow, FlowKey, Fragment, FragmentKey,
    FragmentRoom, IcmpBudget, Interface, Ip, Link, Load, NO_BACKEND, Node, Owner, PrefixKey, Reason, ReverseKey, ServiceKey,
    Session, SessionKey, Snip, Source as Client, SourceKey, StrayBudget, Throttle, Vserver,
};
use ha_common::packet::PacketMut;
use ha_common::pipeline::steps::Fate;
use ha_common::pipeline::{Plan, Steps, Story, steps};
use ha_common::tables::{Claimed, Full, Route, Tables};
use ha_common::time::{Nanos, Ticks};
use ha_common::wire::heartbeat::Extension;

use super::{Look, Room, Source};

/// Records that the pipeline only reads; what is not there is kept as well.
struct Read<K, V>(FrozenMap<K, Box<Option<V>>>);

impl<K: Eq + Hash + Copy, V> Read<K, V> {
    fn new() -> Self {
        Read(FrozenMap::new())
    }

    fn get(&self, key: &K, fetch: impl FnOnce(&K) -> Option<V>) -> Option<&V> {
        self.0.get(key).unwrap_or_else(|| self.0.insert(*key, Box::new(fetch(key)))).as_ref()
    }
}

/// Records that the pipeline changes: as they were, or as it left them.
struct Written<K, V>(RefCell<HashMap<K, Option<V>>>);

impl<K: Eq + Hash + Copy, V: Clone> Written<K, V> {
    fn new() -> Self {
        Written(RefCell::default())
    }

    fn entry(&self, key: &K, fetch: impl FnOnce(&K) -> Option<V>) -> Option<RefMut<'_, V>> {
        self.0.borrow_mut().entry(*key).or_insert_with(|| fetch(key));
        RefMut::filter_map(self.0.borrow_mut(), |map| map.get_mut(key).and_then(Option::as_mut)).ok()
    }

    fn get(&self, key: &K, fetch: impl FnOnce(&K) -> Option<V>) -> Option<V> {
        self.entry(key, fetch).map(|value| value.clone())
    }

    fn put(&self, key: &K, value: Option<V>) {
        self.0.borrow_mut().insert(*key, value);
    }
}

/// See the module.
pub struct Overlay<'s, S> {
    source: &'s S,
    node: Node,
    fence: Fence,
    looks: RefCell<Vec<Look>>,
    links: Written<u32, Link>,
    interfaces: Read<u32, Interface>,
    addresses: Read<AddressKey, Address>,
    vservers: Read<u32, Vserver>,
    backends: Read<u32, Backend>,
    snips: Read<u32, Snip>,
    owners: Read<ServiceKey, Owner>,
    flows: Written<FlowKey, Flow>,
    embryos: Written<FlowKey, Embryo>,
    fragments: Written<FragmentKey, Fragment>,
    exceptions: Written<FlowKey, Exception>,
    reverse: Written<ReverseKey, FlowKey>,
    reverse_embryos: Written<ReverseKey, FlowKey>,
    clients: Written<SourceKey, Client>,
    /// Counted in, but not in the source's.
    throttles: Read<u32, Throttle>,
    loads: Read<u32, Load>,
    turns: Written<u32, u64>,
    sessions: Written<SessionKey, Session>,
    session_embryos: Written<SessionKey, Session>,
    plan_room: RefCell<Plan>,
    fragment_room: RefCell<FragmentRoom>,
    flow_room: RefCell<Flow>,
    frame_room: RefCell<Extension>,
    icmp_budget: RefCell<IcmpBudget>,
    reset_budget: RefCell<IcmpBudget>,
    stray_budget: RefCell<StrayBudget>,
    stray_legs: Written<u32, u64>,
}

impl<'s, S: Source> Overlay<'s, S> {
    /// Nothing is written yet.
    pub fn new(source: &'s S) -> Self {
        Overlay {
            node: source.node(),
            fence: source.fence(),
            icmp_budget: RefCell::new(source.icmp_budget()),
            reset_budget: RefCell::new(source.reset_budget()),
            stray_budget: RefCell::new(source.stray_budget()),
            source,
            looks: RefCell::default(),
            links: Written::new(),
            interfaces: Read::new(),
            addresses: Read::new(),
            vservers: Read::new(),
            backends: Read::new(),
            snips: Read::new(),
            owners: Read::new(),
            flows: Written::new(),
            embryos: Written::new(),
            fragments: Written::new(),
            exceptions: Written::new(),
            reverse: Written::new(),
            reverse_embryos: Written::new(),
            clients: Written::new(),
            throttles: Read::new(),
            loads: Read::new(),
            turns: Written::new(),
            sessions: Written::new(),
            session_embryos: Written::new(),
            plan_room: RefCell::default(),
            fragment_room: RefCell::default(),
            flow_room: RefCell::default(),
            frame_room: RefCell::default(),
            stray_legs: Written::new(),
        }
    }

    /// What is below.
    pub fn below(&self) -> &S {
        self.source
    }

    /// What was asked since this was called last.
    pub fn take_looks(&self) -> Vec<Look> {
        self.looks.take()
    }

    fn look(&self, look: Look) {
        self.looks.borrow_mut().push(look);
    }

    /// Takes `look` down, and gives on what was answered.
    fn tell<T: Copy>(&self, found: Option<&T>, look: impl FnOnce(Option<T>) -> Look) {
        self.look(look(found.copied()));
    }

    /// Whether there is room for an entry that is not there yet.
    fn room(&self, table: Room) -> Result<(), Full> {
        if self.source.has_room(table) {
            return Ok(());
        }
        self.look(Look::Full(table));
        Err(Full)
    }
}

impl<S: Source> Steps for Overlay<'_, S> {
    fn place(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) {
        steps::place(self, vserver, story, plan);
        self.look(Look::Placed(plan.placement));
    }

    fn carry_out<P: PacketMut>(&self, packet: &mut P, story: &Story, plan: &mut Plan) {
        self.look(Look::CarriedOut(plan.step, plan.index));
        steps::carry_out(packet, self, story, plan);
    }

    fn outlive(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) -> Fate {
        let fate = steps::outlive(self, vserver, story, plan);
        self.look(Look::Outlived(fate));
        fate
    }

    fn reset<P: PacketMut>(&self, packet: &mut P, story: &Story, plan: &mut Plan) {
        self.look(Look::CarriedOut(plan.step, plan.index));
        steps::reset(packet, self, story, plan);
    }

    fn refuse<P: PacketMut>(&self, packet: &mut P, story: &Story, plan: &mut Plan) {
        self.look(Look::Refused);
        steps::refuse(packet, self, story, plan);
    }
}

impl<S: Source> Tables for Overlay<'_, S> {
    type Mut<'a, T: 'a>
        = RefMut<'a, T>
    where
        Self: 'a;

    fn node(&self) -> Option<&Node> {
        Some(&self.node)
    }
    fn fence(&self) -> Option<&Fence> {
        self.look(Look::Gate);
        Some(&self.fence)
    }
    fn link_mut(&self, link: u32) -> Option<RefMut<'_, Link>> {
        self.links.entry(&link, |link| self.source.link(*link))
    }
    fn interface(&self, ifindex: u32) -> Option<&Interface> {
        let found = self.interfaces.get(&ifindex, |ifindex| self.source.interface(*ifindex));
        self.tell(found, |found| Look::Interface(ifindex, found));
        found
    }
    fn leg_interface(&self, leg: u32) -> Option<&Interface> {
        self.interface(self.source.leg_ifindex(leg)?)
    }
    fn link_interface(&self, link: u32) -> Option<&Interface> {
        self.interface(self.source.link_ifindex(link)?)
    }

    fn may_know(&self, kind: FilterKind, bit: FilterBit) -> bool {
        let known = self.source.may_know(kind, bit);
        if !known {
            self.look(Look::Unknown(kind));
        }
        known
    }
    fn address(&self, key: &AddressKey) -> Option<&Address> {
        let found = self.addresses.get(key, |key| self.source.address(key));
        self.tell(found, |found| Look::Address(*key, found));
        found
    }
    fn vserver_index(&self, key: &ServiceKey) -> Option<u32> {
        let found = self.source.vserver_index(key);
        self.look(Look::VserverIndex(*key, found));
        found
    }
    fn vserver(&self, index: u32) -> Option<&Vserver> {
        let found = self.vservers.get(&index, |index| self.source.vserver(*index));
        self.tell(found, |found| Look::Vserver(index, found));
        found
    }
    fn ring(&self, slot: u32) -> u32 {
        let found = self.source.ring(slot);
        self.look(Look::Ring(slot, found));
        found
    }
    fn backend(&self, index: u32) -> Option<&Backend> {
        let found = self.backends.get(&index, |index| self.source.backend(*index));
        self.tell(found, |found| Look::Backend(index, found));
        found
    }
    fn snip(&self, index: u32) -> Option<&Snip> {
        let found = self.snips.get(&index, |index| self.source.snip(*index));
        self.tell(found, |found| Look::Snip(index, found));
        found
    }
    fn owner(&self, key: &ServiceKey) -> Option<&Owner> {
        let found = self.owners.get(key, |key| self.source.owner(key));
        self.tell(found, |found| Look::Owner(*key, found));
        found
    }

    fn flow_mut(&self, key: &FlowKey) -> Option<RefMut<'_, Flow>> {
        let found = self.flows.entry(key, |key| self.source.flow(key));
        self.tell(found.as_deref(), |found| Look::Flow(*key, found));
        found
    }
    fn flow_insert(&self, key: &FlowKey, flow: &Flow) -> Result<(), Full> {
        let known = self.flows.get(key, |key| self.source.flow(key)).is_some();
        let inserted = if known { Ok(()) } else { self.room(Room::Flows) };
        self.look(Look::FlowInsert(*key, inserted.is_ok()));
        if inserted.is_ok() && !known {
            self.flows.put(key, Some(*flow));
        }
        inserted
    }
    fn embryo(&self, key: &FlowKey) -> Option<Embryo> {
        let found = self.embryos.get(key, |key| self.source.embryo(key));
        self.look(Look::Embryo(*key, found));
        found
    }
    fn embryo_insert(&self, key: &FlowKey, embryo: &Embryo) {
        self.look(Look::EmbryoInsert(*key, *embryo));
        self.embryos.put(key, Some(*embryo));
    }
    fn fragment(&self, key: &FragmentKey) -> Option<RefMut<'_, Fragment>> {
        self.fragments.entry(key, |key| self.source.fragment(key))
    }
    fn fragment_insert(&self, key: &FragmentKey, fragment: &Fragment) {
        self.fragments.put(key, Some(*fragment));
    }
    fn fragment_room(&self) -> Option<RefMut<'_, FragmentRoom>> {
        Some(self.fragment_room.borrow_mut())
    }
    fn exception_mut(&self, key: &FlowKey) -> Option<RefMut<'_, Exception>> {
        let found = self.exceptions.entry(key, |key| self.source.exception(key));
        self.tell(found.as_deref(), |found| Look::Exception(*key, found));
        found
    }
    fn exception_insert(&self, key: &FlowKey, exception: &Exception) -> Result<(), Full> {
        let known = self.exceptions.get(key, |key| self.source.exception(key)).is_some();
        let inserted = if known { Ok(()) } else { self.room(Room::Exceptions) };
        self.look(Look::ExceptionInsert(*key, inserted.is_ok()));
        if inserted.is_ok() {
            self.exceptions.put(key, Some(*exception));
        }
        inserted
    }
    fn reverse(&self, key: &ReverseKey) -> Option<FlowKey> {
        let recorded = self.reverse.get(key, |key| self.source.reverse(key));
        let found = recorded.or_else(|| self.reverse_embryos.get(key, |key| self.source.reverse_embryo(key)));
        self.look(Look::Reverse(*key, found));
        found
    }
    fn reverse_insert(&self, key: &ReverseKey, flow: &FlowKey) -> Result<(), Full> {
        if self.reverse.get(key, |key| self.source.reverse(key)).is_none() {
            self.room(Room::Reverse)?;
        }
        self.reverse.put(key, Some(*flow));
        Ok(())
    }
    fn reverse_embryo_insert(&self, key: &ReverseKey, flow: &FlowKey) {
        self.reverse_embryos.put(key, Some(*flow));
    }
    fn reverse_claim(&self, key: &ReverseKey, flow: &FlowKey) -> Claimed {
        let claimed = match self.reverse.get(key, |key| self.source.reverse(key)) {
            Some(_) => Claimed::Taken,
            None if self.room(Room::Reverse).is_err() => Claimed::Full,
            None => Claimed::Yes,
        };
        if claimed == Claimed::Yes {
            self.reverse.put(key, Some(*flow));
        }
        self.look(Look::Claim(*key, claimed));
        claimed
    }
    fn reverse_embryo_claim(&self, key: &ReverseKey, flow: &FlowKey) -> Claimed {
        let there = self.reverse_embryos.get(key, |key| self.source.reverse_embryo(key)).is_some();
        let claimed = if there { Claimed::Taken } else { Claimed::Yes };
        if !there {
            self.reverse_embryos.put(key, Some(*flow));
        }
        self.look(Look::Claim(*key, claimed));
        claimed
    }
    fn reverse_remove(&self, key: &ReverseKey) {
        self.look(Look::GiveBack(*key));
        self.reverse.put(key, None);
    }

    fn reverse_recorded(&self, key: &ReverseKey) -> Option<FlowKey> {
        self.reverse.get(key, |key| self.source.reverse(key))
    }
    fn prefix(&self, key: &PrefixKey) -> u32 {
        let action = self.source.prefix(key);
        self.look(Look::Prefix(action));
        action
    }
    fn source(&self, key: &SourceKey) -> Option<RefMut<'_, Client>> {
        let found = self.clients.entry(key, |key| self.source.client(key));
        self.look(Look::Client(found.as_ref().map(|client| client.open())));
        found
    }
    fn source_insert(&self, key: &SourceKey, client: &Client) {
        self.clients.put(key, Some(client.clone()));
    }
    fn throttle(&self, index: u32) -> Option<&Throttle> {
        let found = self.throttles.get(&index, |index| self.source.throttle(*index));
        if let Some(throttle) = found {
            self.look(Look::Throttle(index, throttle.cost));
        }
        found
    }
    fn load(&self, backend: u32) -> Option<&Load> {
        let found = self.loads.get(&backend, |backend| self.source.load(*backend));
        self.look(Look::Load(backend, found.map(Load::open)));
        found
    }
    fn turn(&self, vserver: u32) -> u64 {
        let Some(mut turn) = self.turns.entry(&vserver, |vserver| self.source.turn(*vserver)) else {
            return 0;
        };
        let present = *turn;
        *turn = present.wrapping_add(1);
        self.look(Look::Turn(present));
        present
    }
    fn session_mut(&self, key: &SessionKey) -> Option<RefMut<'_, Session>> {
        let found = self.sessions.entry(key, |key| self.source.session(key));
        self.look(Look::Session(found.as_ref().map(|session| session.backend)));
        found
    }
    fn session_insert(&self, key: &SessionKey, session: &Session) -> Result<(), Full> {
        let known = self.sessions.get(key, |key| self.source.session(key)).is_some();
        let inserted = if known { Ok(()) } else { self.room(Room::Sessions) };
        self.look(Look::SessionInsert(inserted.is_ok()));
        if inserted.is_ok() && !known {
            self.sessions.put(key, Some(*session));
        }
        inserted
    }
    fn session_embryo(&self, key: &SessionKey) -> u32 {
        let found = self.session_embryos.get(key, |key| self.source.session_embryo(key)).map(|session| session.backend);
        self.look(Look::Session(found));
        found.unwrap_or(NO_BACKEND)
    }
    fn session_embryo_insert(&self, key: &SessionKey, session: &Session) {
        self.look(Look::SessionInsert(true));
        self.session_embryos.put(key, Some(*session));
    }
    fn session_embryo_remove(&self, key: &SessionKey) {
        self.session_embryos.put(key, None);
    }

    fn plan_room(&self) -> Option<RefMut<'_, Plan>> {
        Some(self.plan_room.borrow_mut())
    }
    fn flow_room(&self) -> Option<RefMut<'_, Flow>> {
        Some(self.flow_room.borrow_mut())
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
        self.stray_legs.entry(&leg, |_| Some(0))
    }
    fn vrid(&self, vrid: u8) -> u32 {
        self.source.vrid(vrid)
    }

    fn now(&self) -> Nanos {
        self.source.now()
    }
    fn ticks(&self) -> Ticks {
        self.source.ticks()
    }
    fn route(&self, ifindex: u32, source: &Ip, destination: &Ip) -> Route {
        let route = self.source.route(ifindex, source, destination);
        self.look(Look::Route(*destination, route));
        route
    }

    fn count(&self, _: Reason, _: usize) {}
    fn emit(&self, event: &Event) {
        self.look(Look::Event(*event));
    }
}
