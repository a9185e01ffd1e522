//! Entry points.
#![allow(unsafe_code)] // contexts are raw pointers

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use ha_common::abi::{Ip, node_flags};
use ha_common::packet::PacketMut;
use ha_common::pipeline::{self, Action, Egress, Ingress};
use ha_common::tables::Tables;
use ha_common::wire::eth::{self, Macs};

use crate::packet::{SentFrame, XdpFrame};
use crate::tables::Maps;
use crate::trace;

/// Every frame that an interface receives.
#[xdp]
pub fn ingress(context: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(context.ctx);
    let tables = Maps::new(context.ctx);
    let len = frame.len();
    let ifindex = arrival(&tables, &context);
    if is_traced(&tables) {
        trace::came(context.ctx, ifindex);
    }
    let verdict = pipeline::process(&mut frame, &tables, Ingress { ifindex });
    tables.count(verdict.reason(), len);
    // Read again: of what it was before, the verifier would walk the whole story once for either answer.
    if is_traced(&tables) {
        trace::leaves(context.ctx, verdict);
    }
    match verdict.action() {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
        // SAFETY: a helper on integers.
        Action::Redirect(ifindex) => unsafe { bpf_redirect(ifindex, 0) as u32 },
    }
}

/// The interface that a frame came in by, as everybody else knows it: where the kernel names a member of a bond, the bond.
#[inline(always)]
fn arrival(tables: &Maps, context: &XdpContext) -> u32 {
    let ifindex = context.ingress_ifindex() as u32;
    match tables.node() {
        Some(node) if node.flags & node_flags::BONDS != 0 => bond_of(ifindex),
        _ => ifindex,
    }
}

/// Whether somebody may be tracing.
#[inline(always)]
fn is_traced(tables: &Maps) -> bool {
    tables.node().is_some_and(|node| node.flags & node_flags::TRACED != 0)
}

/// Not inlined: without bonds, it costs nobody a look-up.
#[inline(never)]
fn bond_of(ifindex: u32) -> u32 {
    match Maps::new(core::ptr::null_mut()).interface(ifindex) {
        Some(here) => here.ifindex,
        None => ifindex,
    }
}

/// Every frame that the host's stack sends.
#[classifier]
pub fn egress_guard(context: TcContext) -> i32 {
    let mut frame = SentFrame::new(context.as_ptr().cast(), pipeline::EGRESS_HEADERS as u32);
    let tables = Maps::new(core::ptr::null_mut());
    let egress = Egress { ifindex: frame.ifindex(), vlan: frame.offloaded_vlan() };
    let verdict = pipeline::egress(&mut frame, &tables, egress);
    tables.count(verdict.reason(), frame.whole_len());
    match verdict.action() {
        Action::Drop => TC_ACT_SHOT,
        // Not "ok": that would end the chain, and whoever is attached after this program has a say, too.
        _ => TC_ACT_UNSPEC,
    }
}

/// Every frame that XDP gave to the host: admits it if it is addressed to the interface, whatever it was addressed to before.
///
/// Most drivers judge that after XDP, as it should be. One that does before (veth) takes a frame that XDP has addressed
/// anew for another station's, and the stack would drop it.
#[classifier]
pub fn admission(context: TcContext) -> i32 {
    const TO_HOST: u32 = 0;
    const TO_OTHER: u32 = 3;
    let frame = SentFrame::new(context.as_ptr().cast(), eth::LEN as u32);
    if frame.kind() != TO_OTHER {
        return TC_ACT_UNSPEC;
    }
    let tables = Maps::new(core::ptr::null_mut());
    // One after the other: what is not there must not be read, and of a pair of options the compiler reads both.
    let Some(here) = tables.interface(frame.ifindex()) else {
        return TC_ACT_UNSPEC;
    };
    let Some(macs) = frame.load::<Macs>(0) else {
        return TC_ACT_UNSPEC;
    };
    if eth::destination(macs) == here.mac {
        frame.set_kind(TO_HOST);
    }
    TC_ACT_UNSPEC
}

/// Tells userspace the two clocks at one instant, by a test run: `jiffies64`, then `CLOCK_MONOTONIC`, as the first 16 bytes of the
/// frame. Never attached.
#[xdp]
pub fn clocks(context: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(context.ctx);
    // SAFETY: helpers without arguments.
    let now = unsafe { [bpf_jiffies64(), bpf_ktime_get_ns()] };
    match frame.store(0, now) {
        Some(()) => xdp_action::XDP_PASS,
        None => xdp_action::XDP_ABORTED,
    }
}

/// Tells userspace which way the kernel's routing and neighbour tables say, as the pipeline would be told, by a test run: the first words
/// of the frame are the interface and both addresses of the question, and then of the answer. Never attached.
#[xdp]
pub fn way(context: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(context.ctx);
    let (Some(ifindex), Some([source, destination])) = (frame.load::<u32>(0), frame.load::<[[u32; 4]; 2]>(4)) else {
        return xdp_action::XDP_ABORTED;
    };
    let route = Maps::new(context.ctx).route(ifindex, &Ip(source), &Ip(destination));
    match frame.store(0, route.words()) {
        Some(()) => xdp_action::XDP_PASS,
        None => xdp_action::XDP_ABORTED,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
