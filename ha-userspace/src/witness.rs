//! The witness: a process on a third host (`understudy witness`), and the node's side of it.

mod client;
mod server;
mod store;

pub use client::{Client, Settings};
pub use server::{Options, Server, run};
