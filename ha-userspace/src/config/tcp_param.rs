//! How TCP is spoken to strangers.

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{Verb, ns};
use crate::command::{Command, CommandError};

/// `set ns tcpParam`.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpParam {
    /// Whether whoever speaks to a virtual server that is down is told so.
    pub down_state_reset: bool,
}

record!(TcpParam: ns::TCP_PARAM, { "downStateRST" => down_state_reset });

impl TcpParam {
    pub(super) fn of_defaults() -> Self {
        Self::from_command(&Command { verb: Verb::Set, entity: &ns::TCP_PARAM, args: Vec::new() })
    }
}

impl Config {
    pub(super) fn apply_tcp_param(&mut self, command: &Command) -> Result<Change, CommandError> {
        self.tcp_param = self.tcp_param.updated(command);
        Ok(Change::of(Touched::TcpParam))
    }

    /// Returns how TCP is spoken to strangers.
    pub fn tcp_param(&self) -> &TcpParam {
        &self.tcp_param
    }
}
