//! The histories.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use ha_common::abi::{Reason, vserver_flags};
use ha_common::tables::HostTables;

use super::device::{Device, ROOM};
use crate::vectors::frames::{Frame, Mac, tcp};
use crate::vectors::world::{
    self, BACKEND_PORT, CLIENT, CLIENT_LEG, CLIENT_LEG_MAC, CLIENT_MAC, SERVER_LEG, SERVER_LEG_MAC, VIP,
};

/// A tenth more than there is room for.
const MORE: u32 = ROOM / 10 + 1;
/// Ports of virtual servers: services that see their clients, that do not, and no record at all.
const PLAIN: u16 = 80;
const MASKED: u16 = 87;
const HASHED: u16 = 82;

/// One client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Its client.
    pub client: Ipv4Addr,
    /// The client's port.
    pub port: u16,
    /// The virtual server's.
    pub to: u16,
    /// Who got its first packet.
    pub backend: Mac,
    /// Whom the backend saw.
    pub seen: (Ipv4Addr, u16),
}

/// A segment of a client.
pub fn segment(client: Ipv4Addr, port: u16, to: u16, flags: &'static str) -> Vec<u8> {
    let body = tcp(port, to, flags);
    Frame { from: CLIENT_MAC, to: CLIENT_LEG_MAC, vlan: None, source: client.into(), destination: VIP, ttl: 64, body }.bytes()
}

fn client() -> Ipv4Addr {
    match CLIENT {
        IpAddr::V4(client) => client,
        IpAddr::V6(_) => unreachable!("the vectors' client is IPv4"),
    }
}

fn first_six(frame: &[u8]) -> Mac {
    frame[..6].try_into().expect("an Ethernet header")
}

/// Whom a forwarded frame says to be from.
fn source_of(frame: &[u8]) -> (Ipv4Addr, u16) {
    let address: [u8; 4] = frame[26..30].try_into().expect("an IPv4 header");
    (address.into(), u16::from_be_bytes([frame[34], frame[35]]))
}

/// Opens a connection: the reasons of its SYN and of its first segment, and the connection if both went on.
pub fn open(device: &mut dyn Device, client: Ipv4Addr, port: u16, to: u16) -> Result<([Reason; 2], Connection)> {
    let (syn, first) = device.send(&segment(client, port, to, "S"), CLIENT_LEG)?;
    let (ack, second) = device.send(&segment(client, port, to, "AP"), CLIENT_LEG)?;
    let forwarded = ack != Reason::NoRoom && ack != Reason::NoPort;
    let frame = if forwarded { &second } else { &first };
    ensure!(first_six(&first) == first_six(frame), "its first segment went to another backend than its SYN");
    Ok(([syn, ack], Connection { client, port, to, backend: first_six(frame), seen: source_of(frame) }))
}

fn open_many(device: &mut dyn Device, numbers: std::ops::Range<u32>, to: u16) -> Result<Vec<([Reason; 2], Connection)>> {
    numbers
        .map(|number| open(device, client(), 10_000 + number as u16, to).with_context(|| format!("connection {number}")))
        .collect()
}

/// Lets a connection go on: the reason of its next segment, which must get to its backend.
pub fn go_on(device: &mut dyn Device, connection: &Connection) -> Result<Reason> {
    let Connection { client, port, to, backend, seen } = *connection;
    let (reason, frame) = device.send(&segment(client, port, to, "AP"), CLIENT_LEG)?;
    ensure!(first_six(&frame) == backend, "{connection:?} went on to {:02x?}, for {}", first_six(&frame), reason.name());
    ensure!(source_of(&frame) == seen, "{connection:?} is seen as {:?} now", source_of(&frame));
    Ok(reason)
}

/// Lets its backend answer; the reason. The answer must get to the client, from the VIP.
pub fn answer(device: &mut dyn Device, connection: &Connection) -> Result<Reason> {
    let Connection { client, port, to, backend, seen } = *connection;
    let index = (0..=world::HIDDEN).find(|&index| world::backend_mac(index) == backend).context("an IPv4 backend")?;
    let frame = Frame {
        from: backend,
        to: SERVER_LEG_MAC,
        vlan: None,
        source: world::backend_addr(index),
        destination: seen.0.into(),
        ttl: 64,
        body: tcp(BACKEND_PORT, seen.1, "AP"),
    };
    let (reason, left) = device.send(&frame.bytes(), SERVER_LEG)?;
    let ports = [to, port].map(u16::to_be_bytes).concat();
    ensure!(
        left[30..34] == client.octets() && left[34..38] == ports && left[..6] == CLIENT_MAC,
        "the answer to {connection:?} left for {} as {left:02x?}",
        reason.name()
    );
    Ok(reason)
}

fn all_hit(device: &mut dyn Device, connections: &[Connection]) -> Result<()> {
    for connection in connections {
        let [there, back] = [go_on(device, connection)?, answer(device, connection)?];
        ensure!([there, back] == [Reason::ForwardHit, Reason::ReturnHit], "{connection:?}: {}, {}", there.name(), back.name());
    }
    Ok(())
}

fn split(opened: &[([Reason; 2], Connection)]) -> (Vec<[Reason; 2]>, Vec<Connection>) {
    opened.iter().copied().unzip()
}

const NEW: [Reason; 2] = [Reason::ForwardSyn, Reason::ForwardNew];

/// `FLOWS` is full.
pub fn flows(device: &mut dyn Device) -> Result<()> {
    device.begin(&|_| {})?;
    let (reasons, established) = split(&open_many(device, 0..ROOM, PLAIN)?);
    ensure!(reasons.iter().all(|reasons| *reasons == NEW), "{reasons:?}");
    let (reasons, late) = split(&open_many(device, ROOM..ROOM + MORE, PLAIN)?);
    ensure!(reasons.iter().all(|reasons| *reasons == [Reason::ForwardSyn, Reason::ForwardTableFull]), "{reasons:?}");
    let (reasons, _) = split(&open_many(device, 2 * ROOM..2 * ROOM + MORE, MASKED)?);
    ensure!(reasons.iter().all(|reasons| *reasons == [Reason::ForwardSyn, Reason::NoRoom]), "{reasons:?}");
    all_hit(device, &established)?;
    for connection in &late {
        ensure!(go_on(device, connection)? == Reason::ForwardTableFull, "{connection:?} has no record");
        answer(device, connection)?;
    }
    // A backend comes back from a failure: the hash says otherwise now for some, their records do not.
    device.configure(&|tables| world::new_ring(tables, world::WEB, &[2, 0, 1]))?;
    all_hit(device, &established)
}

/// `REVERSE` is full: no source can be given out.
pub fn reverse(device: &mut dyn Device) -> Result<()> {
    device.begin(&|_| {})?;
    let (reasons, established) = split(&open_many(device, 0..ROOM, MASKED)?);
    ensure!(reasons.iter().all(|reasons| *reasons == NEW), "{reasons:?}");
    let (reasons, _) = split(&open_many(device, ROOM..ROOM + MORE, MASKED)?);
    ensure!(reasons.iter().all(|reasons| *reasons == [Reason::ForwardSyn, Reason::NoRoom]), "{reasons:?}");
    let sources: std::collections::HashSet<_> = established.iter().map(|connection| connection.seen).collect();
    ensure!(sources.len() == ROOM as usize, "every connection has a source of its own");
    all_hit(device, &established)?;
    // Others need no source.
    let (reasons, others) = split(&open_many(device, 2 * ROOM..2 * ROOM + MORE, PLAIN)?);
    ensure!(reasons.iter().all(|reasons| *reasons == NEW), "{reasons:?}");
    all_hit(device, &others)
}

/// `EMBRYONIC` turns over many times while connections are opened.
pub fn embryonic(device: &mut dyn Device) -> Result<()> {
    device.begin(&|_| {})?;
    let (_, established) = split(&open_many(device, 0..ROOM, PLAIN)?);
    for number in 0..2 * ROOM {
        // A handshake whose embryo is flooded away meanwhile.
        let (late, to) = (20_000 + number as u16, PLAIN);
        let (_, syn) = device.send(&segment(client(), late, to, "S"), CLIENT_LEG)?;
        for stranger in 0..3 * ROOM {
            let address = Ipv4Addr::from_bits(0x0b00_0000 + number * 1_000 + stranger);
            device.flood(&segment(address, 1_000 + number as u16, to, "S"), CLIENT_LEG)?;
        }
        let (reason, ack) = device.send(&segment(client(), late, to, "AP"), CLIENT_LEG)?;
        ensure!(reason == Reason::ForwardNew, "handshake {number}: {}", reason.name());
        ensure!(first_six(&syn) == first_six(&ack) && source_of(&syn) == source_of(&ack), "handshake {number} was moved");
    }
    all_hit(device, &established)
}

/// SYNs of strangers come in without end while connections are made: to services that see their clients, and to ones that do not, whose every source
/// port is held by SYNs then. `ports`: as many source ports as there are; `strangers`: SYNs in front of each handshake's end.
pub fn flood(device: &mut dyn Device, handshakes: u32, strangers: u32) -> Result<()> {
    device.begin(&|tables| tables.snips.iter_mut().for_each(|snip| snip.ports = 4_096))?;
    let (_, mut established) = split(&open_many(device, 0..ROOM, PLAIN)?);
    established.extend(split(&open_many(device, ROOM..2 * ROOM, MASKED)?).1);
    let mut made = 0;
    for number in 0..handshakes {
        let (port, to) = (20_000 + number as u16, if number % 2 == 0 { PLAIN } else { MASKED });
        let (asked, syn) = device.send(&segment(client(), port, to, "S"), CLIENT_LEG)?;
        ensure!(asked == Reason::ForwardSyn, "SYN {number}: {}", asked.name());
        for stranger in 0..strangers {
            let address = Ipv4Addr::from_bits(0x0b00_0000 + number * strangers + stranger);
            device.flood(&segment(address, 1_000 + (stranger % 50_000) as u16, to, "S"), CLIENT_LEG)?;
        }
        let (reason, ack) = device.send(&segment(client(), port, to, "AP"), CLIENT_LEG)?;
        ensure!(reason == Reason::ForwardNew, "handshake {number}: {}", reason.name());
        if first_six(&syn) == first_six(&ack) && source_of(&syn) == source_of(&ack) {
            made += 1;
        }
    }
    ensure!(100 * made >= 99 * handshakes, "{made} of {handshakes} handshakes ended as they began");
    all_hit(device, &established)
}

/// `EXCEPTIONS` is full, of a virtual server that keeps no record.
pub fn exceptions(device: &mut dyn Device) -> Result<()> {
    let second = |tables: &mut HostTables| world::new_ring(tables, world::HASHED, &[1, 2, 0]);
    device.begin(&|_| {})?;
    let (_, established) = split(&open_many(device, 0..ROOM + MORE, HASHED)?);
    device.configure(&second)?;
    let mut kept = Vec::new();
    for connection in &established {
        match go_on(device, connection)? {
            Reason::ForwardException => kept.push(*connection),
            reason => ensure!(reason == Reason::ForwardTableFull, "{connection:?}: {}", reason.name()),
        }
    }
    ensure!(kept.len() == ROOM as usize, "{} exceptions", kept.len());
    device.configure(&|tables| tables.vservers[world::HASHED as usize].flags &= !vserver_flags::PREVIOUS)?;
    for connection in &kept {
        ensure!(go_on(device, connection)? == Reason::ForwardException, "{connection:?} is no exception any more");
    }
    Ok(())
}
