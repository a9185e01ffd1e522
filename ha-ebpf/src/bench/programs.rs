//! The programs.
#![allow(unsafe_code)] // direct packet access

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::{Array, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_xdp_adjust_head};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use ha_common::wire::heartbeat::FRAME_LEN;

/// Length of every frame but heartbeats, in 64-bit words.
const WORDS: usize = 12;
const LEN: usize = WORDS * 8;

/// Clients of one CPU where every client comes once: as many as their numbers' lower bits tell apart.
const OWN_CLIENTS: u32 = (1 << 24) - 1;

/// What `outer` makes every packet of.
#[repr(C)]
pub struct Template {
    /// The frame.
    pub frame: [u64; WORDS],
    /// Offset of the word that changes: 26 (IPv4 source), 34 (last word of an IPv6 source), or 0 for none.
    pub client_at: u32,
    /// The first client's address.
    pub base: u32,
    /// Clients are numbered modulo this plus one: a power of two minus one.
    pub mask: u32,
    /// Not zero: every client once, in order, and each CPU its own; zero: at random.
    pub in_order: u32,
}

/// What `outer_heartbeat` makes every packet of: [`FRAME_LEN`] bytes.
#[repr(C)]
pub struct Heartbeat {
    /// All of the frame that is whole words.
    pub words: [u64; FRAME_LEN / 8],
    /// The rest.
    pub tail: u16,
}

const _: () = assert!(FRAME_LEN % 8 == size_of::<u16>());

/// Where a CPU stands.
#[repr(C)]
pub struct State {
    /// Of a linear congruential generator.
    pub seed: u64,
    /// Clients so far.
    pub count: u64,
}

/// A key as long as that of the fastest public balancer's flow table.
#[repr(C)]
pub struct Key {
    /// Source and destination address, ports, protocol.
    pub words: [u32; 10],
}

#[btf_map]
static TEMPLATE: Array<Template, 1> = Array::new();
#[btf_map]
static HEARTBEAT: Array<Heartbeat, 1> = Array::new();
#[btf_map]
static STATE: PerCpuArray<State, 1> = PerCpuArray::new();
#[btf_map]
static UNDER_TEST: ProgramArray<1> = ProgramArray::new();
#[btf_map]
static LRU: LruHashMap<Key, [u64; 2], 1_048_576> = LruHashMap::new();

/// First byte of the frame, and the one behind its last.
#[inline(always)]
pub fn bounds(context: *mut xdp_md) -> (usize, usize) {
    // SAFETY: the context is valid while the program runs.
    unsafe {
        ((&raw const (*context).data).read_volatile() as usize, (&raw const (*context).data_end).read_volatile() as usize)
    }
}

/// The next client's number.
#[inline(always)]
fn next(state: &mut State, template: &Template) -> u32 {
    state.count += 1;
    if template.in_order != 0 {
        // SAFETY: a helper without arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        return state.count as u32 & OWN_CLIENTS | cpu << OWN_CLIENTS.count_ones();
    }
    state.seed = state.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (state.seed >> 33) as u32 & template.mask
}

/// Puts the packet back, with another client's address, and goes on as the program under test.
#[xdp]
pub fn outer(context: XdpContext) -> u32 {
    let (data, end) = bounds(context.ctx);
    if data + LEN != end {
        let moved = (end - data) as i32 - LEN as i32;
        // SAFETY: the context is valid; its bounds are read again after this.
        unsafe { bpf_xdp_adjust_head(context.ctx, moved) };
    }
    let (data, end) = bounds(context.ctx);
    let (Some(template), Some(state)) = (TEMPLATE.get(0), STATE.get_ptr_mut(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    if data + LEN > end {
        return xdp_action::XDP_ABORTED;
    }
    for (index, word) in template.frame.iter().enumerate() {
        // SAFETY: all words lie within the frame, as was just seen.
        unsafe { *((data + index * 8) as *mut u64) = *word };
    }
    // SAFETY: this CPU's own record.
    let client = template.base.wrapping_add(next(unsafe { &mut *state }, template)).to_be();
    match template.client_at {
        // SAFETY: within the frame, as was just seen.
        26 => unsafe { *((data + 26) as *mut u32) = client },
        // SAFETY: as above.
        34 => unsafe { *((data + 34) as *mut u32) = client },
        _ => {}
    }
    // SAFETY: the context is this program's own. A tail call that comes back has failed.
    unsafe { UNDER_TEST.tail_call(&context, 0) };
    xdp_action::XDP_ABORTED
}

/// Puts a heartbeat back, always the same one, and goes on as the program under test. An echo is as long as its request.
#[xdp]
pub fn outer_heartbeat(context: XdpContext) -> u32 {
    let (data, end) = bounds(context.ctx);
    let Some(heartbeat) = HEARTBEAT.get(0) else { return xdp_action::XDP_ABORTED };
    if data + FRAME_LEN > end {
        return xdp_action::XDP_ABORTED;
    }
    for (index, word) in heartbeat.words.iter().enumerate() {
        // SAFETY: all words lie within the frame, as was just seen.
        unsafe { *((data + index * 8) as *mut u64) = *word };
    }
    // SAFETY: as above.
    unsafe { *((data + FRAME_LEN / 8 * 8) as *mut u16) = heartbeat.tail };
    // SAFETY: the context is this program's own. A tail call that comes back has failed.
    unsafe { UNDER_TEST.tail_call(&context, 0) };
    xdp_action::XDP_ABORTED
}

/// Does nothing.
#[xdp]
pub fn empty(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Sends the frame back to where it came from.
#[xdp]
pub fn mac_swap(context: XdpContext) -> u32 {
    let (data, end) = bounds(context.ctx);
    if data + 14 > end {
        return xdp_action::XDP_DROP;
    }
    let macs = data as *mut [u16; 3];
    // SAFETY: both addresses lie within the frame, as was just seen.
    unsafe {
        let (to, from) = (*macs, *macs.add(1));
        *macs = from;
        *macs.add(1) = to;
    }
    xdp_action::XDP_TX
}

/// Looks the client up in an LRU hash.
#[xdp]
pub fn lru_lookup(context: XdpContext) -> u32 {
    let (data, end) = bounds(context.ctx);
    if data + 38 > end {
        return xdp_action::XDP_DROP;
    }
    // SAFETY: addresses and ports lie within the frame, as was just seen.
    let (source, destination, ports) =
        unsafe { (*((data + 26) as *const u32), *((data + 30) as *const u32), *((data + 34) as *const u32)) };
    let key = Key { words: [source, 0, 0, 0, destination, 0, 0, 0, ports, 6] };
    match LRU.get_ptr(&key) {
        Some(_) => xdp_action::XDP_TX,
        None => xdp_action::XDP_PASS,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
