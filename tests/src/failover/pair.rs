//! What can be done to a pair, whoever's it is.

use std::time::Duration;

use anyhow::Result;

use crate::harness::topology::{Host, Topology};

/// A pair of nodes that share the VIP.
pub trait Pair {
    /// Hosts and cables.
    fn topology(&self) -> &Topology;

    /// Waits until one node serves and the other stands by; the one that serves.
    fn wait_settled(&self) -> Result<Host>;

    /// Ends the daemon of `host` at once.
    fn kill(&mut self, host: Host) -> Result<()>;

    /// Stops the daemon of `host` as its manual says, and waits for its end.
    fn stop(&mut self, host: Host) -> Result<()>;

    /// Starts the daemon of `host` again.
    fn start(&mut self, host: Host) -> Result<()>;

    /// Has `host`, which serves, hand over to its peer; both daemons live.
    fn hand_over(&mut self, host: Host) -> Result<()>;

    /// Undoes what [`Self::hand_over`] changed lastingly, if anything.
    fn end_hand_over(&mut self, host: Host) -> Result<()>;

    /// When the role was taken from a node, by the nodes' own account; in order of time.
    fn takeovers(&self) -> Result<Vec<Duration>>;

    /// The last lines of both nodes' logs.
    fn logs(&self) -> String;
}
