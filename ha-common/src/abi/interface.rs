//! `INTERFACES[ifindex]`: what an interface is to this node; `LEG_IFINDEX[leg]` and `LINK_IFINDEX[link]`: which it is.

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
    /// Own interface index.
    pub ifindex: u32,
    /// Own MAC address.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u16,
}

const _: () = assert!(size_of::<Interface>() == 24);
