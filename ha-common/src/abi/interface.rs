//! `INTERFACES[ifindex]`: what an interface is to this node; `LEG_IFINDEX[leg]` and `LINK_IFINDEX[link]`: which it is.

use crate::wire::eth;

/// Bits of [`Interface::flags`].
pub mod interface_flags {
    /// Carries clients or backends: floating addresses live here.
    pub const LEG: u32 = 1;
    /// Carries heartbeats.
    pub const HEARTBEAT: u32 = 2;
    /// Carries strays to the peer: an HA link that is no leg.
    pub const STRAYS: u32 = 4;
}

/// The record itself. Hash by interface index (`u32`). Writer: daemon. Readers: XDP, egress guard.
///
/// A VLAN's interface is here, too, with the record of the leg under it: the routing table names it as the way out.
///
/// A bond runs its program on each of its members, which are here, too, each with the bond's record.
///
/// `LEG_IFINDEX` and `LINK_IFINDEX` are arrays of `u32`: the interface index of a leg or link by its number, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Interface {
    /// See [`interface_flags`].
    pub flags: u32,
    /// Heartbeat link number, when it is one.
    pub link: u32,
    /// Number of the leg, the same on both nodes (order of configuration), when it is one.
    pub leg: u32,
    /// Own interface index; of a bond's member, the bond's.
    pub ifindex: u32,
    /// Own MAC address.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u16,
    /// MAC address that floating IPv4 addresses have here: the virtual MAC of the VRID that is bound to it, else [`Self::mac`].
    pub v4_mac: [u8; 6],
    /// The same for floating IPv6 addresses.
    pub v6_mac: [u8; 6],
    /// VLAN of that interface which this one stands for in the routing table; 0 for none. No frame comes in on such a one.
    pub vlan: u32,
}

impl Interface {
    /// The virtual MAC addresses of VRID `id` (RFC 9568, 7.3): for IPv4, for IPv6.
    #[must_use]
    pub const fn virtual_macs(id: u8) -> [[u8; 6]; 2] {
        [[0, 0, 0x5e, 0, 1, id], [0, 0, 0x5e, 0, 2, id]]
    }

    /// Whether floating addresses have `mac` here although it is not the interface's own.
    #[inline(always)]
    #[must_use]
    pub fn has_virtual(&self, mac: [u8; 6]) -> bool {
        eth::is_virtual(mac) && (mac == self.v4_mac || mac == self.v6_mac)
    }
}

const _: () = assert!(size_of::<Interface>() == 40);
