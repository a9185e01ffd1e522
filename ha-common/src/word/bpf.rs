#![allow(unsafe_code)]

use core::{
    arch::asm,
    intrinsics::{
        AtomicOrdering::{Relaxed, SeqCst},
        atomic_cxchg, atomic_xadd,
    },
    sync::atomic::AtomicU64,
};

/// Reads `word`.
#[inline(always)]
pub fn load(word: &AtomicU64) -> u64 {
    // SAFETY: the pointer comes from a live reference, aligned to 8, and BPF loads 8 aligned bytes at once.
    unsafe { word.as_ptr().read_volatile() }
}

/// Sets `word` to `new` if it holds `seen`; returns what it held, as an error if that was something else.
#[inline(always)]
pub fn compare_exchange(word: &AtomicU64, seen: u64, new: u64) -> Result<u64, u64> {
    // SAFETY: the pointer comes from a live reference to an atomic, which is aligned and allows changes through it.
    let (held, swapped) = unsafe { atomic_cxchg::<u64, { Relaxed }, { Relaxed }>(word.as_ptr(), seen, new) };
    if swapped { Ok(held) } else { Err(held) }
}

/// Adds `count` to `word`.
#[inline(always)]
pub fn add(word: &AtomicU64, count: u64) {
    // SAFETY: as for an exchange.
    unsafe { atomic_xadd::<u64, u64, { Relaxed }>(word.as_ptr(), count) };
}

/// Adds `count` to `word`; what it held before.
///
/// Ordered: for a relaxed one LLVM chooses the instruction that fetches nothing, and takes `count` for what was fetched.
#[inline(always)]
pub fn fetch_add(word: &AtomicU64, count: u64) -> u64 {
    // SAFETY: as for an exchange.
    unsafe { atomic_xadd::<u64, u64, { SeqCst }>(word.as_ptr(), count) }
}

/// Writes `word`.
#[inline(always)]
pub fn store(word: &AtomicU64, value: u64) {
    // SAFETY: the pointer comes from a live reference to an atomic, aligned to 8, and BPF stores 8 aligned bytes at once.
    unsafe { word.as_ptr().write_volatile(value) }
}

/// `value`, of which the compiler is to assume nothing: it makes branches out of arithmetic that it sees through, and the verifier
/// walks everything behind a branch twice.
#[inline(always)]
pub fn opaque(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: moves a register onto itself.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}
