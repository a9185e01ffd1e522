//! What is sent: frames of 64 bytes with valid checksums, whose flows differ in address and port.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use etherparse::PacketBuilder;

use super::programs::Pattern;

/// First of the clients' addresses: 10.16.0.0/13 is theirs.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 16, 0, 0);
/// First of the addresses that a flood comes from: 10.24.0.0/13.
pub const STRANGERS: Ipv4Addr = Ipv4Addr::new(10, 24, 0, 0);
/// Both together.
pub const OUTSIDE: &str = "10.16.0.0/12";

/// A client's first port.
const FIRST_PORT: u16 = 40_000;
/// Type of service of all that is generated: what the far end counts.
const MARK: u8 = 0x04;
/// Sequence number of every client's SYN, and of every answer.
const NEAR_SEQUENCE: u32 = 0x2000_0000;
const FAR_SEQUENCE: u32 = 0x1000_0000;
const WINDOW: u16 = 0xffff;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const FRAME: usize = 64;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// TCP: a connection begins.
    Syn,
    /// TCP: the answer has come; no data.
    Ack,
    /// TCP: ten bytes of an established connection.
    Data,
    /// UDP: a datagram.
    Datagram,
    /// ICMP: are you there?
    Echo,
}

/// Which flows send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// This many, at random; a power of two.
    AtRandom(u32),
    /// Each once, one after the other.
    InOrder,
    /// This many, again and again; a power of two.
    InTurn(u32),
    /// Strangers, each another.
    Strangers,
}

/// From where to where, by MAC address and by IP address.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The sender's.
    pub from: [u8; 6],
    /// The device's.
    pub to: [u8; 6],
    /// Address.
    pub address: Ipv4Addr,
    /// Port.
    pub port: u16,
}

/// What the generator is told to send that.
pub fn pattern(way: Way, says: Says, flows: Flows) -> Result<Pattern> {
    let (client, port_bits, mask, random) = match flows {
        Flows::AtRandom(flows) => (CLIENTS, 4, flows - 1, true),
        Flows::InTurn(flows) => (CLIENTS, 4, flows - 1, false),
        Flows::InOrder => (CLIENTS, 4, (1 << 23) - 1, false),
        Flows::Strangers => (STRANGERS, 8, (1 << 27) - 1, true),
    };
    // An echo has no port: each flow is a client of its own.
    let port_bits = if says == Says::Echo { 0 } else { port_bits };
    let mut frame = bytes(way, says).with_context(|| format!("make a frame that says {says:?}"))?;
    let checksum_at = match says {
        Says::Syn | Says::Ack | Says::Data => 50,
        Says::Datagram => 40,
        Says::Echo => 0,
    };
    frame[15] = MARK;
    for range in [18..20, 24..26, 26..30] {
        frame[range].fill(0);
    }
    if checksum_at != 0 {
        frame[34..36].fill(0);
        frame[checksum_at..checksum_at + 2].fill(0);
    }
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let segment = &frame[ETHERNET + IPV4..ETHERNET + total];
    let pseudo = sum(&frame[30..34]) + u32::from(frame[23]) + segment.len() as u32;
    Ok(Pattern {
        ip_sum: sum(&frame[ETHERNET..ETHERNET + IPV4]),
        segment_sum: pseudo + sum(segment),
        frame: frame.try_into().map_err(|_| anyhow::anyhow!("a frame has {FRAME} bytes"))?,
        client: client.to_bits(),
        port: FIRST_PORT.into(),
        port_bits,
        mask,
        random: random.into(),
        checksum_at: checksum_at as u32,
    })
}

fn bytes(way: Way, says: Says) -> Result<Vec<u8>> {
    let ip = PacketBuilder::ethernet2(way.from, way.to).ipv4(CLIENTS.octets(), way.address.octets(), 64);
    let (near, far) = (NEAR_SEQUENCE, FAR_SEQUENCE);
    let mut frame = Vec::with_capacity(FRAME);
    match says {
        Says::Syn => ip.tcp(FIRST_PORT, way.port, near, WINDOW).syn().write(&mut frame, &[])?,
        Says::Ack => ip.tcp(FIRST_PORT, way.port, near + 1, WINDOW).ack(far + 1).write(&mut frame, &[])?,
        Says::Data => ip.tcp(FIRST_PORT, way.port, near + 1, WINDOW).ack(far + 1).psh().write(&mut frame, &[7; 10])?,
        Says::Datagram => ip.udp(FIRST_PORT, way.port).write(&mut frame, &[7; 22])?,
        Says::Echo => ip.icmpv4_echo_request(1, 1).write(&mut frame, &[7; 22])?,
    }
    frame.resize(FRAME, 0);
    Ok(frame)
}

/// Sum of 16-bit words; an odd byte is a word's first.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the generator makes of a pattern for `flow`, by the same arithmetic.
    fn made(pattern: &Pattern, flow: u32) -> Vec<u8> {
        let mut frame = pattern.frame.to_vec();
        let client = pattern.client + (flow >> pattern.port_bits);
        let addresses = (client >> 16) + (client & 0xffff);
        let port = pattern.port + (flow & ((1 << pattern.port_bits) - 1));
        frame[18..20].copy_from_slice(&(flow as u16).to_be_bytes());
        frame[24..26].copy_from_slice(&folded(pattern.ip_sum + (flow & 0xffff) + addresses).to_be_bytes());
        frame[26..30].copy_from_slice(&client.to_be_bytes());
        let at = pattern.checksum_at as usize;
        if at != 0 {
            frame[34..36].copy_from_slice(&(port as u16).to_be_bytes());
            frame[at..at + 2].copy_from_slice(&folded(pattern.segment_sum + port + addresses).to_be_bytes());
        }
        frame
    }

    fn folded(sum: u32) -> u16 {
        let sum = (sum >> 16) + (sum & 0xffff);
        !((sum >> 16) + sum) as u16
    }

    #[test]
    fn every_kind_of_frame_has_valid_checksums_whatever_its_flow() {
        let way = Way { from: [2; 6], to: [4; 6], address: Ipv4Addr::new(10, 1, 0, 100), port: 80 };
        for says in [Says::Syn, Says::Ack, Says::Data, Says::Datagram, Says::Echo] {
            let pattern = pattern(way, says, Flows::InOrder).unwrap();
            for flow in [0, 1, 17, 65_535, 65_536, 1_000_003] {
                let frame = made(&pattern, flow);
                let packet = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
                let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("{says:?} is IPv4") };
                let header = ip.header().to_header();
                assert_eq!(header.calc_header_checksum(), header.header_checksum, "{says:?}, flow {flow}");
                let total = usize::from(header.total_len);
                assert!(is_valid(&frame[ETHERNET..ETHERNET + total], says), "{says:?}, flow {flow}");
            }
        }
    }

    /// Whether the words of segment and pseudo header add up to nothing.
    fn is_valid(packet: &[u8], says: Says) -> bool {
        let segment = &packet[IPV4..];
        let pseudo = if says == Says::Echo { 0 } else { sum(&packet[12..20]) + u32::from(packet[9]) + segment.len() as u32 };
        folded(pseudo + sum(segment)) == 0
    }
}
