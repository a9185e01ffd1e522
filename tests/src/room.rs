//! What becomes of connections when a table is full: the same histories on the host and through the loaded programs.
//!
//! A history opens connections until a table is full and a tenth more, and says what must become of each packet. Whatever happens to those that
//! find no room, connections that are recorded go on, both ways, with the backend that they began with.

pub mod device;
pub mod history;

pub use device::{Device, Host, Loaded};
