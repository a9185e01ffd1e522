//! Every map, by the name under which it is pinned. What each one holds is said where its record is defined, in
//! `ha_common::abi`.
//!
//! Sizes here are what fits a small pair; the loader sets others by configuration, before the maps are made.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use ha_common::abi::{
    Address, AddressKey, BUCKETS, Backend, Bucket, Counter, Embryo, Event, Exception, Fence, Filter, FilterKind, Flow, FlowKey,
    Fragment, FragmentKey, FragmentRoom, IcmpBudget, Interface, Link, Load, MAX_LEGS, MAX_LINKS, Node, Owner, Reason,
    ReverseKey, SNIPS as SNIPS_LEN, ServiceKey, Session, SessionKey, Snip, Source, SourceKey, StrayBudget, Throttle, Trace,
    TraceBudget, Traced, VRIDS as VRIDS_LEN, Vserver, lost,
};
use ha_common::pipeline::Plan;
use ha_common::wire::heartbeat::Extension;

/// What follows the length in a [`ha_common::abi::PrefixKey`].
pub type PrefixData = [u32; 5];

/// `BPF_F_MMAPABLE`: userspace reads and writes single words of it.
const MMAPABLE: usize = 1 << 10;

#[btf_map]
pub static NODE: Array<Node, 1, MMAPABLE> = Array::new();
#[btf_map]
pub static FENCE: Array<Fence, 1, MMAPABLE> = Array::new();
#[btf_map]
pub static LINKS: Array<Link, MAX_LINKS, MMAPABLE> = Array::new();
#[btf_map]
pub static INTERFACES: HashMap<u32, Interface, 256> = HashMap::new();
#[btf_map]
pub static LEG_IFINDEX: Array<u32, MAX_LEGS> = Array::new();
#[btf_map]
pub static LINK_IFINDEX: Array<u32, MAX_LINKS> = Array::new();

#[btf_map]
pub static FILTERS: Array<Filter, { FilterKind::ALL.len() }, MMAPABLE> = Array::new();
#[btf_map]
pub static DIRECTORY: Array<Bucket, BUCKETS, MMAPABLE> = Array::new();
#[btf_map]
pub static ADDRESSES: HashMap<AddressKey, Address, 16_384> = HashMap::new();
#[btf_map]
pub static VSERVER_INDEX: HashMap<ServiceKey, u32, 16_384> = HashMap::new();
#[btf_map]
pub static VSERVERS: Array<Vserver, 16_384, MMAPABLE> = Array::new();
#[btf_map]
pub static RINGS: Array<u32, 4_194_304, MMAPABLE> = Array::new();
#[btf_map]
pub static BACKENDS: Array<Backend, 65_536, MMAPABLE> = Array::new();
#[btf_map]
pub static LOADS: Array<Load, 65_536, MMAPABLE> = Array::new();
#[btf_map]
pub static TURNS: Array<u64, 16_384, MMAPABLE> = Array::new();
#[btf_map]
pub static SNIPS: Array<Snip, SNIPS_LEN, MMAPABLE> = Array::new();
#[btf_map]
pub static BACKEND_INDEX: HashMap<ServiceKey, Owner, 65_536> = HashMap::new();

#[btf_map]
pub static FLOWS: HashMap<FlowKey, Flow, 262_144> = HashMap::new();
#[btf_map]
pub static EMBRYONIC: LruHashMap<FlowKey, Embryo, 65_536> = LruHashMap::new();
#[btf_map]
pub static EXCEPTIONS: HashMap<FlowKey, Exception, 65_536> = HashMap::new();
#[btf_map]
pub static REVERSE: HashMap<ReverseKey, FlowKey, 65_536> = HashMap::new();
#[btf_map]
pub static REVERSE_EMBRYONIC: LruHashMap<ReverseKey, FlowKey, 16_384> = LruHashMap::new();
#[btf_map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Fragment, 8_192> = LruHashMap::new();

#[btf_map]
pub static PLAN_ROOM: PerCpuArray<Plan, 1> = PerCpuArray::new();
#[btf_map]
pub static PERSIST: HashMap<SessionKey, Session, 65_536> = HashMap::new();
#[btf_map]
pub static PERSIST_EMBRYONIC: LruHashMap<SessionKey, Session, 16_384> = LruHashMap::new();

#[btf_map]
pub static PREFIXES: LpmTrie<PrefixData, u32, 65_536> = LpmTrie::new();
#[btf_map]
pub static SOURCES: LruHashMap<SourceKey, Source, 65_536> = LruHashMap::new();
#[btf_map]
pub static THROTTLES: Array<Throttle, 65_536, MMAPABLE> = Array::new();

#[btf_map]
pub static FLOW_ROOM: PerCpuArray<Flow, 1> = PerCpuArray::new();
#[btf_map]
pub static FRAGMENT_ROOM: PerCpuArray<FragmentRoom, 1> = PerCpuArray::new();
#[btf_map]
pub static FRAME_ROOM: PerCpuArray<Extension, 1> = PerCpuArray::new();
#[btf_map]
pub static ICMP: Array<IcmpBudget, 1> = Array::new();
#[btf_map]
pub static RESETS: Array<IcmpBudget, 1> = Array::new();
#[btf_map]
pub static STRAYS: PerCpuArray<StrayBudget, 1> = PerCpuArray::new();
#[btf_map]
pub static STRAY_LEGS: PerCpuArray<u64, MAX_LEGS> = PerCpuArray::new();
#[btf_map]
pub static VRIDS: Array<u32, VRIDS_LEN> = Array::new();
#[btf_map]
pub static COUNTERS: PerCpuArray<Counter, { Reason::ALL.len() }> = PerCpuArray::new();
#[btf_map]
pub static LOST: PerCpuArray<u64, { lost::LEN }> = PerCpuArray::new();
#[btf_map]
pub static RULINGS: RingBuf<Event, 65_536> = RingBuf::new();
#[btf_map]
pub static EVENTS: RingBuf<Event, 1_048_576> = RingBuf::new();

#[btf_map]
pub static TRACE: Array<Trace, 1, MMAPABLE> = Array::new();
#[btf_map]
pub static TRACE_BUDGET: PerCpuArray<TraceBudget, 1> = PerCpuArray::new();
#[btf_map]
pub static TRACE_ROOM: PerCpuArray<Traced, 1> = PerCpuArray::new();
#[btf_map]
pub static TRACED: RingBuf<Traced, 1_048_576> = RingBuf::new();
