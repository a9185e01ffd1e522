//! What did the machine see, what did it do, and would it do so again?
//!
//! [`Recorded`] is a machine that notes every call and every action that came out, in [`Entry`]s; [`Replay`] feeds the same calls to a
//! machine in the same state and compares. The machine is a pure function of its inputs, so a record that does not replay means
//! that the record is damaged, or that another build of the machine decides otherwise.

use core::fmt;
use core::ops::Deref;
use core::time::Duration;
use std::boxed::Box;
use std::vec::Vec;

use super::event::{Action, Event};
use super::machine::Machine;
use super::view::PeerView;
use crate::abi::Term;
use crate::time::Nanos;

/// One call of the machine, or one action that it wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Entry {
    /// How the machine stood: where a replay can start.
    State {
        /// When.
        at: Nanos,
        /// The same instant by the wall clock, since 1970.
        wall: Duration,
        /// Whether it was new, or is the one of the entries before.
        fresh: bool,
        /// All of it.
        machine: Box<Machine>,
    },
    /// [`Machine::handle_event`].
    Event {
        /// When.
        at: Nanos,
        /// What.
        event: Event,
    },
    /// The same with what the kernel showed last time.
    HeardAgain {
        /// When.
        at: Nanos,
    },
    /// [`Machine::handle_timeout`].
    Timeout {
        /// When.
        at: Nanos,
    },
    /// [`Machine::poll_timeout`], with its answer, after every action was carried out.
    Wait {
        /// When.
        at: Nanos,
        /// Until when the machine had nothing to do.
        due: Nanos,
    },
    /// What [`Machine::poll_action`] returned.
    Action(Action),
    /// So many entries could not be written; a [`Entry::State`] follows.
    Lost(u64),
}

/// A machine whose calls are noted.
#[derive(Debug)]
pub struct Recorded {
    machine: Machine,
    heard: Option<(PeerView, Term)>,
    page: Option<Vec<Entry>>,
    /// The page tells of a change of role.
    urgent: bool,
}

impl Recorded {
    /// A machine whose calls are not noted before [`Self::begin_page`].
    #[must_use]
    pub fn new(machine: Machine) -> Recorded {
        Recorded { machine, heard: None, page: None, urgent: false }
    }

    /// Starts a page of which a replay can start; what was noted and not taken is dropped.
    pub fn begin_page(&mut self, at: Nanos, wall: Duration, fresh: bool, lost: u64) {
        let mut page = Vec::with_capacity(PAGE);
        if lost != 0 {
            page.push(Entry::Lost(lost));
        }
        page.push(Entry::State { at, wall, fresh, machine: Box::new(self.machine.clone()) });
        self.heard = None;
        self.page = Some(page);
    }

    /// What was noted since it was last taken.
    pub fn take_page(&mut self) -> Vec<Entry> {
        self.urgent = false;
        match &mut self.page {
            Some(page) => core::mem::replace(page, Vec::with_capacity(PAGE)),
            None => Vec::new(),
        }
    }

    /// Whether the page should be taken: it is full, or tells of a change of role.
    #[must_use]
    pub fn page_is_due(&self) -> bool {
        self.urgent || self.page.as_ref().is_some_and(|page| page.len() >= PAGE - PAGE / 8)
    }

    /// See [`Machine::handle_event`].
    pub fn handle_event(&mut self, at: Nanos, event: Event) {
        if self.page.is_some() {
            let entry = self.event_entry(at, &event);
            self.note(entry);
        }
        self.machine.handle_event(at, event);
    }

    /// See [`Machine::handle_timeout`].
    pub fn handle_timeout(&mut self, at: Nanos) {
        self.note(Entry::Timeout { at });
        self.machine.handle_timeout(at);
    }

    /// See [`Machine::poll_timeout`]; to be called when there is no action left.
    pub fn poll_timeout(&mut self, at: Nanos) -> Nanos {
        let due = self.machine.poll_timeout(at);
        self.note(Entry::Wait { at, due });
        due
    }

    /// See [`Machine::poll_action`].
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.machine.poll_action()?;
        if self.page.is_some() {
            self.urgent |= matches!(action, Action::Record(_));
            self.note(Entry::Action(action.clone()));
        }
        Some(action)
    }

    fn event_entry(&mut self, at: Nanos, event: &Event) -> Entry {
        if let Event::Heard { view, serving } = event {
            if self.heard.as_ref().is_some_and(|(before, term)| *before == **view && term == serving) {
                return Entry::HeardAgain { at };
            }
            self.heard = Some(((**view).clone(), *serving));
        }
        Entry::Event { at, event: event.clone() }
    }

    fn note(&mut self, entry: Entry) {
        if let Some(page) = &mut self.page {
            page.push(entry);
        }
    }
}

/// Entries of one page, more or less.
pub const PAGE: usize = 256;

impl Deref for Recorded {
    type Target = Machine;
    fn deref(&self) -> &Machine {
        &self.machine
    }
}

/// Where a replay has come to something else than the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The record wants an action and the machine another one, or none.
    Action {
        /// The record's.
        recorded: Action,
        /// The machine's.
        replayed: Option<Action>,
    },
    /// The machine wants an action that the record does not know.
    Surplus(Action),
    /// The machine waits for another instant.
    Wait {
        /// The record's.
        recorded: Nanos,
        /// The machine's.
        replayed: Nanos,
    },
    /// The machine has come to another state by the same entries.
    State,
    /// Nothing to start from, or to refer to.
    NoState,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Action { recorded, replayed: Some(replayed) } => {
                write!(f, "recorded action\n  {recorded:?}\nreplayed action\n  {replayed:?}")
            }
            Difference::Action { recorded, replayed: None } => write!(f, "recorded action\n  {recorded:?}\nreplayed no action"),
            Difference::Surplus(action) => write!(f, "recorded no action\nreplayed action\n  {action:?}"),
            Difference::Wait { recorded, replayed } => {
                write!(f, "recorded a wait until {} ns\nreplayed a wait until {} ns", recorded.0, replayed.0)
            }
            Difference::State => f.write_str("the state in the record is not the one that its entries lead to"),
            Difference::NoState => f.write_str("the record does not start with a state of the machine: entries are missing"),
        }
    }
}

/// A machine that repeats a record.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    machine: Option<Machine>,
    heard: Option<(PeerView, Term)>,
}

impl Replay {
    /// Repeats one entry.
    ///
    /// # Errors
    /// When the machine does something else than the record says.
    pub fn take(&mut self, entry: &Entry) -> Result<(), Box<Difference>> {
        match entry {
            Entry::State { fresh, machine, .. } => {
                let differs = !fresh && self.machine.as_ref().is_some_and(|replayed| *replayed != **machine);
                self.machine = Some((**machine).clone());
                self.heard = None;
                return if differs { Err(Box::new(Difference::State)) } else { Ok(()) };
            }
            Entry::Lost(_) => {
                self.machine = None;
                return Ok(());
            }
            Entry::Event { .. } | Entry::HeardAgain { .. } | Entry::Timeout { .. } | Entry::Wait { .. } | Entry::Action(_) => {}
        }
        let machine = self.machine.as_mut().ok_or(Difference::NoState)?;
        match entry {
            Entry::Event { at, event } => {
                if let Event::Heard { view, serving } = event {
                    self.heard = Some(((**view).clone(), *serving));
                }
                machine.handle_event(*at, event.clone());
            }
            Entry::HeardAgain { at } => {
                let (view, serving) = self.heard.clone().ok_or(Difference::NoState)?;
                machine.handle_event(*at, Event::Heard { view: Box::new(view), serving });
            }
            Entry::Timeout { at } => machine.handle_timeout(*at),
            Entry::Wait { at, due } => {
                if let Some(surplus) = machine.poll_action() {
                    return Err(Box::new(Difference::Surplus(surplus)));
                }
                let replayed = machine.poll_timeout(*at);
                if replayed != *due {
                    return Err(Box::new(Difference::Wait { recorded: *due, replayed }));
                }
            }
            Entry::Action(recorded) => {
                let replayed = machine.poll_action();
                if replayed.as_ref() != Some(recorded) {
                    return Err(Box::new(Difference::Action { recorded: recorded.clone(), replayed }));
                }
            }
            Entry::State { .. } | Entry::Lost(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
