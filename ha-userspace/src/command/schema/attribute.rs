//! One row of an entity: an attribute, built by chained `const` functions so that a row reads as a sentence.

use super::{Kind, Scope};
use crate::command::error::code;
use crate::command::value::Value;

/// Where an attribute stands in a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By position in every verb: it names the thing.
    Key,
    /// By position, and may be left out.
    OptionalKey,
    /// By position where the thing is created.
    Position,
    /// As `-name value`.
    Flag,
    /// As `-name value` in every verb: it names the thing.
    NamedKey,
    /// By position in `show` alone: how much of the thing.
    View,
    /// By position in `disable` alone, and may be left out: how long it may take.
    Leave,
    /// As `-name value` in `disable` alone.
    LeaveFlag,
    /// Nowhere: verbs of its own set it (`enable`, `disable`).
    Verb,
}

/// Public words that are understood and refused.
#[derive(Debug)]
pub struct Refused {
    /// The words; none of them: whatever is given.
    pub words: &'static [&'static str],
    /// Why, and what to do instead.
    pub why: &'static str,
}

/// One attribute of an entity.
pub struct Attribute {
    /// Its name as the public product spells it.
    pub name: &'static str,
    /// Its key in JSON.
    pub rest: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it may be.
    pub kind: Kind,
    /// Its value when not given, in canonical text; none if there is no fixed one.
    pub default: Option<&'static str>,
    /// Whether `set` and `unset` may change it.
    pub mutable: bool,
    /// Whether canonical commands print it even at its default.
    pub always_printed: bool,
    /// Whose it is, within its entity's scope.
    pub scope: Scope,
    /// The public code of a bad value.
    pub code: u16,
    /// Public words that are not possible (yet).
    pub refused: &'static [Refused],
    /// What it does, in one line.
    pub help: &'static str,
}

/// Attributes are rows of one static table: two are equal when they are the same row.
impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl std::fmt::Debug for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attribute({})", self.name)
    }
}

/// The flag that every `show` takes.
pub(super) static JSON: Attribute = flag("json", "json", Kind::Present).help("print JSON instead of text");

/// The flags that every `stat` takes.
pub(super) static STAT: [Attribute; 2] = [
    flag("detail", "detail", Kind::Present).help("print every counter"),
    flag("ntimes", "ntimes", Kind::Number { min: 1, max: 1_000_000 }).or("1").help("print so many times, every seven seconds"),
];

const fn attribute(name: &'static str, rest: &'static str, place: Place, kind: Kind) -> Attribute {
    let mutable = matches!(place, Place::Flag);
    Attribute {
        name,
        rest,
        place,
        kind,
        default: None,
        mutable,
        always_printed: false,
        scope: Scope::Pair,
        code: code::BAD_VALUE,
        refused: &[],
        help: "",
    }
}

/// An attribute that names the thing, given by position.
pub(super) const fn key(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::Key, kind)
}

/// A name that may be left out.
pub(super) const fn optional_key(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::OptionalKey, kind)
}

/// An attribute given by position at creation, fixed from then on.
pub(super) const fn position(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::Position, kind)
}

/// An attribute given as `-name value`.
pub(super) const fn flag(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::Flag, kind)
}

/// An attribute given as `-name value` that names the thing.
pub(super) const fn named_key(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::NamedKey, kind)
}

/// A word that `show` takes.
pub(super) const fn view(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::View, kind)
}

/// A word that `disable` takes.
pub(super) const fn leave(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::Leave, kind)
}

/// A flag that `disable` takes.
pub(super) const fn leave_flag(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::LeaveFlag, kind)
}

/// An attribute that `enable` and `disable` set.
pub(super) const fn switched(name: &'static str, rest: &'static str, kind: Kind) -> Attribute {
    attribute(name, rest, Place::Verb, kind)
}

impl Attribute {
    /// Returns its default as a value.
    pub fn default_value(&self) -> Option<Value> {
        self.default.and_then(|text| self.kind.read(text).ok())
    }

    pub(super) const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub(super) const fn fixed(mut self) -> Self {
        self.mutable = false;
        self
    }

    pub(super) const fn always_printed(mut self) -> Self {
        self.always_printed = true;
        self
    }

    pub(super) const fn of_the_node(mut self) -> Self {
        self.scope = Scope::Node;
        self
    }

    pub(super) const fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    pub(super) const fn refusing(mut self, refused: &'static [Refused]) -> Self {
        self.refused = refused;
        self
    }
}
