//! One round of one row, and all of a bench's devices.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use super::bed::DEVICE_CPU;
use super::device::{Device, Kind};
use super::generator::{self, Amount};
use super::programs::{Pace, Programs};
use super::rows::{FLOWS, Load, NEWCOMERS, Row};
use super::traffic::{Flows, Says, pattern};
use crate::harness::napi;
use crate::harness::run::Run;

/// How often flows are opened until all have come through, each time at half the rate: other programs may keep a device from its work.
const ATTEMPTS: u32 = 5;
/// Frames per second while flows are opened.
pub const OPENING: u64 = 100_000;
/// How long frames may be on their way after the last was sent.
const UNDER_WAY: Duration = Duration::from_millis(20);
/// Part of the packets that must have left for the row's reason.
const MOST: f64 = 0.99;

/// Who carries packets through the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// The sender's CPU does all, to the end: costs add up, nothing is lost.
    Inline,
    /// A thread on a CPU of its own does, as interrupts of a NIC on another CPU would: what it cannot take is lost.
    Threaded,
}

/// What one round came to.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Sample {
    /// Frames sent to the device.
    pub offered: u64,
    /// Frames that left it, for the ceiling: that it dropped.
    pub out: u64,
    /// Offered per second.
    pub rate: f64,
    /// CPU time per packet, ns: of everything on the path (inline), of the device and what it hands frames to (threaded).
    pub ns: f64,
}

/// Everything that is measured.
pub struct Bench {
    /// The devices. Before the programs, so that they are gone when those go.
    devices: Vec<Device>,
    /// The programs of all beds.
    pub programs: Programs,
    placement: Placement,
    /// Threads of the device's packets, by kind; empty inline.
    threads: Vec<(Kind, i32)>,
    /// Where flows are open: device and port.
    open: HashSet<(Kind, u16)>,
    _run: Run,
}

impl Bench {
    /// Raises a device of each of `kinds`.
    pub fn raise(kinds: &[Kind]) -> Result<Self> {
        let run = Run::start()?;
        let mut programs = Programs::load()?;
        let devices = kinds.iter().map(|kind| Device::raise(*kind, &run, &mut programs)).collect::<Result<_>>()?;
        let (threads, open) = (Vec::new(), HashSet::new());
        Ok(Self { devices, programs, placement: Placement::Inline, threads, open, _run: run })
    }

    /// Gives every device's packets a thread of their own, for good.
    pub fn thread(&mut self) -> Result<()> {
        self.threads = self.devices.iter().map(|device| Ok((device.kind, device.bed.thread()?))).collect::<Result<_>>()?;
        self.placement = Placement::Threaded;
        Ok(())
    }

    /// Who carries packets now.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// The device of `kind`.
    pub fn device(&self, kind: Kind) -> Result<&Device> {
        self.devices
            .iter()
            .find(|device| device.kind == kind)
            .with_context(|| format!("{} is not part of this run", kind.name()))
    }

    /// One round of `row`, of about `time`.
    pub fn round(&mut self, row: &Row, time: Duration) -> Result<Sample> {
        let sample = self.measured(row, time).with_context(|| row.name.to_owned());
        sample.map_err(|error| match self.device(row.kind) {
            Ok(device) if !device.log().is_empty() => error.context(device.log()),
            _ => error,
        })
    }

    fn measured(&mut self, row: &Row, time: Duration) -> Result<Sample> {
        let (says, flows, amount) = match row.load {
            Load::Established => (Says::Data, Flows::AtRandom(FLOWS), Amount::Time(time)),
            Load::NewTcp => (Says::Syn, Flows::InOrder, Amount::Arrived(NEWCOMERS)),
            Load::NewUdp => (Says::Datagram, Flows::InOrder, Amount::Arrived(NEWCOMERS)),
            Load::Echo => (Says::Echo, Flows::AtRandom(FLOWS), Amount::Time(time)),
        };
        if row.load.is_new() {
            self.device(row.kind)?.forget()?;
            self.open.retain(|(kind, _)| *kind != row.kind);
        } else if row.load == Load::Established {
            self.open(row.kind, row.port)?;
        }
        let device = self.device(row.kind)?;
        let way = device.bed.way(device.target(row.load == Load::Echo), row.port);
        self.programs.send(&[&pattern(way, says, flows)?], Pace::default())?;
        let clocks = self.clocks(row.kind)?;
        let (arrived, reasons, busy) = (self.programs.arrived()?, device.reasons()?, total(&clocks)?);
        let spent = device.bed.send(&self.programs, amount)?;
        std::thread::sleep(UNDER_WAY);
        let busy = total(&clocks)?.saturating_sub(busy);
        let offered = spent.sent[0];
        let out = (self.programs.arrived()? - arrived).min(offered);
        ensure!(out > 0, "none of {offered} packets got through");
        if let Some(reason) = row.reason {
            let after = device.reasons()?;
            let of = |reasons: &std::collections::HashMap<&str, u64>| reasons.get(reason.name()).copied().unwrap_or(0);
            let by_reason = of(&after) - of(&reasons);
            ensure!(
                by_reason as f64 >= MOST * out as f64,
                "only {by_reason} of {out} packets left for the reason {}: {}",
                reason.name(),
                differences(&reasons, &after)
            );
        }
        let (cost, packets) = match self.placement {
            Placement::Inline => (spent.cpu + busy, offered),
            Placement::Threaded => (busy, out),
        };
        let rate = offered as f64 / spent.wall.as_secs_f64();
        Ok(Sample { offered, out, rate, ns: cost.as_secs_f64() * 1e9 / packets as f64 })
    }

    /// Opens the flows of an established row, unless they are: SYN, the far end's answer, and its acknowledgement.
    fn open(&mut self, kind: Kind, port: u16) -> Result<()> {
        if matches!(kind, Kind::Ceiling | Kind::Beyond | Kind::Kernel) || !self.open.insert((kind, port)) {
            return Ok(());
        }
        let mut opened = Ok(());
        for attempt in 0..ATTEMPTS {
            opened = self.open_flows(kind, port, FLOWS, OPENING >> attempt);
            if opened.is_ok() {
                break;
            }
        }
        opened.with_context(|| format!("open {FLOWS} flows to port {port}"))
    }

    /// Opens the first `flows` flows, a power of two, at `rate` frames a second.
    pub fn open_flows(&self, kind: Kind, port: u16, flows: u32, rate: u64) -> Result<()> {
        self.programs.behave(true, false)?;
        let opened = [(Says::Syn, 2), (Says::Ack, 1)].iter().try_for_each(|(says, arrivals)| {
            let (sent, arrived) = self.tell_each(kind, port, *says, flows, rate)?;
            let missing = (sent * arrivals).saturating_sub(arrived);
            ensure!(
                missing == 0,
                "{sent} frames that say {says:?} were sent, {missing} of them or of their answers did not arrive"
            );
            Ok(())
        });
        self.programs.behave(false, false)?;
        opened
    }

    /// Has each of the first `flows` flows send at least one frame; how many were sent, and how many arrived at either end.
    pub fn tell_each(&self, kind: Kind, port: u16, says: Says, flows: u32, rate: u64) -> Result<(u64, u64)> {
        let device = self.device(kind)?;
        let pattern = pattern(device.bed.way(device.target(false), port), says, Flows::InTurn(flows))?;
        self.programs.send(&[&pattern], Pace::of_rate(rate))?;
        let arrived = self.programs.arrived()?;
        let sent = device.bed.send(&self.programs, Amount::Sent(flows.into()))?.sent[0];
        std::thread::sleep(UNDER_WAY);
        Ok((sent, self.programs.arrived()? - arrived))
    }

    /// Clocks of the threads that may work on packets besides the sender.
    fn clocks(&self, kind: Kind) -> Result<Vec<ClockId>> {
        let cpu = match self.placement {
            Placement::Inline => generator::CPU,
            Placement::Threaded => DEVICE_CPU,
        };
        let overflow = napi::tasks_named(&format!("ksoftirqd/{cpu}"))?;
        let own = self.threads.iter().filter(|(of, _)| *of == kind).map(|(_, thread)| *thread);
        let clock = |pid| clock_getcpuclockid(Pid::from_raw(pid)).with_context(|| format!("find the clock of task {pid}"));
        overflow.into_iter().chain(own).map(clock).collect()
    }
}

fn total(clocks: &[ClockId]) -> Result<Duration> {
    clocks.iter().map(|clock| Ok(Duration::from(clock.now()?))).sum()
}

fn differences(
    before: &std::collections::HashMap<&'static str, u64>,
    after: &std::collections::HashMap<&'static str, u64>,
) -> String {
    let mut found: Vec<(u64, &str)> = after
        .iter()
        .map(|(name, count)| (count - before.get(name).copied().unwrap_or(0), *name))
        .filter(|(count, _)| *count > 0)
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    found.iter().map(|(count, name)| format!("{name} {count}  ")).collect()
}
