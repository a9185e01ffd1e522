//! What the HA driver must not wait for: announcements, floating addresses of the host, the disk.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ha_common::abi::Term;
use ha_common::ha::alarm::{Alarm, Alarms};
use ha_common::ha::announce::Pace;
use tokio::sync::watch;
use tracing::{error, info};

use super::floating::Floating;
use crate::alarm::{Board, Kind};
use crate::ha::state::{State, StateFile};
use crate::ha::{Handle, Helper, Past, Request};
use crate::hook::{Hook, Notice, What};
use crate::net::address::LocalAddress;
use crate::net::announce::{Announcers, Gratuitous, News, Roll};
use crate::net::reception::Reception;
use crate::realtime;

/// How long after a failed write the next one is tried.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// The helpers, from outside.
#[derive(Clone, Debug)]
pub struct Helpers {
    shared: Arc<Shared>,
    /// To the role thread, which alone begins and ends announcements: orders of several threads keep one order.
    orders: Sender<Helper>,
}

#[derive(Debug)]
struct Shared {
    announcers: Announcers,
    /// For those who are not the role thread: it gets by its orders what it needs, and waits for nobody.
    floating: Mutex<Arc<Floating>>,
    /// The term that is announced, as its number; [`Term::NONE`] while this node does not serve. The role thread alone writes it.
    term: AtomicU64,
    /// Counts what changed.
    changes: watch::Sender<u64>,
}

impl Helpers {
    /// Starts the threads; what the driver wants comes by `orders`, whose two ends these are.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn spawn(
        (orders, received): (Sender<Helper>, Receiver<Helper>),
        file: StateFile,
        driver: Handle,
        board: Board,
        hook: Hook,
    ) -> std::io::Result<Helpers> {
        let told = hook.clone();
        board.subscribe(move |change, raised| {
            let what = if raised { What::Raised(change) } else { What::Cleared(change) };
            told.tell(Notice { when: SystemTime::now(), what });
        });
        let to_driver = driver.clone();
        let tell = move |term, done| to_driver.send(Request::Announced { term, done });
        let (to_disk, errands) = channel();
        let to_log = to_disk.clone();
        let gratuitous = Gratuitous::spawn(Pace::default(), move |news| hand_on(&to_log, Errand::Announcing(news)))?;
        let shared = Arc::new(Shared {
            announcers: Announcers::new(vec![Box::new(gratuitous)], Arc::new(tell)),
            floating: Mutex::default(),
            term: AtomicU64::new(Term::NONE.0),
            changes: watch::Sender::new(0),
        });
        thread::Builder::new().name("terms".into()).spawn(move || run_errands(&errands, &file, &driver, &board, &hook))?;
        let role = Role { shared: Arc::clone(&shared), roll: Arc::default() };
        // What makes a takeover known to others is as urgent as the takeover.
        realtime::spawn("role", realtime::ANNOUNCE_PRIORITY, move || role.follow(&received, &to_disk))?;
        Ok(Helpers { shared, orders })
    }

    /// Sets what goes with the role. Announced anew only if it differs and this node serves.
    pub fn set(&self, floating: Floating) {
        // Compared, and the former one dropped, outside of the lock: it may be long.
        let former = self.floating();
        if *former == floating {
            return;
        }
        let floating = Arc::new(floating);
        let roll = (former.roll != floating.roll).then(|| Arc::clone(&floating.roll));
        *self.lock() = floating;
        if let Some(roll) = roll {
            self.order(Helper::Roll(roll));
        }
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// Whether this node serves, as the driver last said.
    #[must_use]
    pub fn serves(&self) -> bool {
        !self.shared.term().is_none()
    }

    /// Addresses that the host should own now, and those that it should not.
    #[must_use]
    pub fn local(&self) -> (BTreeSet<LocalAddress>, bool) {
        (self.floating().local.clone(), self.serves())
    }

    /// What legs shall let in.
    #[must_use]
    pub fn reception(&self) -> Reception {
        self.floating().reception.clone()
    }

    /// What is announced, and under which term; none while this node does not serve.
    #[must_use]
    pub fn announced(&self) -> Option<(Term, Arc<Roll>)> {
        let term = self.shared.term();
        (!term.is_none()).then(|| (term, Arc::clone(&self.floating().roll)))
    }

    /// Changes whenever any of these may say something else.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    fn floating(&self) -> Arc<Floating> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Floating>> {
        self.shared.floating.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Another station announces `held`, too: while there is any, nothing is refreshed, or both would tear at every table of the segment.
    pub fn hold_refresh(&self, held: &BTreeSet<IpAddr>) {
        self.shared.announcers.hold_refresh(!held.is_empty());
    }

    /// Announces everything once more, from the first round on, if this node serves when its turn comes.
    pub fn announce(&self) {
        self.order(Helper::Repeat);
    }

    fn order(&self, order: Helper) {
        if self.orders.send(order).is_err() {
            error!("the thread that announces floating addresses has ended");
        }
    }
}

impl Shared {
    fn term(&self) -> Term {
        Term(self.term.load(SeqCst))
    }

    /// Tells those who wait for changes, if it is one.
    fn set_term(&self, term: Term) {
        if self.term.swap(term.0, SeqCst) != term.0 {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

/// The thread that makes a role known.
struct Role {
    shared: Arc<Shared>,
    /// As last ordered.
    roll: Arc<Roll>,
}

impl Role {
    fn follow(mut self, orders: &Receiver<Helper>, to_disk: &Sender<Errand>) {
        while let Ok(order) = orders.recv() {
            match order {
                Helper::Announce(term) => {
                    self.shared.announcers.announce(term, &self.roll);
                    self.shared.set_term(term);
                }
                Helper::Withdraw => {
                    self.shared.announcers.withdraw();
                    self.shared.set_term(Term::NONE);
                }
                Helper::Roll(roll) => {
                    self.roll = roll;
                    let term = self.shared.term();
                    if !term.is_none() {
                        self.shared.announcers.announce(term, &self.roll);
                    }
                }
                Helper::Repeat => {
                    let term = self.shared.term();
                    if !term.is_none() {
                        self.shared.announcers.begin(term, &self.roll);
                    }
                }
                Helper::Persist { reserved, last_term } => {
                    hand_on(to_disk, Errand::Write(State { reserved, last_term: last_term.0 }));
                }
                Helper::Log(past) => hand_on(to_disk, Errand::Log(past)),
                Helper::Alarms(alarms) => hand_on(to_disk, Errand::Alarms(alarms)),
                Helper::Links(links) => hand_on(to_disk, Errand::Links(links)),
            }
        }
    }
}

/// What may take as long as a disk or a log takes.
enum Errand {
    Write(State),
    Log(Past),
    Alarms(Alarms),
    Links(Vec<(String, bool)>),
    Announcing(News),
}

fn hand_on(to_disk: &Sender<Errand>, errand: Errand) {
    if to_disk.send(errand).is_err() {
        error!("the thread that writes terms and the log of roles has ended");
    }
}

/// Writes the newest state whenever there is a newer one; a disk that fails is tried again.
fn run_errands(errands: &Receiver<Errand>, file: &StateFile, driver: &Handle, board: &Board, hook: &Hook) {
    let mut unwritten: Option<State> = None;
    loop {
        let errand = match unwritten {
            Some(_) => errands.recv_timeout(DISK_RETRY),
            None => errands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match errand {
            Ok(Errand::Write(state)) => unwritten = Some(state),
            Ok(Errand::Log(past)) => {
                hook.tell(past.clone().into());
                log(&past);
                continue;
            }
            Ok(Errand::Alarms(alarms)) => {
                put_up(alarms, board);
                continue;
            }
            Ok(Errand::Announcing(news)) => {
                news.log();
                continue;
            }
            Ok(Errand::Links(links)) => {
                put_up_links(&links, board);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(state) = unwritten else { continue };
        match file.write(&state) {
            Ok(()) => {
                unwritten = None;
                board.clear(Kind::DiskFailed, "");
                driver.send(Request::Reserved(state.reserved));
            }
            Err(error) => board.raise(
                Kind::DiskFailed,
                "",
                format!("terms are not on disk ({error}): if this node loses power now it may claim under a used one"),
            ),
        }
    }
}

/// Raises what holds, and clears what does not (any more).
fn put_up(alarms: Alarms, board: &Board) {
    for alarm in Alarm::ALL {
        board.set(Kind::Pair(alarm), "", alarms.holds(alarm), || sentence(alarm).to_owned());
    }
}

/// Raises what is silent, and clears what is heard or is no link any more.
fn put_up_links(links: &[(String, bool)], board: &Board) {
    let text = "the peer is not heard on this HA link, but on another one: see the cable, the switch, its VLAN";
    for (name, silent) in links {
        board.set(Kind::LinkSilent, name, *silent, || text.to_owned());
    }
    for (kind, subject, _) in board.list() {
        if kind == Kind::LinkSilent && links.iter().all(|(name, _)| *name != subject) {
            board.clear(kind, &subject);
        }
    }
}

/// What an alarm means, and what to do about it.
fn sentence(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::NoHeartbeats => "the peer is heard on no HA link: it is dead, or all links are; show ha node says since when",
        Alarm::UnknownKey => {
            "the peer's heartbeats are signed with another password: set the same rpcnode passwords on both nodes"
        }
        Alarm::NobodyServes => "neither node serves, and this one may not: see its haStatus and health in show ha node",
        Alarm::StickyPrimary => "this node serves although its monitors fail: failovers are used up (maxFlips, maxFlipTime)",
        Alarm::FailSafe => "this node serves although it is not well, because its peer is not either (failSafe)",
        Alarm::Isolated => "this node serves and reaches nobody on its legs: see their carrier, and the switch",
        Alarm::TwoStayPrimary => "both nodes are STAYPRIMARY: the one order decides which serves; set one to ENABLED",
        Alarm::BadSecondary => "the Secondary is not well, or may not take over: there is nobody to fail over to",
        Alarm::WitnessSilent => "the witness does not answer: see that it runs, is reached, and has the password",
        Alarm::AnnounceFailed => "floating addresses could not be announced: neighbours may still send to the other node",
        Alarm::DeadIntervalShort => {
            "the round trip to the peer is too long for the deadInterval; a longer one is in force: set ha node -deadInterval"
        }
        Alarm::PeerHung => "the peer's kernel lives, its daemon does not complete its loop: look for what stalls it",
    }
}

/// A busy machine or a slow disk may hold this line back: `at` says when the role changed, in seconds since 1970.
fn log(Past { when, from, to, term, cause, evidence }: &Past) {
    let at = when.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = format_args!("{}.{:06}", at.as_secs(), at.subsec_micros());
    info!(%from, %to, term = term.0, %cause, evidence, %at, "role");
}

#[cfg(test)]
mod tests;
