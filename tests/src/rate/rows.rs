//! What is measured.

use ha_common::abi::Reason;

use super::device::{DIRECT_PORT, HASH_PORT, Kind, NAT_PORT, UDP_PORT};

/// Flows of an established row.
pub const FLOWS: u32 = 1 << 16;
/// Frames of a row of new flows: as many as every table has room for.
pub const NEWCOMERS: u64 = 100_000;

/// What is sent to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Segments of [`FLOWS`] TCP connections that were opened before, at random.
    Established,
    /// SYNs, each of another flow, into empty tables.
    NewTcp,
    /// Datagrams, each of another flow, into empty tables.
    NewUdp,
    /// Echo requests of [`FLOWS`] clients.
    Echo,
}

impl Load {
    /// Whether the device's tables are emptied before.
    pub fn is_new(self) -> bool {
        matches!(self, Self::NewTcp | Self::NewUdp)
    }
}

/// What a row is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// That row's name.
    pub of: &'static str,
    /// At most this part of its cost, both above the ceiling.
    pub part: f64,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Who is measured.
    pub kind: Kind,
    /// With what.
    pub load: Load,
    /// To which port.
    pub port: u16,
    /// Why the product's packets must leave; otherwise the figure is of another path.
    pub reason: Option<Reason>,
    /// What it is compared with.
    pub goal: Option<Goal>,
}

const fn row(name: &'static str, kind: Kind, load: Load, port: u16) -> Row {
    Row { name, kind, load, port, reason: None, goal: None }
}

const fn product(name: &'static str, load: Load, port: u16, reason: Reason, of: &'static str, part: f64) -> Row {
    Row { reason: Some(reason), goal: Some(Goal { of, part }), ..row(name, Kind::Understudy, load, port) }
}

/// The row that all others stand on.
pub const CEILING: &str = "xdp_drop";

/// Every row; the ceiling first. Goals are parts of nftables' cost (of the kernel's, for echo).
pub const ROWS: [Row; 13] = [
    row(CEILING, Kind::Ceiling, Load::Established, NAT_PORT),
    row("xdp_redirect", Kind::Beyond, Load::Established, NAT_PORT),
    row("kernel_forward", Kind::Kernel, Load::Established, NAT_PORT),
    row("nft_dnat", Kind::Nftables, Load::Established, NAT_PORT),
    product("nat", Load::Established, NAT_PORT, Reason::ForwardHit, "nft_dnat", 1.0 / 6.0),
    product("direct", Load::Established, DIRECT_PORT, Reason::ForwardHit, "nft_dnat", 1.0 / 7.0),
    product("hash_only", Load::Established, HASH_PORT, Reason::ForwardHash, "nft_dnat", 1.0 / 7.0),
    row("nft_new_tcp", Kind::Nftables, Load::NewTcp, NAT_PORT),
    product("new_tcp", Load::NewTcp, NAT_PORT, Reason::ForwardSyn, "nft_new_tcp", 1.0 / 4.0),
    row("nft_new_udp", Kind::Nftables, Load::NewUdp, UDP_PORT),
    product("new_udp", Load::NewUdp, UDP_PORT, Reason::ForwardNew, "nft_new_udp", 1.0 / 4.0),
    row("kernel_echo", Kind::Kernel, Load::Echo, 0),
    product("echo", Load::Echo, 0, Reason::IcmpEcho, "kernel_echo", 1.0 / 20.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_names_a_row_under_the_same_load() {
        for row in ROWS {
            let Some(goal) = row.goal else { continue };
            let of = ROWS.iter().find(|other| other.name == goal.of);
            assert_eq!(of.map(|of| of.load), Some(row.load), "{} is compared with {}", row.name, goal.of);
        }
    }
}
