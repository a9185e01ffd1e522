//! Which ports may this node give out as sources on the pair's SNIPs?

use std::io;
use std::ops::RangeInclusive;

/// Ports below are for services.
const FIRST: u16 = 1024;

/// A range of ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourcePorts {
    /// The first one.
    pub first: u16,
    /// How many there are.
    pub count: u16,
}

impl SourcePorts {
    /// The half of node `id` (1 or 2; 0, alone, has the first half, which it keeps when a peer comes) of what the kernel's `own` range
    /// leaves: of the ports below and above it, the larger part.
    #[must_use]
    pub fn of_node(id: u8, own: &RangeInclusive<u16>) -> Self {
        let below = FIRST..(*own.start()).max(FIRST);
        let above = u32::from(*own.end()) + 1..0x1_0000;
        let (first, all) = if below.len() as u32 >= above.end - above.start {
            (u32::from(below.start), below.len() as u32)
        } else {
            (above.start, above.end - above.start)
        };
        let half = all / 2;
        let first = if id == 2 { first + half } else { first };
        SourcePorts { first: first as u16, count: half as u16 }
    }

    /// The range from which this kernel takes ports for the host's own connections.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_kernel() -> io::Result<RangeInclusive<u16>> {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
        let mut numbers = text.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(last))) => Ok(first..=last),
            _ => Err(io::Error::other(format!("not two ports: {text}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: u8, own: RangeInclusive<u16>) -> (u16, u16) {
        let ports = SourcePorts::of_node(id, &own);
        (ports.first, ports.count)
    }

    #[test]
    fn halves_of_the_two_nodes_are_disjoint_and_leave_the_kernel_its_own() {
        assert_eq!([of(1, 32_768..=60_999), of(2, 32_768..=60_999)], [(1_024, 15_872), (16_896, 15_872)]);
        assert_eq!(of(0, 32_768..=60_999), of(1, 32_768..=60_999));
        assert_eq!([of(1, 1_024..=20_000), of(2, 1_024..=20_000)], [(20_001, 22_767), (42_768, 22_767)]);
        assert_eq!(of(1, 1_024..=65_535), (1_024, 0));
    }
}
