//! Which records may cross to the kernel as bytes?
#![allow(unsafe_code)] // marking types is what this file is for

use ha_common::abi::{
    Address, AddressKey, Backend, Bucket, Counter, Embryo, Event, Exception, Fence, Filter, Flow, FlowKey, Fragment,
    FragmentKey, Interface, Link, Load, Node, Owner, PrefixKey, ReverseKey, ServiceKey, Session, SessionKey, Snip, Source,
    SourceKey, Throttle, Trace, Vserver,
};

/// A record of `ha_common::abi`.
///
/// # Safety
/// Valid for every bit pattern, without padding, and a whole number of 32-bit words long.
pub unsafe trait Plain: Sized {}

macro_rules! plain {
    ($($record:ty),* $(,)?) => {
        $(
            // SAFETY: `repr(C)` integers and arrays of them; `ha_common::abi` asserts a size that leaves no room for padding.
            unsafe impl Plain for $record {}
            const _: () = assert!(size_of::<$record>() % 4 == 0 && align_of::<$record>() <= 8);
        )*
    };
}

plain!(
    u32,
    u64,
    Address,
    AddressKey,
    Backend,
    Bucket,
    Counter,
    Event,
    Exception,
    Fence,
    Filter,
    Flow,
    FlowKey,
    Fragment,
    FragmentKey,
    Interface,
    Link,
    Node,
    Owner,
    ReverseKey,
    ServiceKey,
    Snip,
    Vserver,
    Embryo,
    Load,
    Session,
    SessionKey,
    PrefixKey,
    Source,
    SourceKey,
    Throttle,
    Trace,
);
