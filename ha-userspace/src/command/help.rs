//! Help, printed from the table.

use super::CommandError;
use super::parse;
use super::schema::{Attribute, ENTITIES, Entity, Kind, Place, Verb};
use super::tokens::Token;

/// Answers `help`, `help <verb>`, `help <entity>` and `help <verb> <entity>`.
pub fn help(words: &[Token]) -> Result<String, CommandError> {
    let Some((first, rest)) = words.split_first() else { return Ok(overview()) };
    match parse::verb(&first.text) {
        Ok(verb) if rest.is_empty() => Ok(of_verb(verb)),
        Ok(verb) => parse::entity(verb, rest).map(|(entity, _)| page(verb, entity)),
        Err(no_verb) => of_entity(words).ok_or(no_verb),
    }
}

/// Prints how a command is written: `set lb vserver <name> [-m (IP | MAC)] …`.
pub(super) fn usage(verb: Verb, entity: &'static Entity) -> String {
    let mut words = vec![verb.word().to_owned()];
    words.extend((!entity.word.is_empty()).then(|| entity.path()));
    for attribute in entity.positions(verb) {
        let optional = matches!(verb, Verb::Show | Verb::Stat) || matches!(attribute.place, Place::OptionalKey | Place::Leave);
        let more = if matches!(attribute.kind, Kind::Interfaces | Kind::Ips) { " ..." } else { "" };
        words.push(if optional { format!("[<{}>]", attribute.name) } else { format!("<{}>{more}", attribute.name) });
    }
    for attribute in entity.flags(verb) {
        let placeholder = if verb == Verb::Unset { String::new() } else { attribute.kind.placeholder() };
        let flag = format!("-{} {placeholder}", attribute.name);
        let flag = flag.trim_end();
        words.push(if attribute.place == Place::NamedKey { flag.to_owned() } else { format!("[{flag}]") });
    }
    words.join(" ")
}

fn overview() -> String {
    let mut text = String::from(
        "Commands (words in any case, abbreviated as long as they are unambiguous; help <verb> <object> says more):\n",
    );
    for (word, verb) in Verb::ALL {
        let objects: Vec<String> = able(*verb)
            .map(|entity| if entity.word.is_empty() { format!("the {}", entity.noun) } else { entity.path() })
            .collect();
        text += &format!("\t{word:<8}{}\n", objects.join(", "));
    }
    text
}

fn able(verb: Verb) -> impl Iterator<Item = &'static Entity> {
    ENTITIES.iter().copied().filter(move |entity| entity.verbs.contains(&verb))
}

fn of_verb(verb: Verb) -> String {
    able(verb).map(|entity| format!("\t{}\n", usage(verb, entity))).collect()
}

fn of_entity(words: &[Token]) -> Option<String> {
    let pages: String = Verb::ALL
        .iter()
        .filter(|(_, verb)| *verb != Verb::Stop)
        .filter_map(|(_, verb)| parse::entity(*verb, words).ok().map(|(entity, _)| format!("\t{}\n", usage(*verb, entity))))
        .collect();
    (!pages.is_empty()).then_some(pages)
}

fn page(verb: Verb, entity: &'static Entity) -> String {
    let mut text = format!("{}\n", usage(verb, entity));
    for attribute in entity.positions(verb).chain(entity.flags(verb)) {
        text += &format!("\t{:<24}{}\n", label(attribute), describe(attribute));
    }
    text
}

fn label(attribute: &Attribute) -> String {
    if matches!(attribute.place, Place::Flag | Place::NamedKey | Place::LeaveFlag) {
        format!("-{}", attribute.name)
    } else {
        format!("<{}>", attribute.name)
    }
}

fn describe(attribute: &Attribute) -> String {
    let default = attribute.default.map_or(String::new(), |default| format!("; default {default}"));
    format!("{}: {}{default}", attribute.help, attribute.kind.allowed())
}
