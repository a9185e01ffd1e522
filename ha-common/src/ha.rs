//! Who serves?
//!
//! [`Standing`] is the one order of two nodes; [`dispute`] is what a kernel decides on a heartbeat; the machine decides the rest.

#[cfg(any(test, feature = "std"))]
pub mod alarm;
#[cfg(any(test, feature = "std"))]
pub mod announce;
pub mod dispute;
#[cfg(any(test, feature = "std"))]
pub mod event;
pub mod hearing;
pub mod liveness;
#[cfg(any(test, feature = "std"))]
pub mod machine;
#[cfg(any(test, feature = "std"))]
pub mod monitor;
mod order;
pub mod reach;
pub mod settings;
pub mod view;

pub use crate::abi::Term;
pub use order::{Standing, merits};
