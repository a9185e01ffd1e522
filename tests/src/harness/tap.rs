//! What each node really sent from a floating address, as the switch received it.
//!
//! Captures on the switch ports of both nodes' client and server legs, in front of the bridge and behind the fault injector: a frame
//! counts once it is on the wire. Frames carry the kernel's receive stamp, so the reader may take its time; lost frames fail the run.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::Socket;

use super::frame::{self, Content, Frame};
use super::tally::{Question, Tally};
use super::topology::{CLIENT_V4, CLIENT_V6, Host, Leg, Topology};
use super::{packet_socket, rt};

/// Bytes of each frame that are looked at.
const SNAP_BYTES: usize = 128;
/// Distance of two looks at the sockets.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The addresses that move between the nodes.
#[derive(Clone, Debug, Default)]
pub struct Floating {
    /// VIPs and floating SNIPs.
    pub addresses: HashSet<IpAddr>,
    /// Virtual MACs, if any.
    pub macs: HashSet<[u8; 6]>,
}

impl Floating {
    fn owns(&self, frame: &Frame) -> bool {
        self.macs.contains(&frame.mac) || frame.speaker.is_some_and(|speaker| self.addresses.contains(&speaker))
    }
}

/// A frame that a node sent from a floating address.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// When it reached the switch.
    pub at: Duration,
    /// Who sent it.
    pub host: Host,
    /// On which leg.
    pub leg: Leg,
    /// In whose name.
    pub speaker: Option<IpAddr>,
    /// What it said.
    pub content: Content,
}

/// What a tap has collected.
#[derive(Default)]
pub struct Catch {
    /// Frames from floating addresses, in order of time per port.
    pub sightings: Vec<Sighting>,
    /// RST segments of the client's connections, to either end; not those by which a node's monitors end their probes.
    pub resets: Vec<Sighting>,
}

/// Running capture; stops when dropped.
pub struct Tap {
    stop: Arc<AtomicBool>,
    catch: Arc<Mutex<Catch>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Tap {
    /// Starts capturing, noting answered probes in `tally`.
    pub fn start(topology: &Topology, floating: Floating, tally: Arc<Tally>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let catch = Arc::new(Mutex::new(Catch::default()));
        let ports = topology.switch.run(|| {
            Host::BOTH.into_iter().flat_map(|host| [Leg::Client, Leg::Server].map(|leg| Port::open(host, leg))).collect()
        })?;
        let reader =
            Reader { ports, floating, tally, catch: catch.clone(), stop: stop.clone(), wall_offset: rt::wall_offset() };
        let thread = std::thread::Builder::new().name("tap".into()).spawn(move || reader.run())?;
        Ok(Self { stop, catch, thread: Some(thread) })
    }

    /// Ends the capture and returns everything; fails if frames were lost.
    pub fn finish(mut self) -> Result<Catch> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the tap runs")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(std::mem::take(&mut self.catch.lock().unwrap()))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Port {
    host: Host,
    leg: Leg,
    socket: Socket,
}

impl Port {
    fn open(host: Host, leg: Leg) -> Result<Self> {
        let socket = packet_socket::capture(&leg.port(host))?;
        Ok(Self { host, leg, socket })
    }
}

struct Reader {
    ports: Vec<Port>,
    floating: Floating,
    tally: Arc<Tally>,
    catch: Arc<Mutex<Catch>>,
    stop: Arc<AtomicBool>,
    wall_offset: Duration,
}

impl Reader {
    fn run(self) -> Result<()> {
        loop {
            let last = self.stop.load(Ordering::Relaxed);
            for port in &self.ports {
                self.drain(port)?;
            }
            if last {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let lost = self.ports.iter().map(|port| packet_socket::overruns(&port.socket)).sum::<Result<u32>>()?;
        ensure!(lost == 0, "the capture at the switch lost {lost} frames: this machine is too busy to judge the run");
        Ok(())
    }

    fn drain(&self, port: &Port) -> Result<()> {
        let mut buffer = [0u8; SNAP_BYTES];
        while let Some((length, stamp)) = packet_socket::receive(&port.socket, &mut buffer)? {
            if let Some(frame) = frame::read(&buffer[..length]) {
                self.note(port, &frame, stamp.saturating_sub(self.wall_offset));
            }
        }
        Ok(())
    }

    fn note(&self, port: &Port, frame: &Frame, at: Duration) {
        let sighting = Sighting { at, host: port.host, leg: port.leg, speaker: frame.speaker, content: frame.content };
        let floating = self.floating.owns(frame);
        let of_connection = match port.leg {
            Leg::Server => frame.speaker.is_some_and(|speaker| speaker == CLIENT_V4 || speaker == CLIENT_V6),
            _ => floating,
        };
        if of_connection && frame.content == (Content::Tcp { reset: true }) {
            self.catch.lock().unwrap().resets.push(sighting);
        }
        if !floating {
            return;
        }
        match frame.content {
            Content::EchoReply { index } => self.tally.seen(index, Question::Echo, port.host),
            Content::Arp { asker: Some(asker) } => self.note_answer(asker, Question::Arp, port.host, at),
            Content::Advertisement { asker: Some(asker) } => self.note_answer(asker, Question::Neighbor, port.host, at),
            _ => {}
        }
        self.catch.lock().unwrap().sightings.push(sighting);
    }

    fn note_answer(&self, asker: u32, question: Question, host: Host, at: Duration) {
        if let Some(index) = self.tally.asked_by(asker, at) {
            self.tally.seen(index, question, host);
        }
    }
}
