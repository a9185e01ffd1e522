//! Where a device under test stands: between a near end that makes traffic and a far end where it goes.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use aya::programs::XdpMode;

use super::generator::{self, Amount, Spent};
use super::programs::Programs;
use super::traffic::{OUTSIDE, Way};
use crate::harness::napi;
use crate::harness::netdev;
use crate::harness::netns::Netns;
use crate::harness::rt;
use crate::harness::run::Run;

/// The near end's own address, from which real connections come; clients are behind it.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// The device's own address towards clients.
pub const CLIENT_SIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);
/// The device's own address towards backends.
pub const SERVER_SIDE: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 251);
/// The backends' gateway: an address of the device.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// What clients ask for.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);
/// Backends in service, and in reserve.
pub const BACKENDS: usize = 4;
/// Both together.
pub const ALL_BACKENDS: usize = 8;

/// The device's interface towards clients.
pub const CLIENT_LEG: &str = "client0";
/// The device's interface towards backends.
pub const SERVER_LEG: &str = "server0";
/// The near end's interface.
pub const NEAR_END: &str = "near0";
/// The far end's.
pub const FAR_END: &str = "far0";

const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_LEG_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SERVER_LEG_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 4];

/// The CPU of a device whose packets have a thread of their own.
pub const DEVICE_CPU: usize = 1;

/// Before all programs of ordinary priority.
const FIRST: i32 = -20;

/// Address of backend `number`, from 0.
pub fn backend(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 2, 0, 11).to_bits() + number as u32)
}

/// Three namespaces in a row.
pub struct Bed {
    /// Clients.
    pub near: Netns,
    /// The device.
    pub middle: Netns,
    /// Backends.
    pub far: Netns,
}

impl Bed {
    /// Raises it, with both ends' programs in place.
    pub fn raise(run: &Run, name: &str, programs: &mut Programs) -> Result<Self> {
        let near = run.netns(&format!("{name}-near"))?;
        let middle = run.netns(&format!("{name}-middle"))?;
        let far = run.netns(&format!("{name}-far"))?;
        for end in [&near, &far] {
            // What they would say by themselves is not part of the traffic.
            end.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        }
        near.ip(&cable(NEAR_END, NEAR_MAC, CLIENT_LEG, CLIENT_LEG_MAC, &middle))?;
        far.ip(&cable(FAR_END, FAR_MAC, SERVER_LEG, SERVER_LEG_MAC, &middle))?;
        near.ip(&format!("addr add {NEAR}/24 dev {NEAR_END}\nlink set {NEAR_END} up\n"))?;
        let backends: String =
            (0..ALL_BACKENDS).map(|number| format!("addr add {}/24 dev {FAR_END}\n", backend(number))).collect();
        far.ip(&format!("{backends}link set {FAR_END} up\nroute add default via {GATEWAY}\n"))?;
        middle.ip(&format!(
            "addr add {CLIENT_SIDE}/24 dev {CLIENT_LEG}\naddr add {SERVER_SIDE}/24 dev {SERVER_LEG}\n\
             link set {CLIENT_LEG} up\nlink set {SERVER_LEG} up\nroute add {OUTSIDE} via {NEAR}\n"
        ))?;
        middle.run(|| [CLIENT_LEG, SERVER_LEG].iter().try_for_each(|leg| netdev::finish_checksums(leg)))?;
        near.run(|| {
            netdev::finish_checksums(NEAR_END)?;
            programs.attach("near_end", NEAR_END, XdpMode::Driver)
        })?;
        far.run(|| {
            netdev::finish_checksums(FAR_END)?;
            programs.attach("far_end", FAR_END, XdpMode::Driver)
        })?;
        Ok(Self { near, middle, far })
    }

    /// The way of a frame from the near end to `address` at the device.
    pub fn way(&self, address: Ipv4Addr, port: u16) -> Way {
        Way { from: NEAR_MAC, to: CLIENT_LEG_MAC, address, port }
    }

    /// Sends what `programs` were told to from the near end.
    pub fn send(&self, programs: &Programs, amount: Amount) -> Result<Spent> {
        generator::send(programs, &self.near, NEAR_END, amount)
    }

    /// Makes known to the device where its neighbours are, once and for all: a kernel need not ask meanwhile.
    pub fn introduce_neighbours(&self) -> Result<()> {
        let neighbour =
            |address: Ipv4Addr, mac: [u8; 6], leg: &str| format!("neigh replace {address} lladdr {} dev {leg}\n", text(mac));
        let backends: String = (0..ALL_BACKENDS).map(|number| neighbour(backend(number), FAR_MAC, SERVER_LEG)).collect();
        self.middle.ip(&(backends + &neighbour(NEAR, NEAR_MAC, CLIENT_LEG)))
    }

    /// Gives what arrives on the device's client leg a thread on a CPU of its own; that thread's id.
    pub fn thread(&self) -> Result<i32> {
        let made = napi::spawn(&self.middle, CLIENT_LEG, DEVICE_CPU)?;
        let thread = made.first().copied().with_context(|| {
            format!("{CLIENT_LEG} in {} got no thread of its own (threaded NAPI, Linux 5.12)", self.middle.name())
        })?;
        // As what an interrupt brings, it goes before programs.
        rt::set_nice(thread, FIRST)?;
        Ok(thread)
    }
}

fn cable(own: &str, own_mac: [u8; 6], device: &str, device_mac: [u8; 6], middle: &Netns) -> String {
    format!(
        "link add {own} address {} type veth peer name {device} address {} netns {}\n",
        text(own_mac),
        text(device_mac),
        middle.name()
    )
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
