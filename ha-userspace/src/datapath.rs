//! The kernel's side of this node: the only user of bpf(2).
//!
//! [`Datapath`] owns programs, maps and attachments. What real-time threads need of them is [`Shared`], without a lock and
//! without a system call; everything else is a projection of the running configuration that [`Datapath::reconcile`] keeps.

mod ageing;
mod array;
mod attach;
mod census;
mod clocks;
mod cut_off;
mod desired;
mod detach;
mod directory;
mod events;
mod filter;
mod limits;
mod loader;
mod loads;
mod maps;
mod pins;
mod plain;
mod plan;
mod ports;
mod project;
mod purge;
mod response;
mod rings;
mod sessions;
mod shared;
mod sources;
mod table;
mod tracing;
mod view;
mod ways;

use std::io;
use std::path::Path;
use std::sync::Arc;

use ha_common::time::Nanos;
use thiserror::Error;

pub use ageing::{Ageing, Timeouts};
pub use array::Array;
pub use attach::{AttachError, Mode};
pub use clocks::Clocks;
pub use cut_off::Cutter;
pub use desired::{Desired, DesiredVserver};
pub use events::Events;
pub use limits::{Limits, Pool, Ring, Table as LimitedTable};
pub use loader::{LoadError, Settings};
pub use loads::{Flows, flows_of};
pub use maps::{Capacity, Maps, WriteError};
pub use plan::Present;
pub use ports::SourcePorts;
pub use project::{
    idle_timeouts, inherited_next_hops, inherited_verdict, is_local, project, served, session_rules, targets, wanted_next_hops,
};
pub use purge::{Lists, Purge, lists};
pub use rings::PoolFull;
pub use sessions::{Rules, SessionRule, SessionRules};
pub use shared::{PUBLIC_WORDS, Shared};
pub use table::{Cursor, Table};
pub use tracing::{Losses, TraceError, Tracing};
pub use view::View;

use crate::net::link;
use loader::Programs;
use pins::Pins;
use plan::Planner;

/// The kernel programs, compiled for the BPF target.
#[must_use]
pub fn object() -> &'static [u8] {
    aya::include_bytes_aligned!(env!("HA_EBPF_OBJECT"))
}

/// The maps could not be brought to what they shall hold.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// Nothing was written.
    #[error(transparent)]
    Rings(#[from] PoolFull),
    /// Some of it was written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Nothing was written.
    #[error("cannot read what the maps hold: {0}")]
    Read(io::Error),
    /// Nothing was written.
    #[error(
        "{kind} number {index} does not fit into the data plane, which has room for {room}; restart the node to count from zero"
    )]
    Index {
        /// Vserver or service.
        kind: &'static str,
        /// Its number.
        index: u32,
        /// Numbers lie below.
        room: usize,
    },
}

/// Programs, maps and attachments of one node. Dropping it leaves all of them as they are.
#[derive(Debug)]
pub struct Datapath {
    pins: Pins,
    programs: Programs,
    maps: Arc<Maps>,
    /// None when the last write failed: then the maps are read again.
    planner: Option<Planner>,
    /// Whether [`Self::ageing`] was asked for.
    ages: bool,
    session_rules: Rules,
    /// Sees what goes down.
    watch: cut_off::Watch,
}

impl Datapath {
    /// Loads [`object`], or adopts what an earlier daemon with the same pin directory left running.
    ///
    /// Making large maps and verifying programs stalls a CPU for many milliseconds: to be called before the node joins.
    ///
    /// # Errors
    /// Names what is missing or in the way; what was attached runs on.
    pub fn open(settings: &Settings) -> Result<Self, LoadError> {
        let (pins, programs, maps) = loader::load(settings, object())?;
        let (session_rules, watch) = (Rules::default(), cut_off::Watch::new());
        Ok(Datapath { pins, programs, maps: Arc::new(maps), planner: None, ages: false, session_rules, watch })
    }

    /// Whether the programs were running already.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.programs.adopted
    }

    /// The maps.
    #[must_use]
    pub fn maps(&self) -> &Arc<Maps> {
        &self.maps
    }

    /// What the real-time threads share with the kernel.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.maps.shared)
    }

    /// What the kernel decided about roles. One reader only: a second one takes events from the first.
    ///
    /// # Errors
    /// When the ring buffer cannot be mapped.
    pub fn rulings(&self) -> io::Result<Events> {
        Events::open(&self.pins.maps(), "RULINGS")
    }

    /// The kernel's other events. One reader only, as above.
    ///
    /// # Errors
    /// When the ring buffer cannot be mapped.
    pub fn events(&self) -> io::Result<Events> {
        Events::open(&self.pins.maps(), "EVENTS")
    }

    /// What forgets flows that are over. `None` when it was asked for before: one is enough.
    #[must_use]
    pub fn ageing(&mut self) -> Option<Ageing> {
        let first = !std::mem::replace(&mut self.ages, true);
        first.then(|| Ageing::new(Arc::clone(&self.maps), self.programs.clocks.clone(), self.session_rules.clone()))
    }

    /// Says what makes a session of a flow, and how long it lasts.
    pub fn set_session_rules(&self, rules: SessionRules) {
        self.session_rules.set(rules);
    }

    /// The flows of the backend at `index`.
    #[must_use]
    pub fn flows_of(&self, index: u32) -> Flows {
        flows_of(&self.maps.loads, index)
    }

    /// What marks connections of services and virtual servers that went down. `None` when it was asked for before: one is enough.
    #[must_use]
    pub fn cutter(&mut self) -> Option<Cutter> {
        self.watch.cutter(Arc::clone(&self.maps), self.programs.clocks.clone())
    }

    /// What ends connections of clients that are not let in any more.
    #[must_use]
    pub fn purge(&self) -> Purge {
        Purge::new(Arc::clone(&self.maps))
    }

    /// Clears what a trace left that was killed, once its lease has run out; whether there was one.
    ///
    /// # Errors
    /// When the time cannot be told.
    pub fn clear_trace(&self) -> io::Result<bool> {
        self.maps.clear_trace(|| Ok(self.programs.clocks.read()?.0))
    }

    /// The kernel's two clocks.
    #[must_use]
    pub fn clocks(&self) -> &Clocks {
        &self.programs.clocks
    }

    /// Attaches the programs to exactly these interfaces of this thread's network namespace. What is attached and equal stays
    /// untouched; interfaces that this node used before are let go. The first call after an upgrade also frees the programs
    /// of the version before.
    ///
    /// # Errors
    /// The first interface that fails; the others stay as they are.
    pub fn attach(&mut self, interfaces: &[String]) -> Result<Vec<(String, Mode)>, AttachError> {
        let mut modes = Vec::new();
        for interface in interfaces {
            modes.push((interface.clone(), attach::attach(&self.pins, &mut self.programs, interface)?));
        }
        let error = |source| AttachError::Interface { interface: "that is not used any more".into(), source };
        let links = link::links().map_err(error)?;
        let used = |ifindex| links.iter().any(|link| link.ifindex == ifindex && interfaces.contains(&link.name));
        for ifindex in self.pins.attached().into_iter().filter(|&ifindex| !used(ifindex)) {
            attach::detach(&self.pins, ifindex).map_err(error)?;
        }
        self.pins.remove_others(&self.programs.identity).map_err(error)?;
        Ok(modes)
    }

    /// Brings the maps to `desired`, writing only what differs.
    ///
    /// # Errors
    /// When something finds no room. After a failed write the next call reads the maps anew.
    pub fn reconcile(&mut self, now: Nanos, desired: &Desired) -> Result<(), ReconcileError> {
        self.check_indices(desired)?;
        let mut planner = match self.planner.take() {
            Some(planner) => planner,
            None => self.read(now)?,
        };
        let writes = match planner.plan(now, desired) {
            Ok(writes) => writes,
            Err(full) => {
                self.planner = Some(planner);
                return Err(full.into());
            }
        };
        self.maps.execute(&writes)?;
        self.maps.tell_owners_apart(&writes)?;
        self.planner = Some(planner);
        self.watch.follow(desired, &self.programs.clocks);
        Ok(())
    }

    /// What the maps hold of the configuration: after a restart, what the daemon before knew.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn present(&self) -> io::Result<Present> {
        self.maps.present()
    }

    /// When [`Self::reconcile`] should be called again although nothing has changed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.planner.as_ref().and_then(Planner::poll_timeout)
    }

    /// Tells which vservers have entries in `EXCEPTIONS`, as flow ageing has seen.
    pub fn set_exceptions(&mut self, vservers: std::collections::HashSet<u32>) {
        if let Some(planner) = &mut self.planner {
            planner.set_exceptions(vservers);
        }
    }

    /// How full every table, pool of ports and ring buffer is.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::of(&self.maps, self.planner.as_ref())
    }

    /// Detaches everything and frees programs and maps, flows included: `understudy stop`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn detach(self) -> io::Result<()> {
        attach::remove_all(&self.pins)
    }

    fn read(&self, now: Nanos) -> Result<Planner, ReconcileError> {
        let present = self.maps.present().map_err(ReconcileError::Read)?;
        let slots = self.maps.capacity().ring_slots as u32;
        Ok(Planner::new(now, present, slots, |ring| self.maps.slots(ring)))
    }

    fn check_indices(&self, desired: &Desired) -> Result<(), ReconcileError> {
        let room = self.maps.capacity();
        let last = |indices: Option<&u32>| indices.copied().unwrap_or(0);
        let spaces = [
            ("virtual server", last(desired.vservers.keys().next_back()), room.vservers),
            ("service", last(desired.backends.keys().next_back()), room.backends),
        ];
        match spaces.into_iter().find(|&(_, index, room)| index as usize >= room) {
            Some((kind, index, room)) => Err(ReconcileError::Index { kind, index, room }),
            None => Ok(()),
        }
    }
}

/// Removes everything that a node with this pin directory left in the kernel, without a daemon.
///
/// # Errors
/// When the file system refuses.
pub fn remove(pins: &Path) -> io::Result<()> {
    attach::remove_all(&Pins::new(pins))
}
