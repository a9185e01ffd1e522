//! What is wrong with this node or its pair, as long as it is: one board that every part of the daemon writes on.
//!
//! An alarm is a kind and a subject (an interface, an address; often nothing). Raising one that stands, or clearing one that
//! does not, changes nothing, so that whoever finds a fault at each of its turns may say so each time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
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
    /// An HA link is silent while another one is not.
    LinkSilent,
    /// A floating address does not reach its gateway after a takeover.
    GatewayUnreached,
    /// Terms cannot be written to disk.
    DiskFailed,
}

/// One alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Since when.
    pub since: SystemTime,
    /// What was found, in a sentence.
    pub text: String,
}

/// The board. Clones are the same board.
#[derive(Clone, Default)]
pub struct Board {
    standing: Arc<Mutex<BTreeMap<(Kind, String), Standing>>>,
}

impl Board {
    /// `kind` holds of `subject`.
    pub fn raise(&self, kind: Kind, subject: &str, text: impl Into<String>) {
        let (when, text) = (SystemTime::now(), text.into());
        let mut standing = self.standing();
        if standing.contains_key(&(kind, subject.to_owned())) {
            return;
        }
        warn!(alarm = ?kind, subject, text, "alarm");
        standing.insert((kind, subject.to_owned()), Standing { since: when, text });
    }

    /// It does not (any more).
    pub fn clear(&self, kind: Kind, subject: &str) {
        if let Some(Standing { text, .. }) = self.standing().remove(&(kind, subject.to_owned())) {
            info!(alarm = ?kind, subject, text, "alarm cleared");
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

    fn standing(&self) -> MutexGuard<'_, BTreeMap<(Kind, String), Standing>> {
        self.standing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
