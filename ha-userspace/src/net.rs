//! The only sockets on the wire: which interfaces, neighbours and addresses are there, and who is told about ours?

pub mod address;
pub mod announce;
pub mod duplicate;
pub mod forwarding;
mod frame;
pub mod gateway;
pub mod heartbeat;
pub mod link;
pub mod media;
pub mod neighbour;
pub mod probe;
mod raw;
pub mod reception;
pub mod route;
