//! The two sides: the pipeline on the host, and the loaded programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use aya::maps::{MapData, RingBuf};
use aya::programs::{SchedClassifier, Xdp};
use ha_common::abi::{Counter, Event, PrefixKey, Reason};
use ha_common::packet::HostPacket;
use ha_common::pipeline::{self, Action, Egress, Ingress, Verdict};
use ha_common::tables::{HostTables, Tables as _};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::object::{self, NOW, TICKS};
use super::records::{Image, Kind, TABLES, Table, empty, image};
use super::space;
use super::sums;
use crate::kernel::map::{Bulk, all_into, bytes_of, clear, put_bulk, record, test_run};
use crate::kernel::{self, Kernel};

/// Length of `struct __sk_buff`, and where in it the interface is.
const SK_BUFF: usize = 192;
const SK_BUFF_IFINDEX: usize = 40;

/// A frame, and where it is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The interface that it comes in on, or leaves by.
    pub ifindex: u32,
    /// Whether the host sends it.
    pub sent: bool,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// Both sides, on one CPU, in one namespace.
pub struct Both {
    /// Keeps the programs loaded.
    kernel: Kernel,
    maps: Vec<OwnedFd>,
    counters: OwnedFd,
    ingress: OwnedFd,
    egress: OwnedFd,
    rings: [RingBuf<MapData>; 2],
    cpu: usize,
    cpus: usize,
    /// The host's tables.
    pub host: HostTables,
    before: Vec<Counter>,
    out: Vec<u8>,
    bulk: Bulk,
}

impl Both {
    /// Binds this thread to `cpu` and to a namespace of its own, and loads the programs there: those of `object`.
    pub fn load(object: &[u8], cpu: usize) -> Result<Self> {
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("run on CPU {cpu}"))?;
        space::enter()?;
        let sizes: Vec<(&str, u32)> = TABLES.iter().map(|table| (table.name, table.room)).collect();
        let mut kernel = Kernel::from_object(object, &sizes)?;
        ensure!(kernel.clocks()? == (TICKS, NOW), "the programs' clocks do not stand still: see fuzz/object.rs");
        let maps = TABLES.iter().map(|table| Ok(kernel.map(table.name)?.try_clone_to_owned()?)).collect::<Result<_>>()?;
        let counters = kernel.map("COUNTERS")?.try_clone_to_owned()?;
        let ingress: &Xdp = kernel.ebpf().program("ingress").context("program ingress")?.try_into()?;
        let ingress = ingress.fd()?.as_fd().try_clone_to_owned()?;
        let egress: &SchedClassifier = kernel.ebpf().program("egress_guard").context("program egress_guard")?.try_into()?;
        let egress = egress.fd()?.as_fd().try_clone_to_owned()?;
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        let rings = [ring(&mut kernel, "EVENTS")?, ring(&mut kernel, "RULINGS")?];
        let (before, out, bulk) = (vec![], vec![0; 65_536], Bulk::default());
        Ok(Both { kernel, maps, counters, ingress, egress, rings, cpu, cpus, host: empty(), before, out, bulk })
    }

    /// The object that the daemon loads, ready for [`Both::load`].
    pub fn object() -> Result<Vec<u8>> {
        object::comparable(&kernel::object()?)
    }

    /// Begins with `tables` on both sides.
    pub fn begin(&mut self, tables: HostTables) -> Result<()> {
        self.host = tables;
        self.host.now.set(NOW);
        self.host.ticks.set(TICKS);
        space::route(&mut self.host);
        for (table, map) in TABLES.iter().zip(&self.maps) {
            fill(table, map, &self.host, self.cpus, &mut self.bulk).with_context(|| format!("fill {}", table.name))?;
        }
        self.kernel.fill_filters(&self.host)?;
        self.events();
        self.before = self.counted()?;
        Ok(())
    }

    /// Lets both sides judge `packet`; the host's verdict.
    ///
    /// # Errors
    /// The outer one when the kernel refuses to run, the inner one with what differs.
    pub fn step(&mut self, packet: &Packet) -> Result<Result<Verdict, String>> {
        let Packet { ifindex, sent, frame } = packet;
        let (code, len) = if *sent {
            let mut context = [0; SK_BUFF];
            context[SK_BUFF_IFINDEX..SK_BUFF_IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
            test_run(self.egress.as_fd(), frame, &context, &mut self.out)
        } else {
            // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
            let words = [0, frame.len() as u32, 0, *ifindex, 0, 0];
            test_run(self.ingress.as_fd(), frame, bytes_of(&words), &mut self.out)
        }
        .with_context(|| format!("run {} on {}", if *sent { "egress_guard" } else { "ingress" }, hex(frame)))?;
        let mut on_host = HostPacket::new(frame);
        let verdict = if *sent {
            pipeline::egress(&mut on_host, &self.host, Egress { ifindex: *ifindex, vlan: 0 })
        } else {
            space::route_strict(&mut self.host, frame);
            pipeline::process(&mut on_host, &self.host, Ingress { ifindex: *ifindex })
        };
        self.host.count(verdict.reason(), frame.len());
        let action = if *sent { action_of_guard(code) } else { action_of_xdp(code) };
        let (here, there) = (on_host.frame(), &self.out[..len]);
        if action != verdict.action() || here != there {
            return Ok(Err(format!(
                "host: {:?} for {}, kernel: {action:?}\n  came   {}\n  host   {}\n  kernel {}",
                verdict.action(),
                verdict.reason().name(),
                hex(frame),
                hex(here),
                hex(there)
            )));
        }
        if verdict.action() != Action::Drop && here != frame.as_slice() {
            let kept = sums::compare(frame, here, is_translated(verdict.reason()));
            return Ok(kept.map(|()| verdict).map_err(|error| {
                format!("{}: {error}\n  came {}\n  left {}", verdict.reason().name(), hex(frame), hex(here))
            }));
        }
        Ok(Ok(verdict))
    }

    /// Whether both sides have left the same in tables, counters and events since [`Both::begin`].
    pub fn end(&mut self) -> Result<Result<(), String>> {
        let mut differences = String::new();
        let host = image(&self.host, false);
        let kernel = self.kernel_image()?;
        for (name, here) in &host {
            let there = &kernel[name];
            let keys: std::collections::BTreeSet<_> = here.keys().chain(there.keys()).collect();
            for key in keys.into_iter().filter(|&key| here.get(key) != there.get(key)) {
                let show = |value: Option<&Vec<u8>>| value.map_or("none".to_owned(), |value| hex(value));
                let (here, there) = (show(here.get(key)), show(there.get(key)));
                let _ = write!(differences, "\n{name}[{}]\n  host   {here}\n  kernel {there}", hex(key));
            }
        }
        let counted = self.counted()?;
        for &reason in Reason::ALL {
            let (now, then) = (counted[reason as usize], self.before[reason as usize]);
            let there = Counter { packets: now.packets - then.packets, bytes: now.bytes - then.bytes };
            let here = self.host.counters.borrow().get(&reason).copied().unwrap_or_default();
            if here != there {
                let _ = write!(differences, "\ncounter {}\n  host   {here:?}\n  kernel {there:?}", reason.name());
            }
        }
        let there = told(&self.events());
        let here = told(&self.host.events.borrow());
        if here != there {
            let _ = write!(differences, "\nevents\n  host   {here:?}\n  kernel {there:?}");
        }
        Ok(if differences.is_empty() { Ok(()) } else { Err(differences) })
    }

    /// What the kernel's maps hold of the tables that the pipeline writes; hash maps are empty then.
    fn kernel_image(&mut self) -> Result<Image> {
        let mut image = Image::new();
        for (table, map) in TABLES.iter().zip(&self.maps).filter(|(table, _)| table.written) {
            let stride = self.stride(table);
            let take = table.kind == Kind::Hash;
            all_into(map.as_fd(), &mut self.bulk, table.room as usize, table.key_len, stride, take)
                .with_context(|| format!("read {}", table.name))?;
            let own = if table.kind == Kind::PerCpu { self.cpu * table.value_len } else { 0 };
            let keys = self.bulk.keys.chunks_exact(table.key_len);
            let values = self.bulk.values.chunks_exact(stride).map(|value| &value[own..own + table.value_len]);
            image.insert(table.name, keys.zip(values).map(|(key, value)| (key.to_vec(), value.to_vec())).collect());
        }
        Ok(image)
    }

    /// Takes every event out of both ring buffers.
    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for ring in &mut self.rings {
            while let Some(event) = ring.next() {
                events.push(record::<Event>(&event));
            }
        }
        events
    }

    /// Length of a value as the kernel hands it out.
    fn stride(&self, table: &Table) -> usize {
        if table.kind == Kind::PerCpu { table.value_len * self.cpus } else { table.value_len }
    }

    /// All counters of this CPU, by number.
    fn counted(&mut self) -> Result<Vec<Counter>> {
        let stride = size_of::<Counter>() * self.cpus;
        all_into(self.counters.as_fd(), &mut self.bulk, Reason::ALL.len(), size_of::<u32>(), stride, false)?;
        let own = self.cpu * size_of::<Counter>();
        let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        let counter = |value: &[u8]| Counter { packets: word(&value[own..own + 8]), bytes: word(&value[own + 8..own + 16]) };
        Ok(self.bulk.values.chunks_exact(stride).map(counter).collect())
    }
}

/// The ring buffer `name`, mapped as long as it lives.
fn ring(kernel: &mut Kernel, name: &str) -> Result<RingBuf<MapData>> {
    let map = kernel.ebpf().take_map(name).with_context(|| format!("map {name}"))?;
    RingBuf::try_from(map).with_context(|| format!("map {name} into memory"))
}

/// Makes `map` hold what `table` has on the host, and nothing else. Hash maps that the pipeline writes are empty before, see
/// [`Both::end`], unless it ended early.
fn fill(table: &Table, map: &OwnedFd, host: &HostTables, cpus: usize, bulk: &mut Bulk) -> Result<()> {
    let entries = (table.entries)(host);
    if matches!(table.kind, Kind::Hash | Kind::Trie) {
        match table.kind {
            // Of a trie nothing is taken many at a time.
            Kind::Trie => clear::<PrefixKey>(map.as_fd())?,
            _ => all_into(map.as_fd(), bulk, table.room as usize, table.key_len, table.value_len, true)?,
        }
        bulk.keys.clear();
        bulk.values.clear();
        bulk.count = entries.len();
        for (key, value) in entries {
            bulk.keys.extend(key);
            bulk.values.extend(value);
        }
    } else {
        let copies = if table.kind == Kind::PerCpu { cpus } else { 1 };
        let stride = table.value_len * copies;
        bulk.count = table.room as usize;
        bulk.keys = (0..table.room).flat_map(u32::to_ne_bytes).collect();
        bulk.values.clear();
        bulk.values.resize(bulk.count * stride, 0);
        for (key, value) in entries {
            let at = u32::from_ne_bytes(key.try_into().expect("an index")) as usize * stride;
            bulk.values[at..at + stride].copy_from_slice(&value.repeat(copies));
        }
    }
    Ok(put_bulk(map.as_fd(), bulk)?)
}

/// What a return code of an XDP program means: see [`object`].
fn action_of_xdp(code: u32) -> Action {
    match code {
        1 => Action::Drop,
        2 => Action::Pass,
        3 => Action::Transmit,
        ifindex => Action::Redirect(ifindex),
    }
}

/// What a return code of the guard means: go on with the chain, or an end of it.
fn action_of_guard(code: u32) -> Action {
    if code.cast_signed() == -1 { Action::Pass } else { Action::Drop }
}

/// Whether the packet leaves as it came, but for what was translated: then a checksum that was wrong stays wrong.
fn is_translated(reason: Reason) -> bool {
    let own = matches!(reason, Reason::ResetDown | Reason::ResetCutOff);
    !own && !matches!(reason, Reason::NeighbourAdvertisement | Reason::HeartbeatEchoed | Reason::HeartbeatClaim)
}

/// Events by how often each was told: two ring buffers keep no common order.
fn told(events: &[Event]) -> BTreeMap<Vec<u8>, usize> {
    let mut told = BTreeMap::new();
    for event in events {
        *told.entry(bytes_of(event).to_vec()).or_default() += 1;
    }
    told
}

/// `bytes` in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
