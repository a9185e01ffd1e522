//! Lab harness, golden vectors, pair simulation and privileged end-to-end tests.

pub mod kernel;
pub mod sim;
