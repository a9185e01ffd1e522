//! What the HA machine must find again after a loss of power: one small file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ha_common::abi::Term;
use serde::{Deserialize, Serialize};

use crate::disk;

/// The file's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Term counters up to this one may have been used.
    pub reserved: u64,
    /// The last term under which this node was Primary.
    pub last_term: u64,
}

impl State {
    /// See [`Term`].
    #[must_use]
    pub fn last_term(&self) -> Term {
        Term(self.last_term)
    }
}

/// Where it lies.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file in `dir`, which is made if it does not exist.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn in_dir(dir: &Path) -> anyhow::Result<StateFile> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the state directory {}", dir.display()))?;
        Ok(StateFile { path: dir.join("ha.json") })
    }

    /// Its content; a node that has none starts with nothing used.
    ///
    /// # Errors
    /// When it is there and cannot be read or is damaged: terms that were used must not be used again.
    pub fn read(&self) -> anyhow::Result<State> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        };
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged; while the peer is up, moving it away is safe: this node learns the terms from the peer",
                self.path.display()
            )
        })
    }

    /// Writes it: whole or not at all, and on disk when this returns.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, state: &State) -> io::Result<()> {
        disk::replace(&self.path, serde_json::to_string(state)?.as_bytes())
    }
}
