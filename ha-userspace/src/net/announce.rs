//! Who makes it known where the floating addresses are now?
//!
//! On a segment of its own a node says so itself ([`Gratuitous`]); elsewhere somebody else has to be asked, a cloud's API for
//! instance, which may take seconds and may fail. [`Announcers`] treats them alike: all begin at once, nobody waits, and what came of it
//! is told under the term that it was done for.

mod gratuitous;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use ha_common::abi::Term;
use ha_common::ha::announce::{Announcement, Subject};

use super::frame;
pub use super::frame::ArpForm;
use super::raw::RawSocket;
pub use gratuitous::{Counts, Gratuitous, News};

/// What to announce: in the order of sending, and the MAC addresses of each leg among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// Virtual MACs, then addresses, the busiest first.
    pub announcements: Vec<Announcement>,
    /// MAC addresses of floating IPv4 and IPv6 addresses by interface index: what the leg's frames say.
    pub macs: BTreeMap<u32, [[u8; 6]; 2]>,
    /// How addresses of IPv4 are announced.
    pub form: ArpForm,
}

impl Roll {
    /// The frames that announce `address`, each with the interface that it leaves on.
    pub fn frames(&self, address: IpAddr) -> Vec<(u32, Vec<u8>)> {
        let is_it = |announcement: &&Announcement| announcement.subject == Subject::Address(address);
        let on = self.announcements.iter().filter(is_it);
        let frame_on = |&Announcement { ifindex, vlan, .. }| {
            let untagged = frame(self.macs.get(&ifindex)?, address, self.form);
            Some((ifindex, frame::tagged(untagged, vlan)))
        };
        on.filter_map(frame_on).collect()
    }
}

/// The frame that announces `address` at one of `macs` (of IPv4, of IPv6).
#[must_use]
pub fn frame(macs: &[[u8; 6]; 2], address: IpAddr, form: ArpForm) -> Vec<u8> {
    frame::announcement(macs[usize::from(address.is_ipv6())], address, form)
}

/// Sends frames, each on the interface of its index, once and now.
///
/// # Errors
/// At the first that cannot be sent.
pub fn send(frames: &[(u32, Vec<u8>)]) -> io::Result<()> {
    frames.iter().try_for_each(|(ifindex, frame)| RawSocket::open(*ifindex)?.send(frame))
}

/// Told under which term announcements took effect (or did not), by any thread, as late as it takes, and again whenever that changes.
pub type Outcome = Arc<dyn Fn(Term, bool) + Send + Sync>;

/// One way to make addresses known.
pub trait Announcer: Send + Sync {
    /// Begins to announce `roll` from this node under `term`, instead of whatever it announced before. Does not wait; tells `outcome`.
    /// What fails it tries again by itself, and tells again, until it is withdrawn.
    fn announce(&self, term: Term, roll: &Arc<Roll>, outcome: Outcome);

    /// Stops at once: nothing that was queued is done any more. Does not wait.
    fn withdraw(&self);

    /// Pauses or resumes what is only repeated, while somebody else announces the same addresses. Most have nothing to repeat.
    fn hold_refresh(&self, _held: bool) {}
}

/// All ways that this node has.
pub struct Announcers {
    all: Vec<Box<dyn Announcer>>,
    tally: Arc<Mutex<Tally>>,
    outcome: Outcome,
}

/// What is known of what is announced now.
#[derive(Debug, Default)]
struct Tally {
    term: Term,
    /// None: nothing is announced.
    roll: Option<Arc<Roll>>,
    done: Vec<Option<bool>>,
    told: Option<bool>,
}

impl Announcers {
    /// Announces by `all` of these; `outcome` is told once every one has reported, or one has failed.
    pub fn new(all: Vec<Box<dyn Announcer>>, outcome: Outcome) -> Self {
        Announcers { all, tally: Arc::default(), outcome }
    }

    /// Announces `roll` under `term`. To ask for what is announced already changes nothing: it would begin with the first round again
    /// and never come to the later ones.
    pub fn announce(&self, term: Term, roll: &Arc<Roll>) {
        let is_present = {
            let tally = lock(&self.tally);
            tally.term == term && tally.roll.as_ref() == Some(roll)
        };
        if !is_present {
            self.begin(term, roll);
        }
    }

    /// Announces `roll` under `term` from the first round on, even if it is announced already.
    pub fn begin(&self, term: Term, roll: &Arc<Roll>) {
        *lock(&self.tally) = Tally { term, roll: Some(Arc::clone(roll)), done: vec![None; self.all.len()], told: None };
        for (number, announcer) in self.all.iter().enumerate() {
            let (tally, outcome) = (Arc::clone(&self.tally), Arc::clone(&self.outcome));
            let report = move |term, done| {
                // Told outside of the lock: whoever is told may take its time.
                let news = lock(&tally).take(number, term, done);
                if let Some(done) = news {
                    outcome(term, done);
                }
            };
            announcer.announce(term, roll, Arc::new(report));
        }
    }

    /// Pauses or resumes what is only repeated.
    pub fn hold_refresh(&self, held: bool) {
        for announcer in &self.all {
            announcer.hold_refresh(held);
        }
    }

    /// Stops all.
    pub fn withdraw(&self) {
        *lock(&self.tally) = Tally::default();
        for announcer in &self.all {
            announcer.withdraw();
        }
    }
}

impl std::fmt::Debug for Announcers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Announcers({})", self.all.len())
    }
}

impl Tally {
    /// Takes in what announcer `number` reports of `term`; what is to be told, if that is news. A report of a former term is none.
    fn take(&mut self, number: usize, term: Term, done: bool) -> Option<bool> {
        if term != self.term {
            return None;
        }
        *self.done.get_mut(number)? = Some(done);
        let all =
            if self.done.contains(&Some(false)) { Some(false) } else { self.done.iter().all(Option::is_some).then_some(true) };
        let news = all.filter(|all| self.told != Some(*all));
        self.told = self.told.filter(|_| news.is_none()).or(news);
        news
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that reports when it is told to.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<(Term, Outcome)>>>);

    impl Announcer for Slow {
        fn announce(&self, term: Term, _: &Arc<Roll>, outcome: Outcome) {
            self.0.lock().unwrap().push((term, outcome));
        }

        fn withdraw(&self) {}
    }

    impl Slow {
        fn report(&self, nth: usize, done: bool) {
            let (term, outcome) = self.0.lock().unwrap()[nth].clone();
            outcome(term, done);
        }
    }

    type Told = Arc<Mutex<Vec<(Term, bool)>>>;

    fn two() -> (Announcers, [Slow; 2], Told) {
        let (slow, told) = ([Slow::default(), Slow::default()], Told::default());
        let all = slow.iter().map(|slow| Box::new(slow.clone()) as Box<dyn Announcer>).collect();
        let to = Arc::clone(&told);
        (Announcers::new(all, Arc::new(move |term, done| to.lock().unwrap().push((term, done)))), slow, told)
    }

    #[test]
    fn success_is_told_when_all_have_it_and_failure_at_the_first() {
        let (announcers, [a, b], told) = two();
        let term = Term::new(1, 1);
        announcers.announce(term, &Arc::default());
        a.report(0, true);
        assert_eq!(*told.lock().unwrap(), []);
        b.report(0, false);
        b.report(0, false);
        assert_eq!(*told.lock().unwrap(), [(term, false)], "told once");
        b.report(0, true);
        assert_eq!(*told.lock().unwrap(), [(term, false), (term, true)], "tried again, with success");
    }

    #[test]
    fn a_report_that_comes_after_the_term_is_nobodys() {
        let (announcers, [a, b], told) = two();
        announcers.announce(Term::new(1, 1), &Arc::default());
        announcers.announce(Term::new(2, 1), &Arc::default());
        a.report(0, true);
        b.report(0, true);
        assert_eq!(*told.lock().unwrap(), []);
        announcers.withdraw();
        a.report(1, true);
        b.report(1, true);
        assert_eq!(*told.lock().unwrap(), [], "withdrawn");
    }

    #[test]
    fn what_is_announced_already_begins_anew_only_on_purpose() {
        let (announcers, [a, b], told) = two();
        let (term, roll) = (Term::new(1, 1), Arc::<Roll>::default());
        let begun = || a.0.lock().unwrap().len();
        announcers.announce(term, &roll);
        a.report(0, true);
        announcers.announce(term, &Arc::default());
        assert_eq!(begun(), 1, "the same, and again");
        b.report(0, true);
        assert_eq!(*told.lock().unwrap(), [(term, true)], "what was reported before still counts");
        announcers.begin(term, &roll);
        assert_eq!(begun(), 2, "on purpose");
        announcers.announce(term, &Arc::new(Roll { form: ArpForm::Reply, ..Roll::default() }));
        announcers.announce(Term::new(2, 1), &roll);
        assert_eq!(begun(), 4, "another roll, another term");
        announcers.withdraw();
        announcers.announce(Term::new(2, 1), &roll);
        assert_eq!(begun(), 5, "withdrawn between");
    }
}
