//! Virtual routers: which legs give floating addresses a virtual MAC.

use std::collections::BTreeSet;
use std::time::Duration;

use ha_common::abi::Interface as Leg;

use super::Config;
use super::change::{Change, Touched};
use super::record::Record;
use crate::command::error::code;
use crate::command::schema::{Entity, Verb, network};
use crate::command::value::{Field, Value};
use crate::command::words::Tracking;
use crate::command::{Arg, Command, CommandError};

/// What names a virtual router: the families count apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VridKey {
    /// Whether it is for IPv6.
    pub v6: bool,
    /// Its number.
    pub id: u8,
}

impl VridKey {
    /// Returns its MAC address.
    pub fn mac(self) -> [u8; 6] {
        Leg::virtual_macs(self.id)[usize::from(self.v6)]
    }

    fn of(command: &Command) -> Self {
        VridKey { v6: command.entity.word.ends_with('6'), id: command.read("id") }
    }

    fn word(self) -> &'static str {
        if self.v6 { "vrid6" } else { "vrid" }
    }
}

impl std::fmt::Display for VridKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.word(), self.id)
    }
}

/// `add vrid` and `add vrid6`, with the interfaces bound to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Vrid {
    /// Its family and number.
    pub key: VridKey,
    /// Kept and shown.
    pub priority: u8,
    /// Kept and shown.
    pub preemption: bool,
    /// Always false.
    pub sharing: bool,
    /// Always none.
    pub tracking: Tracking,
    /// Kept and shown.
    pub preemption_delay: Option<Duration>,
    /// Legs of this node that use it.
    pub interfaces: BTreeSet<String>,
}

/// Two entities share this record, so it is tied to the table by hand.
impl Record for Vrid {
    fn from_command(command: &Command) -> Self {
        Self {
            key: VridKey::of(command),
            priority: command.read("priority"),
            preemption: command.read("preemption"),
            sharing: command.read("sharing"),
            tracking: command.read("tracking"),
            preemption_delay: command.read("preemptiondelaytimer"),
            interfaces: BTreeSet::new(),
        }
    }

    fn updated(&self, command: &Command) -> Self {
        Self {
            key: self.key,
            priority: Field::from_value(self.value_after(command, "priority")),
            preemption: Field::from_value(self.value_after(command, "preemption")),
            sharing: Field::from_value(self.value_after(command, "sharing")),
            tracking: Field::from_value(self.value_after(command, "tracking")),
            preemption_delay: Field::from_value(self.value_after(command, "preemptiondelaytimer")),
            interfaces: self.interfaces.clone(),
        }
    }

    fn entity(&self) -> &'static Entity {
        if self.key.v6 { &network::VRID6 } else { &network::VRID }
    }

    fn value(&self, attribute: &str) -> Option<Value> {
        match attribute {
            "id" => self.key.id.to_value(),
            "priority" => self.priority.to_value(),
            "preemption" => self.preemption.to_value(),
            "sharing" => self.sharing.to_value(),
            "tracking" => self.tracking.to_value(),
            "preemptiondelaytimer" => self.preemption_delay.to_value(),
            _ => None,
        }
    }
}

impl Vrid {
    /// Returns the command that binds its interfaces, if it has any.
    pub(super) fn binding_command(&self) -> Option<Command> {
        let entity = if self.key.v6 { &network::BINDING6 } else { &network::BINDING };
        let names: Vec<String> = self.interfaces.iter().cloned().collect();
        let value = |name: &str| match name {
            "id" => self.key.id.to_value(),
            _ => Some(Value::List(names.clone())),
        };
        let args = entity.attributes[..2].iter().map(|attribute| Arg { attribute, value: value(attribute.name) });
        (!self.interfaces.is_empty()).then(|| Command { verb: Verb::Bind, entity, args: args.collect() })
    }

    /// Returns what is allowed but of no effect.
    pub(super) fn warning(&self) -> Option<String> {
        let asks = self.priority != 255 || !self.preemption || self.preemption_delay.is_some();
        asks.then(|| {
            format!(
                "{}: priority and preemption are kept and shown, and have no effect: the pair's election says which node serves \
                 (set ha node -haStatus STAYPRIMARY prefers one)",
                self.key
            )
        })
    }
}

impl Config {
    pub(super) fn apply_vrid(&mut self, command: &Command) -> Result<Change, CommandError> {
        let key = VridKey::of(command);
        match (command.verb, self.vrids.get(&key)) {
            (Verb::Add, None) => drop(self.vrids.insert(key, Vrid::from_command(command))),
            (Verb::Add, Some(_)) => {
                let how = format!("set {0} changes it, rm {0} removes it", key.word());
                return Err(CommandError::exists("id", key.id, how));
            }
            (_, Some(known)) => {
                let updated = known.updated(command);
                self.vrids.insert(key, updated);
            }
            (_, None) => return Err(no_such(key)),
        }
        Ok(Change::of(Touched::Vrid(key)))
    }

    pub(super) fn rm_vrid(&mut self, command: &Command) -> Result<Change, CommandError> {
        let v6 = command.entity == &network::REMOVAL6;
        let keys: Vec<VridKey> = match (command.read::<Option<u8>>("id"), command.has("all")) {
            (Some(id), false) => vec![VridKey { v6, id }],
            (None, true) => self.vrids.keys().filter(|key| key.v6 == v6).copied().collect(),
            (given, _) => {
                let (code, what) = match given {
                    Some(_) => (code::EXCLUSIVE, "Arguments mutually exclusive [-all]"),
                    None => (code::MISSING, "Required argument missing [id]"),
                };
                return Err(CommandError::new(code, format!("{what}: name one VRID, or give -all")));
            }
        };
        let mut change = Change::default();
        for key in keys {
            if let Some(user) = self.addresses.values().find(|address| address.vrid_key() == Some(key)) {
                let why = format!("{key} is the virtual router of {}; unset its -vrID first", user.ip);
                return Err(CommandError::refused(why));
            }
            self.vrids.remove(&key).ok_or_else(|| no_such(key))?;
            change.add(Touched::Vrid(key));
        }
        Ok(change)
    }

    pub(super) fn apply_vrid_binding(&mut self, command: &Command) -> Result<Change, CommandError> {
        let key = VridKey::of(command);
        let known = self.vrids.get(&key).ok_or_else(|| no_such(key))?;
        let names: Vec<String> = match command.arg("ifnum").and_then(|arg| arg.value.clone()) {
            Some(Value::List(names)) => names,
            _ if command.verb == Verb::Unbind => known.interfaces.iter().cloned().collect(),
            _ => {
                let why = format!("Required argument missing [ifnum]: bind {key} -ifnum <leg> ...");
                return Err(CommandError::new(code::MISSING, why));
            }
        };
        for name in names {
            if command.verb == Verb::Bind {
                self.check_bindable(key, &name)?;
            }
            let vrid = self.vrids.get_mut(&key).ok_or_else(|| no_such(key))?;
            if command.verb == Verb::Bind {
                vrid.interfaces.insert(name);
            } else if !vrid.interfaces.remove(&name) {
                return Err(CommandError::missing("ifnum", name, format!("it is not bound to {key}")));
            }
        }
        Ok(Change::of(Touched::Vrid(key)))
    }

    fn check_bindable(&self, key: VridKey, name: &str) -> Result<(), CommandError> {
        match self.interfaces.get(name) {
            None => {
                let how = "the configuration names no such interface; set interface <name> -haMonitor ON makes it a leg";
                return Err(CommandError::missing("ifnum", name, how));
            }
            Some(interface) if !interface.monitor => {
                let why = format!(
                    "interface {name} is no leg, floating addresses do not live there; set interface {name} -haMonitor ON makes it one"
                );
                return Err(CommandError::refused(why));
            }
            Some(_) => {}
        }
        match self.vrid_on(name, key.v6) {
            Some(other) if other == key => Err(CommandError::exists("ifnum", name, format!("it is bound to {key}"))),
            Some(other) => {
                let why = format!(
                    "interface {name} is bound to {other}: an interface has one virtual MAC for each family; unbind {other} first"
                );
                Err(CommandError::refused(why))
            }
            None => Ok(()),
        }
    }

    /// Checks that every bound interface is still a leg: called when interfaces change.
    pub(super) fn check_vrid_bindings(&self) -> Result<(), CommandError> {
        for vrid in self.vrids.values() {
            let is_leg = |name: &str| self.interfaces.get(name).is_some_and(|interface| interface.monitor);
            if let Some(name) = vrid.interfaces.iter().find(|name| !is_leg(name)) {
                let why = format!("interface {name} is bound to {0}; unbind {0} -ifnum {name} first", vrid.key);
                return Err(CommandError::refused(why));
            }
        }
        Ok(())
    }

    /// Checks the virtual router that an address names.
    pub(super) fn check_vrid_of(&self, key: Option<VridKey>) -> Result<(), CommandError> {
        match key {
            Some(key) if !self.vrids.contains_key(&key) => Err(no_such(key)),
            _ => Ok(()),
        }
    }

    /// Returns the virtual router that is bound to interface `name` for a family.
    pub fn vrid_on(&self, name: &str, v6: bool) -> Option<VridKey> {
        self.vrids.values().find(|vrid| vrid.key.v6 == v6 && vrid.interfaces.contains(name)).map(|vrid| vrid.key)
    }

    /// Returns all virtual routers.
    pub fn vrids(&self) -> impl Iterator<Item = &Vrid> {
        self.vrids.values()
    }

    /// Returns one virtual router.
    pub fn vrid(&self, key: VridKey) -> Option<&Vrid> {
        self.vrids.get(&key)
    }
}

fn no_such(key: VridKey) -> CommandError {
    CommandError::missing("id", key.id, format!("add {key} makes it; show {} lists them", key.word()))
}
