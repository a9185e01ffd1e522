//! [`Steps`] as functions of their own: global ones, which the verifier walks once each instead of once for every state of every caller.
#![allow(unsafe_code)] // what such a function gets are pointers

use core::ptr::null_mut;

use aya_ebpf::bindings::xdp_md;
use ha_common::abi::Vserver;
use ha_common::packet::PacketMut;
use ha_common::pipeline::steps::Fate;
use ha_common::pipeline::{Plan, Steps, Story, steps};

use crate::packet::XdpFrame;
use crate::tables::Maps;

impl Steps for Maps {
    #[inline(always)]
    fn admit(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) -> bool {
        admit(vserver, story, plan) != 0
    }

    #[inline(always)]
    fn find_any_port(&self, story: &Story, plan: &mut Plan) {
        find_any_port(story, plan);
    }

    #[inline(always)]
    fn place(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) {
        place(vserver, story, plan);
    }

    #[inline(always)]
    fn allot(&self, story: &Story, plan: &mut Plan) -> bool {
        allot(story, plan) != 0
    }

    #[inline(always)]
    fn remember(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) {
        remember(vserver, story, plan);
    }

    #[inline(always)]
    fn keep(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) {
        keep(vserver, story, plan);
    }

    #[inline(always)]
    fn carry_out<P: PacketMut>(&self, _packet: &mut P, story: &Story, plan: &mut Plan) {
        carry_out(self.context(), story, plan);
    }

    #[inline(always)]
    fn outlive(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) -> Fate {
        Fate::of(outlive(vserver, story, plan))
    }

    #[inline(always)]
    fn reset<P: PacketMut>(&self, _packet: &mut P, story: &Story, plan: &mut Plan) {
        reset(self.context(), story, plan);
    }

    #[inline(always)]
    fn refuse<P: PacketMut>(&self, _packet: &mut P, story: &Story, plan: &mut Plan) {
        refuse(self.context(), story, plan);
    }

    #[inline(always)]
    fn relay<P: PacketMut>(&self, _packet: &mut P, story: &mut Story, plan: &mut Plan) -> bool {
        relay(self.context(), story, plan) != 0
    }

    #[inline(always)]
    fn is_right<P: PacketMut>(&self, _packet: &P, story: &Story) -> bool {
        is_right(self.context(), story) != 0
    }

    #[inline(always)]
    fn outer<P: PacketMut>(&self, _packet: &mut P, story: &mut Story, plan: &mut Plan) -> bool {
        outer(self.context(), story, plan) != 0
    }

    #[inline(always)]
    fn translate_rest<P: PacketMut>(&self, _packet: &mut P, story: &Story, plan: &mut Plan) {
        translate_rest(self.context(), story, plan);
    }

    #[inline(always)]
    fn piece<P: PacketMut>(&self, _packet: &mut P, story: &mut Story, plan: &mut Plan) -> bool {
        piece(self.context(), story, plan) != 0
    }

    #[inline(always)]
    fn note<P: PacketMut>(&self, _packet: &mut P, story: &Story, plan: &Plan) {
        note(self.context(), story, plan);
    }
}

// The functions themselves. Nobody inlines them, and for all that the verifier knows of a caller each pointer may be null.
//
// SAFETY of each: the methods above pass references, valid as long as the call lasts, and the only ones to what is changed.

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn admit(vserver: *const Vserver, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    match unsafe { (vserver.as_ref(), story.as_ref(), plan.as_mut()) } {
        (Some(vserver), Some(story), Some(plan)) => steps::admit(&Maps::new(null_mut()), vserver, story, plan).into(),
        _ => 0,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn find_any_port(story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(story), Some(plan)) = unsafe { (story.as_ref(), plan.as_mut()) } {
        steps::find_any_port(&Maps::new(null_mut()), story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn place(vserver: *const Vserver, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(vserver), Some(story), Some(plan)) = unsafe { (vserver.as_ref(), story.as_ref(), plan.as_mut()) } {
        steps::place(&Maps::new(null_mut()), vserver, story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn allot(story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    match unsafe { (story.as_ref(), plan.as_mut()) } {
        (Some(story), Some(plan)) => steps::allot(&Maps::new(null_mut()), story, plan).into(),
        _ => 0,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn remember(vserver: *const Vserver, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(vserver), Some(story), Some(plan)) = unsafe { (vserver.as_ref(), story.as_ref(), plan.as_mut()) } {
        steps::remember(&Maps::new(null_mut()), vserver, story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn keep(vserver: *const Vserver, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(vserver), Some(story), Some(plan)) = unsafe { (vserver.as_ref(), story.as_ref(), plan.as_mut()) } {
        steps::keep(&Maps::new(null_mut()), vserver, story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn carry_out(context: *mut xdp_md, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(story), Some(plan)) = unsafe { (story.as_ref(), plan.as_mut()) } {
        steps::carry_out(&mut XdpFrame::new(context), &Maps::new(context), story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn refuse(context: *mut xdp_md, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(story), Some(plan)) = unsafe { (story.as_ref(), plan.as_mut()) } {
        steps::refuse(&mut XdpFrame::new(context), &Maps::new(context), story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn outlive(vserver: *const Vserver, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    match unsafe { (vserver.as_ref(), story.as_ref(), plan.as_mut()) } {
        (Some(vserver), Some(story), Some(plan)) => steps::outlive(&Maps::new(null_mut()), vserver, story, plan) as u32,
        _ => Fate::Ends as u32,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn reset(context: *mut xdp_md, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(story), Some(plan)) = unsafe { (story.as_ref(), plan.as_mut()) } {
        steps::reset(&mut XdpFrame::new(context), &Maps::new(context), story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn relay(context: *mut xdp_md, story: *mut Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    match unsafe { (story.as_mut(), plan.as_mut()) } {
        (Some(story), Some(plan)) => steps::relay(&mut XdpFrame::new(context), &Maps::new(context), story, plan).into(),
        _ => 0,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn piece(context: *mut xdp_md, story: *mut Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    match unsafe { (story.as_mut(), plan.as_mut()) } {
        (Some(story), Some(plan)) => steps::piece(&mut XdpFrame::new(context), &Maps::new(context), story, plan).into(),
        _ => 0,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn note(context: *mut xdp_md, story: *const Story, plan: *const Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(story), Some(plan)) = unsafe { (story.as_ref(), plan.as_ref()) } {
        steps::note(&XdpFrame::new(context), &Maps::new(context), story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn translate_rest(context: *mut xdp_md, story: *const Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    if let (Some(story), Some(plan)) = unsafe { (story.as_ref(), plan.as_mut()) } {
        steps::translate_rest(&mut XdpFrame::new(context), &Maps::new(context), story, plan);
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn outer(context: *mut xdp_md, story: *mut Story, plan: *mut Plan) -> u32 {
    // SAFETY: as said above.
    match unsafe { (story.as_mut(), plan.as_mut()) } {
        (Some(story), Some(plan)) => steps::outer(&mut XdpFrame::new(context), &Maps::new(context), story, plan).into(),
        _ => 0,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn is_right(context: *mut xdp_md, story: *const Story) -> u32 {
    // SAFETY: as said above.
    unsafe { story.as_ref() }.map_or(0, |story| steps::is_right(&XdpFrame::new(context), story).into())
}
