//! Own health, judged and told as soon as it changes.
//!
//! A thread of its own, because asking the kernel takes its lock on all network configuration, which others may hold for long:
//! the HA driver must not wait for that. Besides listening it asks every few milliseconds: on physical interfaces the kernel
//! delays the news of a lost carrier by up to a second, the flag itself it shows at once. What is judged how is
//! [`ha_common::ha::monitor`]'s business.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use ha_common::ha::monitor::{Findings, Port, Rules};
use ha_common::time::Nanos;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

use crate::command::value::Route;
use crate::net::link::{LinkEvent, LinkWatch};
use crate::net::media;
use crate::{clock, realtime};

/// How often carrier is asked for.
const PACE: Duration = Duration::from_millis(5);

/// How often the speed of interfaces with a threshold is asked for.
const SPEED_PACE: Duration = Duration::from_secs(1);

/// An interface that was asked for and of which nothing came in this time is not there.
const ABSENT_AFTER: Duration = Duration::from_millis(50);

/// What this node's health follows from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Interfaces and failover interface sets.
    pub rules: Rules,
    /// Routes without which the node is not well.
    pub routes: BTreeSet<Route>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Of interfaces and sets, and the health that follows.
    pub findings: Findings,
    /// Whether each monitored route is there.
    pub routes: BTreeMap<Route, bool>,
}

impl Facts {
    /// In a word, or what fails.
    #[must_use]
    pub fn summary(&self) -> String {
        let routes = self.routes.iter().filter(|(_, present)| !**present).map(|(route, _)| format!("route {route}"));
        let failed: Vec<String> = self.findings.failed.iter().cloned().chain(routes).collect();
        if failed.is_empty() { "ok".to_owned() } else { format!("failed: {}", failed.join(", ")) }
    }
}

/// News for the thread.
enum News {
    Watched(Watched),
    Routes(BTreeMap<Route, bool>),
}

/// The thread, from outside. Dropping it ends the thread.
pub struct Monitor {
    news: Sender<News>,
}

impl Monitor {
    /// Watches in this thread's network namespace; `tell` is called with what was found as soon as everything that matters is
    /// known, and whenever it changes. An interface that is not there has no carrier.
    ///
    /// # Errors
    /// When the kernel refuses a netlink socket or a thread.
    pub fn spawn(tell: impl Fn(Facts) + Send + 'static) -> io::Result<Monitor> {
        let link = LinkWatch::open([])?;
        let (news, received) = channel();
        let watch = Watch {
            link,
            watched: Watched::default(),
            known: BTreeMap::new(),
            ports: BTreeMap::new(),
            told: None,
            timed_at: Nanos::NEVER,
            followed_at: Nanos(u64::MAX),
        };
        realtime::spawn("health", realtime::HEARTBEAT_PRIORITY - 2, move || watch.run(&received, tell))?;
        Ok(Monitor { news })
    }

    /// Watches this instead.
    pub fn follow(&self, watched: Watched) {
        self.say(News::Watched(watched));
    }

    /// What the routing table says of monitored routes.
    pub fn routes(&self, present: BTreeMap<Route, bool>) {
        self.say(News::Routes(present));
    }

    fn say(&self, news: News) {
        if self.news.send(news).is_err() {
            warn!("the thread that watches this node's health has ended");
        }
    }
}

struct Watch {
    link: LinkWatch,
    watched: Watched,
    known: BTreeMap<Route, bool>,
    ports: BTreeMap<String, Port>,
    told: Option<Facts>,
    timed_at: Nanos,
    /// When other interfaces were asked for; ahead as long as none were.
    followed_at: Nanos,
}

impl Watch {
    fn run(mut self, news: &Receiver<News>, tell: impl Fn(Facts)) {
        let mut asked = Nanos::NEVER;
        loop {
            loop {
                match news.try_recv() {
                    Ok(news) => self.learn(news),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let now = clock::now();
            if now.since(asked) >= PACE {
                // What fails here fails at the next turn again, and the news of changes come all the same.
                let _ = self.link.ask();
                asked = now;
            }
            let left = PACE.saturating_sub(now.since(asked)).max(Duration::from_millis(1));
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            // Interrupted or not, there is something to look at.
            let _ = poll(&mut [PollFd::new(self.link.fd(), PollFlags::POLLIN)], timeout);
            self.take_links();
            let now = clock::now();
            if self.is_known(now) {
                self.judge(&tell);
            }
            // After what was found: asking takes the kernel's lock.
            self.ask_speeds(now);
        }
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Routes(known) => self.known = known,
            News::Watched(watched) => {
                let names = watched.rules.names();
                let same = names == self.watched.rules.names();
                self.watched = watched;
                self.timed_at = Nanos::NEVER;
                if !same || self.followed_at == Nanos(u64::MAX) {
                    self.followed_at = clock::now();
                    self.ports.retain(|name, _| names.contains(name));
                    if let Err(error) = self.link.follow(names) {
                        warn!(%error, "cannot follow the interfaces");
                    }
                }
            }
        }
    }

    /// Whether every interface that matters was heard of, or had time enough to be.
    fn is_known(&self, now: Nanos) -> bool {
        let heard_of = |name: &String| self.ports.contains_key(name);
        let told_what = self.followed_at <= now;
        told_what && (now.since(self.followed_at) >= ABSENT_AFTER || self.watched.rules.names().iter().all(heard_of))
    }

    fn take_links(&mut self) {
        for event in self.link.drain() {
            let (name, carrier) = match event {
                LinkEvent::Is(link) => (link.name, link.carrier),
                LinkEvent::Gone { name, .. } => (name, false),
            };
            let port = self.ports.entry(name).or_default();
            if port.carrier != carrier {
                // The speed of a link that has just come is not yet that of the one before.
                *port = Port { carrier, speed: None };
                self.timed_at = Nanos::NEVER;
            }
        }
    }

    fn judge(&mut self, tell: &impl Fn(Facts)) {
        let mut ports = self.ports.clone();
        // One that was asked for and did not answer is not there.
        for name in self.watched.rules.names() {
            ports.entry(name).or_default();
        }
        let known: Option<BTreeMap<Route, bool>> =
            self.watched.routes.iter().map(|route| Some((*route, *self.known.get(route)?))).collect();
        let Some(routes) = known else { return };
        let whole = routes.values().all(|present| *present);
        let Some(findings) = self.watched.rules.judge(&ports, whole) else { return };
        let facts = Facts { findings, routes };
        if self.told.as_ref() != Some(&facts) {
            tell(facts.clone());
            self.told = Some(facts);
        }
    }

    fn ask_speeds(&mut self, now: Nanos) {
        let names = self.watched.rules.timed();
        if names.is_empty() || self.timed_at != Nanos::NEVER && now.since(self.timed_at) < SPEED_PACE {
            return;
        }
        self.timed_at = now;
        for name in names {
            let speed = media::of(&name).speed;
            if let Some(port) = self.ports.get_mut(&name) {
                port.speed = speed.filter(|_| port.carrier);
            }
        }
    }
}
