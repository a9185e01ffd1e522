//! The only pointer arithmetic: a frame in the kernel's hands as a [`PacketMut`].
#![allow(unsafe_code)] // direct packet access is what this file is for

use core::arch::asm;

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::generated::{
    bpf_skb_change_type, bpf_skb_pull_data, bpf_skb_store_bytes, bpf_xdp_adjust_head, bpf_xdp_adjust_tail,
};
use ha_common::packet::{PacketMut, Wire};

/// The bounds of a frame that the verifier lets a program touch.
trait Bounds {
    fn start(&self) -> usize;
    fn end(&self) -> usize;
}

/// The place of a `T` at `offset`, if it ends within the frame.
#[inline(always)]
fn place<T>(bounds: &impl Bounds, offset: usize) -> Option<*mut T> {
    let start = bounds.start() + offset;
    (start + size_of::<T>() <= bounds.end()).then_some(start as *mut T)
}

/// Bytes between the bounds.
#[inline(always)]
fn distance(bounds: &impl Bounds) -> usize {
    let mut len = bounds.end();
    // SAFETY: a subtraction. The compiler must not see it: where only 32 bits of the length are used it would subtract 32 bits of the
    // pointers, which the verifier refuses.
    unsafe { asm!("{len} -= {start}", len = inout(reg) len, start = in(reg) bounds.start(), options(pure, nomem, nostack)) };
    len
}

#[inline(always)]
fn load<T: Wire>(bounds: &impl Bounds, offset: usize) -> Option<T> {
    let place = place::<T>(bounds, offset)?;
    // SAFETY: `place` lies within the frame. It may be misaligned, which the machines that run these programs do in one access;
    // the unaligned read that the language would have here becomes one access per byte.
    Some(unsafe { *place })
}

/// A received frame.
pub struct XdpFrame(*mut xdp_md);

impl XdpFrame {
    /// The frame of a program's context.
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> Self {
        XdpFrame(context)
    }
}

impl Bounds for XdpFrame {
    #[inline(always)]
    fn start(&self) -> usize {
        // SAFETY: the context is valid while the program runs. Volatile: else the compiler reads the bounds in front of a call and
        // passes them to the function as numbers, which the verifier does not take for pointers.
        unsafe { (&raw const (*self.0).data).read_volatile() as usize }
    }

    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: as above.
        unsafe { (&raw const (*self.0).data_end).read_volatile() as usize }
    }
}

impl PacketMut for XdpFrame {
    #[inline(always)]
    fn len(&self) -> usize {
        distance(self)
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        load(self, offset)
    }

    #[inline(always)]
    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        let place = place::<T>(self, offset)?;
        // SAFETY: as in `load`.
        unsafe { *place = value };
        Some(())
    }

    #[inline(always)]
    fn grow_head(&mut self, by: i32) -> Option<()> {
        // SAFETY: the context is valid; every bound is read again from it after this call.
        (unsafe { bpf_xdp_adjust_head(self.0, -by) } == 0).then_some(())
    }

    #[inline(always)]
    fn cut_tail(&mut self, len: usize) -> Option<()> {
        let by = len as i32 - self.len() as i32;
        // SAFETY: as above. The kernel refuses to grow a frame whose buffer has no room: then it is too short already.
        (by <= 0 && unsafe { bpf_xdp_adjust_tail(self.0, by) } == 0).then_some(())
    }
}

/// A frame in the stack: one that the host sends, or gets.
pub struct SentFrame(*mut __sk_buff);

impl SentFrame {
    /// The frame of a program's context, with its first `headers` bytes (or all of it) where the program can read them.
    #[inline(always)]
    pub fn new(context: *mut __sk_buff, headers: u32) -> Self {
        let frame = SentFrame(context);
        // SAFETY: the context is valid while the program runs.
        let len = unsafe { (*context).len };
        let wanted = if len < headers { len } else { headers };
        if frame.start() + wanted as usize > frame.end() {
            // SAFETY: as above; when it fails the frame stays too short to read, and is judged so.
            unsafe { bpf_skb_pull_data(context, wanted) };
        }
        frame
    }

    /// VLAN tag that the device will put in front, if the stack left that to it.
    #[inline(always)]
    pub fn offloaded_vlan(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { if (*self.0).vlan_present == 0 { 0 } else { (*self.0).vlan_tci & 0xfff } }
    }

    /// Length of the whole frame, in bytes.
    #[inline(always)]
    pub fn whole_len(&self) -> usize {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).len as usize }
    }

    /// Whom it is for, as the driver has judged: `PACKET_HOST`, `PACKET_OTHERHOST` and so on.
    #[inline(always)]
    pub fn kind(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).pkt_type }
    }

    /// Judges anew whom it is for.
    #[inline(always)]
    pub fn set_kind(&self, kind: u32) {
        // SAFETY: the context is valid. An error leaves the judgement as it was.
        unsafe { bpf_skb_change_type(self.0, kind) };
    }

    /// Interface that it leaves on, or came in on.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).ifindex }
    }
}

impl Bounds for SentFrame {
    #[inline(always)]
    fn start(&self) -> usize {
        // SAFETY: the context is valid while the program runs. Volatile: else the compiler reads the bounds in front of a call and
        // passes them to the function as numbers, which the verifier does not take for pointers.
        unsafe { (&raw const (*self.0).data).read_volatile() as usize }
    }

    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: as above.
        unsafe { (&raw const (*self.0).data_end).read_volatile() as usize }
    }
}

impl PacketMut for SentFrame {
    #[inline(always)]
    fn len(&self) -> usize {
        distance(self)
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        load(self, offset)
    }

    #[inline(always)]
    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        // By the helper, which takes a frame that others hold, as TCP does, apart from theirs: a direct write would make the kernel do
        // that with every frame that comes here.
        // SAFETY: the context is valid; `value` is as long as is said. Every bound is read again from the context after this call.
        let error = unsafe { bpf_skb_store_bytes(self.0, offset as u32, (&raw const value).cast(), size_of::<T>() as u32, 0) };
        (error == 0).then_some(())
    }

    #[inline(always)]
    fn grow_head(&mut self, _by: i32) -> Option<()> {
        None
    }

    #[inline(always)]
    fn cut_tail(&mut self, _len: usize) -> Option<()> {
        None
    }
}
