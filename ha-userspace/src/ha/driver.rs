//! The driver's thread.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};

use ha_common::abi::{GROUPS, Link, MAX_LINKS, Term, event_kind};
use ha_common::ha::alarm::{Alarms, Steady};
use ha_common::ha::event::{Action, Event, Refusal, Testimony, Transition};
use ha_common::ha::machine::{Machine, TERM_BLOCK};
use ha_common::ha::settings::Settings;
use ha_common::ha::view::PeerView;
use ha_common::pipeline::heartbeat::ruling_code;
use ha_common::time::{Nanos, nanos_of};
use ha_common::wire::heartbeat::kind;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tokio::sync::oneshot;
use tracing::error;

use super::handle::{Ends, Helper, Request};
use super::monitor::Facts;
use super::record::{Pages, Recorder};
use super::snapshot::{PAST_MAX, Past, Snapshot};
use super::{public, state::State};
use crate::clock;
use crate::datapath::{Events, Shared};
use crate::net::heartbeat::Requests;
use crate::net::probe::Reach;

/// Group 0: the whole node.
const GROUP: usize = GROUPS - 1;

/// Rulings taken in one turn: however many come, the machine has its turn.
const EVENTS_MAX: usize = 1_000;

/// A link is silent after a dead interval, but not before this: a few frames may be lost.
const LINK_SILENCE_MIN: Duration = Duration::from_secs(1);

/// A decision to take the role that is older than this when it could be carried out is not: the machine decides anew.
const DECISION_MAX: Duration = Duration::from_millis(20);

/// What the driver works with.
pub struct Parts {
    /// The kernel's records.
    pub shared: Arc<Shared>,
    /// The way out for requests.
    pub requests: Arc<Requests>,
    /// The kernel's rulings.
    pub events: Events,
    /// The ends of a handle.
    pub ends: Ends,
    /// How long nobody has been heard on the legs of clients.
    pub reach: Arc<Reach>,
    /// Helpers that may take time.
    pub helpers: Sender<Helper>,
    /// Asks the witness.
    pub witness: crate::witness::Client,
    /// Where the machine's inputs are recorded, if they are.
    pub record: Option<Pages>,
}

/// See the module.
pub struct Driver {
    parts: Parts,
    machine: Recorder,
    state: State,
    start: u32,
    commits: u64,
    facts: Facts,
    silence: Option<Duration>,
    /// What the witness in use said last.
    witness: Option<Testimony>,
    pending: Option<oneshot::Sender<Result<(), Refusal>>>,
    past: VecDeque<Past>,
    alarms: Alarms,
    steady: Steady,
    /// Bit by link, as the helpers know it.
    silent: u8,
    fed_asked: Nanos,
    links: [Link; MAX_LINKS],
    /// By own link: the number that the peer gives to it.
    peer_links: [Option<u8>; MAX_LINKS],
    said_sender: public::Sender,
    /// When the machine was last asked: what comes out of it is based on what was known then.
    decided_at: Nanos,
    ended: bool,
}

impl Driver {
    /// A driver that takes up from `state`, whose last [`TERM_BLOCK`] of reserved counters are this driver's own.
    #[must_use]
    pub fn new(mut parts: Parts, settings: Settings, state: State) -> Driver {
        let used = state.reserved.saturating_sub(TERM_BLOCK);
        let now = clock::now();
        let machine = Machine::new(now, settings, used, state.reserved, state.last_term());
        let machine = Recorder::new(now, machine, parts.record.take());
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
        Driver {
            parts,
            machine,
            state,
            start,
            commits: 0,
            facts: Facts::default(),
            silence: None,
            witness: None,
            pending: None,
            past: VecDeque::new(),
            alarms: Alarms::default(),
            steady: Steady::default(),
            silent: 0,
            fed_asked: Nanos::NEVER,
            links: [Link::default(); MAX_LINKS],
            peer_links: [None; MAX_LINKS],
            said_sender: public::Sender::default(),
            decided_at: Nanos::NEVER,
            ended: false,
        }
    }

    /// Runs until [`Request::End`].
    pub fn run(mut self) {
        self.feed(Event::MirrorReady(true));
        while !self.ended {
            self.turn();
            self.wait();
        }
        self.machine.finish(clock::now());
    }

    /// One loop: the kernel first, then everybody else, then time.
    fn turn(&mut self) {
        self.take_kernel_events();
        self.read_reach();
        self.read_kernel();
        self.take_requests();
        self.decided_at = clock::now();
        self.machine.handle_timeout(self.decided_at);
        self.carry_out();
        self.say_sender();
        self.parts.shared.set_controller_at(clock::now());
        self.put_up_alarms(self.decided_at);
        self.show();
    }

    fn wait(&mut self) {
        let now = clock::now();
        let due = self.machine.poll_timeout(now);
        let timeout = TimeSpec::from_duration(due.since(now).max(Duration::from_micros(20)));
        let ends = &self.parts.ends;
        let mut fds =
            [PollFd::new(self.parts.events.fd(), PollFlags::POLLIN), PollFd::new(ends.wake.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait is a turn that comes early.
        let _ = ppoll(&mut fds, Some(timeout), None);
        let _ = ends.wake.read();
    }

    fn feed(&mut self, event: Event) {
        self.decided_at = clock::now();
        self.machine.handle_event(self.decided_at, event);
        self.carry_out();
    }

    /// Silence lasts as long as it was observed: the time since the last look at the legs says nothing of it.
    fn read_reach(&mut self) {
        let silence = self.parts.reach.silence();
        if silence.is_some() || self.silence.is_some() {
            self.feed(Event::Reached(silence.map(|silence| clock::now() - silence)));
        }
        self.silence = silence;
    }

    fn read_kernel(&mut self) {
        let asked = self.parts.requests.asked_at();
        if asked > self.fed_asked {
            self.fed_asked = asked;
            self.feed(Event::Asked(asked));
        }
        let fence = self.parts.shared.fence();
        for (number, known) in self.links.iter_mut().enumerate() {
            // One that the kernel never stops writing is as it was a turn ago.
            *known = self.parts.shared.read_link(number).unwrap_or(*known);
            // An echo repeats the asker's number, which is this node's.
            if known.request_at != Nanos::NEVER && known.said.kind != kind::ECHO {
                self.peer_links[number] = Some(known.said.link);
            }
        }
        let view = PeerView::merge(&self.links, fence.peer_nonce.load(Relaxed));
        self.forget_former_key(&view);
        let serving = self.parts.shared.fence().serving_term(&self.parts.shared.node(), GROUP);
        self.feed(Event::Heard { view: Box::new(view), serving });
    }

    /// The peer has used its present key: the former one opens nothing any more.
    fn forget_former_key(&self, view: &PeerView) {
        let node = self.parts.shared.node();
        let [present, former] = node.rx_keys;
        if former.id != 0 && view.said.is_some_and(|said| said.key_id == present.id) {
            self.parts.shared.forget_key(former.id);
        }
    }

    fn take_kernel_events(&mut self) {
        for _ in 0..EVENTS_MAX {
            let Some(event) = self.parts.events.next() else { return };
            // The other kind only wakes: the records themselves are read next.
            if event.kind == event_kind::RULING {
                self.feed(Event::Ruled(ruling_code::ruling(event.detail, Term(event.words[0]))));
            }
        }
    }

    fn take_requests(&mut self) {
        while let Ok(request) = self.parts.ends.requests.try_recv() {
            match request {
                Request::Force { force, reply } => self.command(Event::Force { force }, reply),
                Request::Stop { force, reply } => self.command(Event::Stop { force }, reply),
                Request::Settings(settings) => {
                    self.parts.requests.set_hello(settings.hello);
                    self.parts.shared.set_controller_dead(nanos_of(settings.controller_dead));
                    self.parts.shared.set_dead(nanos_of(settings.dead));
                    let known = self.machine.settings();
                    if (settings.witness, settings.witness_id) != (known.witness, known.witness_id) {
                        self.witness = None;
                    }
                    self.feed(Event::Settings(settings));
                }
                Request::Committed { incarnation, configured } => {
                    self.commits = incarnation;
                    // Each node numbers its own commits: they say nothing about which configuration is the newer one.
                    self.feed(Event::Committed { term: Term::NONE, incarnation: 0, configured });
                }
                Request::Health(facts) => {
                    self.feed(Event::Health(facts.findings.health));
                    self.facts = facts;
                }
                Request::Announced { term, done } => self.feed(Event::Announced { term, done }),
                Request::Reserved(upto) => self.feed(Event::Reserved(upto)),
                Request::Witness(testimony) => {
                    self.witness = Some(testimony);
                    self.feed(Event::Witness(testimony));
                }
                Request::End => self.ended = true,
            }
        }
    }

    fn command(&mut self, event: Event, reply: oneshot::Sender<Result<(), Refusal>>) {
        if self.pending.is_some() {
            // The asker may have gone; the refusal is for it alone.
            let _ = reply.send(Err(Refusal::Busy));
            return;
        }
        self.pending = Some(reply);
        self.feed(event);
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            let takes = matches!(action, Action::SetRole(term) | Action::Arm { term, .. } if !term.is_none());
            // What the kernel holds already is not taken.
            let serving = self.parts.shared.fence().serving_term(&self.parts.shared.node(), GROUP);
            let takes = takes && action != Action::SetRole(serving);
            if takes && clock::now().since(self.decided_at) > DECISION_MAX {
                // Stopped in between (SIGSTOP, a debugger): the peer may have taken over since.
                self.decided_at = clock::now();
                self.machine.handle_event(self.decided_at, Event::TooLate);
                continue;
            }
            self.execute(action);
        }
    }

    fn execute(&mut self, action: Action) {
        let shared = &self.parts.shared;
        match action {
            Action::Publish(said) => {
                shared.set_standing(&said.standing);
                shared.set_said_flags(said.flags.into());
                shared.set_hears(said.hears.into());
                shared.set_public(&public::words(&said, self.sender()));
            }
            Action::SetRole(term) => {
                shared.set_role_term(GROUP, term);
                if !term.is_none() {
                    self.state.last_term = term.0;
                    self.persist();
                }
            }
            Action::Arm { term, over } => shared.set_armed(GROUP, term, over),
            Action::Disarm => shared.set_armed(GROUP, Term::NONE, Term::NONE),
            Action::Consent(term) => shared.set_consent(GROUP, term),
            Action::Send => {
                if self.parts.requests.send_round() {
                    let asked = self.parts.requests.asked_at();
                    self.fed_asked = asked;
                    self.machine.handle_event(clock::now(), Event::Asked(asked));
                }
            }
            // Nothing is mirrored yet, so there is nothing to bring over.
            Action::Drain => self.machine.handle_event(clock::now(), Event::Drained),
            Action::Announce(term) => self.help(Helper::Announce(term)),
            Action::Withdraw => self.help(Helper::Withdraw),
            Action::AskWitness => self.parts.witness.ask(),
            Action::ReleaseWitness => self.parts.witness.release(),
            Action::Reserve(upto) => {
                self.state.reserved = upto;
                self.persist();
            }
            Action::Answer(answer) => {
                if let Some(reply) = self.pending.take() {
                    // Whoever asked may have gone: what was asked for is done all the same.
                    let _ = reply.send(answer);
                }
            }
            Action::Record(transition) => self.record(transition),
        }
    }

    fn sender(&self) -> public::Sender {
        public::Sender {
            start: self.start,
            incarnation: self.commits as u32,
            inc: self.machine.settings().inc,
            mismatch: public::Peer::of(&self.links).is_some_and(public::Peer::is_other_release),
        }
    }

    /// What the public part says besides the machine's own words.
    fn say_sender(&mut self) {
        let sender = self.sender();
        if self.said_sender != sender {
            self.said_sender = sender;
            self.parts.shared.set_public(&public::words(self.machine.said(), sender));
        }
    }

    fn persist(&self) {
        self.help(Helper::Persist { reserved: self.state.reserved, last_term: self.state.last_term() });
    }

    fn help(&self, wanted: Helper) {
        if self.parts.helpers.send(wanted).is_err() {
            error!("the HA driver's helper has ended: announcements and terms are not kept up");
        }
    }

    fn record(&mut self, transition: Transition) {
        let now = clock::now();
        let view = self.machine.view();
        let heard = view.heard_at.iter().filter(|at| **at != Nanos::NEVER && now.since(**at) < self.machine.settings().dead);
        let evidence = format!(
            "links heard: {}; last echo {}; peer serves under {:?}; own health {}",
            heard.count(),
            if view.echo_at == Nanos::NEVER { "never".to_owned() } else { format!("{:.1?} ago", now.since(view.echo_at)) },
            view.term(),
            self.facts.summary(),
        );
        let Transition { from, to, term, cause, .. } = transition;
        let past = Past { when: SystemTime::now(), from, to, term, cause, evidence };
        self.help(Helper::Log(past.clone()));
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(past);
    }

    fn put_up_alarms(&mut self, now: Nanos) {
        let alarms = self.steady.settle(now, self.machine.alarms(now));
        if alarms != self.alarms {
            self.alarms = alarms;
            self.help(Helper::Alarms(alarms));
        }
        let silent = self.silent_links(now);
        if silent != self.silent {
            self.silent = silent;
            let links = self.parts.requests.map_ports(|port| (port.name.clone(), silent & (1 << port.number) != 0));
            self.help(Helper::Links(links));
        }
    }

    /// Bit by link: nothing was heard on it for long, while another one is heard.
    fn silent_links(&self, now: Nanos) -> u8 {
        if self.machine.peer_alive(now) != Some(true) {
            return 0;
        }
        let span = self.machine.settings().dead.max(LINK_SILENCE_MIN);
        let heard_at = self.machine.view().heard_at;
        let wired = self.parts.requests.map_ports(|port| (port.number, port.opened_at));
        silent(now, span, &wired, &heard_at)
    }

    /// Never waits: a reader that holds the snapshot sees this turn's at the next one.
    fn show(&mut self) {
        let now = clock::now();
        let Ok(mut snapshot) = self.parts.ends.snapshot.try_lock() else { return };
        let (role, since, term) = self.machine.role();
        *snapshot = Snapshot {
            at: now,
            role,
            since,
            term,
            said: self.machine.said().clone(),
            view: self.machine.view().clone(),
            links: self.links.to_vec(),
            peer_links: self.peer_links,
            peer_alive: self.machine.peer_alive(now),
            peer_unknown: self.machine.peer_unknown(now),
            facts: self.facts.clone(),
            judged: self.machine.is_judged(),
            routes_judged: self.machine.routes_judged(now),
            flips: self.machine.flips(),
            preference_left: self.machine.preference_left(now),
            witness: self.witness,
            silence: self.silence,
            past: self.past.iter().cloned().collect(),
        };
    }
}

/// Bit by link: used for `span` at least, and not heard for so long. `wired`: number and since when it is used, however long others are.
fn silent(now: Nanos, span: Duration, wired: &[(usize, Nanos)], heard_at: &[Nanos; MAX_LINKS]) -> u8 {
    let is_silent = |&&(link, opened_at): &&(usize, Nanos)| {
        heard_at.get(link).is_some_and(|heard_at| now.since(opened_at.max(*heard_at)) >= span)
    };
    wired.iter().filter(is_silent).fold(0, |bits, (link, _)| bits | 1 << link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_silent_only_after_it_was_used_for_the_span_itself() {
        let span = Duration::from_secs(1);
        let at = |ms| Nanos(1_000_000_000_000) + Duration::from_millis(ms);
        let mut heard_at = [Nanos::NEVER; MAX_LINKS];
        heard_at[0] = at(99_900);
        let wired = |added| [(0, at(0)), (1, at(added))];
        assert_eq!(silent(at(100_000), span, &wired(0), &heard_at), 0b10, "never heard");
        assert_eq!(silent(at(100_000), span, &wired(99_500), &heard_at), 0, "added half a second ago");
        assert_eq!(silent(at(100_500), span, &wired(99_500), &heard_at), 0b10);
        heard_at[1] = at(100_400);
        assert_eq!(silent(at(100_500), span, &wired(99_500), &heard_at), 0, "heard");
        assert_eq!(silent(at(101_400), span, &wired(99_500), &heard_at), 0b11, "and no more, nor is the other");
    }
}
