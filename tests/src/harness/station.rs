//! A bystander on the clients' segment who speaks in whole frames, in a VLAN or in none.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etherparse::{LaxNetSlice, LaxSlicedPacket, PacketBuilder, TransportSlice};
use socket2::Socket;

use super::topology::Topology;
use super::{frame, packet_socket};

/// A locally administered MAC of nobody else.
const MAC: [u8; 6] = [0x02, 0x55, 0x53, 0, 0, 0x30];
/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(2);

/// A frame that came, without its tag.
#[derive(Clone, Debug)]
pub struct Heard {
    /// VLAN that it came in; 0 is untagged.
    pub vlan: u16,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// See the module.
pub struct Station {
    sending: Socket,
    hearing: Socket,
}

/// `bytes` in `vlan`; 0 is untagged.
#[must_use]
pub fn tagged(mut bytes: Vec<u8>, vlan: u16) -> Vec<u8> {
    if vlan != 0 {
        let [a, b] = vlan.to_be_bytes();
        bytes.splice(12..12, [0x81, 0, a, b]);
    }
    bytes
}

impl Station {
    /// One in the place of the lab's observer.
    ///
    /// # Errors
    /// When there are no packet sockets.
    pub fn new(topology: &Topology) -> Result<Self> {
        let open = || Ok(Station { sending: packet_socket::sender("obs0")?, hearing: packet_socket::tagged_capture("obs0")? });
        topology.observer.run(open)
    }

    /// Sends a frame in `vlan`.
    ///
    /// # Errors
    /// When the interface refuses it.
    pub fn send(&self, vlan: u16, bytes: Vec<u8>) -> Result<()> {
        self.sending.send(&tagged(bytes, vlan)).map(drop).context("send a frame")
    }

    /// Sends a datagram from `source` to `destination`, which is at `mac`, in `vlan`.
    ///
    /// # Errors
    /// When the interface refuses it.
    pub fn say(
        &self,
        vlan: u16,
        mac: [u8; 6],
        source: (Ipv4Addr, u16),
        destination: (Ipv4Addr, u16),
        words: &[u8],
    ) -> Result<()> {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2(MAC, mac)
            .ipv4(source.0.octets(), destination.0.octets(), 64)
            .udp(source.1, destination.1)
            .write(&mut bytes, words)?;
        self.send(vlan, bytes)
    }

    /// Throws away what has come so far.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn forget(&self) -> Result<()> {
        while self.receive()?.is_some() {}
        Ok(())
    }

    /// The first frame that `is_wanted` makes something of; `None` when none comes in time.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn hear<T>(&self, mut is_wanted: impl FnMut(&Heard) -> Option<T>) -> Result<Option<T>> {
        let deadline = Instant::now() + WITHIN;
        while Instant::now() < deadline {
            match self.receive()? {
                Some(heard) => {
                    if let Some(wanted) = is_wanted(&heard) {
                        return Ok(Some(wanted));
                    }
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(None)
    }

    fn receive(&self) -> Result<Option<Heard>> {
        let Some(mut bytes) = packet_socket::receive_tagged(&self.hearing, &mut [0; 2048])? else { return Ok(None) };
        if bytes.get(12..14) != Some(&[0x81, 0]) {
            return Ok(Some(Heard { vlan: 0, bytes }));
        }
        let Some(&[_, _, a, b]) = bytes.get(12..16) else { bail!("a frame that ends in its tag") };
        bytes.drain(12..16);
        Ok(Some(Heard { vlan: u16::from_be_bytes([a, b]) & 0xfff, bytes }))
    }

    /// Where `address` says that it is when it is asked for in `vlan`.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn find(&self, vlan: u16, address: IpAddr) -> Result<Option<[u8; 6]>> {
        self.forget()?;
        self.send(
            vlan,
            match address {
                IpAddr::V4(address) => frame::arp_request(1, address)?,
                IpAddr::V6(address) => frame::neighbor_solicitation(1, address)?,
            },
        )?;
        self.hear(|heard| {
            let found = frame::read(&heard.bytes)?;
            let answers = matches!(
                found.content,
                frame::Content::Arp { asker: Some(1) } | frame::Content::Advertisement { asker: Some(1) }
            );
            (answers && heard.vlan == vlan && found.speaker == Some(address)).then_some(found.mac)
        })
    }
}

impl Heard {
    /// The words of a datagram from `source` to `destination`.
    #[must_use]
    pub fn words(&self, source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Option<Vec<u8>> {
        let packet = LaxSlicedPacket::from_ethernet(&self.bytes).ok()?;
        let Some(LaxNetSlice::Ipv4(ip)) = packet.net else { return None };
        let Some(TransportSlice::Udp(udp)) = packet.transport else { return None };
        let ends = [(ip.header().source_addr(), udp.source_port()), (ip.header().destination_addr(), udp.destination_port())];
        (ends == [source, destination]).then(|| udp.payload().to_vec())
    }
}
