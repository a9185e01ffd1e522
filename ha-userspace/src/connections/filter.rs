//! Which connections are meant: the public product's filter expressions.
//!
//! ```text
//! expression := term { ("&&" | "||") term }        && binds tighter; there are no parentheses around terms
//! term       := ["CONNECTION."] qualifier "." method "(" value ["," value] ")"
//! ```

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::{Connection, State};
use crate::command::span::{self, Unit};
use crate::command::value::{Field, Value};

/// An expression: one of these lists holds, and of it every term.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// None of them: every connection is meant.
    any: Vec<Vec<Term>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Ip(End, Test<IpAddr>),
    Port(End, Test<u16>),
    Vserver(Text),
    Service(Text),
    Kind(Test<String>),
    State(Test<State>),
    Idle(Test<Duration>),
    Vlan(Test<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
    /// Either of them, on either side of this node.
    Any,
}

#[derive(Clone, Debug, PartialEq)]
enum Test<T> {
    Eq(T),
    Ne(T),
    Gt(T),
    Ge(T),
    Lt(T),
    Le(T),
    Between(T, T),
}

#[derive(Clone, Debug, PartialEq)]
enum Text {
    Eq(String),
    Ne(String),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
}

const QUALIFIERS: &str =
    "SRCIP, DSTIP, IP, SRCPORT, DSTPORT, PORT, LB_VSERVER.NAME, SVCNAME, SVCTYPE, TCPSTATE, IDLETIME, VLANID";
const SAMPLE: &str = "CONNECTION.SRCIP.EQ(10.1.0.1) && CONNECTION.IDLETIME.GT(60)";

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// With what is allowed where it went wrong.
    pub fn read(text: &str) -> Result<Filter, String> {
        let all = |text: &str| text.split("&&").map(Term::read).collect::<Result<Vec<_>, _>>();
        Ok(Filter { any: text.split("||").map(all).collect::<Result<_, _>>()? })
    }

    /// Requires `text`, a term, of every connection that is meant.
    ///
    /// # Errors
    /// As [`Filter::read`].
    pub fn and(mut self, text: &str) -> Result<Filter, String> {
        let term = Term::read(text)?;
        if self.any.is_empty() {
            self.any.push(Vec::new());
        }
        self.any.iter_mut().for_each(|all| all.push(term.clone()));
        Ok(self)
    }

    /// Whether `connection` is meant.
    #[must_use]
    pub fn fits(&self, connection: &Connection) -> bool {
        self.any.is_empty() || self.any.iter().any(|all| all.iter().all(|term| term.fits(connection)))
    }
}

impl Term {
    fn read(text: &str) -> Result<Term, String> {
        let whole = text.trim();
        let shape = || format!("[{whole}] is no term of a filter: write it as {SAMPLE}; qualifiers are {QUALIFIERS}");
        let (path, value) = whole.strip_suffix(')').and_then(|text| text.split_once('(')).ok_or_else(shape)?;
        let path = path.trim().trim_end_matches('.').to_ascii_uppercase();
        let path = path.strip_prefix("CONNECTION.").unwrap_or(&path);
        let (qualifier, method) = path.rsplit_once('.').ok_or_else(shape)?;
        let call = Call { qualifier, method, value: value.trim().trim_matches('"') };
        Ok(match qualifier {
            "SRCIP" | "SRCIPV6" => Term::Ip(End::Source, call.equality(ip)?),
            "DSTIP" | "DSTIPV6" => Term::Ip(End::Destination, call.equality(ip)?),
            "IP" | "IPV6" => Term::Ip(End::Any, call.equality(ip)?),
            "SRCPORT" => Term::Port(End::Source, call.comparison(port)?),
            "DSTPORT" => Term::Port(End::Destination, call.comparison(port)?),
            "PORT" => Term::Port(End::Any, call.comparison(port)?),
            "LB_VSERVER.NAME" => Term::Vserver(call.text()?),
            "SVCNAME" => Term::Service(call.text()?),
            "SVCTYPE" => Term::Kind(call.equality(|text| Ok(text.to_ascii_uppercase()))?),
            "TCPSTATE" => Term::State(call.equality(state)?),
            "IDLETIME" => Term::Idle(call.comparison(idle)?),
            "VLANID" => Term::Vlan(call.comparison(|text| number(text, "a VLAN is a number from 0 to 4094"))?),
            _ => return Err(format!("no qualifier [{qualifier}] in a filter: qualifiers are {QUALIFIERS}")),
        })
    }

    fn fits(&self, connection: &Connection) -> bool {
        match self {
            Term::Ip(end, test) => test.of_ends(*end, connection, |socket| socket.ip()),
            Term::Port(end, test) => test.of_ends(*end, connection, |socket| socket.port()),
            Term::Vserver(test) => test.holds(&connection.front.name),
            Term::Service(test) => test.holds(connection.back.as_ref().map_or("", |back| &back.name)),
            Term::Kind(test) => test.holds(&connection.front.kind.to_owned()),
            Term::State(test) => test.is(&connection.state),
            Term::Idle(test) => connection.idle.is_some_and(|idle| test.holds(&idle)),
            Term::Vlan(test) => test.holds(&(connection.vlan as u16)),
        }
    }
}

/// A qualifier with a method and its value.
struct Call<'t> {
    qualifier: &'t str,
    method: &'t str,
    value: &'t str,
}

impl Call<'_> {
    fn equality<T>(&self, read: impl Fn(&str) -> Result<T, String>) -> Result<Test<T>, String> {
        match self.method {
            "EQ" => read(self.value).map(Test::Eq),
            "NE" => read(self.value).map(Test::Ne),
            _ => Err(self.no_method("EQ, NE")),
        }
    }

    fn comparison<T>(&self, read: impl Fn(&str) -> Result<T, String>) -> Result<Test<T>, String> {
        match self.method {
            "GT" => read(self.value).map(Test::Gt),
            "GE" => read(self.value).map(Test::Ge),
            "LT" => read(self.value).map(Test::Lt),
            "LE" => read(self.value).map(Test::Le),
            "EQ" | "NE" => self.equality(read),
            "BETWEEN" => {
                let (from, to) = self
                    .value
                    .split_once(',')
                    .ok_or_else(|| format!("{}.BETWEEN takes two values: BETWEEN(from,to)", self.qualifier))?;
                Ok(Test::Between(read(from.trim())?, read(to.trim())?))
            }
            _ => Err(self.no_method("EQ, NE, GT, GE, LT, LE, BETWEEN")),
        }
    }

    fn text(&self) -> Result<Text, String> {
        let value = self.value.to_owned();
        Ok(match self.method {
            "EQ" => Text::Eq(value),
            "NE" => Text::Ne(value),
            "CONTAINS" => Text::Contains(value),
            "STARTSWITH" => Text::StartsWith(value),
            "ENDSWITH" => Text::EndsWith(value),
            _ => return Err(self.no_method("EQ, NE, CONTAINS, STARTSWITH, ENDSWITH")),
        })
    }

    fn no_method(&self, methods: &str) -> String {
        format!("no method [{}] of {} in a filter: methods are {methods}", self.method, self.qualifier)
    }
}

impl<T: PartialEq> Test<T> {
    /// Of what has no order: only whether it is the same.
    fn is(&self, value: &T) -> bool {
        match self {
            Test::Eq(wanted) => value == wanted,
            Test::Ne(other) => value != other,
            _ => false,
        }
    }
}

impl<T: PartialOrd> Test<T> {
    fn holds(&self, value: &T) -> bool {
        match self {
            Test::Eq(_) | Test::Ne(_) => self.is(value),
            Test::Gt(least) => value > least,
            Test::Ge(least) => value >= least,
            Test::Lt(most) => value < most,
            Test::Le(most) => value <= most,
            Test::Between(least, most) => value >= least && value <= most,
        }
    }

    fn of_ends(&self, end: End, connection: &Connection, part: impl Fn(std::net::SocketAddr) -> T) -> bool {
        match end {
            End::Source => self.holds(&part(connection.source)),
            End::Destination => self.holds(&part(connection.front.address)),
            // Another one than this: none of them is this.
            End::Any if matches!(self, Test::Ne(_)) => connection.ends().all(|socket| self.holds(&part(socket))),
            End::Any => connection.ends().any(|socket| self.holds(&part(socket))),
        }
    }
}

impl Text {
    fn holds(&self, text: &str) -> bool {
        match self {
            Text::Eq(wanted) => text == wanted,
            Text::Ne(other) => text != other,
            Text::Contains(part) => text.contains(part.as_str()),
            Text::StartsWith(part) => text.starts_with(part.as_str()),
            Text::EndsWith(part) => text.ends_with(part.as_str()),
        }
    }
}

fn number<T: FromStr>(text: &str, allowed: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("[{text}] in a filter: {allowed}"))
}

fn ip(text: &str) -> Result<IpAddr, String> {
    number(text, "an IPv4 or IPv6 address is needed")
}

fn port(text: &str) -> Result<u16, String> {
    number(text, "a port is 0 to 65535")
}

fn idle(text: &str) -> Result<Duration, String> {
    let allowed = || format!("[{text}] in a filter: a duration is needed; a bare number is in s, us, ms and s are accepted");
    span::read(text, Unit::Seconds).filter(|_| !text.is_empty()).ok_or_else(allowed)
}

fn state(text: &str) -> Result<State, String> {
    let word = State::WORDS.iter().find(|word| word.eq_ignore_ascii_case(text));
    let state = word.map(|word| State::from_value(Some(Value::Word(word))));
    state.ok_or_else(|| format!("[{text}] in a filter: states are {}", State::WORDS.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Back, Front, Traffic};
    use super::*;

    fn connection() -> Connection {
        let front = Front { name: "web".into(), address: "10.1.0.100:80".parse().unwrap(), kind: "TCP", failover: "DISABLED" };
        let back = Back { name: "s1".into(), address: "10.2.0.11:8080".parse().unwrap() };
        Connection {
            source: "10.1.0.1:40000".parse().unwrap(),
            front: Arc::new(front),
            back: Some(Arc::new(back)),
            seen_as: Some("10.2.0.1:2000".parse().unwrap()),
            state: State::Established,
            idle: Some(Duration::from_millis(61_500)),
            age: None,
            received: Traffic::default(),
            sent: Traffic::default(),
            mac: [2, 0, 0, 0, 0, 1],
            ifindex: 3,
            vlan: 0,
            exception: false,
        }
    }

    #[test]
    fn every_qualifier_and_method_tells_the_connection_it_means_from_others() {
        let table = [
            ("CONNECTION.SRCIP.EQ(10.1.0.1)", "CONNECTION.SRCIP.EQ(10.1.0.2)"),
            ("srcip.ne(10.1.0.2)", "srcip.ne(10.1.0.1)"),
            ("CONNECTION.DSTIP.EQ(10.1.0.100)", "CONNECTION.DSTIP.EQ(10.2.0.11)"),
            ("CONNECTION.IP.EQ(10.2.0.11)", "CONNECTION.IP.NE(10.2.0.11)"),
            ("CONNECTION.SRCIPv6.NE(2001:db8::1)", "CONNECTION.IPv6.EQ(2001:db8::1)"),
            ("CONNECTION.SRCPORT.EQ(40000)", "CONNECTION.SRCPORT.GT(40000)"),
            ("CONNECTION.DSTPORT.BETWEEN(80, 81)", "CONNECTION.DSTPORT.BETWEEN(81,90)"),
            ("CONNECTION.PORT.EQ(2000)", "CONNECTION.PORT.LT(80)"),
            ("CONNECTION.LB_VSERVER.NAME.EQ(\"web\")", "CONNECTION.LB_VSERVER.NAME.EQ(\"webb\")"),
            ("CONNECTION.LB_VSERVER.NAME.STARTSWITH(w)", "CONNECTION.LB_VSERVER.NAME.ENDSWITH(w)"),
            ("CONNECTION.SVCNAME.CONTAINS(s)", "CONNECTION.SVCNAME.NE(s1)"),
            ("CONNECTION.SVCTYPE.EQ(tcp)", "CONNECTION.SVCTYPE.EQ(UDP)"),
            ("CONNECTION.TCPSTATE.EQ(ESTABLISHED)", "CONNECTION.TCPSTATE.NE(established)"),
            ("CONNECTION.IDLETIME.GT(60)", "CONNECTION.IDLETIME.LT(61500ms)"),
            ("CONNECTION.IDLETIME.GE(61500ms)", "CONNECTION.IDLETIME.LE(61)"),
            ("CONNECTION.VLANID.EQ(0)", "CONNECTION.VLANID.EQ(7)"),
            ("SRCPORT.EQ(1) || SRCIP.EQ(10.1.0.1) && DSTPORT.EQ(80)", "SRCPORT.EQ(1)&&SRCIP.EQ(10.1.0.1)||DSTPORT.EQ(81)"),
        ];
        for (means, does_not) in table {
            let fits = |text: &str| Filter::read(text).unwrap_or_else(|error| panic!("{text}: {error}")).fits(&connection());
            assert!(fits(means), "{means}");
            assert!(!fits(does_not), "{does_not}");
        }
        assert!(Filter::default().fits(&connection()), "no filter means all");
    }

    #[test]
    fn words_beside_an_expression_are_required_as_well() {
        let filter = Filter::read("SRCPORT.EQ(1) || SRCPORT.EQ(40000)").unwrap();
        assert!(filter.clone().and("SVCNAME.EQ(s1)").unwrap().fits(&connection()));
        assert!(!filter.and("SVCNAME.EQ(s2)").unwrap().fits(&connection()));
        assert!(!Filter::default().and("SVCNAME.EQ(s2)").unwrap().fits(&connection()));
    }

    #[test]
    fn a_wrong_filter_is_told_what_is_allowed_where_it_went_wrong() {
        let table = [
            ("", "is no term of a filter: write it as CONNECTION.SRCIP.EQ(10.1.0.1)"),
            ("SRCIP", "is no term"),
            ("SRCIP.EQ 10.1.0.1", "is no term"),
            ("EQ(10.1.0.1)", "is no term"),
            ("SRCIP.EQ(10.1.0.1) &&", "[] is no term"),
            ("CONNECTION.FROM.EQ(1)", "no qualifier [FROM] in a filter: qualifiers are SRCIP, DSTIP"),
            ("CONNECTION.SRCIP.GT(10.1.0.1)", "no method [GT] of SRCIP in a filter: methods are EQ, NE"),
            ("CONNECTION.SRCPORT.CONTAINS(1)", "methods are EQ, NE, GT, GE, LT, LE, BETWEEN"),
            ("CONNECTION.SVCNAME.GT(s1)", "methods are EQ, NE, CONTAINS"),
            ("CONNECTION.SRCIP.EQ(10.1.0)", "[10.1.0] in a filter: an IPv4 or IPv6 address is needed"),
            ("CONNECTION.SRCPORT.EQ(65536)", "a port is 0 to 65535"),
            ("CONNECTION.SRCPORT.BETWEEN(1)", "BETWEEN takes two values"),
            ("CONNECTION.IDLETIME.GT()", "a duration is needed"),
            ("CONNECTION.TCPSTATE.EQ(OPEN)", "states are SYN_RECEIVED, ESTABLISHED"),
        ];
        for (text, told) in table {
            let error = Filter::read(text).err().unwrap_or_else(|| panic!("{text} is a filter"));
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
