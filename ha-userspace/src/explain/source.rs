//! What a packet may be explained over: every table that the pipeline asks, to be read and never written.

use ha_common::abi::{
    Address, AddressKey, Backend, Embryo, Exception, Fence, FilterBit, FilterKind, Flow, FlowKey, Fragment, FragmentKey,
    IcmpBudget, Interface, Ip, Link, Load, Node, Owner, PrefixKey, ReverseKey, ServiceKey, Session, SessionKey, Snip,
    Source as Client, SourceKey, StrayBudget, Throttle, Vserver,
};
use ha_common::tables::Route;
use ha_common::time::{Nanos, Ticks};

/// A table that may be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// `FLOWS`.
    Flows,
    /// `EXCEPTIONS`.
    Exceptions,
    /// `REVERSE`.
    Reverse,
    /// `PERSIST`.
    Sessions,
}

/// The tables, the clocks and the routing table, by value: nothing that is done with an answer changes them.
pub trait Source {
    /// `NODE[0]`.
    fn node(&self) -> Node;
    /// `FENCE[0]`.
    fn fence(&self) -> Fence;
    /// `LINKS[link]`.
    fn link(&self, link: u32) -> Option<Link>;
    /// `INTERFACES[ifindex]`.
    fn interface(&self, ifindex: u32) -> Option<Interface>;
    /// `LEG_IFINDEX[leg]`.
    fn leg_ifindex(&self, leg: u32) -> Option<u32>;
    /// `LINK_IFINDEX[link]`.
    fn link_ifindex(&self, link: u32) -> Option<u32>;
    /// Whether `FILTERS[kind]` has this bit.
    fn may_know(&self, kind: FilterKind, bit: FilterBit) -> bool;
    /// `ADDRESSES[key]`.
    fn address(&self, key: &AddressKey) -> Option<Address>;
    /// `VSERVER_INDEX[key]`.
    fn vserver_index(&self, key: &ServiceKey) -> Option<u32>;
    /// `VSERVERS[index]`.
    fn vserver(&self, index: u32) -> Option<Vserver>;
    /// `RINGS[slot]`.
    fn ring(&self, slot: u32) -> u32;
    /// `BACKENDS[index]`.
    fn backend(&self, index: u32) -> Option<Backend>;
    /// `SNIPS[index]`.
    fn snip(&self, index: u32) -> Option<Snip>;
    /// `BACKEND_INDEX[key]`.
    fn owner(&self, key: &ServiceKey) -> Option<Owner>;
    /// `FLOWS[key]`.
    fn flow(&self, key: &FlowKey) -> Option<Flow>;
    /// `EMBRYONIC[key]`.
    fn embryo(&self, key: &FlowKey) -> Option<Embryo>;
    /// `FRAGMENTS[key]`.
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment>;
    /// `EXCEPTIONS[key]`.
    fn exception(&self, key: &FlowKey) -> Option<Exception>;
    /// `REVERSE[key]`.
    fn reverse(&self, key: &ReverseKey) -> Option<FlowKey>;
    /// `REVERSE_EMBRYONIC[key]`.
    fn reverse_embryo(&self, key: &ReverseKey) -> Option<FlowKey>;
    /// `LOADS[index]`.
    fn load(&self, backend: u32) -> Option<Load>;
    /// `TURNS[index]`: the next one.
    fn turn(&self, vserver: u32) -> Option<u64>;
    /// `PERSIST[key]`.
    fn session(&self, key: &SessionKey) -> Option<Session>;
    /// `PERSIST_EMBRYONIC[key]`.
    fn session_embryo(&self, key: &SessionKey) -> Option<Session>;
    /// `PREFIXES[key]`: one of [`ha_common::abi::prefix_action`].
    fn prefix(&self, key: &PrefixKey) -> u32;
    /// `SOURCES[key]`.
    fn client(&self, key: &SourceKey) -> Option<Client>;
    /// `THROTTLES[index]`.
    fn throttle(&self, index: u32) -> Option<Throttle>;
    /// Whether there is room for one more entry.
    fn has_room(&self, table: Room) -> bool;
    /// `ICMP[0]` of some CPU.
    fn icmp_budget(&self) -> IcmpBudget;
    /// `RESETS[0]` of some CPU.
    fn reset_budget(&self) -> IcmpBudget;
    /// `STRAYS[0]` of some CPU.
    fn stray_budget(&self) -> StrayBudget;
    /// `VRIDS[vrid]`.
    fn vrid(&self, vrid: u8) -> u32;
    /// Now.
    fn now(&self) -> Nanos;
    /// Now, in the kernel's ticks.
    fn ticks(&self) -> Ticks;
    /// The way from `source` to `destination` for a packet that came in on `ifindex`.
    fn route(&self, ifindex: u32, source: &Ip, destination: &Ip) -> Route;
}
