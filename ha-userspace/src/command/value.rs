//! One attribute's value, between its text, its record's field and JSON.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use crate::hook::SyslogTo;

/// A value that the table's kind has accepted.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One of the kind's words, as the table spells it.
    Word(&'static str),
    /// One of a pair of opposites (`ENABLED`, `YES`, `ON`): true is the first.
    Switch(bool),
    /// A name.
    Text(String),
    /// An address or mask.
    Ip(IpAddr),
    /// An address and a port.
    Socket(SocketAddr),
    /// An IPv6 address and its prefix length.
    Prefix(Ipv6Addr, u8),
    /// `*`: any address.
    Star,
    /// A number.
    Number(u64),
    /// A duration.
    Span(Duration),
    /// A password.
    Secret(Secret),
    /// A flag that has no value was given.
    Present,
    /// Names, at least one.
    List(Vec<String>),
    /// A route.
    Route(Route),
}

/// A route by its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// The default route, of either family.
    Default,
    /// The route to exactly this network: its address without host bits, and the length of its prefix.
    To(IpAddr, u8),
}

impl Route {
    /// Reads `*`, `10.0.0.0 255.255.255.0`, `10.0.0.0/24`, `2001:db8::/32` or a single host.
    pub fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Route::Default);
        }
        let (address, rest) = text.split_once([' ', '/']).map_or((text, None), |(address, rest)| (address, Some(rest)));
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = match rest {
            None => width,
            Some(rest) => match (rest.parse::<Ipv4Addr>(), address) {
                (Ok(mask), IpAddr::V4(_)) if text.contains(' ') => mask_length(mask)?,
                _ if text.contains('/') => rest.parse().ok().filter(|length| *length <= width)?,
                _ => return None,
            },
        };
        Some(Route::network(address, length))
    }

    /// Whether it leads to `ip`.
    pub fn has(&self, ip: IpAddr) -> bool {
        match *self {
            Route::Default => true,
            Route::To(network, length) => network.is_ipv4() == ip.is_ipv4() && Route::network(ip, length) == *self,
        }
    }

    /// Whether an address is in both.
    pub fn overlaps(&self, other: &Route) -> bool {
        match (*self, *other) {
            (Route::To(a, _), Route::To(b, _)) => self.has(b) || other.has(a),
            _ => true,
        }
    }

    /// The route to the network of `length` bits that `address` is in.
    pub fn network(address: IpAddr, length: u8) -> Self {
        let address = match address {
            IpAddr::V4(ip) => {
                let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & !host))
            }
            IpAddr::V6(ip) => {
                let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !host))
            }
        };
        Route::To(address, length)
    }
}

/// The length of the prefix that `mask` stands for, if it is a mask.
pub fn mask_length(mask: Ipv4Addr) -> Option<u8> {
    let ones = mask.to_bits().leading_ones();
    (ones + mask.to_bits().trailing_zeros() >= 32).then_some(ones as u8)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Route::Default => f.write_str("*"),
            Route::To(IpAddr::V4(address), length) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                write!(f, "{address} {}", Ipv4Addr::from_bits(mask))
            }
            Route::To(IpAddr::V6(address), length) => write!(f, "{address}/{length}"),
        }
    }
}

/// Whose silence on a leg says that nobody is reached there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// The default gateway through that leg.
    #[default]
    Gateway,
    /// Nobody's.
    Off,
    /// This address's.
    Address(IpAddr),
}

impl Probe {
    /// The words for those that are no address.
    pub const WORDS: &'static [&'static str] = &["GATEWAY", "NONE"];
}

impl Field for Probe {
    fn from_value(value: Option<Value>) -> Self {
        match value {
            Some(Value::Word("NONE")) => Probe::Off,
            Some(Value::Ip(ip)) => Probe::Address(ip),
            Some(Value::Word("GATEWAY")) => Probe::Gateway,
            other => panic!("{other:?} is no probe: the table and its record disagree"),
        }
    }

    fn to_value(&self) -> Option<Value> {
        Some(match self {
            Probe::Gateway => Value::Word(Self::WORDS[0]),
            Probe::Off => Value::Word(Self::WORDS[1]),
            Probe::Address(ip) => Value::Ip(*ip),
        })
    }
}

/// A password in memory; printed only as a digest.
#[derive(Clone)]
pub struct Secret {
    clear: String,
    digest: OnceLock<String>,
}

impl Secret {
    /// Keeps a password.
    pub fn new(clear: impl Into<String>) -> Self {
        Self { clear: clear.into(), digest: OnceLock::new() }
    }

    /// Returns the password itself, for deriving keys and for the saved file; never for a log or a screen.
    pub fn reveal(&self) -> &str {
        &self.clear
    }

    /// Returns a digest by which an operator can compare the passwords of two nodes; equal passwords have equal digests.
    ///
    /// It is argon2id, so that a guess costs an attacker with a screenshot what it costs everyone, under a salt of its own, so that
    /// it says nothing about the keys derived from the same password.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            let mut bytes = [0; 16];
            match argon2::Argon2::default().hash_password_into(self.clear.as_bytes(), b"understudy: digest shown", &mut bytes) {
                Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                Err(error) => format!("no digest: {error}"),
            }
        })
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.clear == other.clear
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// A record's field that stands for one attribute.
pub trait Field: Sized {
    /// Takes the accepted value, or none if there was neither a value nor a default.
    ///
    /// # Panics
    /// If the table's kind does not fit the field's type: an error of the program that a test over the whole table excludes.
    fn from_value(value: Option<Value>) -> Self;

    /// Returns the value; none if it was never given and has no fixed default.
    fn to_value(&self) -> Option<Value>;
}

macro_rules! field {
    ($($type:ty: $pattern:pat => $into:expr, $self:ident => $from:expr;)+) => {$(
        impl Field for $type {
            fn from_value(value: Option<Value>) -> Self {
                match value {
                    Some($pattern) => $into,
                    other => panic!("{other:?} is no {}: the table and its record disagree", stringify!($type)),
                }
            }

            fn to_value(&$self) -> Option<Value> {
                Some($from)
            }
        }
    )+};
}

field! {
    bool: Value::Switch(on) => on, self => Value::Switch(*self);
    String: Value::Text(text) => text, self => Value::Text(self.clone());
    IpAddr: Value::Ip(ip) => ip, self => Value::Ip(*self);
    SocketAddr: Value::Socket(socket) => socket, self => Value::Socket(*self);
    Ipv4Addr: Value::Ip(IpAddr::V4(ip)) => ip, self => Value::Ip(IpAddr::V4(*self));
    u8: Value::Number(number) => u8::try_from(number).expect("the table bounds it"), self => Value::Number((*self).into());
    u16: Value::Number(number) => u16::try_from(number).expect("the table bounds it"), self => Value::Number((*self).into());
    u32: Value::Number(number) => u32::try_from(number).expect("the table bounds it"), self => Value::Number((*self).into());
    Duration: Value::Span(span) => span, self => Value::Span(*self);
    Vec<String>: Value::List(names) => names, self => Value::List(self.clone());
    Route: Value::Route(route) => route, self => Value::Route(*self);
    Secret: Value::Secret(secret) => secret, self => Value::Secret(self.clone());
}

/// The word for an attribute that has no value.
pub const NONE: &str = "NONE";

/// The word for this host.
pub const LOCAL: &str = "LOCAL";

impl Field for SyslogTo {
    fn from_value(value: Option<Value>) -> Self {
        match value {
            Some(Value::Word(LOCAL)) => SyslogTo::Local,
            other => SyslogTo::Server(Field::from_value(other)),
        }
    }

    fn to_value(&self) -> Option<Value> {
        Some(match self {
            SyslogTo::Local => Value::Word(LOCAL),
            SyslogTo::Server(server) => Value::Socket(*server),
        })
    }
}

impl<T: Field> Field for Option<T> {
    fn from_value(value: Option<Value>) -> Self {
        match value {
            None | Some(Value::Star | Value::Word(NONE)) => None,
            some => Some(T::from_value(some)),
        }
    }

    fn to_value(&self) -> Option<Value> {
        self.as_ref().and_then(Field::to_value)
    }
}
