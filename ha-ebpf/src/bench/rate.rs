//! Programs of `bench rate`: one makes traffic, one counts and answers at its far end, two are what the device under test is compared with.
//!
//! `generate` runs over live frames, so what it returns `XDP_TX` for leaves on the wire. Frames come back to it as whoever was on the way
//! left them: it writes each as a whole. All traffic carries a mark in the IPv4 type of service, by which the far end tells it from what is
//! the stack's there.
#![allow(unsafe_code)] // direct packet access

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

use crate::programs::bounds;

/// Length of every frame, in 64-bit words.
const WORDS: usize = 8;
const LEN: usize = WORDS * 8;
/// What precedes a TCP segment's data: all that a stack leaves of a frame with none.
const TCP_HEADERS: usize = 54;
/// Type of service of all that is generated.
const MARK: u8 = 0x04;
/// How many gaps a paced sender may be late and catch up.
const LATE: u64 = 64;
/// Flows that are recorded one by one.
const RECORDED: usize = 16_384;
/// Sequence number of the far end.
const FAR_SEQUENCE: u32 = 0x1000_0000;

const ETHER_IPV4: u16 = 0x0800u16.to_be();
const TCP: u8 = 6;
const IPIP: u8 = 4;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A kind of traffic: one frame, and what differs from flow to flow.
#[repr(C)]
pub struct Pattern {
    /// The frame, without checksums, identification and source.
    pub frame: [u64; WORDS],
    /// The first client's address.
    pub client: u32,
    /// A client's first port.
    pub port: u32,
    /// Flows of each client, as a power of two.
    pub port_bits: u32,
    /// Flows are numbered modulo this plus one: a power of two minus one.
    pub mask: u32,
    /// Not zero: flows at random; zero: one after the other.
    pub random: u32,
    /// Sum of the IP header's 16-bit words, in the host's order, without what differs.
    pub ip_sum: u32,
    /// The same of the pseudo header and the segment.
    pub segment_sum: u32,
    /// Where the segment's checksum is: 50 (TCP), 40 (UDP), or 0 for a segment in which nothing differs.
    pub checksum_at: u32,
}

/// How patterns are sent.
#[repr(C)]
pub struct Pace {
    /// Nanoseconds from frame to frame; 0: as fast as can be.
    pub gap: u64,
    /// Every how many frames one is of the second pattern; 0: none.
    pub every: u64,
}

/// Where a CPU stands.
#[repr(C)]
pub struct Sender {
    /// Of a linear congruential generator.
    pub seed: u64,
    /// When the next frame may leave.
    pub due: u64,
    /// Frames since the last one of the second pattern.
    pub turn: u64,
    /// Frames sent, by pattern.
    pub sent: [u64; 2],
}

/// What the far end does besides counting, and where `beyond` sends.
#[repr(C)]
pub struct Behaviour {
    /// Not zero: a SYN is answered.
    pub answers: u32,
    /// Not zero: each flow's segments are counted, and whether they come to another address than before.
    pub records: u32,
    /// Flows from this address on are not recorded.
    pub strangers: u32,
    /// Interface index.
    pub beyond: u32,
}

/// What the far end saw of a flow.
#[repr(C)]
pub struct Seen {
    /// Segments.
    pub segments: u64,
    /// Where the last one was addressed to, in network order.
    pub address: u32,
    /// How often that was another address than before.
    pub moves: u32,
}

#[btf_map]
static PATTERNS: Array<Pattern, 2> = Array::new();
#[btf_map]
static PACE: Array<Pace, 1> = Array::new();
#[btf_map]
static SENDER: PerCpuArray<Sender, 1> = PerCpuArray::new();
#[btf_map]
static BEHAVIOUR: Array<Behaviour, 1> = Array::new();
#[btf_map]
static SEEN: Array<Seen, RECORDED> = Array::new();
/// Frames that arrived: at the far end, and back at the near one.
#[btf_map]
static ARRIVED: PerCpuArray<u64, 2> = PerCpuArray::new();

const FAR: u32 = 0;
const NEAR: u32 = 1;

#[inline(always)]
fn count(end: u32) {
    if let Some(count) = ARRIVED.get_ptr_mut(end) {
        // SAFETY: this CPU's own word.
        unsafe { *count += 1 };
    }
}

/// Whether a paced sender's next frame is due.
#[inline(always)]
fn is_due(sender: &mut Sender, gap: u64) -> bool {
    if gap == 0 {
        return true;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if now < sender.due {
        return false;
    }
    let earliest = now - LATE * gap;
    sender.due = if sender.due < earliest { earliest } else { sender.due } + gap;
    true
}

#[inline(always)]
fn folded(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum >> 16) + sum) as u16
}

/// Makes the next frame and sends it out of the interface that it is said to have come from.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    let (Some(pace), Some(sender)) = (PACE.get(0), SENDER.get_ptr_mut(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: this CPU's own record.
    let sender = unsafe { &mut *sender };
    if !is_due(sender, pace.gap) {
        return xdp_action::XDP_DROP;
    }
    sender.turn += 1;
    let second = pace.every != 0 && sender.turn >= pace.every;
    let number = if second {
        sender.turn = 0;
        sender.sent[1] += 1;
        sender.sent[1] - 1
    } else {
        sender.sent[0] += 1;
        sender.sent[0] - 1
    };
    let Some(pattern) = PATTERNS.get(u32::from(second)) else {
        return xdp_action::XDP_ABORTED;
    };
    let mut flow = number as u32;
    if pattern.random != 0 {
        sender.seed = sender.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        flow = (sender.seed >> 32) as u32;
    }
    flow &= pattern.mask;
    let (data, end) = bounds(context.ctx);
    if data + LEN > end {
        return xdp_action::XDP_ABORTED;
    }
    for (index, word) in pattern.frame.iter().enumerate() {
        // SAFETY: all words lie within the frame, as was just seen.
        unsafe { *((data + index * 8) as *mut u64) = *word };
    }
    let bits = pattern.port_bits & 31;
    let client = pattern.client.wrapping_add(flow >> bits);
    let addresses = (client >> 16) + (client & 0xffff);
    let id = flow & 0xffff;
    // SAFETY: within the frame, as was just seen.
    unsafe {
        *((data + 18) as *mut u16) = (id as u16).to_be();
        *((data + 24) as *mut u16) = folded(pattern.ip_sum + id + addresses).to_be();
        *((data + 26) as *mut u32) = client.to_be();
    }
    if pattern.checksum_at == 0 {
        return xdp_action::XDP_TX;
    }
    let port = pattern.port + (flow & ((1 << bits) - 1));
    let checksum = folded(pattern.segment_sum + port + addresses);
    // SAFETY: as above.
    unsafe { *((data + 34) as *mut u16) = (port as u16).to_be() };
    if pattern.checksum_at == 50 {
        // SAFETY: as above.
        unsafe { *((data + 50) as *mut u16) = checksum.to_be() };
    } else {
        // Zero would say that there is none.
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        // SAFETY: as above.
        unsafe { *((data + 40) as *mut u16) = checksum.to_be() };
    }
    xdp_action::XDP_TX
}

/// Whether a frame of at least 34 bytes at `data` is of the generated traffic, or a tunnel's that may hold some.
#[inline(always)]
fn is_ours(data: usize) -> bool {
    // SAFETY: the caller has seen that the frame is long enough.
    let (kind, service, protocol) =
        unsafe { (*((data + 12) as *const u16), *((data + 15) as *const u8), *((data + 23) as *const u8)) };
    kind == ETHER_IPV4 && (service == MARK || protocol == IPIP)
}

/// Where traffic ends: counts it, and on request answers SYNs and notes what comes of each flow.
#[xdp]
pub fn far_end(context: XdpContext) -> u32 {
    let (data, end) = bounds(context.ctx);
    if data + 34 > end || !is_ours(data) {
        return xdp_action::XDP_PASS;
    }
    count(FAR);
    let Some(behaviour) = BEHAVIOUR.get(0) else {
        return xdp_action::XDP_DROP;
    };
    if behaviour.answers | behaviour.records == 0 || data + TCP_HEADERS > end {
        return xdp_action::XDP_DROP;
    }
    // SAFETY: within the frame, as was just seen.
    let (protocol, flags) = unsafe { (*((data + 23) as *const u8), *((data + 47) as *const u8)) };
    if protocol != TCP {
        return xdp_action::XDP_DROP;
    }
    if flags & (SYN | ACK) != SYN {
        if behaviour.records != 0 {
            note(data, behaviour.strangers);
        }
        return xdp_action::XDP_DROP;
    }
    if behaviour.answers == 0 {
        return xdp_action::XDP_DROP;
    }
    answer(data);
    xdp_action::XDP_TX
}

/// Notes that a segment of a flow came, and where it was addressed to.
#[inline(always)]
fn note(data: usize, strangers: u32) {
    // SAFETY: the caller has seen that the frame is long enough.
    let (id, source, address) =
        unsafe { (*((data + 18) as *const u16), *((data + 26) as *const u32), *((data + 30) as *const u32)) };
    if u32::from_be(source) >= strangers {
        return;
    }
    let Some(seen) = SEEN.get_ptr_mut(u32::from(u16::from_be(id))) else { return };
    // SAFETY: a record of a map; frames of one flow come from one CPU.
    let seen = unsafe { &mut *seen };
    seen.segments += 1;
    if seen.address != address {
        seen.moves += u32::from(seen.address != 0);
        seen.address = address;
    }
}

/// Makes a SYN its answer. Swapping leaves the checksum as it is; the numbers and the flags do not.
#[inline(always)]
fn answer(data: usize) {
    let macs = data as *mut [u16; 3];
    let addresses = (data + 26) as *mut u32;
    let ports = (data + 34) as *mut u16;
    let numbers = (data + 38) as *mut u32;
    let flags = (data + 47) as *mut u8;
    let checksum = (data + 50) as *mut u16;
    // SAFETY: the caller has seen that the frame is long enough.
    unsafe {
        let (to, from) = (*macs, *macs.add(1));
        *macs = from;
        *macs.add(1) = to;
        let (from, to) = (*addresses, *addresses.add(1));
        *addresses = to;
        *addresses.add(1) = from;
        let (from, to) = (*ports, *ports.add(1));
        *ports = to;
        *ports.add(1) = from;
        let (sequence, acknowledged) = (u32::from_be(*numbers), u32::from_be(*numbers.add(1)));
        let next = sequence.wrapping_add(1);
        *numbers = FAR_SEQUENCE.to_be();
        *numbers.add(1) = next.to_be();
        let old_flags = *flags;
        *flags = SYN | ACK;
        // RFC 1624, equation 3.
        let sum = u32::from(!u16::from_be(*checksum))
            + without(sequence)
            + within(FAR_SEQUENCE)
            + without(acknowledged)
            + within(next)
            + u32::from(!u16::from(old_flags))
            + u32::from(SYN | ACK);
        *checksum = folded(sum).to_be();
    }
}

#[inline(always)]
fn within(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

#[inline(always)]
fn without(word: u32) -> u32 {
    within(!word)
}

/// Where answers end: counts them.
#[xdp]
pub fn near_end(context: XdpContext) -> u32 {
    let (data, end) = bounds(context.ctx);
    if data + 34 > end || !is_ours(data) {
        return xdp_action::XDP_PASS;
    }
    count(NEAR);
    xdp_action::XDP_DROP
}

/// The ceiling: every frame is counted and dropped.
#[xdp]
pub fn ceiling(_: XdpContext) -> u32 {
    count(FAR);
    xdp_action::XDP_DROP
}

/// The least that a device on the way can do: every frame goes on, unseen.
#[xdp]
pub fn beyond(_: XdpContext) -> u32 {
    let Some(behaviour) = BEHAVIOUR.get(0) else {
        return xdp_action::XDP_DROP;
    };
    // SAFETY: a helper on integers.
    unsafe { bpf_redirect(behaviour.beyond, 0) as u32 }
}
