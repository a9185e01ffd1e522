//! What a witness keeps: its decisions on disk, and the passwords that it is given.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use ha_common::witness::{Keys, PairName, Record};
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::keys::witness_keys;

/// Passwords that one witness takes; each takes a moment at the start.
const PASSWORDS_MAX: usize = 64;

/// One line of the file: a pair in which a node holds a grant.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    low: Ipv4Addr,
    high: Ipv4Addr,
    holder: u8,
    released: u8,
}

/// Where decisions lie.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The file in `dir`, which is made if it does not exist.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn in_dir(dir: &Path) -> anyhow::Result<Store> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the state directory {}", dir.display()))?;
        Ok(Store { path: dir.join("witness.json") })
    }

    /// What it holds; nothing, if there is none yet.
    ///
    /// # Errors
    /// When it is there and cannot be read or is damaged: a grant that was given must not be given again.
    pub fn read(&self) -> anyhow::Result<Vec<(PairName, Record)>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        };
        let damaged = || {
            format!("{} is damaged; while the nodes of every pair hear each other, moving it away is safe", self.path.display())
        };
        let lines: Vec<Line> = serde_json::from_str(&text).with_context(damaged)?;
        lines
            .into_iter()
            .map(|Line { low, high, holder, released }| {
                ensure!((1..=2).contains(&holder) && released < 4, damaged());
                Ok((PairName { low, high }, Record { holder, released }))
            })
            .collect()
    }

    /// Writes `records`, which are on disk when this returns.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn write(&self, records: impl Iterator<Item = (PairName, Record)>) -> io::Result<()> {
        let line = |(PairName { low, high }, Record { holder, released })| Line { low, high, holder, released };
        let lines: Vec<Line> = records.map(line).collect();
        disk::replace(&self.path, serde_json::to_string_pretty(&lines)?.as_bytes())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The keys of the passwords in a file, by their id: one password per line; empty lines and lines that begin with `#` count for nothing.
///
/// # Errors
/// When it cannot be read, is open to others, or holds no password, or too many.
pub fn keys(path: &Path) -> anyhow::Result<HashMap<u64, Keys>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the key file {}", path.display()))?;
    let mode = fs::metadata(path).with_context(|| format!("cannot read the key file {}", path.display()))?.permissions().mode();
    let mode = mode & 0o7777;
    ensure!(
        mode & 0o077 == 0,
        "key file {path} is open to group or others (mode {mode:04o}); type: chmod 600 {path}",
        path = path.display()
    );
    let passwords: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    match passwords.len() {
        0 => bail!("key file {} holds no password; it has one per line, as in: set ha node -witnessPassword", path.display()),
        1..=PASSWORDS_MAX => {}
        found => {
            bail!("key file {} holds {found} passwords, a witness takes {PASSWORDS_MAX}; pairs may share one", path.display())
        }
    }
    passwords.into_iter().map(|password| witness_keys(password).map(|keys| (keys.question.id, keys))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("understudy-witness-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_refused() {
        let dir = dir("store");
        let store = Store::in_dir(&dir).unwrap();
        assert!(store.read().unwrap().is_empty());
        let pair = PairName { low: Ipv4Addr::new(10, 9, 0, 1), high: Ipv4Addr::new(10, 9, 0, 2) };
        let records = [(pair, Record { holder: 2, released: 1 })];
        store.write(records.into_iter()).unwrap();
        assert_eq!(store.read().unwrap(), records);
        for damaged in ["", "[", r#"[{"low":"10.9.0.1","high":"10.9.0.2","holder":3,"released":0}]"#] {
            fs::write(store.path(), damaged).unwrap();
            assert!(store.read().unwrap_err().to_string().contains("moving it away"), "{damaged}");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_key_file_is_for_its_owner_alone_and_holds_a_password() {
        let dir = dir("keys");
        let path = dir.join("keys");
        fs::write(&path, "# one\n\n  s3cret \n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(keys(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let found = keys(&path).unwrap();
        let wanted = witness_keys("s3cret").unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(wanted.question.id, wanted)]);
        fs::write(&path, "# none\n").unwrap();
        assert!(keys(&path).unwrap_err().to_string().contains("no password"));
        fs::remove_dir_all(dir).unwrap();
    }
}
