//! A bad cable: frames come twice, or overtake each other.
//!
//! The injector of [`super::wire`] can only drop. So the relay has it drop every frame of a cable where the switch would hand it to
//! the other node, listens at the port where the frame entered, and brings it there itself, past the injector, when and as often as it
//! likes. One thread carries all cables, above everything but the prober.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use socket2::Socket;

use super::topology::{HA_MTU, Host, Leg, Topology};
use super::wire::Direction;
use super::{packet_socket, rt};
use crate::sim::rng::Rng;

/// Room for one frame: MTU and Ethernet header.
const FRAME_BYTES: usize = HA_MTU as usize + 14;
/// How long the thread may not look whether it is to end.
const STOP_CHECK: Duration = Duration::from_millis(50);
const PRIORITY: i32 = 75;

/// What the relay does to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// Each comes at once, and once more after this time.
    Duplicate(Duration),
    /// Each takes its own time, at random up to this long.
    Reorder(Duration),
}

/// What was done so far.
#[derive(Debug, Default)]
pub struct Done {
    /// Frames brought over.
    pub delivered: AtomicU64,
    /// Those of them that had come before.
    pub repeated: AtomicU64,
    /// Those of them that entered after a frame of the same cable and direction that had not yet come out.
    pub overtaken: AtomicU64,
}

/// A relay under way.
pub struct Relay {
    legs: Vec<Leg>,
    done: Arc<Done>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Relay {
    /// Puts itself into the cables of `legs` between the two nodes.
    pub fn start(topology: &Topology, legs: &[Leg], mischief: Mischief) -> Result<Self> {
        let ways = Host::BOTH.into_iter().flat_map(|from| legs.iter().map(move |leg| (from, *leg)));
        let lanes = topology.switch.run(|| ways.map(|(from, leg)| Lane::open(from, leg)).collect::<Result<Vec<_>>>())?;
        for host in Host::BOTH {
            topology.cut(host, legs, Direction::ToHost, true);
        }
        let (done, stop) = (Arc::new(Done::default()), Arc::new(AtomicBool::new(false)));
        let worker = Worker { lanes, mischief, done: done.clone(), rng: Rng::new(7), queue: BinaryHeap::new(), entered: 0 };
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("relay".into()).spawn(move || worker.run(&until))?;
        Ok(Self { legs: legs.to_vec(), done, stop, thread: Some(thread) })
    }

    /// Lets the cables pass frames by themselves again; what was done until then.
    pub fn release(mut self, topology: &Topology) -> Result<Arc<Done>> {
        // In this order: for a moment frames come both ways, never neither.
        for host in Host::BOTH {
            topology.cut(host, &self.legs, Direction::ToHost, false);
        }
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(self.done.clone())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One direction of one cable.
struct Lane {
    entry: Socket,
    exit: Socket,
    /// The latest frame that has come out, by its number of entry.
    newest_out: u64,
}

impl Lane {
    fn open(from: Host, leg: Leg) -> Result<Self> {
        let entry = packet_socket::capture(&leg.port(from))?;
        let exit = packet_socket::injector(&leg.port(from.peer()))?;
        Ok(Self { entry, exit, newest_out: 0 })
    }
}

/// A frame that waits: when it is due, its number of entry, its lane, whether it has come before, and its bytes.
type Waiting = Reverse<(Duration, u64, usize, bool, Vec<u8>)>;

struct Worker {
    lanes: Vec<Lane>,
    mischief: Mischief,
    done: Arc<Done>,
    rng: Rng,
    queue: BinaryHeap<Waiting>,
    entered: u64,
}

impl Worker {
    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        if let Err(error) = rt::make_realtime(PRIORITY) {
            eprintln!("lab: the relay is not real-time, frames take longer than meant: {error:#}");
        }
        while !stop.load(Ordering::Relaxed) {
            self.take_in()?;
            let next = self.let_out();
            let timeout = next.map_or(STOP_CHECK, |due| due.saturating_sub(rt::now()).min(STOP_CHECK));
            let mut entries: Vec<_> =
                self.lanes.iter().map(|lane| PollFd::new(lane.entry.as_fd(), PollFlags::POLLIN)).collect();
            // An interrupted wait is a look that comes early.
            let _ = ppoll(&mut entries, Some(TimeSpec::from(timeout)), None);
        }
        Ok(())
    }

    fn take_in(&mut self) -> Result<()> {
        let mut buffer = [0; FRAME_BYTES];
        for lane in 0..self.lanes.len() {
            while let Some((length, _)) = packet_socket::receive(&self.lanes[lane].entry, &mut buffer).context("relay")? {
                self.entered += 1;
                let now = rt::now();
                let mut wait =
                    |due, again| self.queue.push(Reverse((due, self.entered, lane, again, buffer[..length].to_vec())));
                match self.mischief {
                    Mischief::Duplicate(after) => {
                        wait(now, false);
                        wait(now + after, true);
                    }
                    Mischief::Reorder(most) => {
                        wait(now + Duration::from_nanos(self.rng.below(most.as_nanos() as u64)), false);
                    }
                }
            }
        }
        Ok(())
    }

    /// Brings over what is due; when the next one will be.
    fn let_out(&mut self) -> Option<Duration> {
        while self.queue.peek().is_some_and(|Reverse((due, ..))| *due <= rt::now()) {
            let Some(Reverse((_, number, lane, again, frame))) = self.queue.pop() else { break };
            let lane = &mut self.lanes[lane];
            // An interface that is down takes nothing: the frame is lost, as on any cable.
            let _ = lane.exit.send(&frame);
            self.done.delivered.fetch_add(1, Ordering::Relaxed);
            self.done.repeated.fetch_add(again.into(), Ordering::Relaxed);
            self.done.overtaken.fetch_add((!again && number < lane.newest_out).into(), Ordering::Relaxed);
            lane.newest_out = lane.newest_out.max(number);
        }
        self.queue.peek().map(|Reverse((due, ..))| *due)
    }
}
