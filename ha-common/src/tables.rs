//! What the pipeline may ask of its surroundings: maps, clock, routes.
//!
//! Every method takes `&self`: kernel maps are shared by nature. Records that the pipeline changes come as [`Tables::Mut`]: a plain
//! reference in XDP, a checked borrow on the host, where a test that held one record twice would fail.

use core::ops::DerefMut;

use crate::abi::{
    Address, AddressKey, Backend, Embryo, Event, Exception, Fence, FilterBit, FilterKind, Flow, FlowKey, Fragment, FragmentKey,
    FragmentRoom, IcmpBudget, Interface, Ip, Link, Load, NextHop, Node, Owner, PrefixKey, Reason, ReverseKey, ServiceKey,
    Session, SessionKey, Snip, Source, SourceKey, StrayBudget, Throttle, Vserver,
};
use crate::pipeline::Plan;
use crate::time::{Nanos, Ticks};
use crate::wire::heartbeat::Extension;

#[cfg(any(test, feature = "std"))]
mod host;
#[cfg(any(test, feature = "std"))]
pub use host::HostTables;

/// A table has no room for one more entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What came of putting something where there may be something already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is there.
    Yes,
    /// Another one was.
    Taken,
    /// No room.
    Full,
}

/// What the routing and neighbour tables say of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The host keeps it: its own address, no route, or forwarding is switched off on the interface that it came in on.
    Host,
    /// This way.
    Via(NextHop),
    /// The neighbour is not resolved yet, or the route refuses it.
    Unknown,
}

impl Route {
    /// It as words, for userspace.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u32; 6] {
        match self {
            Route::Host => [1, 0, 0, 0, 0, 0],
            Route::Via(NextHop { macs: [a, b, c], ifindex, vlan }) => [2, a, b, c, ifindex, vlan],
            Route::Unknown => [0; 6],
        }
    }

    /// The reverse of [`Route::words`].
    #[must_use]
    pub const fn of_words([kind, a, b, c, ifindex, vlan]: [u32; 6]) -> Self {
        match kind {
            1 => Route::Host,
            2 => Route::Via(NextHop { macs: [a, b, c], ifindex, vlan }),
            _ => Route::Unknown,
        }
    }
}

/// The maps of [`crate::abi`], the clocks and the routing table.
pub trait Tables {
    /// A record that may be changed in place.
    type Mut<'a, T: 'a>: DerefMut<Target = T>
    where
        Self: 'a;

    /// `NODE[0]`.
    fn node(&self) -> Option<&Node>;
    /// `FENCE[0]`.
    fn fence(&self) -> Option<&Fence>;
    /// `LINKS[link]`.
    fn link_mut(&self, link: u32) -> Option<Self::Mut<'_, Link>>;
    /// `INTERFACES[ifindex]`.
    fn interface(&self, ifindex: u32) -> Option<&Interface>;
    /// The interface that is leg number `leg`: `INTERFACES[LEG_IFINDEX[leg]]`.
    fn leg_interface(&self, leg: u32) -> Option<&Interface>;
    /// The interface that is heartbeat link number `link`: `INTERFACES[LINK_IFINDEX[link]]`.
    fn link_interface(&self, link: u32) -> Option<&Interface>;

    /// Whether a key with this bit may be in the table that `kind` is about. No is certain.
    fn may_know(&self, kind: FilterKind, bit: FilterBit) -> bool;
    /// `ADDRESSES[key]`.
    fn address(&self, key: &AddressKey) -> Option<&Address>;
    /// `VSERVER_INDEX[key]`.
    fn vserver_index(&self, key: &ServiceKey) -> Option<u32>;
    /// `VSERVERS[index]`.
    fn vserver(&self, index: u32) -> Option<&Vserver>;
    /// `RINGS[slot]`: an index into `BACKENDS`, or [`crate::abi::NO_BACKEND`]. No `Option`: its payload gets read even where there is
    /// none, which the verifier refuses.
    fn ring(&self, slot: u32) -> u32;
    /// `BACKENDS[index]`.
    fn backend(&self, index: u32) -> Option<&Backend>;
    /// `LOADS[index]`.
    fn load(&self, backend: u32) -> Option<&Load>;
    /// Takes the next turn of `TURNS[index]`.
    fn turn(&self, vserver: u32) -> u64;
    /// `SNIPS[index]`.
    fn snip(&self, index: u32) -> Option<&Snip>;
    /// `BACKEND_INDEX[key]`.
    fn owner(&self, key: &ServiceKey) -> Option<&Owner>;

    /// `FLOWS[key]`.
    fn flow_mut(&self, key: &FlowKey) -> Option<Self::Mut<'_, Flow>>;
    /// Puts a flow that is not there yet; one that another CPU put meanwhile stays.
    fn flow_insert(&self, key: &FlowKey, flow: &Flow) -> Result<(), Full>;
    /// `EMBRYONIC[key]`.
    fn embryo(&self, key: &FlowKey) -> Option<Embryo>;
    /// Puts or replaces an embryo; an old one of another connection may have to go.
    fn embryo_insert(&self, key: &FlowKey, embryo: &Embryo);
    /// `EXCEPTIONS[key]`.
    fn exception_mut(&self, key: &FlowKey) -> Option<Self::Mut<'_, Exception>>;
    /// Puts or replaces an exception.
    fn exception_insert(&self, key: &FlowKey, exception: &Exception) -> Result<(), Full>;
    /// `REVERSE[key]`, or else `REVERSE_EMBRYONIC[key]`.
    fn reverse(&self, key: &ReverseKey) -> Option<FlowKey>;
    /// `REVERSE[key]`.
    fn reverse_recorded(&self, key: &ReverseKey) -> Option<FlowKey>;
    /// Puts or replaces an entry of `REVERSE`.
    fn reverse_insert(&self, key: &ReverseKey, flow: &FlowKey) -> Result<(), Full>;
    /// Puts or replaces an entry of `REVERSE_EMBRYONIC`; an old one may have to go.
    fn reverse_embryo_insert(&self, key: &ReverseKey, flow: &FlowKey);
    /// Puts an entry of `REVERSE`, unless there is one.
    fn reverse_claim(&self, key: &ReverseKey, flow: &FlowKey) -> Claimed;
    /// Puts an entry of `REVERSE_EMBRYONIC`, unless there is one; an old one of another connection may have to go.
    fn reverse_embryo_claim(&self, key: &ReverseKey, flow: &FlowKey) -> Claimed;
    /// Removes an entry of `REVERSE`.
    fn reverse_remove(&self, key: &ReverseKey);

    /// Room for what is to be done with a packet, with whatever was in it: `PLAN_ROOM[0]` of this CPU. The stack is small.
    fn plan_room(&self) -> Option<Self::Mut<'_, Plan>>;
    /// `PERSIST[key]`.
    fn session_mut(&self, key: &SessionKey) -> Option<Self::Mut<'_, Session>>;
    /// Puts a session that is not there yet; one that another CPU put meanwhile stays.
    fn session_insert(&self, key: &SessionKey, session: &Session) -> Result<(), Full>;
    /// The backend of `PERSIST_EMBRYONIC[key]`, or [`crate::abi::NO_BACKEND`].
    fn session_embryo(&self, key: &SessionKey) -> u32;
    /// Puts or replaces a session of which only a SYN was seen; an old one may have to go.
    fn session_embryo_insert(&self, key: &SessionKey, session: &Session);
    /// Removes one.
    fn session_embryo_remove(&self, key: &SessionKey);

    /// What the longest entry of `PREFIXES` that `key` is in says: one of [`crate::abi::prefix_action`].
    fn prefix(&self, key: &PrefixKey) -> u32;
    /// `SOURCES[key]`.
    fn source(&self, key: &SourceKey) -> Option<Self::Mut<'_, Source>>;
    /// Puts or replaces a source; an old one may have to go.
    fn source_insert(&self, key: &SourceKey, source: &Source);
    /// `THROTTLES[index]`.
    fn throttle(&self, index: u32) -> Option<&Throttle>;

    /// `FRAGMENTS[key]`.
    fn fragment(&self, key: &FragmentKey) -> Option<Self::Mut<'_, Fragment>>;
    /// Puts or replaces an entry of `FRAGMENTS`; an old one may have to go.
    fn fragment_insert(&self, key: &FragmentKey, fragment: &Fragment);

    /// Room for a flow that is about to be recorded, with whatever was in it: `FLOW_ROOM[0]` of this CPU. The stack is small.
    fn flow_room(&self) -> Option<Self::Mut<'_, Flow>>;
    /// Room for a fragment that is looked up or about to be noted, with whatever was in it: `FRAGMENT_ROOM[0]` of this CPU.
    fn fragment_room(&self) -> Option<Self::Mut<'_, FragmentRoom>>;
    /// Room for the heartbeat that is being read, with whatever was in it: `FRAME_ROOM[0]` of this CPU.
    fn frame_room(&self) -> Option<Self::Mut<'_, Extension>>;
    /// `ICMP[0]`.
    fn icmp_budget(&self) -> Option<Self::Mut<'_, IcmpBudget>>;
    /// `RESETS[0]`.
    fn reset_budget(&self) -> Option<Self::Mut<'_, IcmpBudget>>;
    /// `STRAYS[0]` of this CPU.
    fn stray_budget(&self) -> Option<Self::Mut<'_, StrayBudget>>;

    /// `STRAY_LEGS[leg]` of this CPU.
    fn stray_leg(&self, leg: u32) -> Option<Self::Mut<'_, u64>>;
    /// `VRIDS[vrid]`: `vrid_flags`.
    fn vrid(&self, vrid: u8) -> u32;

    /// Now; costs about as much as a table look-up.
    fn now(&self) -> Nanos;
    /// Now, roughly; costs nothing.
    fn ticks(&self) -> Ticks;
    /// Asks the routing and neighbour tables for the way from `source` to `destination` for a packet that came in on `ifindex`. For
    /// packets without a record only.
    fn route(&self, ifindex: u32, source: &Ip, destination: &Ip) -> Route;

    /// Counts a packet of `len` bytes that left for `reason`.
    fn count(&self, reason: Reason, len: usize);
    /// Tells the daemon; lost, and counted, when it does not keep up.
    fn emit(&self, event: &Event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_survives_the_way_through_words() {
        let hop = NextHop::new([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], 13, 14);
        for route in [Route::Host, Route::Unknown, Route::Via(hop)] {
            assert_eq!(Route::of_words(route.words()), route);
        }
    }
}
