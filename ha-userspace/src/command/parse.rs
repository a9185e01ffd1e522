//! Words into a command, by the table alone: verb, entity, positions, flags.

use std::iter::Peekable;

use super::error::{CommandError, code};
use super::schema::{Attribute, ENTITIES, Entity, Kind, Place, Verb};
use super::tokens::{Token, tokens};
use super::value::Value;
use super::{Arg, Command};

/// Parses one line; none if it is blank or only a comment.
pub fn parse_line(line: &str) -> Result<Option<Command>, CommandError> {
    let words = tokens(line)?;
    if words.is_empty() { Ok(None) } else { parse(&words).map(Some) }
}

/// Parses the words of one command.
pub fn parse(words: &[Token]) -> Result<Command, CommandError> {
    let Some((first, rest)) = words.split_first() else {
        return Err(CommandError::new(code::BAD_ACTION, format!("No command: verbs are {}", verb_words())));
    };
    let verb = verb(&first.text)?;
    let (entity, rest) = entity(verb, rest)?;
    let args = arguments(verb, entity, rest)?;
    Ok(Command { verb, entity, args })
}

/// What a typed word selects among keywords.
enum Pick<T> {
    One(T),
    None,
    Many(Vec<&'static str>),
}

/// Selects a keyword: in any case, spelt out or as the beginning of exactly one.
fn pick<T: Copy + PartialEq>(typed: &str, keywords: impl Iterator<Item = (&'static str, T)>) -> Pick<T> {
    let mut found: Vec<(&'static str, T)> = Vec::new();
    for (keyword, item) in keywords {
        if keyword.eq_ignore_ascii_case(typed) {
            return Pick::One(item);
        }
        let begins = keyword.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed));
        if begins && !typed.is_empty() && !found.iter().any(|(_, other)| *other == item) {
            found.push((keyword, item));
        }
    }
    match found[..] {
        [] => Pick::None,
        [(_, item)] => Pick::One(item),
        _ => Pick::Many(found.into_iter().map(|(keyword, _)| keyword).collect()),
    }
}

fn verb_words() -> String {
    Verb::ALL.iter().map(|(word, _)| *word).chain(["help"]).collect::<Vec<_>>().join(", ")
}

pub(super) fn verb(typed: &str) -> Result<Verb, CommandError> {
    let fail = |why| Err(CommandError::new(code::BAD_ACTION, format!("No such command [{typed}]: {why}")));
    match pick(typed, Verb::ALL.iter().copied()) {
        Pick::One(verb) => Ok(verb),
        Pick::None => fail(format!("verbs are {}", verb_words())),
        Pick::Many(words) => fail(format!("it could be {}", words.join(" or "))),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place1 {
    Group(&'static str),
    Entity(&'static Entity),
}

/// Finds the entity that the words after a verb name, and returns the words after its own.
pub(super) fn entity(verb: Verb, words: &[Token]) -> Result<(&'static Entity, &[Token]), CommandError> {
    let able = || ENTITIES.iter().copied().filter(move |entity| entity.verbs.contains(&verb));
    if let Some(daemon) = able().find(|entity| entity.word.is_empty()) {
        return Ok((daemon, words));
    }
    let choices = |group: Option<&str>| {
        let fits = |entity: &&Entity| group.is_none_or(|group| entity.group == group);
        able().filter(fits).map(|entity| entity.path()).collect::<Vec<_>>().join(", ")
    };
    let Some((first, rest)) = words.split_first() else {
        return Err(CommandError::new(code::TOO_FEW, format!("Too few arguments: {} takes {}", verb.word(), choices(None))));
    };
    let groups = able().filter(|entity| !entity.group.is_empty()).map(|entity| (entity.group, Place1::Group(entity.group)));
    let objects = able().map(|entity| (entity.word, Place1::Entity(entity)));
    let group = match pick(&first.text, groups.chain(objects)) {
        Pick::One(Place1::Entity(entity)) => return Ok((entity, rest)),
        Pick::One(Place1::Group(group)) => group,
        Pick::None => return Err(no_object(verb, &first.text, choices(None))),
        Pick::Many(words) => return Err(no_object(verb, &first.text, words.join(" or "))),
    };
    let Some((second, rest)) = rest.split_first() else {
        return Err(CommandError::new(
            code::TOO_FEW,
            format!("Too few arguments: {} {group} takes {}", verb.word(), choices(Some(group))),
        ));
    };
    let typed = || format!("{} {}", first.text, second.text);
    match pick(&second.text, able().filter(|entity| entity.group == group).map(|entity| (entity.word, entity))) {
        Pick::One(entity) => Ok((entity, rest)),
        Pick::None => Err(no_object(verb, &typed(), choices(Some(group)))),
        Pick::Many(words) => Err(no_object(verb, &typed(), words.join(" or "))),
    }
}

fn no_object(verb: Verb, typed: &str, choices: String) -> CommandError {
    CommandError::new(code::BAD_OBJECT, format!("No such object [{} {typed}]: {} takes {choices}", verb.word(), verb.word()))
}

fn arguments(verb: Verb, entity: &'static Entity, words: &[Token]) -> Result<Vec<Arg>, CommandError> {
    let mut args: Vec<Arg> = Vec::new();
    let mut positions = entity.positions(verb).peekable();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let arg = match word.flag() {
            Some(name) => flag_argument(verb, entity, name, &mut words)?,
            None if word.is_lone_dash() && verb == Verb::Save => continue,
            None => match position(&mut positions, &word.text) {
                Some(attribute) => Arg { attribute, value: Some(read(attribute, &word.text)?) },
                None if lengthen(&mut args, word)? => continue,
                None => return Err(too_many(verb, entity, word)),
            },
        };
        if args.iter().any(|other| other.attribute == arg.attribute) {
            return Err(CommandError::new(
                code::EXCLUSIVE,
                format!("Arguments mutually exclusive [-{}]: it is given twice", arg.attribute.name),
            ));
        }
        args.push(arg);
    }
    let printed = matches!(verb, Verb::Show | Verb::Stat);
    let given = |attribute: &Attribute| args.iter().any(|arg| arg.attribute == attribute);
    let key = entity.flags(verb).find(|attribute| attribute.place == Place::NamedKey && !given(attribute));
    if let Some(absent) =
        positions.find(|attribute| !matches!(attribute.place, Place::OptionalKey | Place::Leave) && !printed).or(key)
    {
        let why = format!("Required argument missing [{}]: usage: {}", absent.name, super::help::usage(verb, entity));
        return Err(CommandError::new(code::MISSING, why));
    }
    let changes = matches!(verb, Verb::Set | Verb::Unset) && entity.flags(verb).next().is_some();
    if changes && !args.iter().any(|arg| arg.attribute.place == Place::Flag) {
        return Err(CommandError::new(
            code::TOO_FEW,
            format!("Too few arguments: usage: {}", super::help::usage(verb, entity)),
        ));
    }
    let row = |arg: &Arg| entity.attributes.iter().position(|attribute| attribute == arg.attribute);
    args.sort_by_key(|arg| row(arg).unwrap_or(usize::MAX));
    Ok(args)
}

/// Takes the attribute that `word` is for: the next one, unless it may be left out and only the one after it can be `word`.
fn position(positions: &mut Peekable<impl Iterator<Item = &'static Attribute>>, word: &str) -> Option<&'static Attribute> {
    let first = positions.next()?;
    let left_out = first.place == Place::OptionalKey && first.kind.read(word).is_err();
    if left_out && let Some(second) = positions.next_if(|second| second.kind.read(word).is_ok()) {
        return Some(second);
    }
    Some(first)
}

/// Adds `word` to the list that the last positions take, if there is one.
fn lengthen(args: &mut [Arg], word: &Token) -> Result<bool, CommandError> {
    let lists = args.iter_mut().rev().filter(|arg| arg.attribute.place == Place::Key);
    for Arg { attribute, value } in lists {
        if let Some(Value::List(names)) = value {
            if let Value::List(more) = read(attribute, &word.text)? {
                let new: Vec<String> = more.into_iter().filter(|name| !names.contains(name)).collect();
                names.extend(new);
            }
            return Ok(true);
        }
    }
    Ok(false)
}

fn flag_argument<'a>(
    verb: Verb,
    entity: &'static Entity,
    name: &str,
    words: &mut Peekable<impl Iterator<Item = &'a Token>>,
) -> Result<Arg, CommandError> {
    let attribute = match pick(name, entity.flags(verb).map(|attribute| (attribute.name, attribute))) {
        Pick::One(attribute) => attribute,
        Pick::None => return Err(no_flag(verb, entity, name)),
        Pick::Many(names) => {
            let why = format!("No such argument [-{name}]: it could be -{}", names.join(" or -"));
            return Err(CommandError::new(code::NO_SUCH_ARGUMENT, why));
        }
    };
    let value = match attribute.kind {
        _ if verb == Verb::Unset && attribute.place == Place::Flag => None,
        Kind::Present => Some(Value::Present),
        Kind::Interfaces if words.peek().is_some_and(|word| word.flag().is_none()) => {
            let mut names = Vec::new();
            while let Some(word) = words.next_if(|word| word.flag().is_none()) {
                if let Value::List(one) = read(attribute, &word.text)? {
                    names.extend(one);
                }
            }
            Some(Value::List(names))
        }
        _ => match words.next() {
            Some(word) => match words.next_if(|next| attribute.kind.goes_on(&word.text, &next.text)) {
                Some(next) => Some(read(attribute, &format!("{} {}", word.text, next.text))?),
                None => Some(read(attribute, &word.text)?),
            },
            None => {
                let why = format!("Required argument missing [-{}]: {}", attribute.name, attribute.kind.allowed());
                return Err(CommandError::new(code::MISSING, why));
            }
        },
    };
    Ok(Arg { attribute, value })
}

fn no_flag(verb: Verb, entity: &'static Entity, name: &str) -> CommandError {
    if let Some(fixed) = entity.attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name)) {
        let why = format!(
            "Operation not permitted: {} of a {} is not changed by {}; rm it and add it anew",
            fixed.name,
            entity.noun,
            verb.word()
        );
        return CommandError::new(code::NOT_PERMITTED, why);
    }
    let flags: Vec<String> = entity.flags(verb).map(|attribute| format!("-{}", attribute.name)).collect();
    let takes = if flags.is_empty() { "no flags".to_owned() } else { flags.join(", ") };
    CommandError::new(
        code::NO_SUCH_ARGUMENT,
        format!("No such argument [-{name}]: {} {} takes {takes}", verb.word(), entity.path()),
    )
}

/// Refuses a word too many; it may be the second half of a secret, so then it is not repeated.
fn too_many(verb: Verb, entity: &'static Entity, word: &Token) -> CommandError {
    let secret = entity.attributes.iter().any(|attribute| attribute.kind.is_secret());
    let shown = if secret { String::new() } else { format!(" [{}]", word.text) };
    let why = format!(
        "Invalid argument{shown}: one word too many; usage: {} (a value with spaces stands in \"…\")",
        super::help::usage(verb, entity)
    );
    CommandError::new(code::INVALID_ARGUMENT, why)
}

fn read(attribute: &'static Attribute, text: &str) -> Result<Value, CommandError> {
    let is_refused = |word: &&&str| word.eq_ignore_ascii_case(text);
    let refused = attribute.refused.iter().find_map(|refused| match refused.words {
        [] => Some((text, refused.why)),
        words => words.iter().find(is_refused).map(|word| (*word, refused.why)),
    });
    if let Some((word, why)) = refused {
        return Err(CommandError::value(attribute.code, attribute.name, word, why));
    }
    let shown = if attribute.kind.is_secret() { "…" } else { text };
    attribute.kind.read(text).map_err(|allowed| CommandError::value(attribute.code, attribute.name, shown, allowed))
}
