//! What an attribute's value may be: reading, the sentence that says what is allowed, printing, JSON.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::command::span::{self, Unit};
use crate::command::value::{Probe, Route, Secret, Value, mask_length};
use crate::connections::Filter;

/// The words of a pair of opposites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `ENABLED`, `DISABLED`.
    Enabled,
    /// `YES`, `NO`.
    Yes,
    /// `ON`, `OFF`.
    On,
}

impl Style {
    /// Returns the words, the one for true first.
    pub const fn words(self) -> [&'static str; 2] {
        match self {
            Style::Enabled => ["ENABLED", "DISABLED"],
            Style::Yes => ["YES", "NO"],
            Style::On => ["ON", "OFF"],
        }
    }
}

/// The type of an attribute's value, with its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of an entity.
    Name,
    /// The name of a host.
    HostName,
    /// The name of a Linux network interface.
    Interface,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of a pair of opposites.
    Switch(Style),
    /// An IPv4 or IPv6 address.
    Ip,
    /// One or more addresses, each a word.
    Ips,
    /// An IPv4 address.
    Ipv4,
    /// An address, or `*` for any.
    IpOrStar,
    /// An address with a port, or one of these words.
    Endpoint {
        /// The words.
        words: &'static [&'static str],
        /// The port of a bare address.
        port: u16,
    },
    /// An IPv4 network mask.
    Mask,
    /// An IPv6 address with its prefix length (`/128` if not given).
    Prefix,
    /// A number in a range.
    Number {
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// A port.
    Port,
    /// A port, or `*` for any: zero, which the public product also spells 65535.
    ServicePort,
    /// An address, or `*` for any IPv4 address: the unspecified one.
    Vip,
    /// A duration in a range.
    Span {
        /// The unit of a bare number.
        unit: Unit,
        /// Shortest allowed.
        min: Duration,
        /// Longest allowed.
        max: Duration,
    },
    /// An absolute path of a file on this host.
    Path,
    /// An http or https URL. What follows its host may be a secret.
    Url,
    /// A password.
    Secret,
    /// A flag without a value.
    Present,
    /// One or more interfaces, each a word.
    Interfaces,
    /// Whom to probe.
    Probe,
    /// A route by its destination: `*`, an address with an optional mask, or a prefix.
    Route,
    /// Which connections are meant.
    Filter,
    /// A subnet by any address of it: with its mask, or with its length.
    Network,
}

impl Kind {
    /// Reads a value; the error is the sentence that says what is allowed.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let value = match *self {
            Kind::Name => is_name(text).then(|| Value::Text(text.to_owned())),
            Kind::HostName => is_host_name(text).then(|| Value::Text(text.to_owned())),
            Kind::Interface => is_interface(text).then(|| Value::Text(text.to_owned())),
            Kind::Word(words) => words.iter().find(|word| is_word(word, text)).map(|word| Value::Word(word)),
            Kind::Switch(style) => style.words().iter().position(|word| is_word(word, text)).map(|at| Value::Switch(at == 0)),
            Kind::Ip => text.parse().ok().map(Value::Ip),
            Kind::Ips => text.parse().ok().map(|ip: IpAddr| Value::List(vec![ip.to_string()])),
            Kind::Ipv4 => text.parse().ok().map(|ip| Value::Ip(IpAddr::V4(ip))),
            Kind::IpOrStar if text == "*" => Some(Value::Star),
            Kind::IpOrStar => text.parse().ok().map(Value::Ip),
            Kind::Endpoint { words, port } => {
                let word = words.iter().find(|word| is_word(word, text)).map(|word| Value::Word(word));
                word.or_else(|| endpoint(text, port).map(Value::Socket))
            }
            Kind::Mask => text.parse().ok().filter(|mask| mask_length(*mask).is_some()).map(|mask| Value::Ip(IpAddr::V4(mask))),
            Kind::Prefix => prefix(text).map(|(ip, length)| Value::Prefix(ip, length)),
            Kind::Port => number(text).filter(|port| (1..=65_535).contains(port)).map(Value::Number),
            Kind::ServicePort if text == "*" => Some(Value::Number(0)),
            Kind::ServicePort => match number(text) {
                Some(PUBLIC_ANY_PORT) => Some(Value::Number(0)),
                port => port.filter(|port| (1..PUBLIC_ANY_PORT).contains(port)).map(Value::Number),
            },
            Kind::Vip if text == "*" => Some(Value::Ip(Ipv4Addr::UNSPECIFIED.into())),
            Kind::Vip => text.parse().ok().map(Value::Ip),
            Kind::Number { min, max } => number(text).filter(|number| (min..=max).contains(number)).map(Value::Number),
            Kind::Span { unit, min, max } => span::read(text, unit).filter(|span| (min..=max).contains(span)).map(Value::Span),
            Kind::Path => is_path(text).then(|| Value::Text(text.to_owned())),
            Kind::Url => is_url(text).then(|| Value::Text(text.to_owned())),
            Kind::Secret => (1..=127).contains(&text.len()).then(|| Value::Secret(Secret::new(text))),
            Kind::Present => None,
            Kind::Interfaces => is_interface(text).then(|| Value::List(vec![text.to_owned()])),
            Kind::Probe => match Probe::WORDS.iter().find(|word| is_word(word, text)) {
                Some(word) => Some(Value::Word(word)),
                None => text.parse().ok().map(Value::Ip),
            },
            Kind::Route => Route::read(text).map(Value::Route),
            Kind::Filter => return Filter::read(text).map(|_| Value::Text(text.to_owned())),
            Kind::Network => Route::read(text).filter(|route| *route != Route::Default).map(Value::Route),
        };
        value.ok_or_else(|| self.allowed())
    }

    /// Returns whether a value may hold a secret: a URL may have one in any part of it.
    pub fn is_secret(&self) -> bool {
        matches!(self, Kind::Secret | Kind::Url)
    }

    /// Says what is allowed.
    pub fn allowed(&self) -> String {
        match *self {
            Kind::Name => {
                "a name is 1 to 127 letters, digits or _ # . : @ = - and spaces, and begins with a letter, a digit or _".into()
            }
            Kind::HostName => {
                "a host name is 1 to 255 letters, digits, dots and hyphens, and begins with a letter or digit".into()
            }
            Kind::Interface | Kind::Interfaces => {
                "an interface is named as Linux names it (ip link): 1 to 15 characters without space or /".into()
            }
            Kind::Word(words) => format!("allowed are {}", words.join(", ")),
            Kind::Switch(style) => format!("allowed are {}", style.words().join(", ")),
            Kind::Ip | Kind::Ips => "an IPv4 or IPv6 address is needed".into(),
            Kind::Ipv4 => "an IPv4 address is needed".into(),
            Kind::IpOrStar => "an IPv4 or IPv6 address is needed, or * for the node's own".into(),
            Kind::Endpoint { words, port } => {
                let words = words.join(" or ");
                format!(
                    "an address is needed, with a port if it is not {port} (10.0.0.9:{port}, [2001:db8::9]:{port}), or {words}"
                )
            }
            Kind::Mask => "an IPv4 network mask is needed, such as 255.255.255.0".into(),
            Kind::Prefix => "an IPv6 address with its prefix length is needed, such as 2001:db8::1/128".into(),
            Kind::Port => "a port is 1 to 65535".into(),
            Kind::ServicePort => "a port is 1 to 65534, or * (65535) for any".into(),
            Kind::Vip => "an IPv4 or IPv6 address is needed, or * for any".into(),
            Kind::Number { min, max } => format!("a number from {min} to {max} is needed"),
            Kind::Span { unit, min, max } => {
                let [min, max] = [min, max].map(|span| span::print(span, unit)).map(|text| with_suffix(text, unit));
                format!(
                    "a duration from {min} to {max} is needed; a bare number is in {}, us, ms and s are accepted",
                    unit.suffix()
                )
            }
            Kind::Path => "a path from the root is needed, such as /usr/local/bin/notify".into(),
            Kind::Url => "a URL is needed, such as https://hooks.example/understudy".into(),
            Kind::Secret => "a password is 1 to 127 bytes".into(),
            Kind::Present => "this flag takes no value".into(),
            Kind::Probe => "an IPv4 or IPv6 address is needed, or GATEWAY, or NONE".into(),
            Kind::Route => "a route is *, a network such as 10.0.0.0 255.255.255.0, or a prefix such as 2001:db8::/32".into(),
            Kind::Filter => "a filter is terms such as CONNECTION.SRCIP.EQ(10.1.0.1), joined by && and ||".into(),
            Kind::Network => "an address with its mask is needed, such as 10.0.0.1 255.255.255.0 or 2001:db8::1/64".into(),
        }
    }

    /// Prints the canonical text that [`Kind::read`] accepts. A secret is printed in clear: the caller decides whether to ask.
    pub fn print(&self, value: &Value) -> String {
        match (self, value) {
            (Kind::ServicePort, Value::Number(0)) => "*".to_owned(),
            (Kind::Vip, Value::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED))) => "*".to_owned(),
            (Kind::Switch(style), Value::Switch(on)) => style.words()[usize::from(!on)].to_owned(),
            (Kind::Span { unit, .. }, Value::Span(span)) => span::print(*span, *unit),
            (_, Value::Word(word)) => (*word).to_owned(),
            (_, Value::Text(text)) => text.clone(),
            (_, Value::Ip(ip)) => ip.to_string(),
            (_, Value::Socket(socket)) => socket.to_string(),
            (_, Value::Prefix(ip, length)) => format!("{ip}/{length}"),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Secret(secret)) => secret.reveal().to_owned(),
            (_, Value::Star) => "*".to_owned(),
            (_, Value::List(names)) => names.join(" "),
            (_, Value::Route(route)) => route.to_string(),
            (_, Value::Switch(_) | Value::Span(_) | Value::Present) => String::new(),
        }
    }

    /// Prints the value for a screen or a log: as [`Kind::print`] does, but nothing that may be a secret.
    pub fn print_hidden(&self, value: &Value) -> String {
        match (self, value) {
            (Kind::Secret, _) => HIDDEN.to_owned(),
            (Kind::Url, Value::Text(url)) => format!("{}/{HIDDEN}", crate::hook::server(url)),
            _ => self.print(value),
        }
    }

    /// Returns the value as JSON: numbers as numbers, passwords as digests, URLs without what may be a secret, all else as text.
    pub fn json(&self, value: &Value) -> serde_json::Value {
        match (self, value) {
            (Kind::Span { unit, .. }, Value::Span(span)) => span::json(*span, *unit),
            (Kind::ServicePort, Value::Number(0)) => PUBLIC_ANY_PORT.into(),
            (_, Value::Number(number)) => (*number).into(),
            (_, Value::Secret(secret)) => secret.digest().into(),
            (_, Value::Present) => true.into(),
            (_, Value::List(names)) => names.clone().into(),
            _ => self.print_hidden(value).into(),
        }
    }

    /// Returns how help shows the value.
    pub fn placeholder(&self) -> String {
        match *self {
            Kind::Name | Kind::HostName | Kind::Interface => "<name>".into(),
            Kind::Word(words) => format!("({})", words.join(" | ")),
            Kind::Switch(style) => format!("({})", style.words().join(" | ")),
            Kind::Ip | Kind::Ipv4 => "<ip>".into(),
            Kind::Ips => "<ip> ...".into(),
            Kind::IpOrStar => "<ip | *>".into(),
            Kind::Endpoint { words, .. } => format!("<ip[:port] | {}>", words.join(" | ")),
            Kind::Mask => "<netmask>".into(),
            Kind::Prefix => "<ip6/length>".into(),
            Kind::Port => "<port>".into(),
            Kind::ServicePort => "<port | *>".into(),
            Kind::Vip => "<ip | *>".into(),
            Kind::Number { min, max } => format!("<{min}-{max}>"),
            Kind::Span { unit, .. } => format!("<{}>", unit.suffix()),
            Kind::Path => "<path>".into(),
            Kind::Url => "<url>".into(),
            Kind::Secret => "<password>".into(),
            Kind::Present => String::new(),
            Kind::Interfaces => "<name> ...".into(),
            Kind::Probe => "<ip | GATEWAY | NONE>".into(),
            Kind::Route => "<ip | ip6/length | *> [<netmask>]".into(),
            Kind::Filter => "<expression>".into(),
            Kind::Network => "<ip | ip6/length> [<netmask>]".into(),
        }
    }

    /// Whether a second word belongs to a value whose first word is `first`.
    pub fn goes_on(&self, first: &str, second: &str) -> bool {
        matches!(self, Kind::Route | Kind::Network) && first.parse::<Ipv4Addr>().is_ok() && second.parse::<Ipv4Addr>().is_ok()
    }
}

/// Compares a typed word: any case, and `ENABLE` and `DISABLE` as people type them. Values are not abbreviated further: a slip
/// that turns a node off should not be one letter long.
fn is_word(word: &str, typed: &str) -> bool {
    typed.eq_ignore_ascii_case(word)
        || matches!(word, "ENABLED" | "DISABLED")
            && word.strip_suffix('D').is_some_and(|short| typed.eq_ignore_ascii_case(short))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 127
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_#. :@=-".contains(&byte))
}

fn is_host_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 255
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

fn is_interface(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && ![".", ".."].contains(&text)
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte))
}

/// How the public product spells any port as a number.
const PUBLIC_ANY_PORT: u64 = 65_535;

/// What stands for a secret.
const HIDDEN: &str = "******";

fn is_path(text: &str) -> bool {
    text.len() < 4096 && text.len() > 1 && text.starts_with('/') && !text.chars().any(char::is_control)
}

fn is_url(text: &str) -> bool {
    let uri = text.parse::<ureq::http::Uri>().ok();
    text.len() < 2048
        && uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
        })
}

fn endpoint(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = || text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, port));
    // Scopes and flow labels of IPv6 have no place here.
    text.parse()
        .ok()
        .map(|socket: SocketAddr| SocketAddr::new(socket.ip(), socket.port()))
        .or_else(bare)
        .filter(|socket| socket.port() != 0)
}

fn prefix(text: &str) -> Option<(Ipv6Addr, u8)> {
    let (ip, length) = text.split_once('/').unwrap_or((text, "128"));
    let length = number(length).filter(|length| (1..=128).contains(length))?;
    Some((ip.parse().ok()?, u8::try_from(length).ok()?))
}

fn with_suffix(text: String, unit: Unit) -> String {
    if text.ends_with('s') { text } else { text + unit.suffix() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "t0ken";

    #[test]
    fn no_secret_is_in_what_is_shown_of_a_value() {
        let url = |text: &str| (Kind::Url, text.to_owned());
        let values = [
            (Kind::Secret, SECRET.to_owned()),
            url(&format!("https://user:{SECRET}@hooks.example/ha")),
            url(&format!("https://hooks.example/T0/{SECRET}")),
            url(&format!("https://hooks.example:8443/ha?key={SECRET}")),
        ];
        for (kind, text) in values {
            let value = kind.read(&text).unwrap();
            for shown in [kind.json(&value).to_string(), kind.print_hidden(&value)] {
                assert!(!shown.contains(SECRET), "{text} is shown as {shown}");
            }
            assert_eq!(kind.print(&value), text, "the saved file needs it as it is");
        }
    }

    #[test]
    fn a_url_is_shown_by_its_server() {
        let value = Kind::Url.read("https://user:t0ken@hooks.example/T0").unwrap();
        assert_eq!(Kind::Url.json(&value), "https://hooks.example/******");
    }
}
