//! Interfaces that this node has made promiscuous, and must not leave so.
//!
//! The kernel does not say who made an interface promiscuous, and it stays so when the daemon ends. So it is written down, with the name of
//! the host's present boot: after the next one no interface is promiscuous by this node, whatever its number.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rtnetlink::{Handle, LinkUnspec};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::disk;
use crate::net::link::Statistics;

/// Interface flag, as the operator sees it (`ip link set … promisc on`).
const IFF_PROMISC: u32 = 0x100;

/// Which they are.
#[derive(Debug, Default)]
pub struct Promiscuous {
    /// Where it is written down; nowhere in tests.
    path: Option<PathBuf>,
    known: Known,
}

/// What is written.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    boot: String,
    interfaces: BTreeSet<u32>,
}

impl Promiscuous {
    /// Goes on from what is written down in `dir`.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Promiscuous {
        let path = dir.join("promiscuous.json");
        let boot = boot();
        let written = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Known>(&text).ok());
        let known = written.filter(|known| known.boot == boot).unwrap_or(Known { boot, interfaces: BTreeSet::new() });
        Promiscuous { path: Some(path), known }
    }

    /// Those that are promiscuous by this node.
    #[must_use]
    pub fn interfaces(&self) -> &BTreeSet<u32> {
        &self.known.interfaces
    }

    /// Makes `ifindex` promiscuous. One that is so already is somebody else's, and is left to them.
    pub async fn begin(&mut self, handle: &Handle, ifindex: u32) {
        if is_promiscuous(ifindex).unwrap_or(false) {
            return;
        }
        // Written first: what is not known to be this node's would stay for ever.
        self.known.interfaces.insert(ifindex);
        self.write();
        if let Err(error) = set(handle, ifindex, true).await {
            warn!(ifindex, %error, "nor can it be made promiscuous: what clients send to the virtual MAC may be lost");
            self.known.interfaces.remove(&ifindex);
            self.write();
        }
    }

    /// Takes it back.
    pub async fn end(&mut self, handle: &Handle, ifindex: u32) {
        if !self.known.interfaces.remove(&ifindex) {
            return;
        }
        match set(handle, ifindex, false).await {
            Ok(()) => info!(ifindex, "the interface is not promiscuous any more"),
            // One that is gone took it along.
            Err(_) if is_promiscuous(ifindex).is_err() => {}
            Err(error) => warn!(ifindex, %error, "the interface stays promiscuous; ip link set … promisc off ends it"),
        }
        self.write();
    }

    fn write(&self) {
        let Some(path) = &self.path else { return };
        let written = serde_json::to_string(&self.known).map_err(io::Error::from);
        if let Err(error) = written.and_then(|text| disk::replace(path, text.as_bytes())) {
            warn!(%error, "cannot note which interfaces are promiscuous: after a restart they stay so");
        }
    }
}

/// The host's present boot.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn is_promiscuous(ifindex: u32) -> io::Result<bool> {
    Ok(Statistics::open()?.traffic(ifindex)?.flags & IFF_PROMISC != 0)
}

async fn set(handle: &Handle, ifindex: u32, on: bool) -> Result<(), rtnetlink::Error> {
    handle.link().set(LinkUnspec::new_with_index(ifindex).promiscuous(on).build()).execute().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_promiscuous_is_known_after_a_restart_and_forgotten_after_a_boot() {
        let dir = std::env::temp_dir().join(format!("understudy-promiscuous-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut promiscuous = Promiscuous::in_dir(&dir);
        assert!(promiscuous.interfaces().is_empty());
        promiscuous.known.interfaces.insert(7);
        promiscuous.write();
        assert_eq!(*Promiscuous::in_dir(&dir).interfaces(), [7].into());
        promiscuous.known.boot = "another".into();
        promiscuous.write();
        assert!(Promiscuous::in_dir(&dir).interfaces().is_empty());
        fs::write(dir.join("promiscuous.json"), "{").unwrap();
        assert!(Promiscuous::in_dir(&dir).interfaces().is_empty());
        fs::remove_dir_all(dir).unwrap();
    }
}
