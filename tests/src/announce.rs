//! How soon are thousands of VIPs reachable after a takeover?
//!
//! The Primary falls silent as a power loss would silence it. Stations that know a VIP's MAC address go on asking there; what they know
//! changes only when an announcement reaches them, through a switch that may police ARP. A VIP is reachable from the moment after which
//! no question to it is lost.

mod measure;
mod stations;
mod switch;

pub use measure::{Sample, Settings, measure};
