//! The lease by which packets are traced, and the reading end of what the kernel tells.
#![allow(unsafe_code)] // reading records from the ring buffer's bytes

use std::io;
use std::mem::offset_of;
use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use ha_common::abi::{Node, Trace, TraceBudget, TraceFilter, Traced, node_flags};
use ha_common::time::{Nanos, Ticks};
use thiserror::Error;

use super::array::Array;
use super::clocks::Clocks;
use super::maps::{OpenError, array, per_cpu};
use super::pins::Pins;
use super::view;

/// How far ahead the lease reaches when it is renewed: a second where ticks are shortest, ten where they are longest.
const LEASE: u64 = 1_000;

/// Tracing could not begin, or goes on no more.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The maps of this node cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The programs that run are not those of this release.
    #[error("the programs pinned in {0} are of another release: restart the daemon")]
    Programs(String),
    /// Somebody else traces.
    #[error("process {0} traces already: wait for its end, or end it")]
    Taken(u64),
    /// Somebody else has begun, because this process did not renew its lease in time.
    #[error("process {0} traces now: this one stood still for too long")]
    Lost(u64),
    /// The kernel refuses.
    #[error("cannot trace: {0}")]
    Kernel(#[from] io::Error),
}

/// Packets that were wanted and are not told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Above the rate.
    pub limited: u64,
    /// No room in the ring buffer.
    pub full: u64,
}

/// A lease. Dropping it ends the trace.
pub struct Tracing {
    node: Array<Node>,
    trace: Array<Trace>,
    budgets: PerCpuArray<MapData, [u64; size_of::<TraceBudget>() / 8]>,
    ring: RingBuf<MapData>,
    clocks: Clocks,
    before: Losses,
    began: Nanos,
}

impl std::fmt::Debug for Tracing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tracing")
    }
}

impl Tracing {
    /// Begins to trace what `filter` wants on the node with this pin directory, at most `per_second` packets on each CPU.
    ///
    /// # Errors
    /// When somebody else does, or the kernel's side is not there.
    pub fn begin(pins: &Path, filter: TraceFilter, per_second: u64) -> Result<Self, TraceError> {
        let pins = Pins::new(pins);
        let dir = &pins.maps();
        let pin = |source| OpenError::Pin { name: "TRACED", source };
        let map = MapData::from_pin(dir.join("TRACED")).and_then(Map::from_map_data).map_err(pin)?;
        let mut tracing = Tracing {
            node: array(dir, "NODE", true)?,
            trace: array(dir, "TRACE", true)?,
            budgets: per_cpu(dir, "TRACE_BUDGET")?,
            ring: RingBuf::try_from(map).map_err(pin)?,
            clocks: view::clocks(&pins).ok_or_else(|| TraceError::Programs(pins.all_programs().display().to_string()))?,
            before: Losses::default(),
            began: Nanos::NEVER,
        };
        take(&tracing.trace, tracing.clocks.read()?.0)?;
        // What an earlier trace left is nobody's.
        while tracing.ring.next().is_some() {}
        tracing.before = tracing.lost()?;
        tracing.began = tracing.clocks.read()?.1;
        let cost = 1_000_000_000 / per_second.max(1);
        let own = u64::from(std::process::id());
        tracing.trace.set(0, &Trace { until: Ticks(0), holder: own, cost, filter, reserved: 0 });
        tracing.renew()?;
        Ok(tracing)
    }

    /// Lets the trace go on: to be called several times a second.
    ///
    /// # Errors
    /// When somebody else has the lease.
    pub fn renew(&self) -> Result<(), TraceError> {
        let holder = holder(&self.trace).load(Acquire);
        if holder != own() {
            return Err(TraceError::Lost(holder));
        }
        let ticks = self.clocks.read()?.0;
        until(&self.trace).store(ticks.0 + LEASE, Release);
        flags(&self.node).fetch_or(node_flags::TRACED, AcqRel);
        Ok(())
    }

    /// What was lost since the trace began.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn losses(&self) -> io::Result<Losses> {
        let now = self.lost()?;
        Ok(Losses { limited: now.limited - self.before.limited, full: now.full - self.before.full })
    }

    fn lost(&self) -> io::Result<Losses> {
        let values = self.budgets.get(&0, 0).map_err(io::Error::other)?;
        let sum = |offset: usize| values.iter().map(|words| words[offset / 8]).sum();
        Ok(Losses { limited: sum(offset_of!(TraceBudget, limited)), full: sum(offset_of!(TraceBudget, full)) })
    }
}

/// Yields what is there and never waits: the end is the end for now.
impl Iterator for Tracing {
    type Item = Traced;

    fn next(&mut self) -> Option<Traced> {
        loop {
            let item = self.ring.next()?;
            // One that another trace caused came before this one began.
            if let Some(traced) = traced_of(&item)
                && traced.at >= self.began
            {
                return Some(traced);
            }
        }
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if holder(&self.trace).load(Acquire) == own() {
            flags(&self.node).fetch_and(!node_flags::TRACED, AcqRel);
            end(&self.trace);
        }
    }
}

/// Clears what a trace left that was killed, once its lease has run out: whether there was one.
pub(super) fn clear(node: &Array<Node>, trace: &Array<Trace>, ticks: impl FnOnce() -> io::Result<Ticks>) -> io::Result<bool> {
    let left = flags(node).load(Acquire) & node_flags::TRACED != 0;
    if !left || ticks()?.0 < until(trace).load(Acquire) {
        return Ok(false);
    }
    // Whoever begins in this moment sets the bit again when it renews its lease.
    flags(node).fetch_and(!node_flags::TRACED, AcqRel);
    Ok(true)
}

fn own() -> u64 {
    std::process::id().into()
}

/// Makes this process the holder, unless another one's lease runs.
fn take(trace: &Array<Trace>, now: Ticks) -> Result<(), TraceError> {
    let before = holder(trace).load(Acquire);
    if now.0 < until(trace).load(Acquire) {
        return Err(TraceError::Taken(before));
    }
    holder(trace).compare_exchange(before, own(), AcqRel, Acquire).map(drop).map_err(TraceError::Taken)
}

fn end(trace: &Array<Trace>) {
    until(trace).store(0, Release);
    holder(trace).store(0, Release);
}

fn until(trace: &Array<Trace>) -> &std::sync::atomic::AtomicU64 {
    trace.word64(0, offset_of!(Trace, until))
}

fn holder(trace: &Array<Trace>) -> &std::sync::atomic::AtomicU64 {
    trace.word64(0, offset_of!(Trace, holder))
}

fn flags(node: &Array<Node>) -> &std::sync::atomic::AtomicU32 {
    node.word32(0, offset_of!(Node, flags))
}

/// A record of another length is none that this program knows.
fn traced_of(bytes: &[u8]) -> Option<Traced> {
    // SAFETY: exactly as many bytes as `Traced`, which is made of integers: valid for every bit pattern.
    (bytes.len() == size_of::<Traced>()).then(|| unsafe { bytes.as_ptr().cast::<Traced>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::datapath::array::tests::array;

    #[test]
    fn one_lease_at_a_time_and_one_that_ran_out_is_free() {
        let trace = array::<Trace>(1);
        take(&trace, Ticks(100)).unwrap();
        until(&trace).store(200, Relaxed);
        assert!(matches!(take(&trace, Ticks(199)), Err(TraceError::Taken(holder)) if holder == own()));
        take(&trace, Ticks(200)).unwrap();
        end(&trace);
        assert_eq!(trace.get(0), Trace::default());
    }

    #[test]
    fn what_a_killed_trace_left_is_cleared_when_its_lease_has_run_out_and_nothing_else_is() {
        let (node, trace) = (array::<Node>(1), array::<Trace>(1));
        flags(&node).store(node_flags::TRACED | node_flags::BONDS, Relaxed);
        until(&trace).store(200, Relaxed);
        assert!(!clear(&node, &trace, || Ok(Ticks(199))).unwrap());
        assert!(clear(&node, &trace, || Ok(Ticks(200))).unwrap());
        assert_eq!(flags(&node).load(Relaxed), node_flags::BONDS);
        assert!(!clear(&node, &trace, || panic!("nobody asks for the time while nobody traces")).unwrap());
    }
}
