//! The interfaces that this node may use; a host's other interfaces are left alone.

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{self, Verb};
use crate::command::{Arg, Command, CommandError};

/// `set interface`.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// Its Linux name.
    pub name: String,
    /// Whether its carrier is this node's health.
    pub monitor: bool,
    /// Whether it carries heartbeats and strays.
    pub heartbeat: bool,
    /// Whether it is in use.
    pub enabled: bool,
}

record!(Interface: schema::ns::INTERFACE, { "id" => name, "haMonitor" => monitor, "haHeartbeat" => heartbeat, "state" => enabled });

impl Interface {
    pub(super) fn commands(&self) -> Vec<Command> {
        let entity = self.entity();
        let disable = || {
            let args = entity.attributes[..1].iter().map(|attribute| Arg { attribute, value: self.value(attribute.name) });
            Command { verb: Verb::Disable, entity, args: args.collect() }
        };
        self.command(Verb::Set).into_iter().chain((!self.enabled).then(disable)).collect()
    }
}

impl Config {
    /// Executes a command about an interface. `set` and `disable` make it known; nothing but a name is needed for that.
    pub(super) fn apply_interface(&mut self, command: &Command) -> Result<Change, CommandError> {
        let name: String = command.read("id");
        let known = self.interfaces.get(&name);
        let interface = match (command.verb, known) {
            (Verb::Set | Verb::Disable, None) => {
                Interface { enabled: command.verb != Verb::Disable, ..Interface::from_command(command) }
            }
            (Verb::Disable, Some(known)) => Interface { enabled: false, ..known.clone() },
            (Verb::Enable, Some(known)) => Interface { enabled: true, ..known.clone() },
            (_, Some(known)) => known.updated(command),
            (_, None) => {
                return Err(CommandError::missing(
                    "id",
                    name,
                    "the configuration names no such interface; set interface <name> makes it known",
                ));
            }
        };
        if command.verb == Verb::Rm {
            self.interfaces.remove(&name);
        } else {
            self.interfaces.insert(name.clone(), interface);
        }
        Ok(Change::of(Touched::Interface(name)))
    }
}
