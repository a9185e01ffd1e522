//! The kernel's side of this node, and the only user of its bpf(2).

pub mod array;
pub mod desired;
pub mod plain;
pub mod plan;
pub mod rings;
pub mod table;
