//! How addresses are announced.

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{Verb, network};
use crate::command::{Command, CommandError};

/// `set L2Param`.
#[derive(Clone, Debug, PartialEq)]
pub struct L2Param {
    /// Whether each address is announced also where a virtual MAC moves them all at once.
    pub garp_on_vrid: bool,
    /// Whether announcements are ARP replies.
    pub garp_reply: bool,
    /// Always false.
    pub reset: bool,
}

record!(L2Param: network::L2_PARAM, { "garpOnVridIntf" => garp_on_vrid, "garpReply" => garp_reply, "rstIntfOnHaFo" => reset });

impl L2Param {
    pub(super) fn of_defaults() -> Self {
        Self::from_command(&Command { verb: Verb::Set, entity: &network::L2_PARAM, args: Vec::new() })
    }
}

impl Config {
    pub(super) fn apply_l2_param(&mut self, command: &Command) -> Result<Change, CommandError> {
        self.l2_param = self.l2_param.updated(command);
        Ok(Change::of(Touched::L2Param))
    }

    /// Returns how addresses are announced.
    pub fn l2_param(&self) -> &L2Param {
        &self.l2_param
    }
}
