//! A disk that is full: a tiny file system mounted over a directory, filled to the last byte.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Covers `dir` with a full file system: what is opened there by name from now on finds no room.
pub fn fill(dir: &Path) -> Result<()> {
    mount(Some("full"), dir, Some("tmpfs"), MsFlags::empty(), Some("size=16k"))
        .with_context(|| format!("mount on {}", dir.display()))?;
    let mut file = File::create(dir.join("filler"))?;
    loop {
        match file.write_all(&[0; 4096]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => bail!("fill {}: {error}", dir.display()),
        }
    }
}

/// Unmounts whatever is mounted below `dir`, the latest first; another process may be doing the same.
pub fn unmount_below(dir: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    points.filter(|point| point.starts_with(dir) && *point != dir).try_for_each(|point| {
        match umount2(point, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("unmount {}", point.display())),
        }
    })
}
