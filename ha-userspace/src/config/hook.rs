//! Who is told of transitions and alarms.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{self, Verb};
use crate::command::{Command, CommandError};
use crate::hook::{Settings, SyslogTo};

/// `set ha hook`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Syslog.
    pub syslog: Option<SyslogTo>,
    /// Path of a program.
    pub program: Option<String>,
    /// URL of a web server.
    pub webhook: Option<String>,
    /// How long one delivery may take.
    pub timeout: Duration,
}

record!(Hook: schema::ha::HOOK, { "syslog" => syslog, "program" => program, "webhook" => webhook, "timeout" => timeout });

impl Hook {
    pub(super) fn of_defaults() -> Self {
        Self::from_command(&Command { verb: Verb::Set, entity: &schema::ha::HOOK, args: Vec::new() })
    }
}

impl Config {
    pub(super) fn apply_hook(&mut self, command: &Command) -> Result<Change, CommandError> {
        self.hook = self.hook.updated(command);
        Ok(Change::of(Touched::Ha))
    }

    /// Returns who is told of transitions and alarms, and as whose.
    pub fn hook_settings(&self) -> Settings {
        let Hook { syslog, program, webhook, timeout } = self.hook.clone();
        let (name, ip) = (self.node.host_name.clone(), self.node.ip);
        Settings { name, ip, syslog, program: program.map(PathBuf::from), webhook, timeout }
    }
}
