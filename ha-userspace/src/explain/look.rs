//! What the pipeline asked and was told, and what it would have written, in order.

use ha_common::abi::{
    Address, AddressKey, Backend, Embryo, Event, Exception, FilterKind, Flow, FlowKey, Interface, Ip, Owner, ReverseKey,
    ServiceKey, Snip, Vserver,
};
use ha_common::pipeline::steps::Fate;
use ha_common::pipeline::{Placement, Step};
use ha_common::tables::{Claimed, Route};

use super::Room;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It asked whether this node serves.
    Gate,
    /// It asked for an interface.
    Interface(u32, Option<Interface>),
    /// A filter said that nothing of the kind is known.
    Unknown(FilterKind),
    /// An address.
    Address(AddressKey, Option<Address>),
    /// Which virtual server is here?
    VserverIndex(ServiceKey, Option<u32>),
    /// A virtual server.
    Vserver(u32, Option<Vserver>),
    /// Who has a slot of a ring.
    Ring(u32, u32),
    /// A backend.
    Backend(u32, Option<Backend>),
    /// An address towards backends.
    Snip(u32, Option<Snip>),
    /// Which backend sends from here?
    Owner(ServiceKey, Option<Owner>),
    /// The record of a flow.
    Flow(FlowKey, Option<Flow>),
    /// A flow is recorded, if there is room.
    FlowInsert(FlowKey, bool),
    /// What a SYN left.
    Embryo(FlowKey, Option<Embryo>),
    /// A SYN leaves this.
    EmbryoInsert(FlowKey, Embryo),
    /// The exception that was made for a flow.
    Exception(FlowKey, Option<Exception>),
    /// One is made, if there is room.
    ExceptionInsert(FlowKey, bool),
    /// Whose answer is this?
    Reverse(ReverseKey, Option<FlowKey>),
    /// What a list says of the client: one of [`ha_common::abi::prefix_action`].
    Prefix(u32),
    /// Connections that its source has open.
    Client(Option<u32>),
    /// The distance of new connections to a service that has many, in nanoseconds.
    Throttle(u32, u64),
    /// Flows that a backend has.
    Load(u32, Option<u64>),
    /// Which turn of a virtual server it is.
    Turn(u64),
    /// Which backend had its client before.
    Session(Option<u32>),
    /// That is remembered, if there is room.
    SessionInsert(bool),
    /// Where its answers will be looked up.
    Claim(ReverseKey, Claimed),
    /// That is given back.
    GiveBack(ReverseKey),
    /// The kernel's routing table: the way to an address.
    Route(Ip, Route),
    /// The daemon is told.
    Event(Event),
    /// A table has no room.
    Full(Room),
    /// A flow without a record was placed.
    Placed(Placement),
    /// What becomes of one whose flow cannot simply go on.
    Outlived(Fate),
    /// The packet is made to look as it must leave.
    CarriedOut(Step, u32),
    /// It cannot go on, and its sender is told by ICMP.
    Refused,
}
