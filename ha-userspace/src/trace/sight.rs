//! One packet that was traced, for people and for programs.

use std::fmt;
use std::time::{Duration, SystemTime};

use ha_common::abi::{Reason, TRACED_BYTES, Traced, traced_as};
use serde::{Serialize, Serializer};

use crate::clock;
use crate::command::moment;
use crate::explain::Way;
use crate::glance::Glance;
use crate::net::link;

/// What was seen of it. `Display` is its line.
#[derive(Clone, Debug, Serialize)]
pub struct Sight {
    /// When it was decided.
    #[serde(serialize_with = "moment_of")]
    pub time: SystemTime,
    /// The interface that it came in on.
    pub interface: String,
    /// The packet as it came.
    pub packet: Glance,
    /// Its length then.
    pub len: u32,
    /// Which way it leaves.
    pub action: Way,
    /// The interface that it leaves by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves_by: Option<String>,
    /// The packet as it leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves: Option<Glance>,
    /// The name of the reason, as counters have it.
    pub reason: &'static str,
    /// The reason.
    pub sentence: &'static str,
    /// Its beginning as it came.
    #[serde(skip)]
    pub came: Vec<u8>,
    /// Its beginning as it leaves, and its length then; nothing if nobody gets it.
    #[serde(skip)]
    pub left: (Vec<u8>, u32),
}

fn moment_of<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&moment(*time))
}

impl Sight {
    /// What the kernel told of a packet.
    #[must_use]
    pub fn of(traced: &Traced) -> Self {
        let (action, leaves_by) = match traced.action {
            traced_as::PASS => (Way::Pass, None),
            traced_as::TRANSMIT => (Way::Transmit, Some(traced.out_ifindex)),
            traced_as::REDIRECT => (Way::Redirect, Some(traced.out_ifindex)),
            _ => (Way::Drop, None),
        };
        let reason = Reason::ALL.get(usize::from(traced.reason));
        let (came, left) = (kept(&traced.came, traced.len), kept(&traced.leaves, traced.out_len));
        Sight {
            time: SystemTime::now() - clock::now().since(traced.at),
            interface: link::name(traced.ifindex),
            packet: Glance::at(&came),
            len: traced.len,
            action,
            leaves_by: leaves_by.map(link::name),
            leaves: leaves_by.map(|_| Glance::at(&left)),
            reason: reason.map_or("unknown", |reason| reason.name()),
            sentence: reason.map_or("A reason of another release.", |reason| reason.sentence()),
            came,
            left: (left, traced.out_len),
        }
    }

    /// When, since 1970.
    #[must_use]
    pub fn since_1970(&self) -> Duration {
        self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    /// What becomes of it, without the time and the packet as it came.
    #[must_use]
    pub fn outcome(&self) -> String {
        match (&self.leaves_by, &self.leaves, self.action) {
            (Some(by), Some(leaves), _) => format!("{by}: {leaves}"),
            (_, _, Way::Pass) => "the host takes it".into(),
            _ => "dropped".into(),
        }
    }
}

/// What was copied of a frame of `len` bytes.
fn kept(bytes: &[u8; TRACED_BYTES], len: u32) -> Vec<u8> {
    bytes[..(len as usize).min(TRACED_BYTES)].to_vec()
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sight { time, interface, packet, reason, .. } = self;
        write!(f, "{}  {interface}: {packet} -> {}  {reason}", moment(*time), self.outcome())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    /// A SYN that is forwarded.
    pub fn forwarded() -> Traced {
        let mut frame = Vec::new();
        let builder =
            PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 0, 1], [10, 1, 0, 100], 64).tcp(40_000, 80, 1, 1).syn();
        builder.write(&mut frame, &[0; 200]).unwrap();
        let mut traced = Traced {
            at: clock::now(),
            ifindex: 1,
            len: frame.len() as u32,
            out_ifindex: u32::MAX,
            out_len: frame.len() as u32,
            reason: Reason::ForwardSyn as u16,
            action: traced_as::REDIRECT,
            ..Traced::default()
        };
        traced.came.copy_from_slice(&frame[..TRACED_BYTES]);
        traced.leaves.copy_from_slice(&frame[..TRACED_BYTES]);
        traced
    }

    #[test]
    fn a_line_says_when_where_what_and_why() {
        let line = Sight::of(&forwarded()).to_string();
        let (time, rest) = line.split_once("  ").unwrap();
        assert!(time.ends_with('Z'), "{line}");
        let tuple = "TCP 10.1.0.1:40000 > 10.1.0.100:80 SYN";
        assert_eq!(rest, format!("lo: {tuple} -> interface {}: {tuple}  forward_syn", u32::MAX));
    }

    #[test]
    fn what_is_dropped_leaves_nowhere() {
        let dropped = Traced { action: traced_as::DROP, reason: Reason::NoVserver as u16, out_len: 0, ..forwarded() };
        let sight = Sight::of(&dropped);
        assert!(sight.to_string().ends_with("-> dropped  no_vserver") && sight.left.0.is_empty(), "{sight}");
        let json = serde_json::to_value(&sight).unwrap();
        assert_eq!((json["action"].as_str(), json.get("leaves")), (Some("drop"), None));
    }
}
