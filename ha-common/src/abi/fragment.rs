//! `FRAGMENTS`: what became of a datagram's first fragment, which alone says whose it is?

use super::{FlowKey, Ip, Nat, NextHop};
use crate::time::Nanos;

/// Key of `FRAGMENTS`: what all fragments of a datagram have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// Where it comes from.
    pub source: Ip,
    /// Where it goes.
    pub destination: Ip,
    /// Identification, as it lies in the packet.
    pub identification: u32,
    /// VLAN that it lives in; 0 is untagged.
    pub domain: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// Value of `FRAGMENTS`. LRU hash. Writer and reader: XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Fragment {
    /// The flow that the datagram belongs to.
    pub flow: FlowKey,
    /// Index into `BACKENDS` of the receiver; of an answer, index into `VSERVERS` of whom it seems to come from.
    pub index: u32,
    /// What the backend sees in place of the client.
    pub nat: Nat,
    /// Where an answer leaves, and how.
    pub hop: NextHop,
    /// What is done with it: a number of the pipeline's own.
    pub step: u32,
    /// When the first fragment came.
    pub at: Nanos,
}

/// `FRAGMENT_ROOM[0]`: room for an entry that is looked up or about to be put. Per-CPU array. Writer and reader: XDP.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct FragmentRoom {
    /// The key.
    pub key: FragmentKey,
    /// Zero.
    pub reserved: u32,
    /// The value.
    pub fragment: Fragment,
}

const _: () = assert!(size_of::<FragmentRoom>() == 112);
const _: () = assert!(size_of::<FragmentKey>() == 44);
const _: () = assert!(size_of::<Fragment>() == 64);
