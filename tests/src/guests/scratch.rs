//! Where a run keeps images and sockets.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder that vanishes when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A folder of this process in `dir`.
    pub fn create(dir: &Path) -> Result<Self> {
        let path = dir.join(std::process::id().to_string());
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path.canonicalize()?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}
