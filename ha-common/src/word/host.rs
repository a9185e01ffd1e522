use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Reads `word`.
#[inline(always)]
pub fn load(word: &AtomicU64) -> u64 {
    word.load(Relaxed)
}

/// Sets `word` to `new` if it holds `seen`; returns what it held, as an error if that was something else.
#[inline(always)]
pub fn compare_exchange(word: &AtomicU64, seen: u64, new: u64) -> Result<u64, u64> {
    word.compare_exchange(seen, new, Relaxed, Relaxed)
}

/// Adds `count` to the word.
#[inline(always)]
pub fn add(word: &AtomicU64, count: u64) {
    fetch_add(word, count);
}

/// Adds `count` to the word; what it held before.
#[inline(always)]
pub fn fetch_add(word: &AtomicU64, count: u64) -> u64 {
    word.fetch_add(count, Relaxed)
}

/// Writes the word, as a whole.
#[inline(always)]
pub fn store(word: &AtomicU64, value: u64) {
    word.store(value, Relaxed);
}

/// `value`, of which the compiler is to assume nothing: here nothing depends on that.
#[inline(always)]
pub const fn opaque(value: u64) -> u64 {
    value
}
