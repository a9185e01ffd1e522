//! What stands in the middle: the ceilings, the kernel, nftables, the product.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aya::maps::MapData;
use aya::programs::XdpMode;
use ha_common::abi::{ABI_VERSION, FlowKey};

use super::bed::{ALL_BACKENDS, BACKENDS, Bed, CLIENT_LEG, CLIENT_SIDE, GATEWAY, SERVER_LEG, VIP, backend};
use super::conntrack;
use super::programs::Programs;
use crate::harness::client::Role;
use crate::harness::echo::EchoServer;
use crate::harness::lab::daemon;
use crate::harness::netdev;
use crate::harness::node::Node;
use crate::harness::run::Run;
use crate::harness::topology::Host;
use crate::kernel::map;

/// Vserver whose backends answer through the device, with their address in the packet.
pub const NAT_PORT: u16 = 80;
/// Vserver whose backends answer by themselves; the frame alone is addressed to them.
pub const DIRECT_PORT: u16 = 81;
/// Vserver that keeps no flows.
pub const HASH_PORT: u16 = 82;
/// Vserver for UDP.
pub const UDP_PORT: u16 = 53;

/// How long a daemon may take until it serves.
const SERVES_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Tables of the product that hold flows.
const FLOW_TABLES: [&str; 3] = ["FLOWS", "EMBRYONIC", "EXCEPTIONS"];

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Every frame is dropped by XDP: what making and receiving frames costs by itself.
    Ceiling,
    /// Every frame is sent on by XDP, unseen: what a path through the device costs at least.
    Beyond,
    /// The kernel's stack, routing; its own addresses answer echo.
    Kernel,
    /// The same with an nftables ruleset that translates the VIP to a backend, by hash.
    Nftables,
    /// The product.
    Understudy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ceiling, Self::Beyond, Self::Kernel, Self::Nftables, Self::Understudy];

    /// Its name in namespaces and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::Beyond => "beyond",
            Self::Kernel => "kernel",
            Self::Nftables => "nft",
            Self::Understudy => "understudy",
        }
    }
}

/// A device on its bed.
pub struct Device {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub bed: Bed,
    node: Option<Node>,
    _servers: Vec<EchoServer>,
    pins: std::path::PathBuf,
}

impl Device {
    /// Raises and starts it.
    pub fn raise(kind: Kind, run: &Run, programs: &mut Programs) -> Result<Self> {
        let bed = Bed::raise(run, kind.name(), programs)?;
        let pins = run.bpf_dir().join(Host::A.name());
        let mut device = Self { kind, bed, node: None, _servers: Vec::new(), pins };
        device.start(run, programs).with_context(|| format!("set up {}", kind.name()))?;
        Ok(device)
    }

    fn start(&mut self, run: &Run, programs: &mut Programs) -> Result<()> {
        let middle = self.bed.middle.clone();
        match self.kind {
            Kind::Ceiling => middle.run(|| programs.attach("ceiling", CLIENT_LEG, XdpMode::Driver)),
            Kind::Beyond => middle.run(|| {
                programs.attach("beyond", CLIENT_LEG, XdpMode::Driver)?;
                programs.lead_beyond(netdev::index(SERVER_LEG)?)
            }),
            Kind::Kernel => self.route(programs),
            Kind::Nftables => {
                self.route(programs)?;
                // What NICs do for those who have one.
                middle.sysctl("netfilter/nf_conntrack_checksum", "0")?;
                middle.ip(&format!("addr add {VIP}/32 dev {CLIENT_LEG}\n"))?;
                self.serve()?;
                self.translate(BACKENDS)
            }
            Kind::Understudy => {
                self.serve()?;
                let mut node = Node::new(run, &middle, Host::A, &daemon()?, &config())?;
                node.start()?;
                node.wait_ready()?;
                let deadline = Instant::now() + SERVES_WITHIN;
                while node.role()? != Role::Primary {
                    ensure!(Instant::now() < deadline, "no Primary within {SERVES_WITHIN:?}\n{}", node.log_tail());
                    std::thread::sleep(ASK_EVERY);
                }
                self.node = Some(node);
                Ok(())
            }
        }
    }

    /// The kernel forwards, and need not look for anything.
    fn route(&self, programs: &mut Programs) -> Result<()> {
        let middle = &self.bed.middle;
        middle.sysctl("ipv4/ip_forward", "1")?;
        middle.ip(&format!("addr add {GATEWAY}/24 dev {SERVER_LEG}\n"))?;
        self.bed.introduce_neighbours()?;
        middle.run(|| {
            netdev::join_segments(CLIENT_LEG)?;
            // What the far end's program sends back needs one here.
            programs.attach("empty", SERVER_LEG, XdpMode::Driver)
        })
    }

    /// Starts the backends' servers.
    fn serve(&mut self) -> Result<()> {
        let server = |number| EchoServer::start(&self.bed.far, (backend(number), NAT_PORT).into());
        self._servers = (0..ALL_BACKENDS).map(server).collect::<Result<_>>()?;
        Ok(())
    }

    /// Gives nftables a ruleset with this many backends; connections keep theirs.
    fn translate(&self, backends: usize) -> Result<()> {
        let choices = (0..backends).map(|number| format!("{number} : {}", backend(number))).collect::<Vec<_>>().join(", ");
        let rule = |protocol: &str, port: u16| {
            format!(
                "ip daddr {VIP} {protocol} dport {port} dnat to jhash ip saddr . {protocol} sport mod {backends} map {{ {choices} }}\n"
            )
        };
        let rules = rule("tcp", NAT_PORT) + &rule("udp", UDP_PORT);
        let script = format!(
            "table ip lb\ndelete table ip lb\ntable ip lb {{\nchain pre {{\ntype nat hook prerouting priority dstnat;\n{rules}}}\n}}\n"
        );
        let name = self.bed.middle.name();
        let mut nft = Command::new("ip")
            .args(["netns", "exec", name, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run nft (package nftables)")?;
        nft.stdin.take().expect("piped").write_all(script.as_bytes())?;
        let output = nft.wait_with_output()?;
        ensure!(output.status.success(), "nft: {}\nof:\n{script}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Brings the backends in reserve into service: of the flows that are new, half go elsewhere than before.
    pub fn grow(&self) -> Result<()> {
        match (&self.node, self.kind) {
            (Some(node), _) => (BACKENDS..ALL_BACKENDS).try_for_each(|number| {
                for line in service("web", "TCP", NAT_PORT, number, "") {
                    node.command(&line.split(' ').collect::<Vec<_>>())?;
                }
                Ok(())
            }),
            (None, Kind::Nftables) => self.translate(ALL_BACKENDS),
            _ => bail!("{} has no backends", self.kind.name()),
        }
    }

    /// Forgets every flow.
    pub fn forget(&self) -> Result<()> {
        match self.kind {
            Kind::Nftables => self.bed.middle.run(conntrack::flush),
            Kind::Understudy => FLOW_TABLES.iter().try_for_each(|table| {
                let path = self.pins.join(format!("v{ABI_VERSION}")).join("maps").join(table);
                clear(&path).with_context(|| format!("empty {}", path.display()))
            }),
            _ => Ok(()),
        }
    }

    /// The address that a row's frames go to, given what it wants: a service, or an answer to an echo.
    pub fn target(&self, echo: bool) -> std::net::Ipv4Addr {
        match self.kind {
            Kind::Understudy | Kind::Nftables => VIP,
            Kind::Kernel if echo => CLIENT_SIDE,
            _ => backend(0),
        }
    }

    /// Packets that have left the product so far, by reason; none for other devices.
    pub fn reasons(&self) -> Result<HashMap<&'static str, u64>> {
        self.node.as_ref().map_or(Ok(HashMap::new()), |node| Ok(node.counters()?.into_iter().collect()))
    }

    /// What the product has to say of a failure.
    pub fn log(&self) -> String {
        self.node.as_ref().map_or_else(String::new, |node| node.log_tail())
    }
}

fn clear(path: &Path) -> Result<()> {
    let data = MapData::from_pin(path)?;
    Ok(map::clear_all::<FlowKey>(data.fd().as_fd())?)
}

/// The commands that a backend of `vserver` takes.
fn service(vserver: &str, protocol: &str, port: u16, number: usize, more: &str) -> [String; 2] {
    let name = format!("{vserver}{number}");
    [
        format!("add service {name} {} {protocol} {port} -usip YES{more}", backend(number)),
        format!("bind lb vserver {vserver} {name}"),
    ]
}

/// The product's configuration: a node without a peer, a vserver for each way of forwarding.
fn config() -> String {
    let vservers = [
        ("web", "TCP", NAT_PORT, "", ""),
        ("direct", "TCP", DIRECT_PORT, " -m MAC", " -healthMonitor NO"),
        ("hash", "TCP", HASH_PORT, " -sessionless ENABLED", " -healthMonitor NO"),
        ("dns", "UDP", UDP_PORT, "", " -healthMonitor NO"),
    ];
    let mut lines = vec![
        "set ns config -IPAddress 10.9.0.1 -netmask 255.255.255.0".to_owned(),
        "set ns hostName bench".to_owned(),
        // What it costs to count echo is measured, not the limit itself.
        "set ns rateControl -icmpThreshold 1000000".to_owned(),
        format!("set interface {CLIENT_LEG} -haMonitor ON -haHeartbeat OFF"),
        format!("set interface {SERVER_LEG} -haMonitor ON -haHeartbeat OFF"),
        format!("add ns ip {VIP} 255.255.255.255 -type VIP"),
        format!("add ns ip {GATEWAY} 255.255.255.0 -type SNIP"),
    ];
    for (name, protocol, port, of_vserver, of_service) in vservers {
        lines.push(format!("add lb vserver {name} {protocol} {VIP} {port} -lbMethod SRCIPSRCPORTHASH{of_vserver}"));
        lines.extend((0..BACKENDS).flat_map(|number| service(name, protocol, port, number, of_service)));
    }
    lines.join("\n") + "\n"
}
