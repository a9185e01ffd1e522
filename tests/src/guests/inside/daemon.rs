//! The daemon with clients behind a bond: what it loads, attaches and tells the kernel, as a client sees it.

use std::fs;
use std::net::IpAddr;
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
                      bind lb vserver dns d1\n";
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
    let mut daemon = Daemon::start(&rig)?;
    let served = serves(&rig, &mut daemon).and_then(|()| {
        rig.lose_active_member()?;
        serves(&rig, &mut daemon).context("the bond's active member is lost")
    });
    if let Err(error) = served {
        bail!("{error:#}; the daemon said:\n{}", fs::read_to_string(LOG).unwrap_or_default());
    }
    let log = fs::read_to_string(LOG)?;
    ensure!(!log.contains("generic mode"), "the daemon attached in generic mode:\n{log}");
    Ok(vec!["the daemon answers ARP and echo and forwards and returns, behind a bond that loses its active member".to_owned()])
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
