//! Who serves?
//!
//! [`Standing`] is the one order of two nodes; [`dispute`] is what a kernel decides on a heartbeat; [`machine`] decides the rest.
//! This page holds the rules that all of them keep; each names the test that fails without it.
//!
//! # States
//!
//! What a node is fit for, by its public number and word: 1 INIT (joining), 3 UP, 4 PARTIALFAIL (a monitored interface fails), 7 COMPLETEFAIL
//! (all of them do), 8 DUMB (STAYSECONDARY), 9 DISABLED, 11 ROUTEMONITORFAIL; of the peer also 0 UNKNOWN (nothing credible is heard) and
//! 2 DOWN (dead). `show ha node` prints NOT UP for 4, 7 and 11. What it does: 0 Secondary, 1 claiming, 2 Primary, 3 always
//! Secondary, 4 force change.
//!
//! # haStatus
//!
//! | value | behaviour | tests |
//! |---|---|---|
//! | ENABLED | elections and failover | `returned_node_stays_secondary` |
//! | DISABLED | claims nothing, gives its role to a peer that can take it | `disabled_primary_gives_its_role_…`, `disabled_never_takes_over_and_says_so` |
//! | STAYPRIMARY | takes the role back when it has been well for 30 s, doubled at each loss within an hour; forced failover is refused; of two such nodes the order decides | `stay_primary_takes_the_role_back_…`, `two_stay_primary_nodes_…` |
//! | STAYSECONDARY | never takes over; serves alone while it has no peer | `stay_secondary_never_takes_over_…`, `node_that_is_told_to_stay_secondary_alone_…` |
//!
//! There is no other preemption: who comes back stays Secondary.
//!
//! # Neither node is well
//!
//! A node of a pair that is NOT UP serves only with failSafe, and STAYSECONDARY and DISABLED are stronger than that. A is Primary before:
//!
//! | A | B | failSafe OFF | failSafe ON |
//! |---|---|---|---|
//! | NOT UP, failed last | NOT UP, failed first | nobody | A |
//! | NOT UP, failed first | NOT UP, failed last | nobody | B |
//! | UP | UP | A | A |
//! | UP | NOT UP | A | A |
//! | NOT UP | UP | B | B |
//! | NOT UP | UP, STAYSECONDARY | nobody | A |
//!
//! Each row is a test `fail_safe_table_…` of the pair on a virtual clock. A dead peer counts as NOT UP.
//!
//! # Routes
//!
//! A monitored route that is missing makes a node NOT UP. In one subnet it is judged on the Primary only, and not before a start delay
//! (180 s) after it became Primary or a monitor was added: so two nodes without the route change places every three minutes, until maxFlips
//! failovers or maxFlipTime make a *sticky Primary*, which serves NOT UP until its routes are back; the next failure counts anew. Between
//! subnets (INC) each node judges its own routes, at once. (`missing_route_…`, `max_flips_…`, `with_inc_…`, `sticky_primary_…`)
//!
//! # Life and death
//!
//! Only an echo of a fresh request of this life counts as life. The peer is dead when the dead interval has passed since the last echo on
//! any link *and* three requests that really left since went unanswered: a pause of this machine costs a round of asking, no failover
//! ([`liveness`]). The dead interval in force is at least eight round trips. A hung daemon on a live node shows as the age of its last loop,
//! and is relieved after controllerDeadInterval, fenced.
//!
//! One-way loss: a serving peer's own requests veto a claim although ours go unanswered; a Primary that is told by a serving peer that it
//! hears nothing of it stops, because it is the only one who can know (`secondary_that_only_cannot_be_heard_…`,
//! `primary_that_only_cannot_be_heard_stops`). Frames with an unknown key mean that somebody is alive there: nothing is claimed while they
//! come, unless the operator insists, or both nodes have waited for each other for three dead intervals and this one has the lower NSIP.
//!
//! # The one order
//!
//! granted over the other's term · configured · well · connected · STAYPRIMARY · newer commit · Primary last (in a dispute: the lower
//! term) · lower NSIP. A *grant* (forced failover, claim over a hung daemon) names the term it was given over and counts against no other.
//! Of two nodes that serve at once, the kernel of the one with the lower id decides, once, and keeps the verdict; the other obeys and never
//! compares: two nodes that compared different snapshots could both stop, or both go on.
//!
//! # Isolation
//!
//! A node whose client legs have no carrier, or on which nothing was heard for isolationHold although an address there is probed, does
//! not claim from a dead peer: it may be the one that was cut off. A Primary that is isolated hands over to a live, well peer that is
//! not, and not about to be: when both fall silent (spanning tree, one switch for both) nothing moves
//! (`both_legs_silent_for_two_seconds_moves_nothing`, `primary_whose_legs_alone_fall_silent_…`). Links that carry only heartbeats are no health.
//!
//! # Witness
//!
//! A third host, asked only when all links are silent: first come, first served, until both nodes hear each other again. The refused node
//! stops, one without an answer does not begin to serve, and a Primary without an answer goes on. Without a witness the Secondary
//! takes over from a silent Primary; if both lived, the first heartbeat after the cut ends that.

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
#[cfg(any(test, feature = "std"))]
pub mod record;
pub mod settings;
pub mod view;

pub use crate::abi::Term;
pub use order::{Standing, merits};
