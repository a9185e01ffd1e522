//! The language: which words may an operator type, what do they mean, and how is the answer printed?
//!
//! [`schema`] is one declarative table of entities and attributes. The grammar ([`parse()`](parse())), validation ([`schema::Kind`]),
//! canonical printing ([`Command`]'s `Display`), defaults, `unset`, help ([`help()`](help())), every `show -json` and the identity of a
//! configuration follow from it; nothing else knows an attribute's range or default. An operator, a line of the configuration file
//! and (later) a peer or a REST client all end in the same [`Command`], executed by [`Executor`].
//!
//! The matcher is the product's own instead of clap's: unambiguous abbreviations at every level, group words that may be left out,
//! `–flag` with the en dash that manuals print, positional order per verb and the public error codes are this language, and a table
//! of 200 lines says them more plainly than a builder bent around them. clap reads only the program's own arguments (`main.rs`).

pub mod error;
mod executor;
mod help;
mod parse;
mod print;
pub mod runtime;
pub mod schema;
mod show;
pub mod span;
mod tokens;
pub mod value;
pub mod words;

#[cfg(test)]
mod tests;

pub use error::{CommandError, code};
pub use executor::{Answer, Executor, Reply};
pub use help::help;
pub use parse::{parse, parse_line};
pub use print::Secrets;
pub use runtime::{Outcome, Runtime};
pub use show::moment;
pub use tokens::{Token, tokens};

use schema::{Attribute, Entity, Verb};
use value::{Field, Value};

/// One thing to do: a verb, an entity and its arguments, checked against the table and in the table's order.
///
/// `Display` prints the canonical form with secrets hidden; [`Command::text`] chooses.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What to do.
    pub verb: Verb,
    /// To which kind of thing.
    pub entity: &'static Entity,
    /// With which attributes, in the order of the table, each at most once.
    pub args: Vec<Arg>,
}

/// One attribute of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Its row in the table.
    pub attribute: &'static Attribute,
    /// Its value; none only for a flag named by `unset`.
    pub value: Option<Value>,
}

impl Command {
    /// Returns the argument of that canonical name, if it was given.
    pub fn arg(&self, name: &str) -> Option<&Arg> {
        self.args.iter().find(|arg| arg.attribute.name == name)
    }

    /// Returns whether the argument of that canonical name was given.
    pub fn has(&self, name: &str) -> bool {
        self.arg(name).is_some()
    }

    /// Returns the typed value of an argument, or its default from the table.
    ///
    /// # Panics
    /// If the table's kind of this attribute is not the kind of `T`: an error of the program, not of input.
    pub fn read<T: Field>(&self, name: &str) -> T {
        T::from_value(self.arg(name).and_then(|arg| arg.value.clone()).or_else(|| self.entity.default_of(name)))
    }
}
