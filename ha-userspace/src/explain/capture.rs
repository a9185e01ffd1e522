//! Packets out of a file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption::Flags;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::glance::Glance;

/// The largest packet that is taken: one that says it is larger is damage.
const LEN_MAX: usize = 65_536;
/// A capture with more is to be cut first.
const PACKETS_MAX: usize = 1_000_000;

/// Of a packet's flags: its direction.
const DIRECTION: u32 = 3;
/// It went out.
const OUTBOUND: u32 = 2;

/// First bytes of a pcapng file.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// A frame that somebody has captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The frame; what the capture has cut off is zero.
    pub frame: Vec<u8>,
    /// The interface, if the capture names it.
    pub interface: Option<String>,
    /// Whether the capture says that it went out.
    pub left: bool,
}

impl Captured {
    fn new(data: &[u8], original: u32, interface: Option<String>) -> Self {
        let mut frame = data.to_vec();
        frame.resize((original as usize).clamp(data.len(), LEN_MAX.max(data.len())), 0);
        Captured { frame, interface, left: false }
    }

    /// Who has sent it.
    pub fn sender(&self) -> Option<IpAddr> {
        let from = Glance::at(&self.frame).from?;
        from.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| from.parse()).ok()
    }
}

/// Every packet in the file at `path`.
pub fn read(path: &Path) -> anyhow::Result<Vec<Captured>> {
    let damaged = || format!("{} is no capture, or damaged", path.display());
    let mut file = BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?);
    let mut magic = [0; 4];
    file.read_exact(&mut magic).with_context(damaged)?;
    file.rewind()?;
    let packets = if magic == PCAPNG { pcapng(file) } else { pcap(file) }.with_context(damaged)?;
    if packets.len() > PACKETS_MAX {
        bail!("{} has more than {PACKETS_MAX} packets: cut it first (editcap -c)", path.display());
    }
    Ok(packets)
}

fn check(link: DataLink) -> anyhow::Result<()> {
    if link != DataLink::ETHERNET {
        bail!("its packets are {link:?}, not Ethernet: capture on an interface of the node, not on \"any\"");
    }
    Ok(())
}

fn pcap(file: impl Read) -> anyhow::Result<Vec<Captured>> {
    let mut reader = PcapReader::new(file)?;
    check(reader.header().datalink)?;
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        packets.push(Captured::new(&packet.data, packet.orig_len, None));
        if packets.len() > PACKETS_MAX {
            break;
        }
    }
    Ok(packets)
}

fn pcapng(file: impl Read) -> anyhow::Result<Vec<Captured>> {
    let mut reader = PcapNgReader::new(file)?;
    let mut packets = Vec::new();
    // The reader's own list is borrowed while a block is.
    let mut interfaces: Vec<(DataLink, Option<String>)> = Vec::new();
    while let Some(block) = reader.next_block() {
        let (id, data, original, left): (u32, Cow<'_, [u8]>, u32, bool) = match block? {
            Block::SectionHeader(_) => {
                interfaces.clear();
                continue;
            }
            Block::InterfaceDescription(interface) => {
                let name = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                interfaces.push((interface.linktype, name));
                continue;
            }
            Block::EnhancedPacket(packet) => {
                let left = packet.options.iter().any(|option| matches!(option, Flags(way) if way & DIRECTION == OUTBOUND));
                (packet.interface_id, packet.data, packet.original_len, left)
            }
            Block::SimplePacket(packet) => (0, packet.data, packet.original_len, false),
            Block::Packet(packet) => (packet.interface_id.into(), packet.data, packet.original_len, false),
            _ => continue,
        };
        let (link, name) = interfaces.get(id as usize).context("a packet of an interface that it does not describe")?;
        check(*link)?;
        packets.push(Captured { left, ..Captured::new(&data, original, name.clone()) });
        if packets.len() > PACKETS_MAX {
            break;
        }
    }
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;

    use super::*;

    const FRAME: [u8; 20] = [7; 20];

    #[test]
    fn both_formats_are_read_and_what_was_cut_off_is_zero() {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        writer.write_packet(&PcapPacket::new(Duration::ZERO, 60, &FRAME)).unwrap();
        let [old] = &pcap(&writer.into_writer()[..]).unwrap()[..] else { panic!("one packet") };
        assert_eq!((&old.frame[..20], &old.frame[20..], &old.interface), (&FRAME[..], &[0; 40][..], &None));

        let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
        let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
        interface.options.push(InterfaceDescriptionOption::IfName("client0".into()));
        writer.write_pcapng_block(interface).unwrap();
        let packet = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::ZERO,
            original_len: 60,
            data: FRAME[..].into(),
            options: Vec::new(),
        };
        writer.write_pcapng_block(packet.clone()).unwrap();
        writer.write_pcapng_block(EnhancedPacketBlock { options: vec![Flags(OUTBOUND)], ..packet }).unwrap();
        let [new, left] = &pcapng(&writer.into_inner()[..]).unwrap()[..] else { panic!("two packets") };
        assert_eq!((&new.frame, new.interface.as_deref(), new.left), (&old.frame, Some("client0"), false));
        assert!(left.left, "one that went out is known as such");
    }

    #[test]
    fn what_is_not_ethernet_is_refused_with_the_reason() {
        let header = PcapHeader { datalink: DataLink::LINUX_SLL, ..PcapHeader::default() };
        let writer = PcapWriter::with_header(Vec::new(), header).unwrap();
        assert!(pcap(&writer.into_writer()[..]).unwrap_err().to_string().contains("not Ethernet"));
    }
}
