//! [`Tables`] over the kernel's maps, clocks and routes.
#![allow(unsafe_code)] // records of kernel maps are shared with other CPUs and with userspace by nature

use core::mem::zeroed;
use core::sync::atomic::AtomicU64;

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, BPF_NOEXIST, BPF_RB_NO_WAKEUP,
    bpf_fib_lookup as FibLookup, xdp_md,
};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::{bpf_fib_lookup, bpf_jiffies64, bpf_ktime_get_ns};
use ha_common::abi::{
    Address, AddressKey, Backend, DirectoryKey, Embryo, Event, Exception, Fence, FilterBit, FilterKind, Flow, FlowKey,
    Fragment, FragmentKey, FragmentRoom, IcmpBudget, Interface, Ip, Link, Load, NO_BACKEND, NextHop, Node, Owner, PrefixKey,
    Reason, ReverseKey, ServiceKey, Session, SessionKey, Slot, Snip, Source, SourceKey, StrayBudget, Throttle, Vserver,
    event_kind, lost, prefix_action,
};
use ha_common::pipeline::Plan;
use ha_common::tables::{Claimed, Full, Route, Tables};
use ha_common::time::{Nanos, Ticks};
use ha_common::wire::heartbeat::Extension;
use ha_common::word;

use crate::maps;

/// The maps, as seen by a program with this context.
pub struct Maps {
    context: *mut xdp_md,
}

impl Maps {
    /// For the program with this context. Only [`Tables::route`] uses it; the egress guard, which never asks, has none.
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> Self {
        Maps { context }
    }

    /// The program's context.
    #[inline(always)]
    pub fn context(&self) -> *mut xdp_md {
        self.context
    }
}

/// `errno` of an insertion into a table where the key is already.
const EEXIST: i32 = 17;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A changeable record.
///
/// SAFETY of every call: the pointer comes from a look-up in this run of the program, so its memory stays mapped until it ends, and
/// no second reference to the same record is made in this run. Other CPUs and userspace may change it at any time; every field
/// is an integer and is read once, so the worst that this yields is a stale or mixed value, which every reader here can live with.
#[inline(always)]
fn record<'a, T>(pointer: Option<*mut T>) -> Option<&'a mut T> {
    // SAFETY: as said above.
    pointer.map(|pointer| unsafe { &mut *pointer })
}

#[inline(always)]
fn claimed(inserted: Result<(), i32>) -> Claimed {
    match inserted {
        Ok(()) => Claimed::Yes,
        Err(errno) if errno == -EEXIST => Claimed::Taken,
        Err(_) => Claimed::Full,
    }
}

/// The directory's slot of `key`, whose hash is `bit`.
#[inline(always)]
fn directory(bit: FilterBit, key: &DirectoryKey) -> Option<&'static Slot> {
    maps::DIRECTORY.get(bit.bucket())?.find(key)
}

impl Tables for Maps {
    type Mut<'a, T: 'a> = &'a mut T;

    #[inline(always)]
    fn node(&self) -> Option<&Node> {
        maps::NODE.get(0)
    }
    #[inline(always)]
    fn fence(&self) -> Option<&Fence> {
        maps::FENCE.get(0)
    }
    #[inline(always)]
    fn link_mut(&self, link: u32) -> Option<&mut Link> {
        record(maps::LINKS.get_ptr_mut(link))
    }
    #[inline(always)]
    fn interface(&self, ifindex: u32) -> Option<&Interface> {
        record(maps::INTERFACES.get_ptr_mut(ifindex)).map(|interface| &*interface)
    }
    #[inline(always)]
    fn leg_interface(&self, leg: u32) -> Option<&Interface> {
        self.interface(*maps::LEG_IFINDEX.get(leg)?)
    }
    #[inline(always)]
    fn link_interface(&self, link: u32) -> Option<&Interface> {
        self.interface(*maps::LINK_IFINDEX.get(link)?)
    }

    #[inline(always)]
    fn may_know(&self, kind: FilterKind, bit: FilterBit) -> bool {
        // A filter that is missing says nothing: look.
        maps::FILTERS.get(kind as u32).is_none_or(|filter| filter.words[bit.word()] & bit.mask() != 0)
    }
    #[inline(always)]
    fn address(&self, key: &AddressKey) -> Option<&Address> {
        if let Some(slot) = directory(FilterBit::address(key), &DirectoryKey::address(key)) {
            return Some(slot.to_address());
        }
        record(maps::ADDRESSES.get_ptr_mut(key)).map(|address| &*address)
    }
    #[inline(always)]
    fn vserver_index(&self, key: &ServiceKey) -> Option<u32> {
        if let Some(slot) = directory(FilterBit::service(key), &DirectoryKey::service(FilterKind::Vserver, key)) {
            return Some(slot.value[0]);
        }
        record(maps::VSERVER_INDEX.get_ptr_mut(key)).map(|index| *index)
    }
    #[inline(always)]
    fn vserver(&self, index: u32) -> Option<&Vserver> {
        maps::VSERVERS.get(index)
    }
    #[inline(always)]
    fn ring(&self, slot: u32) -> u32 {
        maps::RINGS.get(slot).copied().unwrap_or(NO_BACKEND)
    }
    #[inline(always)]
    fn backend(&self, index: u32) -> Option<&Backend> {
        maps::BACKENDS.get(index)
    }
    #[inline(always)]
    fn load(&self, backend: u32) -> Option<&Load> {
        maps::LOADS.get(backend)
    }
    #[inline(always)]
    fn turn(&self, vserver: u32) -> u64 {
        // SAFETY: a word of a map, aligned, which is only accessed atomically.
        maps::TURNS.get_ptr_mut(vserver).map_or(0, |turn| word::fetch_add(unsafe { AtomicU64::from_ptr(turn) }, 1))
    }
    #[inline(always)]
    fn snip(&self, index: u32) -> Option<&Snip> {
        maps::SNIPS.get(index)
    }
    #[inline(always)]
    fn owner(&self, key: &ServiceKey) -> Option<&Owner> {
        if let Some(slot) = directory(FilterBit::service(key), &DirectoryKey::service(FilterKind::Owner, key)) {
            return Some(slot.to_owner());
        }
        record(maps::BACKEND_INDEX.get_ptr_mut(key)).map(|owner| &*owner)
    }

    #[inline(always)]
    fn flow_mut(&self, key: &FlowKey) -> Option<&mut Flow> {
        record(maps::FLOWS.get_ptr_mut(key))
    }
    #[inline(always)]
    fn flow_insert(&self, key: &FlowKey, flow: &Flow) -> Result<(), Full> {
        match maps::FLOWS.insert(key, flow, BPF_NOEXIST.into()) {
            Err(errno) if errno != -EEXIST => Err(Full),
            _ => Ok(()),
        }
    }
    #[inline(always)]
    fn embryo(&self, key: &FlowKey) -> Option<Embryo> {
        record(maps::EMBRYONIC.get_ptr_mut(key)).map(|embryo| *embryo)
    }
    #[inline(always)]
    fn embryo_insert(&self, key: &FlowKey, embryo: &Embryo) {
        // An evicting table takes it, or every candidate is in use by other CPUs: then the ring places the ACK.
        let _ = maps::EMBRYONIC.insert(key, embryo, 0);
    }
    #[inline(always)]
    fn exception_mut(&self, key: &FlowKey) -> Option<&mut Exception> {
        record(maps::EXCEPTIONS.get_ptr_mut(key))
    }
    #[inline(always)]
    fn exception_insert(&self, key: &FlowKey, exception: &Exception) -> Result<(), Full> {
        maps::EXCEPTIONS.insert(key, exception, 0).map_err(|_| Full)
    }
    #[inline(always)]
    fn reverse(&self, key: &ReverseKey) -> Option<FlowKey> {
        record(maps::REVERSE.get_ptr_mut(key).or_else(|| maps::REVERSE_EMBRYONIC.get_ptr_mut(key))).map(|flow| *flow)
    }
    #[inline(always)]
    fn reverse_recorded(&self, key: &ReverseKey) -> Option<FlowKey> {
        record(maps::REVERSE.get_ptr_mut(key)).map(|flow| *flow)
    }
    #[inline(always)]
    fn reverse_insert(&self, key: &ReverseKey, flow: &FlowKey) -> Result<(), Full> {
        maps::REVERSE.insert(key, flow, 0).map_err(|_| Full)
    }
    #[inline(always)]
    fn reverse_embryo_insert(&self, key: &ReverseKey, flow: &FlowKey) {
        // As for embryos.
        let _ = maps::REVERSE_EMBRYONIC.insert(key, flow, 0);
    }
    #[inline(always)]
    fn reverse_claim(&self, key: &ReverseKey, flow: &FlowKey) -> Claimed {
        claimed(maps::REVERSE.insert(key, flow, BPF_NOEXIST.into()))
    }
    #[inline(always)]
    fn reverse_embryo_claim(&self, key: &ReverseKey, flow: &FlowKey) -> Claimed {
        claimed(maps::REVERSE_EMBRYONIC.insert(key, flow, BPF_NOEXIST.into()))
    }
    #[inline(always)]
    fn reverse_remove(&self, key: &ReverseKey) {
        // What is not there any more need not go.
        let _ = maps::REVERSE.remove(key);
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<&mut Fragment> {
        record(maps::FRAGMENTS.get_ptr_mut(key))
    }
    #[inline(always)]
    fn fragment_insert(&self, key: &FragmentKey, fragment: &Fragment) {
        // As for embryos: the rest of the datagram is dropped, and counted.
        let _ = maps::FRAGMENTS.insert(key, fragment, 0);
    }

    #[inline(always)]
    fn plan_room(&self) -> Option<&mut Plan> {
        record(maps::PLAN_ROOM.get_ptr_mut(0))
    }
    #[inline(always)]
    fn session_mut(&self, key: &SessionKey) -> Option<&mut Session> {
        record(maps::PERSIST.get_ptr_mut(key))
    }
    #[inline(always)]
    fn session_insert(&self, key: &SessionKey, session: &Session) -> Result<(), Full> {
        match maps::PERSIST.insert(key, session, BPF_NOEXIST.into()) {
            Err(errno) if errno != -EEXIST => Err(Full),
            _ => Ok(()),
        }
    }
    #[inline(always)]
    fn session_embryo(&self, key: &SessionKey) -> u32 {
        record(maps::PERSIST_EMBRYONIC.get_ptr_mut(key)).map_or(NO_BACKEND, |session| session.backend)
    }
    #[inline(always)]
    fn session_embryo_insert(&self, key: &SessionKey, session: &Session) {
        // As for embryos of flows.
        let _ = maps::PERSIST_EMBRYONIC.insert(key, session, 0);
    }
    #[inline(always)]
    fn session_embryo_remove(&self, key: &SessionKey) {
        // What is not there need not go.
        let _ = maps::PERSIST_EMBRYONIC.remove(key);
    }

    #[inline(always)]
    fn prefix(&self, key: &PrefixKey) -> u32 {
        // SAFETY: both are a length and twenty bytes, the kernel's type with less alignment.
        let key = unsafe { &*core::ptr::from_ref(key).cast::<Key<maps::PrefixData>>() };
        maps::PREFIXES.get(key).copied().unwrap_or(prefix_action::NONE)
    }
    #[inline(always)]
    fn source(&self, key: &SourceKey) -> Option<&mut Source> {
        record(maps::SOURCES.get_ptr_mut(key))
    }
    #[inline(always)]
    fn source_insert(&self, key: &SourceKey, source: &Source) {
        // An evicting table takes it, or every candidate is in use by other CPUs: then the source begins anew the next time.
        let _ = maps::SOURCES.insert(key, source, 0);
    }
    #[inline(always)]
    fn throttle(&self, index: u32) -> Option<&Throttle> {
        maps::THROTTLES.get(index)
    }

    #[inline(always)]
    fn flow_room(&self) -> Option<&mut Flow> {
        record(maps::FLOW_ROOM.get_ptr_mut(0))
    }
    #[inline(always)]
    fn fragment_room(&self) -> Option<&mut FragmentRoom> {
        record(maps::FRAGMENT_ROOM.get_ptr_mut(0))
    }
    #[inline(always)]
    fn frame_room(&self) -> Option<&mut Extension> {
        record(maps::FRAME_ROOM.get_ptr_mut(0))
    }
    #[inline(always)]
    fn icmp_budget(&self) -> Option<&mut IcmpBudget> {
        record(maps::ICMP.get_ptr_mut(0))
    }
    #[inline(always)]
    fn reset_budget(&self) -> Option<&mut IcmpBudget> {
        record(maps::RESETS.get_ptr_mut(0))
    }
    #[inline(always)]
    fn stray_budget(&self) -> Option<&mut StrayBudget> {
        record(maps::STRAYS.get_ptr_mut(0))
    }

    #[inline(always)]
    fn stray_leg(&self, leg: u32) -> Option<&mut u64> {
        record(maps::STRAY_LEGS.get_ptr_mut(leg))
    }
    #[inline(always)]
    fn vrid(&self, vrid: u8) -> u32 {
        maps::VRIDS.get(u32::from(vrid)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn now(&self) -> Nanos {
        // SAFETY: a helper without arguments.
        Nanos(unsafe { bpf_ktime_get_ns() })
    }
    #[inline(always)]
    fn ticks(&self) -> Ticks {
        // SAFETY: a helper without arguments.
        Ticks(unsafe { bpf_jiffies64() })
    }
    #[inline(never)]
    fn route(&self, ifindex: u32, source: &Ip, destination: &Ip) -> Route {
        route(self.context, ifindex, source, destination)
    }

    #[inline(always)]
    fn count(&self, reason: Reason, len: usize) {
        if let Some(counter) = record(maps::COUNTERS.get_ptr_mut(reason as u32)) {
            counter.packets += 1;
            counter.bytes += len as u64;
        }
    }
    #[inline(always)]
    fn emit(&self, event: &Event) {
        // Written in place: it would not fit the stack. What finds no room is lost; the daemon knows the rest by reading the tables.
        if event_kind::is_ruling(event.kind) {
            match maps::RULINGS.reserve(0) {
                Some(mut entry) => {
                    entry.write(*event);
                    entry.submit(0);
                }
                None => lose(lost::RULINGS),
            }
            return;
        }
        // A wakeup costs five times the event, and strangers cause some of them: the daemon drains these by the clock, and sleeps
        // for a way that is wanted.
        let flags = if event.kind == event_kind::NEXT_HOP_WANTED { 0 } else { BPF_RB_NO_WAKEUP };
        match maps::EVENTS.reserve(0) {
            Some(mut entry) => {
                entry.write(*event);
                entry.submit(flags.into());
            }
            None => lose(lost::EVENTS),
        }
    }
}

/// Counts an event that found no room in ring buffer `number` of [`lost`].
#[inline(never)]
fn lose(number: u32) {
    if let Some(count) = record(maps::LOST.get_ptr_mut(number)) {
        *count += 1;
    }
}

/// The kernel's own routing decision, as it would forward the packet.
#[inline(always)]
fn route(context: *mut xdp_md, ifindex: u32, source: &Ip, destination: &Ip) -> Route {
    // SAFETY: integers and unions of integers: all zero is a valid value.
    let mut question: FibLookup = unsafe { zeroed() };
    question.ifindex = ifindex;
    if destination.is_v4() {
        question.family = AF_INET;
        question.__bindgen_anon_3.ipv4_src = source.last();
        question.__bindgen_anon_4.ipv4_dst = destination.last();
    } else {
        question.family = AF_INET6;
        question.__bindgen_anon_3.ipv6_src = source.0;
        question.__bindgen_anon_4.ipv6_dst = destination.0;
    }
    // SAFETY: the context is valid while the program runs; the size is that of the record behind the pointer.
    let answer = unsafe { bpf_fib_lookup(context.cast(), &raw mut question, size_of::<FibLookup>() as i32, 0) };
    match u32::try_from(answer) {
        Ok(BPF_FIB_LKUP_RET_SUCCESS) => Route::Via(NextHop::new(question.dmac, question.smac, question.ifindex, 0)),
        Ok(BPF_FIB_LKUP_RET_NOT_FWDED | BPF_FIB_LKUP_RET_FWD_DISABLED) => Route::Host,
        _ => Route::Unknown,
    }
}
