//! The kernel programs, loaded for a test: fed with tables, run by `BPF_PROG_TEST_RUN`, read back.

pub mod map;
mod program;
pub mod stack;

pub use program::{Kernel, Output, Sizes, object};
