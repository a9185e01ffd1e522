//! The configuration on disk: a list of commands, read whole or not at all, and replaced atomically.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Config, Indices};
use crate::command::error::code;
use crate::command::{CommandError, Secrets, parse_line};

/// Saves that are kept beside the current one, `.0` the newest.
const KEPT_SAVES: usize = 5;
/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("configuration file {} does not exist; name another with --config, or create it (an empty file is an empty configuration)", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("configuration file {} cannot be read: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It holds a secret that others can read.
    #[error("configuration file {path} holds a secret (a password, a webhook's URL) and is open to group or others (mode {mode:04o}); type: chmod 600 {path}", path = .path.display())]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is wrong.
    #[error("{path}:{line}: {error}", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        error: CommandError,
    },
}

/// Loads a configuration file, all or nothing.
pub fn load(path: &Path, indices: Indices) -> Result<Config, LoadError> {
    let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LoadError::Missing(path.to_owned()),
        _ => unreadable(error),
    })?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes"))));
    }
    let config = load_text(path, &text, indices)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if holds_secret(&config) && metadata.is_file() && mode & 0o077 != 0 {
        return Err(LoadError::Loose { path: path.to_owned(), mode });
    }
    Ok(config)
}

/// Whether there is a password, or a URL, which may have one in it.
fn holds_secret(config: &Config) -> bool {
    let password = config.rpc_nodes().any(|node| node.password.is_some()) || config.ha().witness_password.is_some();
    password || config.hook_settings().webhook.is_some()
}

/// Loads a configuration from its text; `path` names it in errors.
pub fn load_text(path: &Path, text: &str, indices: Indices) -> Result<Config, LoadError> {
    let fault = |(line, error)| LoadError::Line { path: path.to_owned(), line, error };
    let mut commands = Vec::new();
    for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text)) {
        if let Some(command) = parse_line(text).map_err(|error| fault((line, error)))? {
            commands.push((line, command));
        }
    }
    let mut config = Config::with_indices(indices);
    config.transaction(commands).map_err(fault)?;
    Ok(config)
}

/// A configuration as it is saved: passwords in clear, in a file that only its owner reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedForm {
    generation: u64,
    text: String,
}

impl Config {
    /// Returns this configuration as it is saved.
    pub fn saved_form(&self) -> SavedForm {
        SavedForm { generation: self.generation, text: self.text(Secrets::Clear) }
    }
}

impl SavedForm {
    /// Returns the text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The file that `save ns config` writes. Saves block and may run on any thread: an older configuration never replaces a newer one.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    newest: Mutex<u64>,
}

impl Store {
    /// Returns the store of that file; nothing is written yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), newest: Mutex::new(0) }
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the configuration, so that after a power cut at any moment the old or the new one is whole.
    pub fn save(&self, form: &SavedForm) -> Result<(), CommandError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if form.generation < *newest {
            return Ok(());
        }
        replace(&self.path, form.text.as_bytes()).map_err(|error| {
            let path = self.path.display();
            CommandError::new(
                code::NOT_PERMITTED,
                format!("Configuration not saved to {path}: {error}; the running configuration is unchanged"),
            )
        })?;
        *newest = form.generation;
        Ok(())
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = with_suffix(&path, "new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    keep_old(&path)?;
    fs::rename(&new, &path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Shifts the kept saves by one and links the current one as the newest, so that the file itself is never absent.
fn keep_old(path: &Path) -> io::Result<()> {
    let kept = |at: usize| with_suffix(path, &at.to_string());
    for at in (1..KEPT_SAVES).rev() {
        ignore_absent(fs::rename(kept(at - 1), kept(at)))?;
    }
    ignore_absent(fs::hard_link(path, kept(0)))
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}
