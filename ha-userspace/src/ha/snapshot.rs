//! What the driver shows of itself.

use std::time::{Duration, SystemTime};

use ha_common::abi::{Link, MAX_LINKS, Term};
use ha_common::ha::event::{Cause, RoleName, Said, Testimony};
use ha_common::ha::machine::Judged;
use ha_common::ha::view::PeerView;
use ha_common::time::Nanos;

use super::monitor::Facts;

/// Changes of role that are remembered.
pub const PAST_MAX: usize = 20;

/// A change of role, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When.
    pub when: SystemTime,
    /// The role before.
    pub from: RoleName,
    /// The role after.
    pub to: RoleName,
    /// The term concerned.
    pub term: Term,
    /// Why.
    pub cause: Cause,
    /// What was known: links heard, silence, the peer's term.
    pub evidence: String,
}

/// How things stand.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When this was taken.
    pub at: Nanos,
    /// The role.
    pub role: RoleName,
    /// Since when.
    pub since: Nanos,
    /// Its term.
    pub term: Term,
    /// What this node says of itself.
    pub said: Said,
    /// What is known of the peer.
    pub view: PeerView,
    /// By link, as the kernel counts.
    pub links: Vec<Link>,
    /// By link: the number that the peer gives to it.
    pub peer_links: [Option<u8>; MAX_LINKS],
    /// Whether the peer lives, once known.
    pub peer_alive: Option<bool>,
    /// Whether the peer's frames come with an unknown key.
    pub peer_unknown: bool,
    /// What is known of the own interfaces and routes.
    pub facts: Facts,
    /// Whether anything is known of them.
    pub judged: bool,
    /// Whether routes count for the own health.
    pub routes_judged: Judged,
    /// Failovers for missing routes, and since when they are counted.
    pub flips: (u32, Option<Nanos>),
    /// Time until a STAYPRIMARY node takes the role back, while it waits for that.
    pub preference_left: Option<Duration>,
    /// What the witness in use said last.
    pub witness: Option<Testimony>,
    /// How long nobody has been heard on the legs of clients; none while nobody is asked.
    pub silence: Option<Duration>,
    /// The last changes of role, newest last.
    pub past: Vec<Past>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Snapshot {
            at: Nanos::NEVER,
            role: RoleName::Secondary,
            since: Nanos::NEVER,
            term: Term::NONE,
            said: Said::default(),
            view: PeerView::default(),
            links: Vec::new(),
            peer_links: [None; MAX_LINKS],
            peer_alive: None,
            peer_unknown: false,
            facts: Facts::default(),
            judged: false,
            routes_judged: Judged::Now,
            flips: (0, None),
            preference_left: None,
            witness: None,
            silence: None,
            past: Vec::new(),
        }
    }
}
