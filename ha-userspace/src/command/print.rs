//! Canonical printing: what [`parse_line`](super::parse_line) reads back as the same command.

use std::fmt;

use super::schema::{Kind, Place};
use super::tokens::quote;
use super::value::Value;
use super::{Arg, Command};

/// Whether passwords are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As they are: only for the saved file.
    Clear,
    /// As asterisks: for logs and screens.
    Hidden,
}

impl Command {
    /// Prints the canonical form.
    pub fn text(&self, secrets: Secrets) -> String {
        let mut words = vec![self.verb.word().to_owned()];
        words.extend(
            [self.entity.group, self.entity.word].iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()),
        );
        for Arg { attribute, value } in &self.args {
            if matches!(attribute.place, Place::Flag | Place::NamedKey | Place::LeaveFlag) {
                words.push(format!("-{}", attribute.name));
            }
            match (value, attribute.kind) {
                (None, _) | (_, Kind::Present) => {}
                (Some(value), Kind::Secret) if secrets == Secrets::Hidden => {
                    words.push(format!("\"{}\"", Kind::Secret.print_hidden(value)))
                }
                (Some(Value::List(names)), _) => words.extend(names.iter().map(|name| quote(name))),
                // Its two words are read as one value.
                (Some(value), Kind::Route | Kind::Network) => words.push(Kind::Route.print(value)),
                (Some(value), kind) if secrets == Secrets::Hidden => words.push(quote(&kind.print_hidden(value))),
                (Some(value), kind) => words.push(quote(&kind.print(value))),
            }
        }
        words.join(" ")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Secrets::Hidden))
    }
}
