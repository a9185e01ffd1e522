//! One attribute's value, between its text, its record's field and JSON.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

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
    Secret: Value::Secret(secret) => secret, self => Value::Secret(self.clone());
}

/// The word for an attribute that has no value.
pub const NONE: &str = "NONE";

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
