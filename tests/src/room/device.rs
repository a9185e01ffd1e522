//! The pipeline with small tables, on the host or loaded.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ha_common::abi::Reason;
use ha_common::packet::HostPacket;
use ha_common::pipeline::{self, Ingress};
use ha_common::tables::{HostTables, Tables as _};
use ha_common::time::Nanos;

use crate::kernel::{Kernel, object};
use crate::vectors::{namespace, world};

/// Room in the tables that a history fills.
pub const ROOM: u32 = 64;
/// Room in the tables that it does not.
const PLENTY: u32 = 4096;

/// Names of tables that can be small.
const TABLES: [&str; 5] = ["FLOWS", "EMBRYONIC", "EXCEPTIONS", "REVERSE", "REVERSE_EMBRYONIC"];

/// The pair of the vectors, somewhere.
pub trait Device {
    /// Begins anew, with what `change` makes of the vectors' pair.
    fn begin(&mut self, change: &dyn Fn(&mut HostTables)) -> Result<()>;

    /// Lets it judge a frame that came in on interface `ifindex`: the reason, and the frame as it left.
    fn send(&mut self, frame: &[u8], ifindex: u32) -> Result<(Reason, Vec<u8>)>;

    /// The same, when nobody asks what became of it.
    fn flood(&mut self, frame: &[u8], ifindex: u32) -> Result<()> {
        self.send(frame, ifindex).map(drop)
    }

    /// Writes vservers and backends anew, as `change` makes them from those of [`Device::begin`].
    fn configure(&mut self, change: &dyn Fn(&mut HostTables)) -> Result<()>;

    /// Time passes.
    fn wait(&mut self, seconds: u64) -> Result<()>;
}

fn pair(now: Nanos, small: &str, change: &dyn Fn(&mut HostTables)) -> HostTables {
    let size = |table| if table == small { ROOM } else { PLENTY } as usize;
    let mut tables = world::pair(now);
    tables.flows_max = size("FLOWS");
    tables.exceptions_max = size("EXCEPTIONS");
    tables.reverse_max = size("REVERSE");
    // Ports enough for every table.
    for snip in &mut tables.snips {
        (snip.first_port, snip.ports) = (1024, 30_000);
    }
    change(&mut tables);
    tables
}

/// On the host.
pub struct Host {
    small: &'static str,
    tables: HostTables,
}

impl Host {
    /// With little room in table `small`.
    pub fn new(small: &'static str) -> Self {
        Host { small, tables: HostTables::default() }
    }

    /// Does what the kernel does by itself: some entry or other gives way.
    fn evict(&mut self) {
        if self.small == "EMBRYONIC" {
            let embryos = self.tables.embryonic.get_mut();
            while embryos.len() > ROOM as usize {
                let some = *embryos.keys().next().expect("there are many");
                embryos.remove(&some);
            }
        }
    }
}

impl Device for Host {
    fn begin(&mut self, change: &dyn Fn(&mut HostTables)) -> Result<()> {
        self.tables = pair(Nanos(1_000_000_000_000), self.small, change);
        Ok(())
    }

    fn send(&mut self, frame: &[u8], ifindex: u32) -> Result<(Reason, Vec<u8>)> {
        let mut packet = HostPacket::new(frame);
        let verdict = pipeline::process(&mut packet, &self.tables, Ingress { ifindex });
        self.tables.count(verdict.reason(), frame.len());
        self.evict();
        Ok((verdict.reason(), packet.frame().to_vec()))
    }

    fn configure(&mut self, change: &dyn Fn(&mut HostTables)) -> Result<()> {
        change(&mut self.tables);
        Ok(())
    }

    fn wait(&mut self, seconds: u64) -> Result<()> {
        self.tables.now.set(self.tables.now.get() + std::time::Duration::from_secs(seconds));
        Ok(())
    }
}

/// Through the loaded programs.
pub struct Loaded {
    small: &'static str,
    kernel: Kernel,
    tables: HostTables,
    counted: BTreeMap<Reason, u64>,
}

impl Loaded {
    /// With little room in table `small`, in a namespace of its own.
    pub fn new(small: &'static str) -> Result<Self> {
        namespace::enter()?;
        let size = |table: &'static str| (table, if table == small { ROOM } else { PLENTY });
        let sizes: Vec<(&str, u32)> = TABLES.map(size).into_iter().chain([("RINGS", 65_536)]).collect();
        let kernel = Kernel::from_object(&object()?, &sizes)?;
        Ok(Loaded { small, kernel, tables: HostTables::default(), counted: BTreeMap::new() })
    }

    fn counters(&self) -> Result<BTreeMap<Reason, u64>> {
        Ok(self.kernel.counters()?.into_iter().map(|(reason, counter)| (reason, counter.packets)).collect())
    }
}

impl Device for Loaded {
    fn begin(&mut self, change: &dyn Fn(&mut HostTables)) -> Result<()> {
        self.tables = pair(self.kernel.clocks()?.1, self.small, change);
        self.kernel.fill(&self.tables)?;
        self.counted = self.counters()?;
        Ok(())
    }

    fn send(&mut self, frame: &[u8], ifindex: u32) -> Result<(Reason, Vec<u8>)> {
        // What a flood counted meanwhile is not this frame's.
        self.counted = self.counters()?;
        let output = self.kernel.ingress(frame, ifindex)?;
        let counted = self.counters()?;
        let moved = counted.iter().find(|(reason, packets)| self.counted.get(reason) != Some(packets));
        let reason = *moved.context("the frame was not counted")?.0;
        Ok((reason, output.frame))
    }

    fn flood(&mut self, frame: &[u8], ifindex: u32) -> Result<()> {
        self.kernel.ingress(frame, ifindex).map(drop)
    }

    fn configure(&mut self, change: &dyn Fn(&mut HostTables)) -> Result<()> {
        change(&mut self.tables);
        self.kernel.configure(&self.tables)
    }

    fn wait(&mut self, seconds: u64) -> Result<()> {
        // The kernel's clock is nobody's to set.
        std::thread::sleep(std::time::Duration::from_secs(seconds));
        Ok(())
    }
}
