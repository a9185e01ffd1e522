//! Does service go on under a flood of SYNs from addresses that nobody has?
//!
//! Connections are opened, then backends are added, so that the way of half of them is known to their record alone. Then the flood comes, at a
//! part of the rate that the device was found to carry without loss, while each connection goes on to send once a second and real clients
//! make new ones. A connection is lost if afterwards nothing of it comes through, or if something came to another backend than before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::bed::VIP;
use super::device::{Kind, NAT_PORT};
use super::generator::Amount;
use super::measure::Bench;
use super::programs::{Pace, RECORDED, Seen};
use super::rows::{FLOWS, Load, ROWS, Row};
use super::traffic::{Flows, Says, pattern};
use crate::harness::netns::Netns;

/// Part of the frames that a rate "without loss" may lose: on a machine that is shared, stalls are not the device's fault.
const LOSS: f64 = 1e-3;
/// Rates tried, each half as far from the next as the one before.
const TRIALS: u32 = 9;
/// Length of a trial.
const TRIAL: Duration = Duration::from_millis(500);
/// The device may need so long to take new backends into service: their first health checks.
const SETTLES_WITHIN: Duration = Duration::from_secs(8);
/// Frames per second, without a flood.
const PROBING: u64 = 20_000;
/// Rounds in which each connection sends once more, after the flood.
const LAST_ROUNDS: usize = 3;
/// Clients that make one connection after the other.
const CLIENTS: u32 = 8;
/// Distance of a client's connections.
const CONNECT_EVERY: Duration = Duration::from_millis(40);
/// A SYN is repeated after 1 s, and once more after 2 s (or 3): before that it has been repeated once.
const ONE_REPEAT: Duration = Duration::from_millis(1_900);
/// A connection made sooner needed no repeated SYN.
const NO_REPEAT: Duration = Duration::from_millis(950);

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// How long the flood lasts.
    pub time: Duration,
    /// Part of the rate without loss, percent.
    pub percent: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The device.
    pub device: &'static str,
    /// Packets of 65,536 established flows that it carries in a second.
    pub rate_without_loss: u64,
    /// Frames in a second that the flood was to have, and SYNs in a second that were sent: a busy machine sends less.
    pub aimed_rate: u64,
    /// See there.
    pub flood_rate: u64,
    /// SYNs in all, and how many reached a backend.
    pub flood: [u64; 2],
    /// Established connections.
    pub established: u32,
    /// Of these, how many nothing came through of afterwards.
    pub silent: u32,
    /// Of these, how many came to another backend.
    pub moved: u32,
    /// What they sent during the flood, and how much of it arrived.
    pub segments: [u64; 2],
    /// New connections that were tried during the flood.
    pub tried: usize,
    /// Made without a repeated SYN.
    pub at_once: usize,
    /// Made after one.
    pub after_one: usize,
    /// Why packets left the product meanwhile.
    pub reasons: Vec<(&'static str, u64)>,
}

impl Outcome {
    /// Established connections that did not survive.
    pub fn lost(&self) -> u32 {
        self.silent + self.moved
    }

    /// New connections made with one repeated SYN at most, percent.
    pub fn made_percent(&self) -> f64 {
        100.0 * (self.at_once + self.after_one) as f64 / self.tried as f64
    }
}

/// Floods a device of `kind`.
pub fn run(kind: Kind, flood: &Flood) -> Result<Outcome> {
    let mut bench = Bench::raise(&[kind])?;
    bench.thread()?;
    let row =
        ROWS.iter().find(|row| row.kind == kind && row.load == Load::Established).context("a row of established flows")?;
    let rate_without_loss = rate_without_loss(&mut bench, row)?;
    eprintln!("bench: {}: {rate_without_loss} packets a second without loss", kind.name());
    bench.device(kind)?.forget()?;
    let before = open(&bench, kind)?;
    let near = bench.device(kind)?.bed.near.clone();
    let control = connect_for(&near, Duration::from_secs(1))?;
    let made = control.iter().flatten().count();
    ensure!(made == control.len(), "without a flood {made} of {} connections were made", control.len());
    let outcome = under_flood(&bench, kind, flood, rate_without_loss * flood.percent / 100);
    let (mut outcome, under) =
        outcome.map_err(|error| error.context(bench.device(kind).map(super::device::Device::log).unwrap_or_default()))?;
    for _ in 0..LAST_ROUNDS {
        bench.tell_each(kind, NAT_PORT, Says::Data, RECORDED, PROBING)?;
    }
    let after = bench.programs.seen(RECORDED)?;
    outcome.rate_without_loss = rate_without_loss;
    outcome.segments[1] = before.iter().zip(&under).map(|(before, under)| under.segments - before.segments).sum();
    outcome.moved = count(after.iter().filter(|flow| flow.moves > 0));
    outcome.silent =
        count(under.iter().zip(&after).filter(|(under, after)| under.segments == after.segments && after.moves == 0));
    Ok(outcome)
}

fn count<T>(flows: impl Iterator<Item = T>) -> u32 {
    flows.count() as u32
}

/// The greatest of the rates tried that loses next to nothing.
fn rate_without_loss(bench: &mut Bench, row: &Row) -> Result<u64> {
    let sample = bench.round(row, TRIAL)?;
    // What it carries when it has too much to do: near the limit, on either side.
    let overloaded = sample.rate * sample.out as f64 / sample.offered as f64;
    let (mut carried, mut lost) = (0, (overloaded * 1.5) as u64);
    let device = bench.device(row.kind)?;
    let pattern = pattern(device.bed.way(device.target(false), row.port), Says::Data, Flows::AtRandom(FLOWS))?;
    for _ in 0..TRIALS {
        let rate = u64::midpoint(carried, lost);
        bench.programs.send(&[&pattern], Pace::of_rate(rate))?;
        let arrived = bench.programs.arrived()?;
        let sent = device.bed.send(&bench.programs, Amount::Time(TRIAL))?.sent[0];
        std::thread::sleep(Duration::from_millis(20));
        let arrived = bench.programs.arrived()? - arrived;
        match (arrived as f64) < sent as f64 * (1.0 - LOSS) {
            true => lost = rate,
            false => carried = rate,
        }
    }
    ensure!(carried > 0, "{} loses packets at every rate down to {lost} a second", row.kind.name());
    Ok(carried)
}

/// Opens the connections, notes where each goes, and adds backends.
fn open(bench: &Bench, kind: Kind) -> Result<Vec<Seen>> {
    bench.open_flows(kind, NAT_PORT, RECORDED, PROBING)?;
    bench.programs.forget_seen()?;
    bench.programs.behave(false, true)?;
    bench.tell_each(kind, NAT_PORT, Says::Data, RECORDED, PROBING)?;
    let known = bench.programs.seen(RECORDED)?;
    let silent = known.iter().filter(|flow| flow.segments == 0).count();
    ensure!(silent == 0, "{silent} of {RECORDED} connections do not work before the flood");
    bench.device(kind)?.grow()?;
    std::thread::sleep(SETTLES_WITHIN);
    bench.tell_each(kind, NAT_PORT, Says::Data, RECORDED, PROBING)?;
    let seen = bench.programs.seen(RECORDED)?;
    let moved = seen.iter().filter(|flow| flow.moves > 0).count();
    ensure!(moved == 0, "{moved} of {RECORDED} connections moved when backends were added, before the flood");
    Ok(seen)
}

/// The flood, with the rest beside; what the far end saw of the connections until its end.
fn under_flood(bench: &Bench, kind: Kind, flood: &Flood, rate: u64) -> Result<(Outcome, Vec<Seen>)> {
    let device = bench.device(kind)?;
    let way = device.bed.way(device.target(false), NAT_PORT);
    let patterns = [pattern(way, Says::Syn, Flows::Strangers)?, pattern(way, Says::Data, Flows::InTurn(RECORDED))?];
    // Each connection once a second.
    let pace = Pace { every: (rate / u64::from(RECORDED)).max(2), ..Pace::of_rate(rate.max(1)) };
    bench.programs.send(&[&patterns[0], &patterns[1]], pace)?;
    let (arrived, reasons) = (bench.programs.arrived()?, device.reasons()?);
    let (spent, connections) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| device.bed.send(&bench.programs, Amount::Time(flood.time)));
        let connections = connect_for(&device.bed.near, flood.time.saturating_sub(ONE_REPEAT));
        let spent = flooding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        anyhow::Ok((spent?, connections?))
    })?;
    std::thread::sleep(Duration::from_millis(20));
    let (arrived, under) = (bench.programs.arrived()? - arrived, bench.programs.seen(RECORDED)?);
    let after = device.reasons()?;
    let mut reasons: Vec<(&'static str, u64)> = after
        .iter()
        .map(|(name, count)| (*name, count - reasons.get(name).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let made: Vec<Duration> = connections.iter().flatten().copied().collect();
    let at_once = made.iter().filter(|took| **took < NO_REPEAT).count();
    let flood_rate = (spent.sent[0] as f64 / spent.wall.as_secs_f64()) as u64;
    let outcome = Outcome {
        device: kind.name(),
        rate_without_loss: 0,
        aimed_rate: rate,
        flood_rate,
        // All that arrived but the connections' segments, which are few beside.
        flood: [spent.sent[0], arrived.min(spent.sent[0])],
        established: RECORDED,
        silent: 0,
        moved: 0,
        segments: [spent.sent[1], 0],
        tried: connections.len(),
        at_once,
        after_one: made.len() - at_once,
        reasons,
    };
    Ok((outcome, under))
}

/// Makes connections from `near` for `time`; how long each took, none if it was not made.
fn connect_for(near: &Netns, time: Duration) -> Result<Vec<Option<Duration>>> {
    let end = Instant::now() + time;
    let client = |number: u32| {
        near.run(|| {
            let mut took = Vec::new();
            let mut next = Instant::now() + CONNECT_EVERY * number / CLIENTS;
            while next < end {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                took.push(connect().ok());
                next = (next + CONNECT_EVERY).max(Instant::now());
            }
            Ok(took)
        })
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        let joined = clients.into_iter().map(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<Result<Vec<_>>>().map(|took| took.concat())
    })
}

/// Makes a connection and has one word echoed through it; how long the first took.
fn connect() -> std::io::Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((VIP, NAT_PORT)), ONE_REPEAT)?;
    let took = begun.elapsed();
    stream.set_read_timeout(Some(ONE_REPEAT))?;
    stream.write_all(b"word")?;
    stream.read_exact(&mut [0; 4])?;
    Ok(took)
}

/// A table.
pub fn table(outcomes: &[Outcome]) -> String {
    let line = |outcome: &Outcome| {
        let Outcome {
            device,
            rate_without_loss,
            aimed_rate,
            flood_rate,
            flood,
            established,
            silent,
            moved,
            segments,
            tried,
            ..
        } = outcome;
        let reasons: String = outcome.reasons.iter().take(6).map(|(name, count)| format!("  {name} {count}")).collect();
        format!(
            "{device}: without loss {rate_without_loss}/s; flood {flood_rate}/s of {aimed_rate}/s aimed at: {} SYNs, {} reached a backend\n  \
             {established} connections: {} lost ({silent} silent, {moved} moved); of their {} segments {} arrived during the flood\n  \
             {tried} new connections: {} at once, {} after one repeated SYN: {:.2} % made\n  \
             packets left by reason:{reasons}\n",
            flood[0],
            flood[1],
            outcome.lost(),
            segments[0],
            segments[1],
            outcome.at_once,
            outcome.after_one,
            outcome.made_percent(),
        )
    };
    outcomes.iter().map(line).collect()
}
