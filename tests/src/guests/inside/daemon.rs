//! The daemon with clients behind a bond: what it loads, attaches and tells the kernel, as a client sees it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::bond::Mode;
use super::port;
use super::rig::Rig;
use crate::harness::process;
use crate::vectors::frames::{Arp, Frame, echo, udp};
use crate::vectors::world::{
    BACKEND_PORT, CLIENT, CLIENT_LEG, CLIENT_LEG_MAC, CLIENT_MAC, SERVER_LEG, SERVER_LEG_MAC, VIP, backend_addr, backend_mac,
};

/// A node without a peer.
const CONFIG: &str = "set ns config -IPAddress 10.9.0.1 -netmask 255.255.255.0\n\
                      set ns hostName kernels\n\
                      set interface client0 -haMonitor ON -haHeartbeat OFF\n\
                      set interface server0 -haMonitor ON -haHeartbeat OFF\n\
                      add ns ip 10.1.0.100 255.255.255.255 -type VIP\n\
                      add ns ip 10.2.0.1 255.255.255.0 -type SNIP\n\
                      add lb vserver dns UDP 10.1.0.100 53\n\
                      add service d1 10.2.0.11 UDP 8080 -usip YES\n\
                      bind lb vserver dns d1\n\
                      add vlan 20\n\
                      bind vlan 20 -ifnum client0 -tagged\n\
                      bind vlan 20 -IPAddress 10.3.0.1 255.255.255.0\n\
                      add vlan 30\n\
                      bind vlan 30 -ifnum server0 -tagged\n\
                      bind vlan 30 -IPAddress 10.4.0.1 255.255.255.0\n\
                      add lb vserver tagged UDP 10.3.0.100 53\n\
                      add service t1 10.4.0.11 UDP 8080 -usip YES\n\
                      bind lb vserver tagged t1\n";
/// VLANs of clients and backends, by interfaces of the kernel.
const VLANS: [u16; 2] = [20, 30];
/// Who is in the first one: a client and the VIP.
const TAGGED: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 3, 0, 2), Ipv4Addr::new(10, 3, 0, 100)];
/// The backend in the second one.
const TAGGED_BACKEND: Ipv4Addr = Ipv4Addr::new(10, 4, 0, 11);
/// What the daemon says.
const LOG: &str = "/tmp/daemon.log";
/// Where it pins programs and maps.
const PINS: &str = "/sys/fs/bpf/understudy";
/// How long the daemon may take until it serves.
const SERVES_WITHIN: Duration = Duration::from_secs(90);
/// How long a frame may take.
const FRAME_WITHIN: Duration = Duration::from_secs(1);
/// The client's port.
const PORT: u16 = 40_000;

/// Runs it.
pub fn check() -> Result<Vec<String>> {
    let mut rig = Rig::raise(Some(Mode::ActiveBackup))?;
    rig.node.ip(&format!(
        "neigh replace {} lladdr {} dev server0 nud permanent",
        backend_addr(0),
        crate::vectors::namespace::text(backend_mac(0))
    ))?;
    rig.node.ip(&format!(
        "link add link client0 name client0.20 type vlan id 20\nlink set client0.20 up\n\
         link add link server0 name server0.30 type vlan id 30\nlink set server0.30 up\n\
         addr add 10.4.0.251/24 dev server0.30\n\
         neigh replace {TAGGED_BACKEND} lladdr {} dev server0.30 nud permanent\n",
        crate::vectors::namespace::text(backend_mac(1))
    ))?;
    let mut daemon = Daemon::start(&rig)?;
    let served = serves(&rig, &mut daemon).and_then(|()| {
        serves_in_vlans(&rig, &mut daemon).context("in VLANs")?;
        rig.lose_active_member()?;
        serves(&rig, &mut daemon).context("the bond's active member is lost")
    });
    if let Err(error) = served {
        bail!("{error:#}; the daemon said:\n{}", fs::read_to_string(LOG).unwrap_or_default());
    }
    let log = fs::read_to_string(LOG)?;
    ensure!(!log.contains("generic mode"), "the daemon attached in generic mode:\n{log}");
    let held = [
        "the daemon answers ARP and echo and forwards and returns, behind a bond that loses its active member",
        "and from a VLAN of clients to one of backends, which the kernel knows by interfaces of their own",
    ];
    Ok(held.map(str::to_owned).to_vec())
}

struct Daemon(Child);

impl Daemon {
    fn start(rig: &Rig) -> Result<Self> {
        let config = "/tmp/node.conf";
        fs::write(config, CONFIG)?;
        fs::set_permissions(config, fs::Permissions::from_mode(0o600))?;
        let mut command = Command::new("understudy");
        command.args(["run", "--config", config, "--state", "/state", "--pins", PINS]);
        let log = fs::File::create(LOG)?;
        command.stdout(log.try_clone()?).stderr(log);
        process::die_with_parent(&mut command);
        Ok(Self(rig.node.spawn(command)?))
    }
}

impl Daemon {
    /// Tries until it works, as long as the daemon may take to serve.
    fn in_time(&mut self, act: impl Fn() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + SERVES_WITHIN;
        while let Err(error) = act() {
            ensure!(self.0.try_wait()?.is_none(), "the daemon has ended");
            ensure!(Instant::now() < deadline, "{error:#}");
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it has ended. What it leaves attached would go with the cards to the next check.
        let _ = self.0.kill();
        let _ = self.0.wait();
        if let Err(error) = understudy::datapath::remove(Path::new(PINS)) {
            eprintln!("programs are left attached: {error}");
        }
    }
}

/// Asks for the VIP until it answers, pings it, and has a datagram and its answer carried.
fn serves(rig: &Rig, daemon: &mut Daemon) -> Result<()> {
    let (IpAddr::V4(client), IpAddr::V4(vip)) = (CLIENT, VIP) else { bail!("the vectors' addresses are IPv4") };
    let question = Arp { to: [0xff; 6], vlan: None, reply: false, sender: (CLIENT_MAC, client), target: ([0; 6], vip) };
    let answer = Arp { to: CLIENT_MAC, vlan: None, reply: true, sender: (CLIENT_LEG_MAC, vip), target: (CLIENT_MAC, client) };
    daemon.in_time(|| exchange(rig, CLIENT_LEG, &question.bytes(), CLIENT_LEG, &answer.bytes())).context("ARP for the VIP")?;
    let to_vip = Frame {
        from: CLIENT_MAC,
        to: CLIENT_LEG_MAC,
        vlan: None,
        source: CLIENT,
        destination: VIP,
        ttl: 64,
        body: echo(VIP, false),
    };
    let from_vip = Frame { from: CLIENT_LEG_MAC, to: CLIENT_MAC, source: VIP, destination: CLIENT, ..to_vip.clone() };
    let pong = Frame { body: echo(VIP, true), ..from_vip.clone() };
    exchange(rig, CLIENT_LEG, &to_vip.bytes(), CLIENT_LEG, &pong.bytes()).context("echo of the VIP")?;

    let query = Frame { body: udp(PORT, 53), ..to_vip };
    let forwarded = Frame {
        from: SERVER_LEG_MAC,
        to: backend_mac(0),
        destination: backend_addr(0),
        ttl: 63,
        body: udp(PORT, BACKEND_PORT),
        ..query.clone()
    };
    // It serves before it knows the way to every backend.
    daemon
        .in_time(|| exchange(rig, CLIENT_LEG, &query.bytes(), SERVER_LEG, &forwarded.bytes()))
        .context("a datagram to the backend")?;
    let reply = Frame {
        from: backend_mac(0),
        to: SERVER_LEG_MAC,
        source: backend_addr(0),
        destination: CLIENT,
        ttl: 64,
        body: udp(BACKEND_PORT, PORT),
        ..query
    };
    let returned = Frame { ttl: 63, body: udp(53, PORT), ..from_vip };
    exchange(rig, SERVER_LEG, &reply.bytes(), CLIENT_LEG, &returned.bytes()).context("its answer to the client")
}

/// Asks for a VIP in a VLAN and has a datagram carried to a backend in another one, and its answer back.
fn serves_in_vlans(rig: &Rig, daemon: &mut Daemon) -> Result<()> {
    let [clients, backends] = VLANS.map(Some);
    let [client, vip] = TAGGED;
    let question = Arp { to: [0xff; 6], vlan: clients, reply: false, sender: (CLIENT_MAC, client), target: ([0; 6], vip) };
    let answer =
        Arp { to: CLIENT_MAC, vlan: clients, reply: true, sender: (CLIENT_LEG_MAC, vip), target: (CLIENT_MAC, client) };
    exchange(rig, CLIENT_LEG, &question.bytes(), CLIENT_LEG, &answer.bytes()).context("ARP for the VIP")?;
    let query = Frame {
        from: CLIENT_MAC,
        to: CLIENT_LEG_MAC,
        vlan: clients,
        source: client.into(),
        destination: vip.into(),
        ttl: 64,
        body: udp(PORT, 53),
    };
    let forwarded = Frame {
        from: SERVER_LEG_MAC,
        to: backend_mac(1),
        vlan: backends,
        destination: TAGGED_BACKEND.into(),
        ttl: 63,
        body: udp(PORT, BACKEND_PORT),
        ..query.clone()
    };
    daemon
        .in_time(|| exchange(rig, CLIENT_LEG, &query.bytes(), SERVER_LEG, &forwarded.bytes()))
        .context("a datagram to the backend")?;
    let reply = Frame {
        from: backend_mac(1),
        to: SERVER_LEG_MAC,
        source: TAGGED_BACKEND.into(),
        destination: client.into(),
        ttl: 64,
        body: udp(BACKEND_PORT, PORT),
        ..forwarded
    };
    let returned = Frame {
        from: CLIENT_LEG_MAC,
        to: CLIENT_MAC,
        vlan: clients,
        source: vip.into(),
        ttl: 63,
        body: udp(53, PORT),
        ..reply.clone()
    };
    exchange(rig, SERVER_LEG, &reply.bytes(), CLIENT_LEG, &returned.bytes()).context("its answer to the client")
}

/// Sends a frame to interface `from` of the node, and awaits what must leave `to`.
fn exchange(rig: &Rig, from: u32, sent: &[u8], to: u32, wanted: &[u8]) -> Result<()> {
    use crate::vectors::hex;
    rig.drain()?;
    rig.send(from, sent)?;
    match port::wait_for(&rig.leg(to)?.opposite, wanted, FRAME_WITHIN)? {
        Ok(()) => Ok(()),
        Err(others) => {
            let others: Vec<String> = others.iter().map(|other| hex(other)).collect();
            bail!("the frame does not come:\n  {}\n  instead of it:\n  {}", hex(wanted), others.join("\n  "))
        }
    }
}
