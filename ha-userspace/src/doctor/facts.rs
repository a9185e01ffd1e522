//! What can be known about a machine: the input of the judgement, as plain values that a test can write down.

/// What an interface is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Carries clients' or servers' traffic.
    Leg,
    /// Carries heartbeats and strays.
    HaLink,
    /// Not told.
    Unknown,
}

/// An interface to examine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the caller's network namespace.
    pub name: String,
    /// What it is for.
    pub role: Role,
}

impl Interface {
    /// Reads `name`, `name=leg` or `name=ha`.
    #[must_use]
    pub fn from_argument(argument: &str) -> Self {
        let (name, role) = match argument.rsplit_once('=') {
            Some((name, "leg")) => (name, Role::Leg),
            Some((name, "ha")) => (name, Role::HaLink),
            _ => (argument, Role::Unknown),
        };
        Self { name: name.into(), role }
    }
}

/// The machine itself.
#[derive(Clone, Debug)]
pub struct Host {
    /// The kernel's release, as `uname -r` tells it.
    pub kernel: String,
    /// Online CPUs.
    pub cpus: usize,
    /// Effective capabilities, bit n for capability n.
    pub capabilities: u64,
    /// Is the kernel's own type information readable?
    pub btf: bool,
    /// Bytes that may be locked in memory; `None` without a limit.
    pub memlock: Option<u64>,
    /// Is a BPF file system mounted where pins go?
    pub bpffs: bool,
    /// Why a thread cannot have a real-time priority, if it cannot.
    pub fifo_refused: Option<String>,
    /// Each BPF feature that the data plane needs, and why it is missing, if it is.
    pub features: Vec<(&'static str, Option<String>)>,
}

/// An interface that was asked for, and what the kernel knows of it; `None` if there is no such interface.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What was asked for.
    pub interface: Interface,
    /// What the kernel says.
    pub link: Option<Link>,
}

/// What the kernel knows of an interface.
#[derive(Clone, Debug)]
pub struct Link {
    /// The driver's name, empty if it does not tell.
    pub driver: String,
    /// The largest frame without its Ethernet header, in bytes.
    pub mtu: u32,
    /// Is there a signal from the other end?
    pub carrier: bool,
    /// Receive queues in use.
    pub rx_queues: u32,
    /// Receive queues that the device could have.
    pub max_rx_queues: u32,
    /// Large receive offload, if the driver knows it.
    pub lro: Option<bool>,
    /// Taking VLAN tags off before XDP sees the frame, if the driver knows it.
    pub rx_vlan_offload: Option<bool>,
    /// What the driver can do for XDP (`NETDEV_XDP_ACT_*`), if the kernel tells (from 6.3).
    pub xdp_features: Option<u64>,
    /// The XDP program that is attached.
    pub attached: Option<Attached>,
}

/// `NETDEV_XDP_ACT_BASIC`: the driver runs XDP programs itself.
pub const XDP_BASIC: u64 = 1;

/// Where in the receive path an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack, after the packet buffer was built.
    Generic,
    /// On the device.
    Offloaded,
}

/// An attached XDP program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where it runs.
    pub mode: Mode,
    /// Its id in the kernel.
    pub id: u32,
    /// Its name, cut to 15 bytes by the kernel; empty if it may not be known.
    pub name: String,
}
