//! Both objects, loaded: the product and the programs that it is measured with and against.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Barrier;

use anyhow::{Context, Result, ensure};
use aya::maps::{Map, MapData, ProgramArray};
use aya::programs::{ProgramFd, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use ha_common::abi::{Counter, Flow, FlowKey, Ip, Nat};
use ha_common::tables::HostTables;
use ha_common::time::{Nanos, Ticks};
use ha_common::wire::Be16;
use ha_common::wire::heartbeat::FRAME_LEN;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::paths::{CLIENT_PORT, FLOWS, Harness, LEN, Path, Under};
use super::report::Row;
use super::{REPEATS, median};
use crate::kernel::{Kernel, Sizes, map};
use crate::vectors::world;

/// Entries put into a table by one call.
const BATCH: u32 = 1 << 16;

/// `Template` of the harness program.
#[repr(C)]
struct Template {
    frame: [u8; LEN],
    client_at: u32,
    base: u32,
    mask: u32,
    in_order: u32,
}

/// `Heartbeat` of the harness program for heartbeats.
#[repr(C, align(8))]
struct Heartbeat([u8; FRAME_LEN]);

/// Key of the baseline's table.
#[derive(Clone)]
#[repr(C)]
struct LruKey([u32; 10]);

/// Everything that a measurement needs.
pub struct Rig {
    product: Kernel,
    bench: Ebpf,
    /// Size of the product: instructions as the kernel holds them, and as the verifier walked them.
    insns: (u32, u32),
    filled: Option<(u32, &'static str, u32)>,
}

impl Rig {
    /// Loads both, with room for the largest number of flows and all that is added by `rounds`.
    pub fn new(rounds: u32, cpus: usize) -> Result<Self> {
        let added = 2 * rounds * REPEATS * cpus as u32;
        let sizes = Sizes { flows: FLOWS[2].max(added) + FLOWS[2], exceptions: 1024, embryonic: 65_536 };
        let mut product = Kernel::load(sizes)?;
        product.fill(&pair())?;
        let object = object();
        let bytes = fs::read(&object).with_context(|| format!("read {}; `cargo build` makes it", object.display()))?;
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("LRU", 2 * FLOWS[2]);
        let mut bench = loader.load(&bytes).context("create the harness's maps")?;
        for name in ["outer", "outer_heartbeat", "empty", "mac_swap", "lru_lookup"] {
            let program: &mut Xdp = bench.program_mut(name).with_context(|| format!("program {name}"))?.try_into()?;
            program.load().with_context(|| format!("load {name}"))?;
        }
        let info = product.ebpf().program("ingress").context("program ingress")?.info()?;
        let insns = (info.size_translated().unwrap_or(0) / 8, info.verified_instruction_count().unwrap_or(0));
        Ok(Rig { product, bench, insns, filled: None })
    }

    /// Measures `path` on `cpus` CPUs at once. `harness` is what the harness itself costs.
    pub fn measure(&mut self, path: &Path, cpus: usize, rounds: u32, harness: f64) -> Result<Row> {
        self.prepare(path)?;
        let mut samples = Vec::new();
        for _ in 0..rounds {
            samples.push(self.round(path, cpus)?);
        }
        let ns = median(samples);
        let (xlated_insns, verified_insns) = match path.under {
            Under::Product(_) => self.insns,
            Under::Baseline(name) => {
                let info = self.bench.program(name).context(name)?.info()?;
                (info.size_translated().unwrap_or(0) / 8, info.verified_instruction_count().unwrap_or(0))
            }
        };
        let (name, family, flows) = (path.name, path.family, path.flows);
        Ok(Row { name, family, flows, cpus, ns, ns_net: ns - harness, xlated_insns, verified_insns })
    }

    /// Puts frame, clients and tables in place.
    fn prepare(&mut self, path: &Path) -> Result<()> {
        let under = match path.under {
            Under::Baseline(name) => program(&self.bench, name)?.try_clone()?,
            Under::Product(_) => program(self.product.ebpf(), "ingress")?.try_clone()?,
        };
        let mut slots = ProgramArray::try_from(self.bench.map_mut("UNDER_TEST").context("map UNDER_TEST")?)?;
        slots.set(0, &under, 0)?;
        self.put_template(path)?;
        if let Some(vserver) = path.recorded {
            self.record(path, vserver)?;
        } else if path.flows == 0 {
            map::clear_all::<FlowKey>(self.product.map("FLOWS")?)?;
            self.filled = None;
        }
        if path.in_lru { self.fill_lru(path) } else { Ok(()) }
    }

    fn put_template(&self, path: &Path) -> Result<()> {
        const LENGTH: &str = "a frame of the harness's length";
        if path.harness == Harness::Heartbeat {
            let heartbeat = Heartbeat(path.frame.as_slice().try_into().context(LENGTH)?);
            return Ok(map::put(self.map("HEARTBEAT")?, &0u32, &heartbeat)?);
        }
        let frame = path.frame.as_slice().try_into().context(LENGTH)?;
        let (mask, in_order) = if path.flows == 0 { (u32::MAX, 1) } else { (path.flows - 1, 0) };
        let template = Template { frame, client_at: path.client_at, base: path.base, mask, in_order };
        Ok(map::put(self.map("TEMPLATE")?, &0u32, &template)?)
    }

    fn record(&mut self, path: &Path, vserver: u32) -> Result<()> {
        let wanted = Some((vserver, path.family, path.flows));
        if self.filled == wanted {
            return Ok(());
        }
        let flows = self.product.map("FLOWS")?;
        map::clear_all::<FlowKey>(flows)?;
        let tables = pair();
        let flow =
            Flow { client_hop: world::client_hop(), seen: Ticks(1).low(), opened: Ticks(1), generation: 1, ..Flow::default() };
        for chunk in chunks(path.flows) {
            let keys: Vec<FlowKey> = chunk.clone().map(|index| key(path, vserver, index)).collect();
            let backend = |index| world::placed(&tables, vserver, path.client(index), CLIENT_PORT);
            let hidden = matches!(vserver, world::MASKED | world::MASKED6);
            let nat = |backend| if hidden { world::masked(backend, world::PORTS.0) } else { Nat::NONE };
            let of = |backend| Flow { backend, nat: nat(backend), ..flow };
            let values: Vec<Flow> = chunk.map(|index| of(backend(index))).collect();
            map::put_all(flows, &keys, &values).context("fill FLOWS")?;
        }
        self.filled = wanted;
        Ok(())
    }

    fn fill_lru(&self, path: &Path) -> Result<()> {
        let destination = u32::from_ne_bytes(path.frame[30..34].try_into().expect("four bytes"));
        let ports = u32::from_ne_bytes(path.frame[34..38].try_into().expect("four bytes"));
        for chunk in chunks(path.flows) {
            let key = |index| LruKey([path.base.wrapping_add(index).to_be(), 0, 0, 0, destination, 0, 0, 0, ports, 6]);
            let keys: Vec<LruKey> = chunk.map(key).collect();
            map::put_all(self.map("LRU")?, &keys, &vec![[1u64; 2]; keys.len()]).context("fill the baseline's table")?;
        }
        Ok(())
    }

    /// One round on every CPU; the mean of their nanoseconds per packet.
    fn round(&mut self, path: &Path, cpus: usize) -> Result<f64> {
        let before = self.counted(path)?;
        let outer = path.harness.program();
        let outer: &Xdp = self.bench.program(outer).with_context(|| format!("program {outer}"))?.try_into()?;
        let start = Barrier::new(cpus);
        let times: Vec<Result<f64>> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..cpus)
                .map(|cpu| {
                    scope.spawn({
                        let start = &start;
                        move || run(outer, path, cpu, start)
                    })
                })
                .collect();
            runs.into_iter().map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let times = times.into_iter().collect::<Result<Vec<f64>>>()?;
        let ran = u64::from(REPEATS) * cpus as u64;
        let counted = self.counted(path)? - before;
        let all = matches!(path.under, Under::Baseline(_)) || counted == ran;
        ensure!(all, "{} ({}, {} flows): only {counted} of {ran} packets took the path", path.name, path.family, path.flows);
        Ok(times.iter().sum::<f64>() / times.len() as f64)
    }

    /// Packets that took the path so far.
    fn counted(&self, path: &Path) -> Result<u64> {
        let Under::Product(reason) = path.under else {
            return Ok(0);
        };
        let all: Vec<Counter> = map::get_per_cpu(self.product.map("COUNTERS")?, &(reason as u32))?;
        Ok(all.iter().map(|counter| counter.packets).sum())
    }

    fn map(&self, name: &str) -> Result<BorrowedFd<'_>> {
        let data: &MapData = match self.bench.map(name).with_context(|| format!("map {name}"))? {
            Map::Array(data) | Map::LruHashMap(data) | Map::PerCpuArray(data) => data,
            _ => anyhow::bail!("map {name} is of another kind"),
        };
        Ok(data.fd().as_fd())
    }
}

/// Runs [`REPEATS`] packets of `path` on `cpu`: nanoseconds of this thread's CPU time per packet.
fn run(outer: &Xdp, path: &Path, cpu: usize, start: &Barrier) -> Result<f64> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("run on CPU {cpu}"))?;
    let context = [0, path.frame.len() as u32, 0, path.harness.interface(), 0, 0].map(u32::to_ne_bytes).concat();
    let mut options = TestRunOptions::new();
    options.data_in = Some(&path.frame);
    options.ctx_in = Some(&context);
    options.repeat = REPEATS;
    start.wait();
    let begin = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    let result = outer.test_run(options).context("run the harness program")?;
    let spent = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)? - begin;
    ensure!(expected_code(path).is_none_or(|code| code == result.return_value), "return code {}", result.return_value);
    let nanos = spent.tv_sec() as f64 * 1e9 + spent.tv_nsec() as f64;
    Ok(nanos / f64::from(REPEATS))
}

/// The return code that shows that the last packet took the path, where the counters cannot.
fn expected_code(path: &Path) -> Option<u32> {
    const XDP_PASS: u32 = 2;
    const XDP_TX: u32 = 3;
    match path.under {
        Under::Baseline("empty") => Some(XDP_PASS),
        Under::Baseline(_) => Some(XDP_TX),
        Under::Product(_) => None,
    }
}

/// ICMP is counted and never too much.
fn pair() -> HostTables {
    let mut tables = world::pair(Nanos(1));
    tables.node.icmp_cost = 1;
    tables
}

fn key(path: &Path, vserver: u32, index: u32) -> FlowKey {
    let addr = Ip::from(path.client(index));
    FlowKey { vserver: vserver as u16, addr, port: Be16::new(CLIENT_PORT), protocol: 6, ..FlowKey::default() }
}

fn chunks(all: u32) -> impl Iterator<Item = std::ops::Range<u32>> {
    (0..all).step_by(BATCH as usize).map(move |first| first..(first + BATCH).min(all))
}

fn program<'e>(ebpf: &'e Ebpf, name: &str) -> Result<&'e ProgramFd> {
    let program: &Xdp = ebpf.program(name).with_context(|| format!("program {name}"))?.try_into()?;
    Ok(program.fd()?)
}

/// Where the build leaves the harness's object.
pub fn object() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/bpfel-unknown-none/release/bench").into()
}
