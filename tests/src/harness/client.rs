//! A node's command line, as an operator uses it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::process;

/// What a node says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It serves.
    Primary,
    /// It stands by.
    Secondary,
    /// Neither, or not known.
    Other,
}

/// The command-line client, bound to one daemon's socket.
#[derive(Clone, Debug)]
pub struct Client {
    binary: PathBuf,
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon that listens, or will listen, on `socket`.
    pub fn new(binary: &Path, socket: &Path) -> Self {
        Self { binary: binary.to_owned(), socket: socket.to_owned() }
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs one command, which may take `limit`, and returns what it printed.
    pub fn command(&self, words: &[&str], limit: Duration) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.arg("--socket").arg(&self.socket).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("run {}", self.binary.display()))?;
        if process::wait(&mut child, limit)?.is_none() {
            child.kill()?;
            child.wait()?;
            bail!("{}: no answer within {limit:?}", words.join(" "));
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{}: {text}{}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    /// The node's own role, as it says.
    pub fn role(&self, limit: Duration) -> Result<Role> {
        self.read(limit, role_in)
    }

    /// The node's own state, as it says.
    pub fn state(&self, limit: Duration) -> Result<String> {
        self.read(limit, |shown| own_in(shown)?.get("hastatus")?.as_str().map(str::to_owned))
    }

    fn read<T>(&self, limit: Duration, read: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let shown = self.command(&["show", "ha", "node", "-json"], limit)?;
        read(&shown).with_context(|| format!("show ha node -json printed {shown}"))
    }
}

/// Reads the own node's role from `show ha node -json`.
fn role_in(shown: &str) -> Option<Role> {
    Some(match own_in(shown)?.get("state")?.as_str()? {
        "Primary" => Role::Primary,
        "Secondary" => Role::Secondary,
        _ => Role::Other,
    })
}

/// The own node in `show ha node -json`.
fn own_in(shown: &str) -> Option<serde_json::Value> {
    let shown: serde_json::Value = serde_json::from_str(shown).ok()?;
    let own = shown.get("hanode")?.as_array()?.iter().find(|node| match node.get("id") {
        Some(serde_json::Value::String(id)) => id == "0",
        Some(id) => id.as_u64() == Some(0),
        None => false,
    })?;
    Some(own.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_role_is_read_and_not_the_peers() {
        let shown = r#"{"hanode":[{"id":1,"state":"Primary"},{"id":0,"state":"Secondary"}]}"#;
        assert_eq!(role_in(shown), Some(Role::Secondary));
        assert_eq!(role_in(r#"{"hanode":[{"id":"0","state":"Primary"}]}"#), Some(Role::Primary));
        assert_eq!(role_in("{}"), None);
    }
}
