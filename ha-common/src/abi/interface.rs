//! `INTERFACES[ifindex]`: what an interface is to this node.

/// Bits of [`Interface::flags`].
pub mod interface_flags {
    /// Carries clients or backends: floating addresses live here.
    pub const LEG: u32 = 1;
    /// Carries heartbeats.
    pub const HEARTBEAT: u32 = 2;
    /// Carries strays to the peer: an HA link that is no leg.
    pub const STRAYS: u32 = 4;
}

/// The record itself. Key: interface index (`u32`). Writer: daemon. Readers: XDP, egress guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Interface {
    /// See [`interface_flags`].
    pub flags: u32,
    /// Heartbeat link number, when it is one.
    pub link: u32,
    /// Number of the leg, the same on both nodes (order of configuration), when it is one.
    pub leg: u32,
    /// Interface index of the leg with this number (for strays that arrive over an HA link), or own index.
    pub ifindex: u32,
    /// Own MAC address.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u16,
}

const _: () = assert!(size_of::<Interface>() == 24);
