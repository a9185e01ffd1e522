//! What can be wrong with a command, in the public product's numbers and short texts.

use serde::{Deserialize, Serialize};

/// A refused command: the public code where one is known, and a sentence that says what is allowed or how to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// The public numeric code.
    pub code: u16,
    /// What failed on what, then the remedy; printed after `ERROR: `.
    pub message: String,
}

impl CommandError {
    /// Builds an error from its code and full text.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Refuses an argument's value: `why` names what is allowed.
    pub fn value(code: u16, argument: &str, text: &str, why: impl std::fmt::Display) -> Self {
        Self::new(code, format!("Invalid argument value [{argument}, {text}]: {why}"))
    }

    /// Reports a name that does not exist.
    pub fn missing(argument: &str, text: impl std::fmt::Display, hint: impl std::fmt::Display) -> Self {
        Self::new(code::NO_SUCH_RESOURCE, format!("No such resource [{argument}, {text}]: {hint}"))
    }

    /// Reports a name or address that is already taken.
    pub fn exists(argument: &str, text: impl std::fmt::Display, hint: impl std::fmt::Display) -> Self {
        Self::new(code::EXISTS, format!("Resource already exists [{argument}, {text}]: {hint}"))
    }

    /// Refuses what is well formed but not possible in the present state.
    pub fn refused(why: impl std::fmt::Display) -> Self {
        Self::new(code::NOT_PERMITTED, format!("Operation not permitted: {why}"))
    }
}

/// The public numeric codes in use.
pub mod code {
    /// Operation not permitted.
    pub const NOT_PERMITTED: u16 = 257;
    /// No such resource.
    pub const NO_SUCH_RESOURCE: u16 = 258;
    /// Resource already exists.
    pub const EXISTS: u16 = 273;
    /// Invalid argument.
    pub const INVALID_ARGUMENT: u16 = 278;
    /// Too many nodes: a pair has one peer.
    pub const TOO_MANY_NODES: u16 = 348;
    /// Invalid node id.
    pub const BAD_NODE_ID: u16 = 362;
    /// Operation not permitted on a stand-alone node.
    pub const STANDALONE: u16 = 363;
    /// The peer's state is invalid.
    pub const PEER_STATE: u16 = 364;
    /// The node's own state is invalid.
    pub const OWN_STATE: u16 = 365;
    /// The node is claiming or inactive: wait for it to settle.
    pub const NOT_SETTLED: u16 = 366;
    /// Route monitors are bound: the node cannot become stand-alone.
    pub const ROUTE_MONITORS_BOUND: u16 = 377;
    /// The peer is not in the node's subnet.
    pub const PEER_SUBNET: u16 = 414;
    /// The peer's address cannot be a node's.
    pub const PEER_ADDRESS: u16 = 415;
    /// Not on a node that does not serve the address.
    pub const NOT_SERVED_HERE: u16 = 785;
    /// The peer's address is already in use.
    pub const PEER_CLASH: u16 = 994;
    /// No such argument.
    pub const NO_SUCH_ARGUMENT: u16 = 1090;
    /// Arguments exclude each other.
    pub const EXCLUSIVE: u16 = 1092;
    /// Another argument is needed first.
    pub const PREREQUISITE: u16 = 1093;
    /// Too few arguments.
    pub const TOO_FEW: u16 = 1094;
    /// A required argument is missing.
    pub const MISSING: u16 = 1095;
    /// Invalid argument value.
    pub const BAD_VALUE: u16 = 1097;
    /// No such object.
    pub const BAD_OBJECT: u16 = 1232;
    /// No such action, or not one that this object has.
    pub const BAD_ACTION: u16 = 1240;
    /// A sessionless virtual server has no connections to mirror.
    pub const SESSIONLESS: u16 = 1293;
    /// The syncVlan is set: the pair cannot be dissolved.
    pub const SYNC_VLAN_SET: u16 = 1385;
    /// No syncVlan between nodes in different subnets.
    pub const SYNC_VLAN_INC: u16 = 2399;
    /// Not while the node is STAYPRIMARY.
    pub const STAY_PRIMARY: u16 = 1441;
    /// One node is up and the other is not.
    pub const ONE_NODE_DOWN: u16 = 1449;
}
