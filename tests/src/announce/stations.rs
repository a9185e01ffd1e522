//! Stations on the clients' segment, one for each VIP: each asks its VIP in turn, at the MAC address that it knows.
//!
//! They are one program with a table of its own, because a kernel's neighbour table holds a thousand entries unless the whole machine is
//! told otherwise. They learn as RFC 826 says: what a packet says of its sender replaces what was known of it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etherparse::{IcmpEchoHeader, PacketBuilder};

use crate::harness::topology::{CLIENT_V4, Topology};
use crate::harness::{netdev, packet_socket, rt};

/// Identifies the questions of these stations.
const ECHO_ID: u16 = 0x5556;
/// Longest wait before the sockets are looked at again.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// How many questions are sent before the clock is looked at.
const BATCH: u64 = 4;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Number of the VIP.
    pub vip: usize,
    /// When.
    pub at: Duration,
    /// Whether it was answered.
    pub answered: bool,
}

/// The address of VIP `number`.
pub fn vip(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 16, 1).to_bits() + number as u32)
}

/// Stations that ask; they end with this.
pub struct Stations {
    stop: Arc<AtomicBool>,
    asking: Option<JoinHandle<Result<Vec<Duration>>>>,
    hearing: Option<JoinHandle<Result<Vec<u32>>>>,
    vips: usize,
}

impl Stations {
    /// One station for each of `vips` addresses, which they take to be at `mac`; `rate` questions a second in all.
    pub fn start(topology: &Topology, vips: usize, mac: [u8; 6], rate: u32) -> Result<Self> {
        let (own, sender, capture) = topology
            .client
            .run(|| Ok((netdev::mac("client0")?, packet_socket::sender("client0")?, packet_socket::capture("client0")?)))?;
        let macs: Arc<Vec<AtomicU64>> = Arc::new((0..vips).map(|_| AtomicU64::new(word(mac))).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let asking = {
            let (macs, stop) = (Arc::clone(&macs), Arc::clone(&stop));
            let gap = Duration::from_secs(1) / rate;
            std::thread::Builder::new().name("asking".into()).spawn(move || {
                let mut asked: Vec<Duration> = Vec::new();
                let began = rt::now();
                while !stop.load(Relaxed) {
                    for _ in 0..BATCH {
                        let number = asked.len();
                        let mac = bytes(macs[number % vips].load(Relaxed));
                        asked.push(rt::now());
                        // A full queue is a lost question, as on any wire.
                        let _ = sender.send(&question(own, mac, number % vips, number as u32)?);
                    }
                    rt::sleep_until(began + gap * asked.len() as u32);
                }
                Ok(asked)
            })?
        };
        let hearing = {
            let stop = Arc::clone(&stop);
            std::thread::Builder::new().name("hearing".into()).spawn(move || {
                let (mut heard, mut frame) = (Vec::new(), [0; 128]);
                loop {
                    let last = stop.load(Relaxed);
                    if last {
                        std::thread::sleep(ANSWER_WITHIN);
                    }
                    while let Some((len, _)) = packet_socket::receive(&capture, &mut frame)? {
                        hear(&frame[..len], &macs, &mut heard);
                    }
                    if last {
                        break;
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                let lost = packet_socket::overruns(&capture)?;
                ensure!(lost == 0, "the stations missed {lost} frames: this machine is too busy to judge the run");
                Ok(heard)
            })?
        };
        Ok(Stations { stop, asking: Some(asking), hearing: Some(hearing), vips })
    }

    /// Ends them, and returns every question.
    pub fn finish(mut self) -> Result<Vec<Asked>> {
        self.stop.store(true, Relaxed);
        let asked = join(self.asking.take())?;
        let heard = join(self.hearing.take())?;
        let question = |(number, at)| Asked { vip: number % self.vips, at, answered: false };
        let mut asked: Vec<Asked> = asked.into_iter().enumerate().map(question).collect();
        for number in heard {
            if let Some(question) = asked.get_mut(number as usize) {
                question.answered = true;
            }
        }
        Ok(asked)
    }
}

impl Drop for Stations {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

fn join<T>(thread: Option<JoinHandle<Result<T>>>) -> Result<T> {
    thread.context("it runs")?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn question(own: [u8; 6], mac: [u8; 6], vip_number: usize, number: u32) -> Result<Vec<u8>> {
    let echo = IcmpEchoHeader { id: ECHO_ID, seq: number as u16 };
    let packet = PacketBuilder::ethernet2(own, mac).ipv4(CLIENT_V4.octets(), vip(vip_number).octets(), 64);
    let mut frame = Vec::with_capacity(64);
    packet.icmpv4_echo_request(echo.id, echo.seq).write(&mut frame, &number.to_be_bytes())?;
    Ok(frame)
}

/// Takes in a frame: an answer, or what an ARP packet says of its sender.
fn hear(frame: &[u8], macs: &[AtomicU64], heard: &mut Vec<u32>) {
    match (frame.get(12..14), frame.get(23), frame.get(34)) {
        (Some([8, 0]), Some(1), Some(0)) if frame.get(38..40) == Some(&ECHO_ID.to_be_bytes()) => {
            heard.extend(frame.get(42..46).and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?))));
        }
        (Some([8, 6]), ..) => {
            let (Some(mac), Some(sender)) = (frame.get(22..28), frame.get(28..32)) else { return };
            let sender = <[u8; 4]>::try_from(sender).map(u32::from_be_bytes).unwrap_or_default();
            let number = sender.wrapping_sub(vip(0).to_bits()) as usize;
            if let (Some(known), Ok(mac)) = (macs.get(number), mac.try_into()) {
                known.store(word(mac), Relaxed);
            }
        }
        _ => {}
    }
}

fn word(mac: [u8; 6]) -> u64 {
    mac.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn bytes(word: u64) -> [u8; 6] {
    let [_, _, mac @ ..] = word.to_be_bytes();
    mac
}
