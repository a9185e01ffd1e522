//! When all links are silent: which of two nodes may serve alone?
//!
//! A process on a third host that both nodes reach. It is asked only when a node hears its peer on no link; the first node of a pair
//! that asks is granted the right to serve alone, the other is refused, until *both* have said that they hear each other again.
//!
//! ```text
//!   node            witness
//!    │ ASK, challenge 0 │     whatever a node says without the present challenge changes nothing:
//!    │◀──── CHALLENGE ──│     a recording is worth nothing
//!    │ ASK, challenge c │
//!    │      (on disk)   │     the answer leaves when the decision is on disk
//!    │◀─ GRANTED/REFUSED│
//! ```
//!
//! [`Arbiter`] decides, [`Asker`] asks; both are pure. Sockets, disk and passwords are the daemon's.

mod arbiter;
mod asker;
mod frame;

pub use arbiter::{Arbiter, PAIRS_MAX, Record};
pub use asker::{Asker, Identity, Outcome, PATIENCE, Wish};
pub use frame::{FRAME_LEN, Frame, Keys, PORT, PairName, Refused, kind};
