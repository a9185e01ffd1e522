//! The interfaces that this node may use; a host's other interfaces are left alone.

use ha_common::abi::{MAX_LEGS, MAX_LINKS};

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{self, Verb};
use crate::command::value::Probe;
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
    /// Speed in Mbit/s below which it counts as failed.
    pub throughput: u32,
    /// Whose silence on it means isolation.
    pub probe: Probe,
    /// Whether it is in use.
    pub enabled: bool,
}

record!(Interface: schema::ns::INTERFACE, {
    "id" => name,
    "haMonitor" => monitor,
    "haHeartbeat" => heartbeat,
    "throughput" => throughput,
    "probe" => probe,
    "state" => enabled,
});

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
            self.check_unbound(&name)?;
            self.interfaces.remove(&name);
        } else {
            self.interfaces.insert(name.clone(), interface);
        }
        self.check_interfaces()?;
        Ok(Change::of(Touched::Interface(name)))
    }

    /// Checks the bounds that the data plane has, and what is bound to interfaces.
    fn check_interfaces(&self) -> Result<(), CommandError> {
        let bounds = [
            (self.ha_links().count(), MAX_LINKS, "haHeartbeat", "HA links"),
            (self.legs().count(), MAX_LEGS, "haMonitor", "legs"),
        ];
        match bounds.into_iter().find(|(count, max, ..)| count > max) {
            Some((_, max, flag, what)) => Err(CommandError::refused(format!(
                "a node has at most {max} {what}; set one to -{flag} OFF, or disable or rm it"
            ))),
            None => self.check_vrid_bindings().and_then(|()| self.check_vlan_bindings()),
        }
    }
}
