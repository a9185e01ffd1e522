//! Where the kernel keeps what outlives the daemon.
//!
//! ```text
//! <pins>/links/<ifindex>/{xdp,egress,admission} what is attached; outlives a change of layout, so that the program is replaced at once
//! <pins>/v<ABI_VERSION>/maps/<NAME>         the maps of this layout
//! <pins>/v<ABI_VERSION>/programs/<identity>/{ingress,egress_guard,admission,clocks,way}    verified programs, by the object that they came from
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ha_common::abi::ABI_VERSION;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use thiserror::Error;

/// The pin directory cannot be used.
#[derive(Debug, Error)]
pub enum PinsError {
    /// It is on an ordinary file system.
    #[error("{} is not on a BPF file system: mount -t bpf bpf {}", .0.display(), mount_point(.0).display())]
    NotBpf(PathBuf),
    /// Making or listing it failed.
    #[error("cannot use the pin directory {}: {source}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn mount_point(path: &Path) -> &Path {
    if path.starts_with("/sys/fs/bpf") { Path::new("/sys/fs/bpf") } else { path.parent().unwrap_or(path) }
}

/// The pin directory of one node.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// The pin directory `root`, which need not exist.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Pins { root: root.to_owned() }
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// When `root` is not on a BPF file system, or without permission.
    pub fn create(&self) -> Result<(), PinsError> {
        let existing = self.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let on_bpf = statfs(existing).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
        if !on_bpf {
            return Err(PinsError::NotBpf(self.root.clone()));
        }
        for path in [self.maps(), self.version().join("programs"), self.root.join("links")] {
            fs::create_dir_all(&path).map_err(|source| PinsError::Io { path, source })?;
        }
        Ok(())
    }

    /// The maps of this layout.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    /// The programs of the object of this identity.
    #[must_use]
    pub fn programs(&self, identity: &str) -> PathBuf {
        self.version().join("programs").join(identity)
    }

    /// The programs of all objects, each in a directory of its own.
    #[must_use]
    pub fn all_programs(&self) -> PathBuf {
        self.version().join("programs")
    }

    /// What is attached to interface `ifindex`.
    #[must_use]
    pub fn links(&self, ifindex: u32) -> PathBuf {
        self.root.join("links").join(ifindex.to_string())
    }

    /// Interfaces that something is, or was, attached to.
    #[must_use]
    pub fn attached(&self) -> Vec<u32> {
        let mut found: Vec<u32> =
            children(&self.root.join("links")).iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect();
        found.sort_unstable();
        found
    }

    /// Forgets programs of other objects and everything of other layouts: nothing attached uses them any more.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove_others(&self, identity: &str) -> io::Result<()> {
        for path in children(&self.version().join("programs")) {
            if !path.ends_with(identity) {
                remove_tree(&path)?;
            }
        }
        for path in self.versions() {
            if path != self.version() {
                remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Removes everything of this project: detaches what is attached, and frees programs and maps. What others keep in the same
    /// directory stays, and so does the directory then. Success if there was nothing.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self) -> io::Result<()> {
        // Links first: as long as a program runs, its maps are there.
        remove_tree(&self.root.join("links"))?;
        for path in self.versions() {
            remove_tree(&path)?;
        }
        // Refused when it is not empty, or when it is the file system's own root.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    /// Directories of all layouts, this one's included.
    fn versions(&self) -> Vec<PathBuf> {
        let is_version = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix('v'));
            name.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        children(&self.root).into_iter().filter(is_version).collect()
    }

    fn version(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }
}

/// Removes `path` and everything in it. (`fs::remove_dir_all` will not do: it opens files, which a BPF file system refuses.)
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if !path.is_dir() {
        return gone(fs::remove_file(path));
    }
    for child in children(path) {
        remove_tree(&child)?;
    }
    gone(fs::remove_dir(path))
}

pub(super) fn children(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_is_removed() {
        let root = std::env::temp_dir().join(format!("understudy-pins-{}", std::process::id()));
        let pins = Pins::new(&root);
        let own = [pins.maps(), pins.programs("abc"), pins.programs("old"), pins.links(3), root.join("v0/maps")];
        let others = root.join("somebody");
        for path in own.iter().chain([&others]) {
            fs::create_dir_all(path).unwrap();
            fs::write(path.join("pin"), "").unwrap();
        }
        pins.remove_others("abc").unwrap();
        assert_eq!(own.each_ref().map(|path| path.exists()), [true, true, false, true, false]);
        assert_eq!(pins.attached(), [3]);
        pins.remove().unwrap();
        pins.remove().expect("nothing to remove is a success");
        assert!(others.join("pin").exists());
        assert_eq!(children(&root), [others]);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn an_ordinary_file_system_is_told_from_a_bpf_one() {
        let error = Pins::new(Path::new("/sys/fs/bpf/understudy/x"));
        assert_eq!(mount_point(&error.root), Path::new("/sys/fs/bpf"));
        let error = Pins::new(&std::env::temp_dir().join("understudy-nowhere")).create().unwrap_err().to_string();
        assert!(error.contains("mount -t bpf bpf /tmp"), "{error}");
    }
}
