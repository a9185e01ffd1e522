//! How is one word shared by CPUs, on hosts and in the kernel?
//!
//! rustc believes that BPF has no compare-and-swap (its target description stems from before Linux 5.12) and leaves out
//! `AtomicU64::compare_exchange`; LLVM has no instruction for a relaxed atomic load below `-Ctarget-cpu=v4` and gives up,
//! although any aligned load is one. Hence two implementations; nothing here is there to order other memory.

#[cfg(not(target_arch = "bpf"))]
#[path = "word/host.rs"]
mod machine;

#[cfg(target_arch = "bpf")]
#[path = "word/bpf.rs"]
mod machine;

pub use machine::{add, compare_exchange, fetch_add, load, opaque, store};

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn only_the_expected_value_is_replaced() {
        let word = AtomicU64::new(1);
        assert_eq!(compare_exchange(&word, 2, 3), Err(1));
        assert_eq!(compare_exchange(&word, 1, 3), Ok(1));
        assert_eq!(load(&word), 3);
    }
}
