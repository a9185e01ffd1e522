//! The shape of the one table: what an entity and an attribute are.
//!
//! Rows are in [`ha`], [`ns`], [`network`], [`vlan`] and [`lb`]; [`ENTITIES`] lists them. To add an attribute, add its row and the field of its record in
//! `config/`: grammar, validation, defaults, printing, help, JSON and identity follow.

mod attribute;
pub mod connection;
pub mod fis;
pub mod ha;
pub mod ipset;
mod kind;
pub mod lb;
pub mod network;
pub mod ns;
pub mod vlan;

pub use attribute::{Attribute, Place, Refused};
pub use kind::{Kind, Style};

use super::value::Value;

/// Every entity of the language.
pub static ENTITIES: &[&Entity] = &[
    &ns::CONFIG,
    &ns::HOST_NAME,
    &ns::VERSION,
    &ns::INTERFACE,
    &ns::RPC_NODE,
    &ns::IP,
    &ns::IP6,
    &ha::NODE,
    &ha::PEER,
    &ha::ROUTE_MONITOR,
    &ha::HOOK,
    &ha::FAILOVER,
    &ha::DAEMON,
    &lb::VSERVER,
    &lb::SERVICE,
    &lb::BINDING,
    &fis::FIS,
    &fis::BINDING,
    &fis::CRITICAL,
    &ipset::IPSET,
    &ipset::BINDING,
    &lb::SESSIONS,
    &ns::ALARMS,
    &ns::RATE_CONTROL,
    &ns::LIMITS,
    &ns::TCP_PARAM,
    &ns::SP_PARAMS,
    &network::VRID,
    &network::VRID6,
    &network::BINDING,
    &network::BINDING6,
    &network::REMOVAL,
    &network::REMOVAL6,
    &network::L2_PARAM,
    &network::ARP,
    &connection::TABLE,
    &vlan::VLAN,
    &vlan::BINDING,
];

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Create.
    Add,
    /// Tie a service to a virtual server.
    Bind,
    /// Forget what was found out while running.
    Clear,
    /// Take out of use.
    Disable,
    /// Take into use.
    Enable,
    /// Do now, whatever the election says.
    Force,
    /// Remove.
    Rm,
    /// Write the running configuration to its file.
    Save,
    /// Send to the network.
    Send,
    /// Change attributes.
    Set,
    /// Print.
    Show,
    /// Print counters.
    Stat,
    /// End the daemon, handing over first.
    Stop,
    /// Untie.
    Unbind,
    /// Return attributes to their defaults.
    Unset,
}

impl Verb {
    /// Every verb with its word.
    pub const ALL: &'static [(&'static str, Verb)] = &[
        ("add", Verb::Add),
        ("bind", Verb::Bind),
        ("clear", Verb::Clear),
        ("disable", Verb::Disable),
        ("enable", Verb::Enable),
        ("force", Verb::Force),
        ("rm", Verb::Rm),
        ("save", Verb::Save),
        ("send", Verb::Send),
        ("set", Verb::Set),
        ("show", Verb::Show),
        ("stat", Verb::Stat),
        ("stop", Verb::Stop),
        ("unbind", Verb::Unbind),
        ("unset", Verb::Unset),
    ];

    /// Returns the verb's word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, verb)| *verb == self).map_or("", |(word, _)| word)
    }

    /// Returns whether it changes the configuration (and so may stand in a configuration file).
    pub fn configures(self) -> bool {
        match self {
            Verb::Add | Verb::Bind | Verb::Disable | Verb::Enable | Verb::Rm | Verb::Set | Verb::Unbind | Verb::Unset => true,
            Verb::Clear | Verb::Force | Verb::Save | Verb::Send | Verb::Show | Verb::Stat | Verb::Stop => false,
        }
    }
}

/// Whose an entity or attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The pair's: part of the configuration's identity, to be propagated and synchronised.
    Pair,
    /// This node's alone: none of the three.
    Node,
}

/// One kind of thing that commands are about.
pub struct Entity {
    /// The word before its own, which may be left out; empty if it has none.
    pub group: &'static str,
    /// Its word; empty only for the daemon itself.
    pub word: &'static str,
    /// What prose calls it.
    pub noun: &'static str,
    /// Its resource name in JSON.
    pub rest: &'static str,
    /// What may be done with it.
    pub verbs: &'static [Verb],
    /// Whose it is.
    pub scope: Scope,
    /// Its attributes, in canonical order; those given by position first.
    pub attributes: &'static [Attribute],
}

/// Entities are rows of one static table: two are equal when they are the same row.
impl PartialEq for Entity {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl std::fmt::Debug for Entity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entity({})", self.path())
    }
}

impl Entity {
    /// Returns its words: `lb vserver`.
    pub fn path(&self) -> String {
        [self.group, self.word].iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
    }

    /// Returns an attribute by its canonical name.
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Returns an attribute's default, if it has a fixed one.
    pub fn default_of(&self, name: &str) -> Option<Value> {
        self.attribute(name).and_then(Attribute::default_value)
    }

    /// Returns the attributes that `verb` takes by position, in order.
    pub fn positions(&self, verb: Verb) -> impl Iterator<Item = &'static Attribute> {
        let creates = matches!(verb, Verb::Add | Verb::Bind) || (verb == Verb::Set && !self.verbs.contains(&Verb::Add));
        self.attributes.iter().filter(move |attribute| match attribute.place {
            Place::Key | Place::OptionalKey => true,
            Place::Position => creates,
            Place::View => verb == Verb::Show,
            Place::Leave => verb == Verb::Disable,
            Place::Flag | Place::NamedKey | Place::Verb | Place::LeaveFlag => false,
        })
    }

    /// Returns the flags that `verb` takes.
    pub fn flags(&self, verb: Verb) -> impl Iterator<Item = &'static Attribute> {
        let wanted = move |attribute: &&Attribute| match verb {
            Verb::Add | Verb::Bind | Verb::Force | Verb::Send | Verb::Stop => true,
            Verb::Set | Verb::Unset => attribute.mutable,
            // Names are enough, unless there is a set of them.
            Verb::Unbind => matches!(attribute.kind, Kind::Interfaces | Kind::Route | Kind::Network | Kind::Present),
            Verb::Rm => self.verbs == [Verb::Rm],
            // What is only shown has no other use for them.
            Verb::Show => self.verbs == [Verb::Show],
            Verb::Stat | Verb::Enable | Verb::Disable | Verb::Save | Verb::Clear => false,
        };
        let own = self.attributes.iter().filter(|attribute| attribute.place == Place::Flag).filter(wanted);
        let keys = self.attributes.iter().filter(|attribute| attribute.place == Place::NamedKey);
        let stat: &[Attribute] = if verb == Verb::Stat { &attribute::STAT } else { &[] };
        let leave = move |attribute: &&Attribute| attribute.place == Place::LeaveFlag && verb == Verb::Disable;
        let leave = self.attributes.iter().filter(leave);
        keys.chain(own).chain(leave).chain(stat).chain(matches!(verb, Verb::Show | Verb::Stat).then_some(&attribute::JSON))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        for entity in ENTITIES {
            for (at, attribute) in entity.attributes.iter().enumerate() {
                let name = format!("{} {}", entity.path(), attribute.name);
                assert!(!attribute.rest.is_empty() && !attribute.help.is_empty(), "{name}: JSON key and help");
                assert!(entity.attributes[..at].iter().all(|a| !a.name.eq_ignore_ascii_case(attribute.name)), "{name}: twice");
                if let Some(default) = attribute.default {
                    let value = attribute.kind.read(default).unwrap_or_else(|why| panic!("{name}: default {default}: {why}"));
                    assert_eq!(attribute.kind.print(&value), default, "{name}: the default is canonical");
                }
            }
            let is_flag = |a: &Attribute| matches!(a.place, Place::Flag | Place::NamedKey | Place::Verb | Place::LeaveFlag);
            let first_flag = entity.attributes.iter().position(is_flag);
            let last_position = entity.attributes.iter().rposition(|a| !is_flag(a));
            assert!(first_flag.is_none() || last_position < first_flag, "{}: positions come first", entity.path());
        }
    }

    #[test]
    fn one_path_and_verb_name_one_entity() {
        for (at, entity) in ENTITIES.iter().enumerate() {
            for other in &ENTITIES[..at] {
                let shared = other.path() == entity.path() && other.verbs.iter().any(|verb| entity.verbs.contains(verb));
                assert!(!shared, "{} twice", entity.path());
            }
        }
    }
}
