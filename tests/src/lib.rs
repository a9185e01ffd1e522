//! Lab harness, golden vectors, pair simulation and privileged end-to-end tests.

pub mod alone;
pub mod announce;
pub mod bench;
pub mod failover;
pub mod frozen;
pub mod fuzz;
pub mod guests;
pub mod harness;
pub mod kernel;
pub mod model;
pub mod rate;
pub mod room;
pub mod sim;
pub mod vectors;
