//! The bridge between a typed record and its rows in the table.

use serde_json::Map;

use crate::command::schema::{Attribute, Entity, Place, Scope, Verb};
use crate::command::value::Value;
use crate::command::{Arg, Command};

/// A typed entity of the configuration.
pub trait Record: Sized {
    /// Builds the record from a command about it, filling in the table's defaults.
    fn from_command(command: &Command) -> Self;

    /// Returns the record as `command` (a `set` or `unset`) leaves it.
    fn updated(&self, command: &Command) -> Self;

    /// Returns its entity in the table.
    fn entity(&self) -> &'static Entity;

    /// Returns an attribute's value; none if it was never given and has no fixed default.
    fn value(&self, attribute: &str) -> Option<Value>;

    /// Returns the command that makes or sets this record, naming what differs from the defaults; none if nothing does and the
    /// record exists anyhow.
    fn command(&self, verb: Verb) -> Option<Command> {
        self.scoped_command(verb, |_| true)
    }

    /// Returns the same command with only the attributes that belong to `scope`.
    fn command_of(&self, verb: Verb, scope: Scope) -> Option<Command> {
        self.scoped_command(verb, |attribute| attribute.scope == scope)
    }

    /// [`Record::command`], for the attributes that are `wanted`.
    fn scoped_command(&self, verb: Verb, wanted: impl Fn(&Attribute) -> bool) -> Option<Command> {
        let entity = self.entity();
        let told = |attribute: &&'static Attribute| match attribute.place {
            Place::Key | Place::NamedKey | Place::Position => true,
            Place::OptionalKey | Place::View | Place::Verb | Place::Leave | Place::LeaveFlag => false,
            Place::Flag => wanted(attribute),
        };
        let arg = |attribute: &'static Attribute| {
            let value = self.value(attribute.name)?;
            let is_default = attribute.place == Place::Flag
                && !attribute.always_printed
                && attribute.default_value().as_ref() == Some(&value);
            (!is_default).then_some(Arg { attribute, value: Some(value) })
        };
        let args: Vec<Arg> = entity.attributes.iter().filter(told).filter_map(arg).collect();
        let says_something = verb != Verb::Set || args.iter().any(|arg| arg.attribute.place != Place::Key);
        says_something.then_some(Command { verb, entity, args })
    }

    /// Returns the record as JSON under the table's keys.
    fn json(&self) -> Map<String, serde_json::Value> {
        let attributes = self.entity().attributes.iter();
        let pairs = attributes
            .filter_map(|attribute| Some((attribute.rest.to_owned(), attribute.kind.json(&self.value(attribute.name)?))));
        pairs.collect()
    }

    /// Returns the value that `command` leaves an attribute with: given, returned to its default, or untouched.
    fn value_after(&self, command: &Command, attribute: &str) -> Option<Value> {
        match command.arg(attribute) {
            Some(Arg { value: Some(value), .. }) => Some(value.clone()),
            Some(Arg { value: None, .. }) => self.entity().default_of(attribute),
            None => self.value(attribute),
        }
    }
}

/// Ties a struct's fields to the attributes of an entity; fields after `own` are the record's own and no attributes.
macro_rules! record {
    ($type:ident: $entity:expr, { $($attribute:literal => $field:ident),* $(,)? } $(own { $($own:ident),* })?) => {
        impl $crate::config::record::Record for $type {
            fn from_command(command: &$crate::command::Command) -> Self {
                Self { $($field: command.read($attribute),)* $($($own: Default::default(),)*)? }
            }

            fn updated(&self, command: &$crate::command::Command) -> Self {
                use $crate::command::value::Field;
                Self { $($field: Field::from_value(self.value_after(command, $attribute)),)* $($($own: self.$own.clone(),)*)? }
            }

            fn entity(&self) -> &'static $crate::command::schema::Entity {
                &$entity
            }

            fn value(&self, attribute: &str) -> Option<$crate::command::value::Value> {
                match attribute {
                    $($attribute => $crate::command::value::Field::to_value(&self.$field),)*
                    _ => None,
                }
            }
        }
    };
}
pub(in crate::config) use record;
