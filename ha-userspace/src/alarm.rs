//! What is wrong with this node or its pair, as long as it is: one board that every part of the daemon writes on.
//!
//! An alarm is a kind and a subject (an interface, an address; often nothing). Raising one that stands renews its text at most, and clearing one
//! that does not stand changes nothing, so that whoever finds a fault at each of its turns may say so each time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::SystemTime;

use tracing::{info, warn};

/// What kind of fault; each is named as the public product names its trap, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The pair's state, as the HA machine sees it.
    Pair(ha_common::ha::alarm::Alarm),
    /// Another host uses an address of this pair.
    IpConflict,
    /// Another host speaks under this node's identity.
    DuplicateNode,
    /// Another host uses an interface's MAC address.
    DuplicateMac,
    /// Somebody else sends VRRP advertisements with a VRID of ours.
    ForeignVrrp,
    /// Packets for floating addresses still reach the node that does not serve, over this interface.
    Strays,
    /// The nodes run different releases.
    VersionMismatch,
    /// What the nodes have in common is configured differently.
    ConfigurationsDiffer,
    /// An HA link is silent while another one is not.
    LinkSilent,
    /// A floating address does not reach its gateway after a takeover.
    GatewayUnreached,
    /// A table, or the source ports towards a service, are nearly used up.
    LimitNear,
    /// The kernel had no room for what it wanted to tell.
    EventsLost,
    /// Terms cannot be written to disk.
    DiskFailed,
    /// A service that does not see its clients, or is behind a tunnel, has no address that it could be spoken to from.
    NoSourceAddress,
    /// There is no port that services which do not see their clients could be spoken to from.
    NoSourcePorts,
}

impl Kind {
    /// Its name, for programs.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Kind::Pair(alarm) => format!("{alarm:?}"),
            other => format!("{other:?}"),
        }
    }
}

/// One alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Since when.
    pub since: SystemTime,
    /// What was found, in a sentence.
    pub text: String,
}

/// An alarm that was raised or cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What kind of fault.
    pub kind: Kind,
    /// Of what; often nothing.
    pub subject: String,
    /// What was found, and since when.
    pub standing: Standing,
}

impl Change {
    /// Kind and subject.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.kind.name(), self.subject).trim_end().to_owned()
    }
}

/// Told of every change, whether it was raised (true) or cleared; must not wait.
type Subscriber = Box<dyn Fn(Change, bool) + Send + Sync>;

/// The board. Clones are the same board.
#[derive(Clone, Default)]
pub struct Board {
    standing: Arc<Mutex<BTreeMap<(Kind, String), Standing>>>,
    subscriber: Arc<OnceLock<Subscriber>>,
}

impl Board {
    /// Has `subscriber` told of every change from now on, in order. It must not wait. There is one; a second one is not told.
    pub fn subscribe(&self, subscriber: impl Fn(Change, bool) + Send + Sync + 'static) {
        // Refused: there is one already, as said.
        let _ = self.subscriber.set(Box::new(subscriber));
    }

    /// `kind` holds of `subject`. If that is known, the text is renewed and nobody is told.
    pub fn raise(&self, kind: Kind, subject: &str, text: impl Into<String>) {
        let (when, text) = (SystemTime::now(), text.into());
        let mut standing = self.standing();
        if let Some(known) = standing.get_mut(&(kind, subject.to_owned())) {
            known.text = text;
            return;
        }
        warn!(alarm = ?kind, subject, text, "alarm");
        let raised = Standing { since: when, text };
        standing.insert((kind, subject.to_owned()), raised.clone());
        self.tell(kind, subject, raised, true);
    }

    /// It does not (any more).
    pub fn clear(&self, kind: Kind, subject: &str) {
        // Held until the subscriber knows: it hears of changes in their order.
        let mut standing = self.standing();
        if let Some(cleared) = standing.remove(&(kind, subject.to_owned())) {
            info!(alarm = ?kind, subject, text = cleared.text, "alarm cleared");
            self.tell(kind, subject, cleared, false);
        }
    }

    /// [`Self::raise`] or [`Self::clear`].
    pub fn set(&self, kind: Kind, subject: &str, holds: bool, text: impl FnOnce() -> String) {
        if holds { self.raise(kind, subject, text()) } else { self.clear(kind, subject) }
    }

    /// Everything that stands.
    #[must_use]
    pub fn list(&self) -> Vec<(Kind, String, Standing)> {
        self.standing().iter().map(|((kind, subject), standing)| (*kind, subject.clone(), standing.clone())).collect()
    }

    fn tell(&self, kind: Kind, subject: &str, standing: Standing, raised: bool) {
        if let Some(subscriber) = self.subscriber.get() {
            subscriber(Change { kind, subject: subject.to_owned(), standing }, raised);
        }
    }

    fn standing(&self) -> MutexGuard<'_, BTreeMap<(Kind, String), Standing>> {
        self.standing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_subscriber_is_told_of_each_change_once_and_in_order() {
        let (told, changes) = channel();
        let board = Board::default();
        board.subscribe(move |change, raised| told.send((change.title(), raised)).unwrap());
        board.raise(Kind::Strays, "leg0", "the switch points here");
        board.raise(Kind::Strays, "leg0", "the same again");
        board.set(Kind::DiskFailed, "", false, String::new);
        board.clear(Kind::Strays, "leg0");
        board.raise(Kind::Pair(ha_common::ha::alarm::Alarm::NoHeartbeats), "", "silence");
        let wanted = [("Strays leg0", true), ("Strays leg0", false), ("NoHeartbeats", true)];
        assert_eq!(changes.try_iter().collect::<Vec<_>>(), wanted.map(|(title, raised)| (title.to_owned(), raised)));
    }

    #[test]
    fn a_standing_alarm_says_what_was_found_last_and_since_when_it_stands() {
        let board = Board::default();
        board.raise(Kind::Strays, "leg0", "one");
        let since = board.list()[0].2.since;
        board.raise(Kind::Strays, "leg0", "another");
        assert_eq!(board.list(), [(Kind::Strays, "leg0".to_owned(), Standing { since, text: "another".to_owned() })]);
    }
}
