//! The HA driver: one thread, one machine.
//!
//! ```text
//!   LINKS, FENCE ─▶ PeerView ─┐                       ┌─▶ NODE (role, standing, flags)   a store
//!   kernel events (rulings) ──┤   ha_common::ha       ├─▶ request on every link          a send
//!   health, silence on legs ──┼─▶ ::Machine ── Action ┼─▶ Announcer: GARP, NA            a message
//!   operator's commands ──────┘                       ├─▶ local floating addresses       a message
//!                                                     └─▶ terms on disk                  a message
//! ```
//!
//! The thread runs under SCHED_FIFO and never waits for anything but its next turn: what takes time is somebody else's.

mod driver;
mod handle;
pub mod loss;
pub mod monitor;
pub mod public;
pub mod rates;
pub mod record;
mod snapshot;
pub mod state;

pub use driver::{Driver, Parts};
pub use handle::{Handle, Helper, Request};
pub use snapshot::{Past, Snapshot};
