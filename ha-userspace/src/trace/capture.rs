//! What was traced as a capture file: each packet as it came, and as it left, with the reason as its comment.

use std::io::{self, Write};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::{DataLink, PcapError};

use super::Sight;

/// Timestamps are in nanoseconds: ten to the minus this.
const NANOSECONDS: u8 = 9;
/// Values of a packet's flags: its direction.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A file that is being written.
pub struct Capture<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: Vec<String>,
}

impl<W: Write> Capture<W> {
    /// Begins the file.
    pub fn new(writer: W) -> io::Result<Self> {
        Ok(Capture { writer: PcapNgWriter::new(writer).map_err(io_error)?, interfaces: Vec::new() })
    }

    /// Writes one packet.
    pub fn take(&mut self, sight: &Sight) -> io::Result<()> {
        let Sight { reason, sentence, .. } = sight;
        self.put(
            sight,
            &sight.interface,
            (&sight.came, sight.len),
            INBOUND,
            format!("{reason} -> {}: {sentence}", sight.outcome()),
        )?;
        let Some(by) = &sight.leaves_by else {
            return Ok(());
        };
        self.put(sight, by, (&sight.left.0, sight.left.1), OUTBOUND, format!("{reason}: as it leaves"))
    }

    /// Ends the file.
    pub fn end(self) -> io::Result<()> {
        self.writer.into_inner().flush()
    }

    fn put(&mut self, sight: &Sight, name: &str, (data, len): (&[u8], u32), way: u32, comment: String) -> io::Result<()> {
        let packet = EnhancedPacketBlock {
            interface_id: self.interface(name)?,
            timestamp: sight.since_1970(),
            original_len: len,
            data: data.into(),
            options: vec![EnhancedPacketOption::Flags(way), EnhancedPacketOption::Comment(comment.into())],
        };
        self.writer.write_pcapng_block(packet).map(drop).map_err(io_error)
    }

    /// The number of an interface, which is described when it is first met.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(number) = self.interfaces.iter().position(|known| known == name) {
            return Ok(number as u32);
        }
        let options = vec![InterfaceDescriptionOption::IfName(name.into()), InterfaceDescriptionOption::IfTsResol(NANOSECONDS)];
        let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
        self.writer.write_pcapng_block(block).map_err(io_error)?;
        self.interfaces.push(name.to_owned());
        Ok(self.interfaces.len() as u32 - 1)
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;
    use crate::trace::sight::tests::forwarded;

    #[test]
    fn a_packet_is_there_twice_with_its_reason() {
        let mut bytes = Vec::new();
        let mut capture = Capture::new(&mut bytes).unwrap();
        let sight = Sight::of(&forwarded());
        capture.take(&sight).unwrap();
        capture.take(&sight).unwrap();
        capture.end().unwrap();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let (mut interfaces, mut packets) = (0, Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(_) => interfaces += 1,
                Block::EnhancedPacket(packet) => packets.push(packet.into_owned()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((interfaces, packets.len()), (2, 4));
        assert_eq!((&packets[0].data[..], packets[0].original_len), (&sight.came[..], sight.len));
        let [EnhancedPacketOption::Flags(INBOUND), EnhancedPacketOption::Comment(comment)] = &packets[0].options[..] else {
            panic!("{:?}", packets[0].options)
        };
        assert!(comment.starts_with("forward_syn -> interface"), "{comment}");
        assert_eq!(packets[1].interface_id, 1);
    }
}
