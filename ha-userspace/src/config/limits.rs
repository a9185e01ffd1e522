//! How much room the data plane's tables have.

use std::collections::BTreeMap;

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{Verb, ns};
use crate::command::{Command, CommandError};

/// `set ns limits`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Entries of `FLOWS`.
    pub flows: u32,
    /// Entries of `EMBRYONIC`.
    pub embryonic: u32,
    /// Entries of `EXCEPTIONS`.
    pub exceptions: u32,
    /// Entries of `REVERSE`.
    pub reverse: u32,
    /// Entries of `REVERSE_EMBRYONIC`.
    pub reverse_embryonic: u32,
    /// Entries of `PERSIST`.
    pub persist: u32,
    /// Entries of `SOURCES`.
    pub sources: u32,
    /// Entries of `PREFIXES`.
    pub prefixes: u32,
}

record!(Limits: ns::LIMITS, {
    "flows" => flows,
    "embryonic" => embryonic,
    "exceptions" => exceptions,
    "reverse" => reverse,
    "reverseEmbryonic" => reverse_embryonic,
    "persist" => persist,
    "sources" => sources,
    "prefixes" => prefixes,
});

impl Limits {
    pub(super) fn of_defaults() -> Self {
        Self::from_command(&Command { verb: Verb::Set, entity: &ns::LIMITS, args: Vec::new() })
    }

    /// Returns the room in each table whose size can be chosen, by the name of its map.
    pub fn sizes(&self) -> BTreeMap<&'static str, u32> {
        BTreeMap::from([
            ("FLOWS", self.flows),
            ("EMBRYONIC", self.embryonic),
            ("EXCEPTIONS", self.exceptions),
            ("REVERSE", self.reverse),
            ("REVERSE_EMBRYONIC", self.reverse_embryonic),
            ("PERSIST", self.persist),
            ("SOURCES", self.sources),
            ("PREFIXES", self.prefixes),
        ])
    }

    /// Returns that a table does not have the size yet that is configured, and what to do about it.
    pub fn pending(table: &str, present: u64, configured: u32) -> String {
        format!(
            "{table} goes on with room for {present}; room for {configured} is there once this node was stopped (understudy stop, which ends its \
             connections unless the peer takes over) and started again"
        )
    }

    /// Returns the flag of `set ns limits` that says how much room the map `table` has, if there is one.
    pub fn flag_of(table: &str) -> Option<&'static str> {
        let name = table.replace('_', "");
        ns::LIMITS.attributes.iter().map(|attribute| attribute.name).find(|flag| flag.eq_ignore_ascii_case(&name))
    }
}

impl Config {
    pub(super) fn apply_limits(&mut self, command: &Command) -> Result<Change, CommandError> {
        self.limits = self.limits.updated(command);
        Ok(Change::of(Touched::Limits))
    }

    /// Returns how much room the data plane's tables shall have.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_told_otherwise_tables_are_as_large_as_the_kernel_programs_were_compiled_with() {
        let object = aya_obj::Object::parse(crate::datapath::object()).unwrap();
        for (name, entries) in Limits::of_defaults().sizes() {
            assert_eq!(object.maps[name].max_entries(), entries, "{name}");
        }
    }

    #[test]
    fn every_size_has_a_flag() {
        let sizes = Limits::of_defaults().sizes();
        assert_eq!(sizes.len(), ns::LIMITS.attributes.len());
        assert!(sizes.keys().all(|table| Limits::flag_of(table).is_some()));
        assert_eq!(Limits::flag_of("VSERVERS"), None);
    }
}
