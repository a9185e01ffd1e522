//! The host's tables as something that a packet is explained over.

use std::cell::Cell;

use ha_common::abi::{
    Address, AddressKey, Backend, Embryo, Exception, Fence, FilterBit, FilterKind, Flow, FlowKey, Fragment, FragmentKey,
    IcmpBudget, Interface, Ip, Link, Load, Node, Owner, PrefixKey, ReverseKey, ServiceKey, Session, SessionKey, Snip,
    Source as Client, SourceKey, StrayBudget, Throttle, Vserver,
};
use ha_common::tables::{HostTables, Route, Tables};
use ha_common::time::{Nanos, Ticks};
use understudy::explain::{Room, Source};

/// Tables that nobody changes.
pub struct Frozen<'t>(pub &'t HostTables);

impl Source for Frozen<'_> {
    fn node(&self) -> Node {
        self.0.node
    }
    fn fence(&self) -> Fence {
        self.0.fence.clone()
    }
    fn link(&self, link: u32) -> Option<Link> {
        self.0.links.get(link as usize).map(|link| *link.borrow())
    }
    fn interface(&self, ifindex: u32) -> Option<Interface> {
        self.0.interface(ifindex).copied()
    }
    fn leg_ifindex(&self, leg: u32) -> Option<u32> {
        self.0.leg_ifindex.get(&leg).copied()
    }
    fn link_ifindex(&self, link: u32) -> Option<u32> {
        self.0.link_ifindex.get(&link).copied()
    }
    fn may_know(&self, kind: FilterKind, bit: FilterBit) -> bool {
        self.0.may_know(kind, bit)
    }
    fn address(&self, key: &AddressKey) -> Option<Address> {
        self.0.address(key).copied()
    }
    fn vserver_index(&self, key: &ServiceKey) -> Option<u32> {
        self.0.vserver_index(key)
    }
    fn vserver(&self, index: u32) -> Option<Vserver> {
        self.0.vserver(index).copied()
    }
    fn ring(&self, slot: u32) -> u32 {
        self.0.ring(slot)
    }
    fn backend(&self, index: u32) -> Option<Backend> {
        self.0.backend(index).copied()
    }
    fn snip(&self, index: u32) -> Option<Snip> {
        self.0.snip(index).copied()
    }
    fn owner(&self, key: &ServiceKey) -> Option<Owner> {
        self.0.owner(key).copied()
    }
    fn flow(&self, key: &FlowKey) -> Option<Flow> {
        self.0.flows.borrow().get(key).copied()
    }
    fn embryo(&self, key: &FlowKey) -> Option<Embryo> {
        self.0.embryo(key)
    }
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment> {
        self.0.fragments.borrow().get(key).copied()
    }
    fn exception(&self, key: &FlowKey) -> Option<Exception> {
        self.0.exceptions.borrow().get(key).copied()
    }
    fn reverse(&self, key: &ReverseKey) -> Option<FlowKey> {
        self.0.reverse.borrow().get(key).copied()
    }
    fn reverse_embryo(&self, key: &ReverseKey) -> Option<FlowKey> {
        self.0.reverse_embryonic.borrow().get(key).copied()
    }
    fn load(&self, backend: u32) -> Option<Load> {
        self.0.load(backend).cloned()
    }
    fn turn(&self, vserver: u32) -> Option<u64> {
        self.0.turns.get(vserver as usize).map(Cell::get)
    }
    fn session(&self, key: &SessionKey) -> Option<Session> {
        self.0.sessions.borrow().get(key).copied()
    }
    fn session_embryo(&self, key: &SessionKey) -> Option<Session> {
        self.0.session_embryos.borrow().get(key).copied()
    }
    fn prefix(&self, key: &PrefixKey) -> u32 {
        self.0.prefix(key)
    }
    fn client(&self, key: &SourceKey) -> Option<Client> {
        self.0.sources.borrow().get(key).cloned()
    }
    fn throttle(&self, index: u32) -> Option<Throttle> {
        self.0.throttle(index).cloned()
    }
    fn has_room(&self, table: Room) -> bool {
        match table {
            Room::Flows => self.0.flows.borrow().len() < self.0.flows_max,
            Room::Exceptions => self.0.exceptions.borrow().len() < self.0.exceptions_max,
            Room::Sessions => self.0.sessions.borrow().len() < self.0.sessions_max,
            Room::Reverse => self.0.reverse.borrow().len() < self.0.reverse_max,
        }
    }
    fn icmp_budget(&self) -> IcmpBudget {
        *self.0.icmp_budget.borrow()
    }
    fn reset_budget(&self) -> IcmpBudget {
        *self.0.reset_budget.borrow()
    }
    fn stray_budget(&self) -> StrayBudget {
        *self.0.stray_budget.borrow()
    }
    fn vrid(&self, vrid: u8) -> u32 {
        self.0.vrid(vrid)
    }
    fn now(&self) -> Nanos {
        self.0.now()
    }
    fn ticks(&self) -> Ticks {
        self.0.ticks()
    }
    fn route(&self, ifindex: u32, source: &Ip, destination: &Ip) -> Route {
        self.0.route(ifindex, source, destination)
    }
}
