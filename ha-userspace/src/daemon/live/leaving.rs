//! Services that were taken out of use, and whose connections may go on for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::config::{Config, Drain, Service};

/// Those that were disabled with a delay or until their connections have ended.
#[derive(Debug, Default)]
pub struct Leavers(BTreeMap<String, Leaver>);

#[derive(Debug)]
struct Leaver {
    drain: Drain,
    since: Instant,
    /// It has left.
    gone: bool,
}

impl Leaver {
    fn left(&self, now: Instant) -> Option<Duration> {
        self.drain.delay.map(|delay| (self.since + delay).saturating_duration_since(now))
    }
}

impl Leavers {
    /// Follows the configuration.
    pub fn follow(&mut self, config: &Config, now: Instant) {
        self.0.retain(|name, leaver| config.service(name).is_some_and(|service| drain(service) == Some(leaver.drain)));
        for (service, drain) in config.services().filter_map(|service| Some((service, drain(service)?))) {
            self.0.entry(service.name.clone()).or_insert(Leaver { drain, since: now, gone: false });
        }
    }

    /// Looks who has left, given how many connections each service has; those that have left only now.
    pub fn look(&mut self, now: Instant, open: impl Fn(&str) -> u64) -> Vec<String> {
        let mut gone = Vec::new();
        for (name, leaver) in self.0.iter_mut().filter(|(_, leaver)| !leaver.gone) {
            leaver.gone = leaver.left(now) == Some(Duration::ZERO) || leaver.drain.graceful && open(name) == 0;
            gone.extend(leaver.gone.then(|| name.clone()));
        }
        gone
    }

    /// Those whose connections go on.
    pub fn names(&self) -> BTreeSet<String> {
        self.0.iter().filter(|(_, leaver)| !leaver.gone).map(|(name, _)| name.clone()).collect()
    }

    /// Whether the connections of `service` go on, and for how long at most, if there is an end to it.
    pub fn status(&self, service: &str, now: Instant) -> (bool, Option<Duration>) {
        let leaver = self.0.get(service).filter(|leaver| !leaver.gone);
        (leaver.is_some(), leaver.and_then(|leaver| leaver.left(now)))
    }
}

fn drain(service: &Service) -> Option<Drain> {
    service.drain.filter(|_| !service.enabled)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Indices, load_text};

    fn config(disable: &str) -> Config {
        let text = format!("add service s1 10.2.0.11 TCP 80\nadd service s2 10.2.0.12 TCP 80\n{disable}\n");
        load_text(Path::new("test"), &text, Indices::default()).unwrap()
    }

    fn leavers(disable: &str, now: Instant) -> Leavers {
        let mut leavers = Leavers::default();
        leavers.follow(&config(disable), now);
        leavers
    }

    #[test]
    fn a_service_with_a_delay_leaves_when_it_is_over_whatever_goes_on() {
        let now = Instant::now();
        let mut leavers = leavers("disable service s1 30", now);
        let after = |secs| now + Duration::from_secs(secs);
        assert_eq!(leavers.status("s1", after(10)), (true, Some(Duration::from_secs(20))));
        assert!(leavers.look(after(29), |_| 0).is_empty());
        assert_eq!(leavers.look(after(30), |_| 7), ["s1"]);
        assert!(leavers.look(after(31), |_| 7).is_empty(), "it is told once");
        assert_eq!((leavers.status("s1", after(31)), leavers.names().len()), ((false, None), 0));
    }

    #[test]
    fn a_graceful_one_leaves_with_its_last_connection() {
        let now = Instant::now();
        let mut leavers = leavers("disable service s1 -graceFul YES", now);
        assert!(leavers.look(now + Duration::from_secs(86_400), |_| 1).is_empty());
        assert_eq!(leavers.status("s1", now), (true, None));
        assert_eq!(leavers.look(now, |_| 0), ["s1"]);
    }

    #[test]
    fn with_both_whatever_comes_first_ends_it_and_without_either_there_is_nothing_to_wait_for() {
        let now = Instant::now();
        let mut first = leavers("disable service s1 30 -graceFul YES", now);
        assert_eq!(first.look(now, |_| 0), ["s1"]);
        let mut second = leavers("disable service s1 30 -graceFul YES", now);
        assert_eq!(second.look(now + Duration::from_secs(30), |_| 1), ["s1"]);
        assert!(leavers("disable service s1", now).names().is_empty());
        assert!(leavers("disable service s1 0", now).names().is_empty());
    }

    #[test]
    fn a_service_that_is_enabled_meanwhile_does_not_leave() {
        let now = Instant::now();
        let mut leavers = leavers("disable service s1 30", now);
        leavers.follow(&config(""), now);
        assert!(leavers.look(now + Duration::from_secs(60), |_| 0).is_empty() && leavers.names().is_empty());
    }
}
