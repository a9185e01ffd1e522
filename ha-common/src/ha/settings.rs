//! What the operator has set for the HA engine of one node.

use core::time::Duration;

/// Whether a node takes part in failover (the public product's `-haStatus`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
        }
    }
}
