//! The listening socket's life in the file system.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Root and the socket's group may speak to the daemon.
const SOCKET_MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o755;

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon answers there.
    #[error("another daemon answers on {path}: end it (understudy --socket {path} stop), or name another --socket", path = .0.display())]
    Taken(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {}: {error}; run as root, or name another --socket", .path.display())]
    Refused {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A listening socket; removed from the file system when dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens the socket, replacing one that a dead daemon left. Must be called within a tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        if UnixStream::connect(path).is_ok() {
            return Err(BindError::Taken(path.to_owned()));
        }
        let listener = listen(path).map_err(|error| BindError::Refused { path: path.to_owned(), error })?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Returns the listener.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the next start replaces a stale socket.
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds beside the path and renames into place, so that nobody meets a socket whose mode is not set yet.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(SOCKET_MODE))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}
