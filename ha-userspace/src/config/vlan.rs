//! VLANs: on which legs, with a tag or without, and which subnets live there.
//!
//! A floating address lives in the VLAN that has its subnet, else untagged. Everything about it (questions, announcements, packets) has that
//! VLAN's tag then. So a VLAN has its tag on all of its legs or on none: an address lives in one place.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::change::{Change, Touched};
use super::record::{Record, record};
use super::{Config, Interface};
use crate::command::error::code;
use crate::command::schema::{self, Verb};
use crate::command::value::{Field, Route, Value};
use crate::command::{Arg, Command, CommandError};

/// `add vlan`, with what is bound to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Vlan {
    /// Its number.
    pub id: u16,
    /// What people call it.
    pub alias: Option<String>,
    /// Legs of this node that carry it.
    pub interfaces: BTreeSet<String>,
    /// Whether its frames have a tag there.
    pub tagged: bool,
    /// Subnets that live in it.
    pub subnets: BTreeSet<Route>,
}

record!(Vlan: schema::vlan::VLAN, { "id" => id, "aliasName" => alias } own { interfaces, tagged, subnets });

impl Vlan {
    /// Returns what its frames' tag says; 0 if they have none.
    pub fn domain(&self) -> u16 {
        if self.tagged { self.id } else { 0 }
    }

    /// Returns whether `ip` is in a subnet that lives in it.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.has(ip))
    }

    /// Returns the command that binds its legs, if it has any.
    pub(super) fn legs_command(&self) -> Option<Command> {
        let names: Vec<String> = self.interfaces.iter().cloned().collect();
        let tagged = self.tagged.then_some(Value::Present);
        (!names.is_empty()).then(|| self.bind([("ifnum", Some(Value::List(names))), ("tagged", tagged)]))
    }

    /// Returns the commands that bind its subnets.
    pub(super) fn subnet_commands(&self) -> impl Iterator<Item = Command> {
        self.subnets.iter().map(|subnet| self.bind([("IPAddress", subnet.to_value())]))
    }

    fn bind<const N: usize>(&self, flags: [(&str, Option<Value>); N]) -> Command {
        let entity = &schema::vlan::BINDING;
        let given = [("id", self.id.to_value())].into_iter().chain(flags).filter(|(_, value)| value.is_some());
        let args = given.filter_map(|(name, value)| Some(Arg { attribute: entity.attribute(name)?, value }));
        Command { verb: Verb::Bind, entity, args: args.collect() }
    }

    /// Returns what is allowed but of no effect.
    pub(super) fn warning(&self) -> Option<String> {
        let id = self.id;
        (self.interfaces.is_empty() && !self.subnets.is_empty()).then(|| {
            format!("VLAN {id} has subnets and is on no leg: their addresses are untagged; bind vlan {id} -ifnum <leg> -tagged")
        })
    }
}

impl Config {
    pub(super) fn apply_vlan(&mut self, command: &Command) -> Result<Change, CommandError> {
        let id: u16 = command.read("id");
        match (command.verb, self.vlans.get(&id)) {
            (Verb::Add, None) => drop(self.vlans.insert(id, Vlan::from_command(command))),
            (Verb::Add, Some(_)) => {
                return Err(CommandError::exists("id", id, "bind vlan puts it on a leg, rm vlan removes it"));
            }
            (_, None) => return Err(no_such(id)),
            (Verb::Rm, Some(_)) => drop(self.vlans.remove(&id)),
            (_, Some(known)) => {
                let updated = known.updated(command);
                self.vlans.insert(id, updated);
            }
        }
        Ok(Change::of(Touched::Vlan(id)))
    }

    pub(super) fn apply_vlan_binding(&mut self, command: &Command) -> Result<Change, CommandError> {
        let id: u16 = command.read("id");
        if !self.vlans.contains_key(&id) {
            return Err(no_such(id));
        }
        let names = match command.arg("ifnum").and_then(|arg| arg.value.clone()) {
            Some(Value::List(names)) => names,
            _ => Vec::new(),
        };
        let subnet = command.arg("IPAddress").map(|_| command.read::<Route>("IPAddress"));
        if names.is_empty() && (subnet.is_none() || command.has("tagged")) {
            let why = format!(
                "Required argument missing [ifnum]: bind vlan {id} -ifnum <leg> -tagged, or bind vlan {id} -IPAddress <ip> <netmask>"
            );
            return Err(CommandError::new(code::MISSING, why));
        }
        for name in names {
            if command.verb == Verb::Bind {
                self.bind_leg(id, name, command.has("tagged"))?;
            } else {
                self.unbind_leg(id, &name)?;
            }
        }
        match subnet {
            Some(subnet) if command.verb == Verb::Bind => self.bind_subnet(id, subnet)?,
            Some(subnet) => self.unbind_subnet(id, subnet)?,
            None => {}
        }
        Ok(Change::of(Touched::Vlan(id)))
    }

    fn vlan_mut(&mut self, id: u16) -> Result<&mut Vlan, CommandError> {
        self.vlans.get_mut(&id).ok_or_else(|| no_such(id))
    }

    fn bind_leg(&mut self, id: u16, name: String, tagged: bool) -> Result<(), CommandError> {
        self.check_is_leg(&name)?;
        let untagged = self.vlans.values().find(|vlan| vlan.id != id && !vlan.tagged && vlan.interfaces.contains(&name));
        if let (false, Some(other)) = (tagged, untagged) {
            let why = format!(
                "interface {name} has VLAN {0} without a tag, and frames without a tag are of one VLAN; bind vlan {id} -ifnum {name} -tagged, \
                 or unbind vlan {0} -ifnum {name} first",
                other.id
            );
            return Err(CommandError::refused(why));
        }
        let vlan = self.vlan_mut(id)?;
        if vlan.interfaces.contains(&name) {
            return Err(CommandError::exists("ifnum", name, format!("it is bound to VLAN {id}; unbind it first")));
        }
        if !vlan.interfaces.is_empty() && vlan.tagged != tagged {
            let [has, lacks] = if vlan.tagged { ["has a tag", "with"] } else { ["has no tag", "without"] };
            let why = format!(
                "VLAN {id} {has} on {}: an address lives in one place; bind it {lacks} -tagged, or unbind it there first",
                vlan.interfaces.iter().cloned().collect::<Vec<_>>().join(", ")
            );
            return Err(CommandError::refused(why));
        }
        vlan.tagged = tagged;
        vlan.interfaces.insert(name);
        Ok(())
    }

    fn unbind_leg(&mut self, id: u16, name: &str) -> Result<(), CommandError> {
        let vlan = self.vlan_mut(id)?;
        if !vlan.interfaces.remove(name) {
            return Err(CommandError::missing("ifnum", name, format!("it is not bound to VLAN {id}")));
        }
        vlan.tagged &= !vlan.interfaces.is_empty();
        Ok(())
    }

    fn bind_subnet(&mut self, id: u16, subnet: Route) -> Result<(), CommandError> {
        let overlap = |vlan: &Vlan| vlan.subnets.iter().find(|other| other.overlaps(&subnet)).copied();
        if let Some((other, bound)) = self.vlans.values().find_map(|vlan| Some((vlan.id, overlap(vlan)?))) {
            let how = format!("{bound} is bound to VLAN {other}, and an address lives in one VLAN; unbind vlan {other} first");
            return Err(CommandError::exists("IPAddress", subnet, how));
        }
        self.vlan_mut(id)?.subnets.insert(subnet);
        Ok(())
    }

    fn unbind_subnet(&mut self, id: u16, subnet: Route) -> Result<(), CommandError> {
        if self.vlan_mut(id)?.subnets.remove(&subnet) {
            return Ok(());
        }
        Err(CommandError::missing("IPAddress", subnet, format!("it is not bound to VLAN {id}")))
    }

    fn check_is_leg(&self, name: &str) -> Result<(), CommandError> {
        match self.interfaces.get(name) {
            None => {
                let how = "the configuration names no such interface; set interface <name> -haMonitor ON makes it a leg";
                Err(CommandError::missing("ifnum", name, how))
            }
            Some(Interface { monitor: false, .. }) => Err(CommandError::refused(format!(
                "interface {name} is no leg, floating addresses do not live there; set interface {name} -haMonitor ON makes it one"
            ))),
            Some(_) => Ok(()),
        }
    }

    /// Checks that every interface that carries a VLAN is still a leg: called when interfaces change.
    pub(super) fn check_vlan_bindings(&self) -> Result<(), CommandError> {
        let is_leg = |name: &&String| self.interfaces.get(*name).is_some_and(|interface| interface.monitor);
        for vlan in self.vlans.values() {
            if let Some(name) = vlan.interfaces.iter().find(|name| !is_leg(name)) {
                let why = format!("interface {name} carries VLAN {0}; unbind vlan {0} -ifnum {name} first", vlan.id);
                return Err(CommandError::refused(why));
            }
        }
        Ok(())
    }

    /// Returns all VLANs.
    pub fn vlans(&self) -> impl Iterator<Item = &Vlan> {
        self.vlans.values()
    }

    /// Returns the VLAN that `ip` lives in: the one on a leg that has its subnet.
    pub fn vlan_of(&self, ip: IpAddr) -> Option<&Vlan> {
        self.vlans.values().find(|vlan| !vlan.interfaces.is_empty() && vlan.has(ip))
    }

    /// Returns the tag that frames about `ip` have; 0 for none.
    pub fn domain_of(&self, ip: IpAddr) -> u16 {
        self.vlan_of(ip).map_or(0, Vlan::domain)
    }
}

fn no_such(id: u16) -> CommandError {
    CommandError::missing("id", id, format!("add vlan {id} makes it; show vlan lists them"))
}
