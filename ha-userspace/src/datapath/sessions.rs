//! Which clients still belong to a backend? Sessions end when no flow of their clients was there for a while.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ha_common::abi::{Flow, FlowKey, Ip, Session, SessionKey};
use ha_common::time::Ticks32;

use super::maps::Maps;
use super::table::Cursor;

/// Sessions looked at in one turn.
const SLICE: usize = 4096;

/// What makes a session of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRule {
    /// The vserver under whose index they are kept.
    pub sessions: u32,
    /// The address that clients speak to, if it counts; else nothing.
    pub destination: Ip,
    /// What of the client's address counts.
    pub source_mask: Ip,
    /// They end so long after the last flow.
    pub timeout: Duration,
}

impl SessionRule {
    fn key(&self, client: &Ip) -> SessionKey {
        SessionKey { vserver: self.sessions, source: client.masked(&self.source_mask), destination: self.destination }
    }
}

/// By index of the vserver that a flow belongs to.
pub type SessionRules = HashMap<u32, SessionRule>;

/// The rules in force, for whoever sets them and whoever ages by them.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<Mutex<Arc<SessionRules>>>);

impl Rules {
    /// Puts others in force.
    pub fn set(&self, rules: SessionRules) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn now(&self) -> Arc<SessionRules> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The ageing of sessions, beside that of flows.
#[derive(Debug)]
pub struct Sessions {
    rules: Rules,
    cursor: Cursor,
    /// Those that flows which this walk, or the last one, has met belong to.
    met: [HashSet<SessionKey>; 2],
}

impl Sessions {
    pub(super) fn new(rules: Rules) -> Self {
        Sessions { rules, cursor: Cursor::default(), met: Default::default() }
    }

    /// These flows are there; `idle` says for how long nothing came. Whoever speaks keeps his session, however long his connection lasts.
    pub fn meet(&mut self, flows: &[(FlowKey, Flow)], idle: impl Fn(Ticks32) -> Duration) {
        let rules = self.rules.now();
        for (key, flow) in flows {
            if let Some(rule) = rules.get(&key.index())
                && idle(flow.seen) < rule.timeout
            {
                self.met[0].insert(rule.key(&key.addr));
            }
        }
    }

    /// A walk over all flows has ended.
    pub fn end_of_walk(&mut self) {
        let [present, last] = &mut self.met;
        *last = std::mem::take(present);
    }

    /// Forgets some of those that are over.
    pub(super) fn turn(&mut self, maps: &Maps, idle: impl Fn(Ticks32) -> Duration) -> io::Result<()> {
        let mut found = Vec::new();
        let more = maps.sessions.walk(&mut self.cursor, SLICE, &mut found)?;
        let over: Vec<SessionKey> = self.over(&found, idle);
        maps.census.sessions.met(found.len() - over.len(), more);
        maps.sessions.delete(&over)
    }

    fn over(&self, found: &[(SessionKey, Session)], idle: impl Fn(Ticks32) -> Duration) -> Vec<SessionKey> {
        let rules = self.rules.now();
        let timeouts: HashMap<u32, Duration> = rules.values().map(|rule| (rule.sessions, rule.timeout)).collect();
        let is_over = |(key, session): &&(SessionKey, Session)| {
            let alive = self.met.iter().any(|met| met.contains(key));
            timeouts.get(&key.vserver).is_none_or(|timeout| !alive && idle(session.seen.low()) >= *timeout)
        };
        found.iter().filter(is_over).map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ha_common::time::Ticks;

    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);

    fn client(last: u8) -> Ip {
        Ipv4Addr::new(10, 7, 0, last).into()
    }

    fn rules() -> Rules {
        let rule = SessionRule {
            sessions: 1,
            destination: Ip::default(),
            source_mask: Ip::mask(128),
            timeout: Duration::from_secs(120),
        };
        let by_network = SessionRule { sessions: 3, destination: VIP.into(), source_mask: Ip::mask(120), ..rule };
        let rules = Rules::default();
        rules.set(HashMap::from([(1, rule), (2, rule), (3, by_network)]));
        rules
    }

    /// One tick is a second, and it is now 1000.
    fn idle(seen: Ticks32) -> Duration {
        Duration::from_secs(seen.until(Ticks(1_000)).into())
    }

    fn session(vserver: u32, last: u8, seen: u64) -> (SessionKey, Session) {
        let key = SessionKey { vserver, source: client(last), destination: Ip::default() };
        (key, Session { backend: 5, reserved: 0, seen: Ticks(seen) })
    }

    fn flow(vserver: u32, last: u8, seen: u64) -> (FlowKey, Flow) {
        let key = FlowKey { vserver: vserver as u16, addr: client(last), ..FlowKey::default() };
        (key, Flow { seen: Ticks(seen).low(), ..Flow::default() })
    }

    fn over(sessions: &Sessions, found: &[(SessionKey, Session)]) -> Vec<SessionKey> {
        sessions.over(found, idle)
    }

    #[test]
    fn a_session_ends_after_its_timeout_or_with_its_vserver() {
        let sessions = Sessions::new(rules());
        let found = [session(1, 1, 881), session(1, 2, 880), session(9, 3, 1_000)];
        assert_eq!(over(&sessions, &found), [found[1].0, found[2].0]);
    }

    #[test]
    fn a_connection_that_speaks_keeps_its_session_and_one_that_is_silent_does_not() {
        let mut sessions = Sessions::new(rules());
        let old = [session(1, 1, 10), session(1, 2, 10), session(1, 4, 10)];
        // The second address of the vserver shares the sessions of the first.
        sessions.meet(&[flow(1, 1, 999), flow(1, 2, 500), flow(2, 4, 999)], idle);
        assert_eq!(over(&sessions, &old), [old[1].0]);
        sessions.end_of_walk();
        assert_eq!(over(&sessions, &old), [old[1].0], "what the last walk met counts while the next one is under way");
        sessions.end_of_walk();
        assert_eq!(over(&sessions, &old).len(), 3);
    }

    #[test]
    fn a_flow_belongs_to_the_session_of_its_network_and_destination() {
        let mut sessions = Sessions::new(rules());
        sessions.meet(&[flow(3, 77, 999)], idle);
        let key = SessionKey { vserver: 3, source: client(0), destination: VIP.into() };
        assert!(over(&sessions, &[(key, Session::default())]).is_empty());
    }
}
