//! What the operator has set for the HA engine of one node.

use core::time::Duration;

/// Whether a node takes part in failover (the public product's `-haStatus`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HaStatus {
    /// Normal election and failover.
    #[default]
    Enabled,
    /// The engine is off: the node claims nothing and gives its role to a peer that can take it.
    Disabled,
    /// Takes the role back when it is healthy and complete.
    StayPrimary,
    /// Never takes over, whatever the Primary does.
    StaySecondary,
}

/// The settings. Durations are spans of this node's clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Settings {
    /// Own id in the pair: 1 for the lower NSIP, 2 for the higher; 0 without a peer.
    pub node_id: u8,
    /// Whether there is a peer.
    pub paired: bool,
    /// See [`HaStatus`].
    pub status: HaStatus,
    /// Pace of requests.
    pub hello: Duration,
    /// Silence after which the peer may be dead.
    pub dead: Duration,
    /// Age of the peer's controller after which it is hung.
    pub controller_dead: Duration,
    /// Silence on all legs of clients after which an otherwise well node is isolated.
    pub isolation_hold: Duration,
    /// Whether a Primary stays although neither node is well (the public product's `-failSafe`).
    pub fail_safe: bool,
    /// Failovers for failed route monitors, after which the Primary stays whatever its monitors say; zero for no limit.
    pub max_flips: u32,
    /// Time from the first such failover, after which the same holds; zero for no limit.
    pub max_flip_time: Duration,
    /// Whether the nodes are in different subnets (the public product's INC): route monitors count on both.
    pub inc: bool,
    /// How many routes are monitored, or any other number that changes with them.
    pub route_monitors: u64,
    /// How long route monitors are not judged after this node became Primary or one was added.
    pub route_hold: Duration,
    /// Whether a witness is to be asked when the peer is silent.
    pub witness: bool,
    /// Any number that changes with the witness: what one has granted does not bind another.
    pub witness_id: u64,
}

impl Default for Settings {
    /// The public defaults: 200 ms, 3 s; 3 s for a hung controller.
    fn default() -> Self {
        Settings {
            node_id: 0,
            paired: false,
            status: HaStatus::Enabled,
            hello: Duration::from_millis(200),
            dead: Duration::from_secs(3),
            controller_dead: Duration::from_secs(3),
            isolation_hold: Duration::from_secs(3),
            fail_safe: false,
            max_flips: 0,
            max_flip_time: Duration::ZERO,
            inc: false,
            route_monitors: 0,
            route_hold: Duration::from_secs(180),
            witness: false,
            witness_id: 0,
        }
    }
}
