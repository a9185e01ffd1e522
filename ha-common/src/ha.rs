//! Who serves?
//!
//! [`Standing`] is the one order of two nodes; [`dispute`] is what a kernel decides on a heartbeat; the machine decides the rest.

pub mod dispute;
mod order;

pub use order::{Standing, merits};
