//! One thing that happened, for people and programs elsewhere.

use std::time::SystemTime;

use ha_common::ha::alarm::Alarm;
use ha_common::ha::event::RoleName;
use serde_json::{Value, json};

use super::Settings;
use crate::alarm::{self, Kind};
use crate::command::moment;
use crate::ha::Past;

/// How bad it is, in the public product's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Informational,
    /// May become a fault.
    Warning,
    /// A fault that costs nothing yet.
    Minor,
    /// The pair has lost its redundancy, or changed roles.
    Major,
    /// Clients suffer, or will at the next fault.
    Critical,
}

impl Severity {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Informational => "Informational",
            Severity::Warning => "Warning",
            Severity::Minor => "Minor",
            Severity::Major => "Major",
            Severity::Critical => "Critical",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The role has changed.
    Transition(Past),
    /// An alarm was raised.
    Raised(alarm::Change),
    /// It does not hold any more.
    Cleared(alarm::Change),
}

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When.
    pub when: SystemTime,
    /// What.
    pub what: What,
}

impl From<Past> for Notice {
    fn from(past: Past) -> Self {
        Notice { when: past.when, what: What::Transition(past) }
    }
}

impl Notice {
    /// `transition`, `alarm raised` or `alarm cleared`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.what {
            What::Transition(_) => "transition",
            What::Raised(_) => "alarm raised",
            What::Cleared(_) => "alarm cleared",
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match &self.what {
            What::Transition(past) if matches!(past.to, RoleName::Primary | RoleName::Secondary) => Severity::Major,
            What::Transition(_) | What::Cleared(_) => Severity::Informational,
            What::Raised(change) => severity(change.kind),
        }
    }

    /// The trap that the public product sends for the same, if it has one.
    #[must_use]
    pub fn trap(&self) -> Option<&'static str> {
        match &self.what {
            What::Transition(past) => match past.to {
                RoleName::Primary => Some("changeToPrimary"),
                RoleName::Secondary => Some("changeToSecondary"),
                RoleName::Claiming | RoleName::HandingOver => None,
            },
            What::Raised(change) => traps(change.kind).0,
            What::Cleared(change) => traps(change.kind).1,
        }
    }

    /// It in one line, for people.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.what {
            What::Transition(Past { from, to, term, cause, evidence, .. }) => {
                format!("{from} -> {to}, term {}: {cause} ({evidence})", term.0)
            }
            What::Raised(change) => format!("alarm {}: {}", change.title(), change.standing.text),
            What::Cleared(change) => {
                format!("alarm {} cleared, since {}: {}", change.title(), moment(change.standing.since), change.standing.text)
            }
        }
    }

    /// The same for programs, as a node with `settings` says it; `lost` notices before this one were not delivered.
    #[must_use]
    pub fn json(&self, settings: &Settings, lost: u64) -> Value {
        let mut whole = json!({
            "time": moment(self.when),
            "node": {"name": settings.name, "ip": settings.ip},
            "kind": self.kind(),
            "severity": self.severity().word(),
            "trap": self.trap(),
            "text": self.text(),
            "lost": lost,
        });
        let part = match &self.what {
            What::Transition(Past { from, to, term, cause, evidence, .. }) => json!({
                "from": from.to_string(),
                "to": to.to_string(),
                "term": term.0,
                "cause": cause.to_string(),
                "evidence": evidence,
            }),
            What::Raised(alarm::Change { kind, subject, standing })
            | What::Cleared(alarm::Change { kind, subject, standing }) => json!({
                "alarm": kind.name(),
                "subject": subject,
                "since": moment(standing.since),
                "cause": standing.text,
            }),
        };
        if let (Value::Object(whole), Value::Object(part)) = (&mut whole, part) {
            whole.extend(part);
        }
        whole
    }
}

fn severity(kind: Kind) -> Severity {
    match kind {
        Kind::Pair(Alarm::NobodyServes | Alarm::Isolated | Alarm::UnknownKey) | Kind::DuplicateNode | Kind::IpConflict => {
            Severity::Critical
        }
        Kind::Pair(Alarm::StickyPrimary | Alarm::TwoStayPrimary) | Kind::LinkSilent | Kind::VersionMismatch => Severity::Minor,
        Kind::ConfigurationsDiffer | Kind::NoSourceAddress | Kind::NoSourcePorts => Severity::Major,
        Kind::Pair(_) | Kind::DuplicateMac | Kind::ForeignVrrp | Kind::GatewayUnreached | Kind::DiskFailed => Severity::Major,
        Kind::Strays | Kind::LimitNear | Kind::EventsLost => Severity::Warning,
    }
}

/// Public traps for an alarm that is raised, and for one that is cleared.
fn traps(kind: Kind) -> (Option<&'static str>, Option<&'static str>) {
    match kind {
        Kind::Pair(Alarm::NoHeartbeats) => (Some("haNoHeartbeats"), Some("haHeartbeatsRecvd")),
        Kind::Pair(Alarm::BadSecondary) => (Some("haBadSecState"), Some("haSecondaryStateNormal")),
        Kind::Pair(Alarm::StickyPrimary) => (None, Some("haNoStickyPrimary")),
        Kind::VersionMismatch => (Some("haVersionMismatch"), Some("haVersionMatched")),
        Kind::IpConflict => (Some("ipConflict"), None),
        _ => (None, None),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use ha_common::abi::Term;
    use ha_common::ha::event::Cause;

    use super::*;
    use crate::alarm::Standing;

    pub(in crate::hook) fn settings() -> Settings {
        Settings { name: Some("nsA".into()), ip: Some([10, 9, 0, 1].into()), ..Settings::default() }
    }

    pub(in crate::hook) fn transition() -> Notice {
        Notice::from(Past {
            when: SystemTime::UNIX_EPOCH + Duration::from_millis(951_782_400_001),
            from: RoleName::Secondary,
            to: RoleName::Primary,
            term: Term(769),
            cause: Cause::PeerDead { silence: Duration::from_millis(30) },
            evidence: "links heard: 0".into(),
        })
    }

    fn alarm(kind: Kind) -> alarm::Change {
        let standing = Standing { since: SystemTime::UNIX_EPOCH, text: "two hosts".into() };
        alarm::Change { kind, subject: "10.1.0.100".into(), standing }
    }

    #[test]
    fn a_transition_says_from_to_why_and_the_public_trap() {
        let json = transition().json(&settings(), 3);
        let wanted = json!({
            "time": "2000-02-29T00:00:00.001Z",
            "node": {"name": "nsA", "ip": "10.9.0.1"},
            "kind": "transition",
            "severity": "Major",
            "trap": "changeToPrimary",
            "text": "Secondary -> Primary, term 769: peer dead: no echo on any link for 30.0ms, all requests since unanswered (links heard: 0)",
            "from": "Secondary",
            "to": "Primary",
            "term": 769,
            "cause": "peer dead: no echo on any link for 30.0ms, all requests since unanswered",
            "evidence": "links heard: 0",
            "lost": 3,
        });
        assert_eq!(json, wanted);
    }

    #[test]
    fn an_alarm_is_told_when_it_is_raised_and_when_it_is_cleared() {
        let raised = Notice { when: SystemTime::UNIX_EPOCH, what: What::Raised(alarm(Kind::IpConflict)) };
        assert_eq!((raised.kind(), raised.trap(), raised.severity()), ("alarm raised", Some("ipConflict"), Severity::Critical));
        assert_eq!(raised.text(), "alarm IpConflict 10.1.0.100: two hosts");
        let bad = alarm(Kind::Pair(Alarm::BadSecondary));
        let cleared = Notice { when: SystemTime::UNIX_EPOCH, what: What::Cleared(bad) };
        assert_eq!(cleared.trap(), Some("haSecondaryStateNormal"));
        let json = cleared.json(&settings(), 0);
        assert_eq!((&json["alarm"], &json["subject"]), (&"BadSecondary".into(), &"10.1.0.100".into()));
        assert_eq!(json["severity"], "Informational");
    }
}
