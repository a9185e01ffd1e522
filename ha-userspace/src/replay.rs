//! `understudy replay`: repeats a record of the HA machine's inputs and tells where the roles changed, and why.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ha_common::ha::event::{Action, Transition};
use ha_common::ha::record::{Difference, Entry, Replay};
use ha_common::time::Nanos;
use thiserror::Error;

use crate::command::moment;
use crate::ha::record::{Damaged, read};

/// What was repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Everything.
    pub entries: usize,
    /// Actions among them, each of which came out again.
    pub actions: usize,
    /// Changes of role among those.
    pub transitions: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { entries, actions, transitions } = self;
        write!(f, "{entries} entries: the machine does the same again, {actions} actions, {transitions} changes of role")
    }
}

/// Why a record is not repeated to its end.
#[derive(Debug, Error)]
pub enum Failure {
    /// It cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The machine does something else.
    #[error("{path}, entry {number} (from 1), {when}: {difference}\nafter the input\n  {input}")]
    Differs {
        /// Which file.
        path: PathBuf,
        /// Which entry of it.
        number: usize,
        /// When it was recorded.
        when: String,
        /// The last input before it.
        input: String,
        /// What differs.
        difference: Box<Difference>,
    },
    /// Nobody reads what is told.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// Repeats the records at `paths`, the oldest first, and tells `out` of every change of role.
///
/// # Errors
/// At the first damage or difference.
pub fn replay(paths: &[PathBuf], out: &mut impl Write) -> Result<Summary, Failure> {
    let mut teller = Teller { replay: Replay::default(), clock: None, input: None, summary: Summary::default() };
    for path in paths {
        for (number, entry) in read(path)?.enumerate() {
            teller.take(path, number + 1, &entry?, out)?;
        }
    }
    Ok(teller.summary)
}

struct Teller {
    replay: Replay,
    /// An instant by both clocks.
    clock: Option<(Nanos, Duration)>,
    /// The last input.
    input: Option<Entry>,
    summary: Summary,
}

impl Teller {
    fn take(&mut self, path: &Path, number: usize, entry: &Entry, out: &mut impl Write) -> Result<(), Failure> {
        self.summary.entries += 1;
        let at = match entry {
            Entry::State { at, wall, fresh, .. } => {
                self.clock = Some((*at, *wall));
                if *fresh {
                    writeln!(out, "{}  the daemon starts", self.when(*at))?;
                }
                Some(*at)
            }
            Entry::Lost(lost) => {
                writeln!(out, "{lost} entries were not written: the disk did not keep up")?;
                None
            }
            Entry::Action(Action::Record(transition)) => {
                self.summary.transitions += 1;
                let Transition { at, from, to, term, cause } = transition;
                writeln!(out, "{}  {from} -> {to}, term {}: {cause}", self.when(*at), term.0)?;
                Some(*at)
            }
            Entry::Event { at, .. } | Entry::HeardAgain { at } | Entry::Timeout { at } | Entry::Wait { at, .. } => Some(*at),
            Entry::Action(_) => None,
        };
        if matches!(entry, Entry::Action(_)) {
            self.summary.actions += 1;
        } else {
            self.input = Some(entry.clone());
        }
        self.replay.take(entry).map_err(|difference| Failure::Differs {
            path: path.to_owned(),
            number,
            when: at.map_or_else(|| "at the same time".to_owned(), |at| self.when(at)),
            input: self.input.as_ref().map_or_else(|| "none".to_owned(), |input| format!("{input:?}")),
            difference,
        })
    }

    /// `at` as the wall clock went when the machine's state was last recorded.
    fn when(&self, at: Nanos) -> String {
        let Some((then, wall)) = self.clock else { return format!("{} ns after boot", at.0) };
        let since_1970 = (wall + at.since(then)).saturating_sub(then.since(at));
        moment(UNIX_EPOCH + since_1970)
    }
}
