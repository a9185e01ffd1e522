//! Measures a device that is another machine, through a network card of this one.
//!
//! Frames leave by the card, the device sends them to backends that are this machine, and what comes back is counted as the driver receives
//! it. Nothing is known here of the device's CPUs: the figures are packets per second.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::programs::XdpMode;
use serde::Serialize;

use super::generator::{self, Amount};
use super::pktgen::Pktgen;
use super::programs::{Pace, Programs};
use super::rows::FLOWS;
use super::traffic::{Flows, Says, Way, pattern};
use crate::bench::median;
use crate::harness::netdev;

/// How long the device may take to say where it is.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// How long frames may be on their way after the last was sent.
const UNDER_WAY: Duration = Duration::from_millis(50);

/// Where the device is, and how it is reached.
#[derive(Clone, Debug)]
pub struct Remote<'a> {
    /// Where frames leave.
    pub nic: &'a str,
    /// Where they come back.
    pub back: &'a str,
    /// The VIP.
    pub peer: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Whether the kernel's own packet generator sends.
    pub pktgen: bool,
}

/// What came back.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was sent.
    pub load: &'static str,
    /// Frames a second that left: median of the rounds.
    pub offered_per_second: f64,
    /// Frames a second that came back.
    pub back_per_second: f64,
    /// In all.
    pub offered: u64,
    /// In all.
    pub back: u64,
}

/// Measures; by live frames connections at random, then SYNs of strangers, then echo; by pktgen datagrams.
pub fn measure(remote: &Remote<'_>, rounds: usize, time: Duration) -> Result<Vec<Figure>> {
    let mut programs = Programs::load()?;
    attach(&mut programs, "far_end", remote.back)?;
    if remote.nic != remote.back {
        attach(&mut programs, "near_end", remote.nic)?;
    }
    let (address, port) = (remote.peer, remote.port);
    let way = Way { from: netdev::mac(remote.nic)?, to: mac_of(address, remote.nic)?, address, port };
    if remote.pktgen {
        let pktgen = Pktgen::open(remote.nic)?;
        return Ok(vec![figure("datagrams", rounds, &programs, || pktgen.send(&way, time))?]);
    }
    let send = |patterns: Says, flows, amount| {
        programs.send(&[&pattern(way, patterns, flows)?], Pace::default())?;
        let spent = generator::send_here(&programs, remote.nic, amount)?;
        Ok((spent.sent[0], spent.wall))
    };
    programs.behave(true, false)?;
    for says in [Says::Syn, Says::Ack] {
        send(says, Flows::InTurn(FLOWS), Amount::Sent(FLOWS.into()))?;
        std::thread::sleep(UNDER_WAY);
    }
    programs.behave(false, false)?;
    [
        ("established", Says::Data, Flows::AtRandom(FLOWS)),
        ("new", Says::Syn, Flows::Strangers),
        ("echo", Says::Echo, Flows::AtRandom(FLOWS)),
    ]
    .into_iter()
    .map(|(load, says, flows)| figure(load, rounds, &programs, || send(says, flows, Amount::Time(time))))
    .collect()
}

/// Native where the driver can, else generic.
fn attach(programs: &mut Programs, name: &str, interface: &str) -> Result<()> {
    if programs.attach(name, interface, XdpMode::Driver).is_err() {
        eprintln!("bench: the driver of {interface} has no native XDP: counting is slower, and sending may need --pktgen");
        programs.attach(name, interface, XdpMode::Skb)?;
    }
    Ok(())
}

fn figure(
    load: &'static str,
    rounds: usize,
    programs: &Programs,
    send: impl Fn() -> Result<(u64, Duration)>,
) -> Result<Figure> {
    let (mut offered, mut back, mut rates) = (0, 0, Vec::new());
    for _ in 0..rounds {
        let arrived = programs.arrived()?;
        let (sent, took) = send().with_context(|| format!("send {load}"))?;
        std::thread::sleep(UNDER_WAY);
        let arrived = programs.arrived()? - arrived;
        rates.push((sent as f64 / took.as_secs_f64(), arrived as f64 / took.as_secs_f64()));
        offered += sent;
        back += arrived;
    }
    let offered_per_second = median(rates.iter().map(|rate| rate.0).collect());
    Ok(Figure { load, offered_per_second, back_per_second: median(rates.iter().map(|rate| rate.1).collect()), offered, back })
}

/// The MAC address behind which `address` is reached through `interface`.
fn mac_of(address: Ipv4Addr, interface: &str) -> Result<[u8; 6]> {
    let deadline = Instant::now() + ANSWERS_WITHIN;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    loop {
        // Whatever becomes of it: the kernel asks where the address is.
        let _ = socket.send_to(&[], (address, 9));
        let output =
            Command::new("ip").args(["neigh", "show", &address.to_string(), "dev", interface]).output().context("run ip")?;
        let shown = String::from_utf8_lossy(&output.stdout);
        let mut words = shown.split_whitespace();
        if words.any(|word| word == "lladdr")
            && let Some(mac) = words.next()
        {
            let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
            return bytes.try_into().map_err(|_| anyhow::anyhow!("ip says that {address} is at {mac}"));
        }
        ensure!(
            Instant::now() < deadline,
            "nobody on {interface} says within {ANSWERS_WITHIN:?} where {address} is: is it the address of the device, on the same segment?"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A table.
pub fn table(figures: &[Figure]) -> String {
    let line = |figure: &Figure| {
        let lost = 100.0 * (1.0 - figure.back as f64 / figure.offered as f64);
        format!(
            "{:12} {:>11.3} Mpps offered {:>11.3} Mpps back {lost:>7.2} % lost\n",
            figure.load,
            figure.offered_per_second / 1e6,
            figure.back_per_second / 1e6
        )
    };
    figures.iter().map(line).collect()
}
