//! The programs of the bench's object, loaded once, and their maps.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use aya::maps::{Map, MapData};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use super::traffic::STRANGERS;
use crate::bench::object;
use crate::kernel::map;

/// Flows that the far end can record one by one.
pub const RECORDED: u32 = 16_384;

/// `Pattern` of the generator.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Pattern {
    /// The frame, without checksums, identification and source.
    pub frame: [u8; 64],
    /// The first client's address.
    pub client: u32,
    /// A client's first port.
    pub port: u32,
    /// Flows of each client, as a power of two.
    pub port_bits: u32,
    /// Flows are numbered modulo this plus one: a power of two minus one.
    pub mask: u32,
    /// Not zero: flows at random; zero: one after the other.
    pub random: u32,
    /// Sum of the IP header's 16-bit words without what differs.
    pub ip_sum: u32,
    /// The same of the pseudo header and the segment.
    pub segment_sum: u32,
    /// Where the segment's checksum is; 0 for a segment in which nothing differs.
    pub checksum_at: u32,
}

/// `Pace` of the generator.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Pace {
    /// Nanoseconds from frame to frame; 0: as fast as can be.
    pub gap: u64,
    /// Every how many frames one is of the second pattern; 0: none.
    pub every: u64,
}

impl Pace {
    /// So many frames a second.
    pub fn of_rate(rate: u64) -> Self {
        Self { gap: 1_000_000_000 / rate, every: 0 }
    }
}

/// `Sender` of the generator.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Sender {
    seed: u64,
    due: u64,
    turn: u64,
    sent: [u64; 2],
}

/// `Behaviour` of the far end.
#[repr(C)]
struct Behaviour {
    answers: u32,
    records: u32,
    strangers: u32,
    beyond: u32,
}

/// What the far end saw of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Seen {
    /// Segments.
    pub segments: u64,
    /// Where the last one was addressed to, in network order.
    pub address: u32,
    /// How often that was another address than before.
    pub moves: u32,
}

/// The object of the bench.
pub struct Programs {
    ebpf: Ebpf,
    /// Where `beyond` sends.
    beyond: u32,
}

impl Programs {
    /// Loads it.
    pub fn load() -> Result<Self> {
        let object = object();
        let bytes = fs::read(&object).with_context(|| format!("read {}; `cargo build` makes it", object.display()))?;
        let mut loader = EbpfLoader::new();
        // Of the other bench, and large.
        loader.map_max_entries("LRU", 1);
        let mut ebpf = loader.load(&bytes).context("create the maps of the generator")?;
        for name in ["generate", "far_end", "near_end", "ceiling", "beyond", "empty"] {
            let program: &mut Xdp = ebpf.program_mut(name).with_context(|| format!("program {name}"))?.try_into()?;
            program.load().with_context(|| format!("load {name}"))?;
        }
        Ok(Self { ebpf, beyond: 0 })
    }

    /// Puts program `name` on `interface` of the caller's namespace, until this is dropped or the interface vanishes.
    pub fn attach(&mut self, name: &str, interface: &str, mode: XdpMode) -> Result<()> {
        let program: &mut Xdp = self.ebpf.program_mut(name).with_context(|| format!("program {name}"))?.try_into()?;
        program.attach(interface, mode).with_context(|| format!("attach {name} to {interface}"))?;
        Ok(())
    }

    /// The program that makes frames.
    pub fn generate(&self) -> Result<&Xdp> {
        Ok(self.ebpf.program("generate").context("program generate")?.try_into()?)
    }

    /// Sets what is sent, and begins with the first flow.
    pub fn send(&self, patterns: &[&Pattern], pace: Pace) -> Result<()> {
        for (number, pattern) in patterns.iter().enumerate() {
            map::put(self.map("PATTERNS")?, &(number as u32), *pattern)?;
        }
        map::put(self.map("PACE")?, &0u32, &pace)?;
        map::put_per_cpu(self.map("SENDER")?, &0u32, &Sender { seed: 0x9e37_79b9_7f4a_7c15, ..Sender::default() })?;
        Ok(())
    }

    /// Frames sent since then, by pattern.
    pub fn sent(&self) -> Result<[u64; 2]> {
        let all: Vec<Sender> = map::get_per_cpu(self.map("SENDER")?, &0u32)?;
        Ok([0, 1].map(|pattern| all.iter().map(|sender| sender.sent[pattern]).sum()))
    }

    /// Sets whether the far end answers SYNs, and whether it records each flow.
    pub fn behave(&self, answers: bool, records: bool) -> Result<()> {
        let (answers, records, strangers) = (answers.into(), records.into(), STRANGERS.to_bits());
        let behaviour = Behaviour { answers, records, strangers, beyond: self.beyond };
        Ok(map::put(self.map("BEHAVIOUR")?, &0u32, &behaviour)?)
    }

    /// Sets the interface that `beyond` sends to.
    pub fn lead_beyond(&mut self, interface: u32) -> Result<()> {
        self.beyond = interface;
        self.behave(false, false)
    }

    /// Frames that have arrived so far, at either end.
    pub fn arrived(&self) -> Result<u64> {
        let end = |end: u32| map::get_per_cpu::<u32, u64>(self.map("ARRIVED")?, &end).context("read ARRIVED");
        Ok(end(0)?.into_iter().chain(end(1)?).sum())
    }

    /// What the far end saw of each of the first `flows` flows.
    pub fn seen(&self, flows: u32) -> Result<Vec<Seen>> {
        (0..flows).map(|flow| map::get(self.map("SEEN")?, &flow).context("read SEEN")).collect()
    }

    /// Forgets what the far end saw.
    pub fn forget_seen(&self) -> Result<()> {
        let none = vec![Seen::default(); RECORDED as usize];
        let keys: Vec<u32> = (0..RECORDED).collect();
        map::put_all(self.map("SEEN")?, &keys, &none).context("clear SEEN")
    }

    fn map(&self, name: &str) -> Result<BorrowedFd<'_>> {
        let data: &MapData = match self.ebpf.map(name).with_context(|| format!("map {name}"))? {
            Map::Array(data) | Map::PerCpuArray(data) => data,
            _ => anyhow::bail!("map {name} is of another kind"),
        };
        Ok(data.fd().as_fd())
    }
}
