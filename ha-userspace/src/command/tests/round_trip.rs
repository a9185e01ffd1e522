//! Whatever the table allows reads back from its canonical form as the same command.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use crate::command::schema::{Attribute, ENTITIES, Entity, Kind, Place, Verb};
use crate::command::span::Unit;
use crate::command::value::{Probe, Route, Secret, Value};
use crate::command::{Arg, Command, Secrets, parse_line};

fn value(kind: Kind) -> BoxedStrategy<Value> {
    let text = |pattern: &'static str| pattern.prop_map(Value::Text).boxed();
    match kind {
        Kind::Name => text("[A-Za-z0-9_][A-Za-z0-9_#. :@=-]{0,20}"),
        Kind::HostName => text("[A-Za-z0-9][A-Za-z0-9.-]{0,20}"),
        Kind::Interface => text("[!-.0-9;-~]{3,15}"),
        Kind::Word(words) => select(words).prop_map(Value::Word).boxed(),
        Kind::Switch(_) => any::<bool>().prop_map(Value::Switch).boxed(),
        Kind::Ip => any::<std::net::IpAddr>().prop_map(Value::Ip).boxed(),
        Kind::Ips => prop::collection::btree_set(any::<std::net::IpAddr>(), 1..4)
            .prop_map(|ips| Value::List(ips.iter().map(ToString::to_string).collect()))
            .boxed(),
        Kind::Ipv4 => any::<std::net::Ipv4Addr>().prop_map(|ip| Value::Ip(ip.into())).boxed(),
        Kind::IpOrStar => prop_oneof![Just(Value::Star), any::<std::net::IpAddr>().prop_map(Value::Ip)].boxed(),
        Kind::Endpoint { words, .. } => prop_oneof![
            select(words).prop_map(Value::Word),
            (any::<std::net::IpAddr>(), 1..=u16::MAX).prop_map(|at| Value::Socket(at.into()))
        ]
        .boxed(),
        Kind::Mask => (0..=32u8).prop_map(|length| Value::Ip(crate::config::mask(length).into())).boxed(),
        Kind::Prefix => (any::<std::net::Ipv6Addr>(), 1..=128u8).prop_map(|(ip, length)| Value::Prefix(ip, length)).boxed(),
        Kind::Number { min, max } => (min..=max).prop_map(Value::Number).boxed(),
        Kind::ServicePort => (0..=65_534u64).prop_map(Value::Number).boxed(),
        Kind::Vip => prop_oneof![Just("0.0.0.0".parse().unwrap()), any::<std::net::IpAddr>()].prop_map(Value::Ip).boxed(),
        Kind::Port => (1..=65_535u64).prop_map(Value::Number).boxed(),
        Kind::Span { unit, min, max } => {
            let whole = if unit == Unit::Millis { 1_000 } else { 1_000_000 };
            let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap();
            let any = micros(min)..=micros(max);
            let round = micros(min).div_ceil(whole)..=micros(max) / whole;
            prop_oneof![any, round.prop_map(move |units| units * whole)]
                .prop_map(|us| Value::Span(Duration::from_micros(us)))
                .boxed()
        }
        Kind::Path => text("/[ -~]{1,30}"),
        Kind::Url => text("https?://[a-z0-9]{1,10}(:[1-9][0-9]{0,3})?/[a-zA-Z0-9?=&%/-]{0,20}"),
        Kind::Secret => "\\PC{1,20}".prop_map(|text| Value::Secret(Secret::new(text))).boxed(),
        Kind::Present => Just(Value::Present).boxed(),
        Kind::Interfaces => prop::collection::btree_set("[a-z][a-z0-9]{0,9}", 1..4)
            .prop_map(|names| Value::List(names.into_iter().collect()))
            .boxed(),
        Kind::Probe => {
            prop_oneof![select(Probe::WORDS).prop_map(Value::Word), any::<std::net::IpAddr>().prop_map(Value::Ip)].boxed()
        }
        Kind::Filter => {
            text("(CONNECTION[.])?(SRCPORT[.](EQ|GT)[(][1-9][0-9]{0,3}[)]( && |[|][|])){0,2}SVCNAME[.]NE[(]\"[a-z ]{1,9}\"[)]")
        }
        Kind::Network => (any::<std::net::IpAddr>(), 0..=128u8)
            .prop_map(|(ip, length)| Value::Route(Route::network(ip, length.min(if ip.is_ipv4() { 32 } else { 128 }))))
            .boxed(),
        Kind::Route => prop_oneof![
            Just(Value::Route(Route::Default)),
            (any::<std::net::IpAddr>(), 0..=128u8)
                .prop_map(|(ip, length)| Value::Route(Route::network(ip, length.min(if ip.is_ipv4() { 32 } else { 128 }))))
        ]
        .boxed(),
    }
}

fn arg(verb: Verb, attribute: &'static Attribute) -> BoxedStrategy<Option<Arg>> {
    let printed = matches!(verb, Verb::Show | Verb::Stat);
    let optional = matches!(attribute.place, Place::Flag | Place::OptionalKey | Place::Leave | Place::LeaveFlag) || printed;
    let given = if verb == Verb::Unset && attribute.place == Place::Flag {
        Just(None).boxed()
    } else {
        if attribute.refused.iter().any(|refused| refused.words.is_empty()) {
            return Just(None).boxed();
        }
        let refused = |text: &str| attribute.refused.iter().any(|refused| refused.words.contains(&text));
        let possible = move |value: &Value| !refused(&attribute.kind.print(value));
        value(attribute.kind).prop_filter("the table refuses it", possible).prop_map(Some).boxed()
    };
    let arg = given.prop_map(move |value| Some(Arg { attribute, value }));
    if optional { prop_oneof![Just(None), arg].boxed() } else { arg.boxed() }
}

fn command() -> impl Strategy<Value = Command> {
    let pairs: Vec<(Verb, &'static Entity)> =
        ENTITIES.iter().flat_map(|entity| entity.verbs.iter().map(move |verb| (*verb, *entity))).collect();
    select(pairs).prop_flat_map(|(verb, entity)| {
        let args: Vec<_> = entity.positions(verb).chain(entity.flags(verb)).map(|attribute| arg(verb, attribute)).collect();
        args.prop_map(move |args| Command { verb, entity, args: args.into_iter().flatten().collect() }).prop_filter(
            "set and unset change something",
            move |command| {
                let changes = matches!(verb, Verb::Set | Verb::Unset) && entity.flags(verb).next().is_some();
                !changes || command.args.iter().any(|arg| arg.attribute.place == Place::Flag)
            },
        )
    })
}

proptest! {
    // A failure that was found becomes a row of the grammar's table instead of a file of seeds.
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printing_then_parsing_gives_the_same_command(command in command()) {
        let text = command.text(Secrets::Clear);
        prop_assert_eq!(parse_line(&text), Ok(Some(command)), "{}", text);
    }

    #[test]
    fn no_line_panics(line in "\\PC{0,80}") {
        let _ = parse_line(&line);
    }

    #[test]
    fn no_words_of_the_language_panic(words in prop::collection::vec(select(VOCABULARY), 0..12)) {
        let _ = parse_line(&words.join(" "));
    }
}

const VOCABULARY: &[&str] = &[
    "add",
    "set",
    "unset",
    "rm",
    "show",
    "bind",
    "force",
    "save",
    "stop",
    "ha",
    "node",
    "ns",
    "ip",
    "ip6",
    "lb",
    "vserver",
    "service",
    "interface",
    "rpcNode",
    "config",
    "failover",
    "-json",
    "-haStatus",
    "-password",
    "-type",
    "-",
    "–",
    "\"",
    "\"\"",
    "\\",
    "1",
    "0",
    "10.0.0.1",
    "::1/64",
    "VIP",
    "TCP",
    "ENABLE",
    "30ms",
    "é",
    "-é",
    "x",
];
