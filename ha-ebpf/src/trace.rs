//! Shows packets to whoever traces: as they came, as they leave, and why. Nothing of this runs while nobody does.
//!
//! Both functions are global ones, which the verifier walks once each, and what they put together lies in a map: every other packet pays
//! for one bit that is tested twice.
#![allow(unsafe_code)] // records of kernel maps, the kernel's copies of packets, and names that the verifier knows

use aya_ebpf::bindings::{BPF_RB_NO_WAKEUP, xdp_md};
use aya_ebpf::helpers::generated::bpf_xdp_load_bytes;
use ha_common::abi::{TRACED_BYTES, Trace, TraceBudget, Traced, traced_as};
use ha_common::packet::PacketMut;
use ha_common::pipeline::{self, Action, Verdict};
use ha_common::tables::Tables;
use ha_common::word::opaque;

use crate::maps;
use crate::packet::XdpFrame;
use crate::tables::Maps;

/// The one record of `TRACE`, while the lease of whoever wrote it runs.
#[inline(always)]
fn lease(tables: &Maps) -> Option<&'static Trace> {
    maps::TRACE.get(0).filter(|trace| tables.ticks() < trace.until)
}

/// Where this CPU's record is put together.
#[inline(always)]
fn room() -> Option<&'static mut Traced> {
    // SAFETY: the memory of a per-CPU array lasts as long as the program, which no other on this CPU interrupts; every bit pattern is
    // a valid record.
    maps::TRACE_ROOM.get_ptr_mut(0).map(|room| unsafe { &mut *room })
}

#[inline(always)]
fn budget() -> Option<&'static mut TraceBudget> {
    // SAFETY: as above.
    maps::TRACE_BUDGET.get_ptr_mut(0).map(|budget| unsafe { &mut *budget })
}

/// Copies the beginning of the frame to `place`.
#[inline(always)]
fn copy(context: *mut xdp_md, len: usize, place: &mut [u8; TRACED_BYTES]) {
    const LAST: usize = TRACED_BYTES - 1;
    const _: () = assert!(TRACED_BYTES.is_power_of_two());
    if len == 0 {
        return;
    }
    let last = if len > LAST { LAST } else { len - 1 };
    // The mask changes nothing, and tells old verifiers (Linux 6.1) that it is one byte at least.
    let kept = (opaque(last as u64) & LAST as u64) + 1;
    // SAFETY: the context is valid while the program runs; `place` has room for `kept` bytes. When it fails the place stays as it was.
    unsafe { bpf_xdp_load_bytes(context, 0, place.as_mut_ptr().cast(), kept as u32) };
}

/// Takes down how a frame came in on interface `ifindex`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn came(context: *mut xdp_md, ifindex: u32) -> u32 {
    let tables = Maps::new(context);
    let Some(room) = room() else {
        return 0;
    };
    room.ifindex = 0;
    let Some(trace) = lease(&tables) else {
        return 0;
    };
    let frame = XdpFrame::new(context);
    let len = frame.len();
    room.len = len as u32;
    room.ifindex = ifindex;
    room.wanted = u32::from(pipeline::wants(&trace.filter, &frame));
    copy(context, len, &mut room.came);
    0
}

/// Tells what became of the frame that [`came`] took down, if it is wanted as it came or as it leaves.
#[inline(always)]
pub fn leaves(context: *mut xdp_md, verdict: Verdict) {
    let (action, ifindex) = match verdict.action() {
        Action::Drop => (traced_as::DROP, 0),
        Action::Pass => (traced_as::PASS, 0),
        Action::Transmit => (traced_as::TRANSMIT, 0),
        Action::Redirect(ifindex) => (traced_as::REDIRECT, ifindex),
    };
    left(context, action.into(), verdict.reason() as u32, ifindex);
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn left(context: *mut xdp_md, action: u32, reason: u32, ifindex: u32) -> u32 {
    let tables = Maps::new(context);
    let Some(room) = room() else {
        return 0;
    };
    if room.ifindex == 0 {
        return 0;
    }
    let Some(trace) = lease(&tables) else {
        return 0;
    };
    let frame = XdpFrame::new(context);
    if room.wanted == 0 && !pipeline::wants(&trace.filter, &frame) {
        return 0;
    }
    room.at = tables.now();
    room.action = action as u16;
    room.reason = reason as u16;
    room.out_ifindex = if action == u32::from(traced_as::TRANSMIT) { room.ifindex } else { ifindex };
    room.out_len = 0;
    if action != u32::from(traced_as::DROP) {
        let len = frame.len();
        room.out_len = len as u32;
        copy(context, len, &mut room.leaves);
    }
    tell(room, trace.cost);
    0
}

#[inline(always)]
fn tell(room: &Traced, cost: u64) {
    let Some(budget) = budget() else {
        return;
    };
    if budget.draw(room.at, cost) && maps::TRACED.output(room, BPF_RB_NO_WAKEUP.into()).is_err() {
        budget.full += 1;
    }
}
