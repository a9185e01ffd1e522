//! Failover interface sets.

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{self, Verb};
use crate::command::value::Field;
use crate::command::{Arg, Command, CommandError};

/// `add fis`, with its `bind fis`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fis {
    /// Its name.
    pub name: String,
    /// Its interfaces, in order.
    pub members: Vec<String>,
}

record!(Fis: schema::fis::FIS, { "name" => name } own { members });

impl Fis {
    pub(super) fn commands(&self) -> impl Iterator<Item = Command> + use<> {
        let entity = &schema::fis::BINDING;
        let args = [("name", self.name.to_value()), ("ifnum", self.members.to_value())];
        let arg = |(name, value)| entity.attribute(name).map(|attribute| Arg { attribute, value });
        let bind = Command { verb: Verb::Bind, entity, args: args.into_iter().filter_map(arg).collect() };
        self.command(Verb::Add).into_iter().chain((!self.members.is_empty()).then_some(bind))
    }
}

impl Config {
    pub(super) fn apply_fis(&mut self, command: &Command) -> Result<Change, CommandError> {
        let name: String = command.read("name");
        match (command.verb, self.sets.get(&name)) {
            (Verb::Add, None) => drop(self.sets.insert(name.clone(), Fis::from_command(command))),
            (Verb::Add, Some(_)) => return Err(CommandError::exists("name", name, "bind fis adds interfaces to it")),
            (_, Some(_)) => drop(self.sets.remove(&name)),
            (_, None) => return Err(no_such_set(&name)),
        }
        Ok(Change::of(Touched::Fis(name)))
    }

    pub(super) fn apply_fis_binding(&mut self, command: &Command) -> Result<Change, CommandError> {
        let name: String = command.read("name");
        let members: Vec<String> = command.read("ifnum");
        if !self.sets.contains_key(&name) {
            return Err(no_such_set(&name));
        }
        for member in members {
            if command.verb == Verb::Bind {
                self.bind_interface(&name, member)?;
            } else {
                self.unbind_interface(&name, &member)?;
            }
        }
        Ok(Change::of(Touched::Fis(name)))
    }

    fn bind_interface(&mut self, name: &str, member: String) -> Result<(), CommandError> {
        if !self.interfaces.contains_key(&member) {
            let hint = "the configuration names no such interface; set interface <name> makes it known";
            return Err(CommandError::missing("ifnum", member, hint));
        }
        if let Some(other) = self.set_of(&member) {
            return Err(CommandError::exists("ifnum", &member, format!("it is in {}; unbind it first", other.name)));
        }
        let set = self.sets.get_mut(name).ok_or_else(|| no_such_set(name))?;
        let at = set.members.partition_point(|known| *known < member);
        set.members.insert(at, member);
        Ok(())
    }

    fn unbind_interface(&mut self, name: &str, member: &str) -> Result<(), CommandError> {
        let set = self.sets.get_mut(name).ok_or_else(|| no_such_set(name))?;
        match set.members.iter().position(|known| known == member) {
            Some(at) => drop(set.members.remove(at)),
            None => return Err(CommandError::missing("ifnum", member, format!("it is not in {name}"))),
        }
        Ok(())
    }

    /// Refuses to let go of an interface that is in a set.
    pub(super) fn check_unbound(&self, interface: &str) -> Result<(), CommandError> {
        match self.set_of(interface) {
            Some(set) => Err(CommandError::refused(format!(
                "interface {interface} is in the failover interface set {}; unbind fis {} {interface} first",
                set.name, set.name
            ))),
            None => Ok(()),
        }
    }

    fn set_of(&self, interface: &str) -> Option<&Fis> {
        self.sets.values().find(|set| set.members.iter().any(|member| member == interface))
    }
}

fn no_such_set(name: &str) -> CommandError {
    CommandError::missing("name", name, "show fis lists the failover interface sets")
}
