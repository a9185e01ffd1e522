//! The loaded object.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use aya::maps::{Map, MapData, RingBuf};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use ha_common::abi::{
    Bucket, Counter, DirectoryKey, Event, FILTER_WORDS, FilterBit, FilterKind, MAX_LEGS, MAX_LINKS, Reason, Slot,
};
use ha_common::tables::HostTables;
use ha_common::time::{Nanos, Ticks};

use super::map;

/// Largest number of entries of the tables that grow with traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// `FLOWS`.
    pub flows: u32,
    /// `EXCEPTIONS`.
    pub exceptions: u32,
    /// `EMBRYONIC`.
    pub embryonic: u32,
}

/// The programs and maps of one object.
pub struct Kernel {
    ebpf: Ebpf,
    /// Elements of `DIRECTORY` that are not empty.
    buckets: RefCell<Vec<u32>>,
}

/// What a program did with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its return code.
    pub code: u32,
    /// The frame as it left.
    pub frame: Vec<u8>,
}

/// The object that the daemon loads, or the one that `HA_EBPF_OBJECT` names instead: a mutant, another build.
pub fn object() -> Result<Cow<'static, [u8]>> {
    match std::env::var_os("HA_EBPF_OBJECT") {
        None => Ok(Cow::Borrowed(understudy::datapath::object())),
        Some(path) => std::fs::read(&path).map(Cow::Owned).with_context(|| format!("read {}", path.display())),
    }
}

/// Entries of what the vectors read whole.
const LOADS: u32 = crate::vectors::world::ALL_BACKENDS;
const TURNS: u32 = crate::vectors::world::ALL_VSERVERS;
const SESSIONS: u32 = crate::vectors::world::SESSIONS as u32;

/// A frame's room in front and behind, in the buffer that a run's frame is returned in.
const GROWTH: usize = 256;

impl Kernel {
    /// Loads every program, with tables of these sizes.
    pub fn load(sizes: Sizes) -> Result<Self> {
        let Sizes { flows, exceptions, embryonic } = sizes;
        let sizes = [
            ("FLOWS", flows),
            ("EXCEPTIONS", exceptions),
            ("EMBRYONIC", embryonic),
            ("RINGS", 65_536),
            ("LOADS", LOADS),
            ("TURNS", TURNS),
            ("PERSIST", SESSIONS),
        ];
        Kernel::from_object(&object()?, &sizes)
    }

    /// Loads every program of `object`, with this many entries in each map that is named.
    pub fn from_object(object: &[u8], sizes: &[(&str, u32)]) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        for (name, entries) in sizes {
            loader.map_max_entries(name, *entries);
        }
        let mut ebpf = loader.load(object).context("create the maps")?;
        for name in ["ingress", "clocks", "way"] {
            let program: &mut Xdp = ebpf.program_mut(name).with_context(|| format!("program {name}"))?.try_into()?;
            program.load().with_context(|| format!("load {name}"))?;
        }
        let guard: &mut SchedClassifier = ebpf.program_mut("egress_guard").context("program egress_guard")?.try_into()?;
        guard.load().context("load egress_guard")?;
        Ok(Kernel { ebpf, buckets: RefCell::default() })
    }

    /// Everything of the object, for what only one caller needs.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// The file descriptor of map `name`.
    pub fn map(&self, name: &str) -> Result<BorrowedFd<'_>> {
        let map = self.ebpf.map(name).with_context(|| format!("map {name}"))?;
        let data: &MapData = match map {
            Map::Array(data)
            | Map::HashMap(data)
            | Map::LruHashMap(data)
            | Map::PerCpuArray(data)
            | Map::RingBuf(data)
            | Map::LpmTrie(data) => data,
            _ => anyhow::bail!("map {name} is of a kind that no table is of"),
        };
        Ok(data.fd().as_fd())
    }

    /// Runs `ingress` once over a frame that came in on interface `ifindex` of the caller's namespace.
    pub fn ingress(&self, frame: &[u8], ifindex: u32) -> Result<Output> {
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
        let program: &Xdp = self.ebpf.program("ingress").context("program ingress")?.try_into()?;
        run(frame, &context, |options| program.test_run(options))
    }

    /// Runs `egress_guard` once over a frame that leaves.
    pub fn egress(&self, frame: &[u8]) -> Result<Output> {
        let program: &SchedClassifier = self.ebpf.program("egress_guard").context("program egress_guard")?.try_into()?;
        run(frame, &[], |options| program.test_run(options))
    }

    /// The kernel's two clocks at one instant.
    pub fn clocks(&self) -> Result<(Ticks, Nanos)> {
        let program: &Xdp = self.ebpf.program("clocks").context("program clocks")?.try_into()?;
        let output = run(&[0; 64], &[], |options| program.test_run(options))?;
        let word = |at: usize| u64::from_ne_bytes(output.frame[at..at + 8].try_into().expect("eight bytes"));
        Ok((Ticks(word(0)), Nanos(word(8))))
    }

    /// Makes every map hold what `tables` holds, and nothing else.
    pub fn fill(&self, tables: &HostTables) -> Result<()> {
        map::put(self.map("NODE")?, &0u32, &tables.node)?;
        map::put(self.map("FENCE")?, &0u32, &tables.fence)?;
        for link in 0..MAX_LINKS {
            map::put(self.map("LINKS")?, &(link as u32), &*tables.links[link].borrow())?;
            let ifindex = tables.link_ifindex.get(&(link as u32)).copied().unwrap_or(0);
            map::put(self.map("LINK_IFINDEX")?, &(link as u32), &ifindex)?;
        }
        for leg in 0..MAX_LEGS as u32 {
            map::put(self.map("LEG_IFINDEX")?, &leg, &tables.leg_ifindex.get(&leg).copied().unwrap_or(0))?;
        }
        self.fill_hash("INTERFACES", &tables.interfaces)?;
        self.configure(tables)?;
        self.fill_hash("FLOWS", &tables.flows.borrow())?;
        self.fill_hash("EMBRYONIC", &tables.embryonic.borrow())?;
        self.fill_hash("EXCEPTIONS", &tables.exceptions.borrow())?;
        self.fill_hash("REVERSE", &tables.reverse.borrow())?;
        self.fill_hash("REVERSE_EMBRYONIC", &tables.reverse_embryonic.borrow())?;
        self.fill_hash("PERSIST", &tables.sessions.borrow())?;
        self.fill_hash("PERSIST_EMBRYONIC", &tables.session_embryos.borrow())?;
        self.fill_hash("SOURCES", &tables.sources.borrow())?;
        self.fill_hash("FRAGMENTS", &tables.fragments.borrow())?;
        map::put(self.map("ICMP")?, &0u32, &*tables.icmp_budget.borrow())?;
        map::put(self.map("RESETS")?, &0u32, &*tables.reset_budget.borrow())?;
        map::put_per_cpu(self.map("STRAYS")?, &0u32, &*tables.stray_budget.borrow())?;
        let vrids: Vec<u32> = (0..=u8::MAX).map(|vrid| tables.vrids.get(&vrid).copied().unwrap_or(0)).collect();
        self.fill_array("VRIDS", &vrids)?;
        for (leg, sent) in tables.stray_legs.iter().enumerate() {
            map::put_per_cpu(self.map("STRAY_LEGS")?, &(leg as u32), &*sent.borrow())?;
        }
        for &reason in Reason::ALL {
            map::put_per_cpu(self.map("COUNTERS")?, &(reason as u32), &Counter::default())?;
        }
        Ok(())
    }

    /// Makes the maps that follow from the configuration hold what `tables` holds, and nothing else.
    pub fn configure(&self, tables: &HostTables) -> Result<()> {
        self.fill_hash("ADDRESSES", &tables.addresses)?;
        self.fill_hash("VSERVER_INDEX", &tables.vserver_index)?;
        self.fill_hash("BACKEND_INDEX", &tables.owners)?;
        self.fill_array("VSERVERS", &tables.vservers)?;
        self.fill_array("RINGS", &tables.rings)?;
        self.fill_array("BACKENDS", &tables.backends)?;
        self.fill_array("LOADS", &tables.loads)?;
        self.fill_array("TURNS", &tables.turns)?;
        self.fill_array("SNIPS", &tables.snips)?;
        self.fill_hash("PREFIXES", &tables.prefixes)?;
        self.fill_array("THROTTLES", &tables.throttles)?;
        self.fill_filters(tables)
    }

    /// Sets the bit of every key, and no other.
    pub fn fill_filters(&self, tables: &HostTables) -> Result<()> {
        let mut filters: [Vec<u64>; FilterKind::ALL.len()] = std::array::from_fn(|_| vec![0; FILTER_WORDS]);
        let mut add = |kind: FilterKind, bit: FilterBit| filters[kind as usize][bit.word()] |= bit.mask();
        tables.vserver_index.keys().for_each(|key| add(FilterKind::Vserver, FilterBit::service(key)));
        tables.owners.keys().for_each(|key| add(FilterKind::Owner, FilterBit::service(key)));
        tables.addresses.keys().for_each(|key| add(FilterKind::Address, FilterBit::address(key)));
        for (kind, words) in FilterKind::ALL.into_iter().zip(&filters) {
            let words: &[u64; FILTER_WORDS] = words.as_slice().try_into()?;
            map::put(self.map("FILTERS")?, &(kind as u32), words).context("fill FILTERS")?;
        }
        self.fill_directory(tables)
    }

    /// Puts every key into its bucket, as far as there is room: as the daemon does.
    fn fill_directory(&self, tables: &HostTables) -> Result<()> {
        let mut buckets: BTreeMap<u32, Bucket> =
            self.buckets.take().into_iter().map(|index| (index, Bucket::default())).collect();
        let mut add = |bit: FilterBit, key: DirectoryKey, value: [u32; 2]| {
            let bucket = buckets.entry(bit.bucket()).or_default();
            if let Some(slot) = bucket.slots.iter_mut().find(|slot| slot.mark == 0) {
                *slot = Slot { addr: key.addr, value, domain: key.domain, mark: key.mark };
            }
        };
        for (key, &index) in &tables.vserver_index {
            add(FilterBit::service(key), DirectoryKey::service(FilterKind::Vserver, key), [index, 0]);
        }
        for (key, owner) in &tables.owners {
            add(FilterBit::service(key), DirectoryKey::service(FilterKind::Owner, key), [owner.backend, owner.vserver]);
        }
        for (key, address) in &tables.addresses {
            add(FilterBit::address(key), DirectoryKey::address(key), [address.flags, address.group]);
        }
        for (index, bucket) in &buckets {
            map::put(self.map("DIRECTORY")?, index, bucket).context("fill DIRECTORY")?;
        }
        *self.buckets.borrow_mut() = buckets.into_keys().collect();
        Ok(())
    }

    fn fill_hash<K: Default + Clone, V>(&self, name: &str, entries: &std::collections::HashMap<K, V>) -> Result<()> {
        let map = self.map(name)?;
        map::clear::<K>(map).with_context(|| format!("empty {name}"))?;
        for (key, value) in entries {
            map::put(map, key, value).with_context(|| format!("fill {name}"))?;
        }
        Ok(())
    }

    fn fill_array<V>(&self, name: &str, values: &[V]) -> Result<()> {
        let map = self.map(name)?;
        if values.is_empty() {
            return Ok(());
        }
        // One call: what vectors say of the last milliseconds must still be true when the frame comes, on slow machines, too.
        let keys: Vec<u32> = (0..values.len() as u32).collect();
        map::put_all(map, &keys, values).with_context(|| format!("fill {name}"))
    }

    /// Counters that are not zero, all CPUs together.
    pub fn counters(&self) -> Result<Vec<(Reason, Counter)>> {
        let map = self.map("COUNTERS")?;
        let mut counters = Vec::new();
        for &reason in Reason::ALL {
            let all: Vec<Counter> = map::get_per_cpu(map, &(reason as u32))?;
            let packets = all.iter().map(|counter| counter.packets).sum();
            let bytes = all.iter().map(|counter| counter.bytes).sum();
            if packets != 0 || bytes != 0 {
                counters.push((reason, Counter { packets, bytes }));
            }
        }
        Ok(counters)
    }

    /// Strays by leg, all CPUs together.
    pub fn stray_legs(&self) -> Result<Vec<u64>> {
        let map = self.map("STRAY_LEGS")?;
        (0..MAX_LEGS as u32).map(|leg| Ok(map::get_per_cpu::<u32, u64>(map, &leg)?.iter().sum())).collect()
    }

    /// Takes every event out of both ring buffers.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for name in ["RULINGS", "EVENTS"] {
            let map = self.ebpf.map_mut(name).with_context(|| format!("map {name}"))?;
            let mut ring = RingBuf::try_from(map)?;
            while let Some(record) = ring.next() {
                events.push(map::record::<Event>(&record));
            }
        }
        Ok(events)
    }
}

fn run(
    frame: &[u8],
    context: &[u8],
    program: impl FnOnce(TestRunOptions<'_>) -> Result<aya::programs::TestRunResult, aya::programs::ProgramError>,
) -> Result<Output> {
    let mut out = vec![0; frame.len() + GROWTH];
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.data_out = Some(&mut out);
    options.ctx_in = (!context.is_empty()).then_some(context);
    let result = program(options).context("run the program on a frame")?;
    out.truncate(result.data_size_out as usize);
    Ok(Output { code: result.return_value, frame: out })
}
