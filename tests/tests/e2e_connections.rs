//! Connections across a takeover in which the server is the first to speak.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::client::Role;
use ha_tests::harness::lab::{Lab, Options};
use ha_tests::harness::topology::{VIP_V4, backend_v4};

/// How long anything may take.
const WITHIN: Duration = Duration::from_secs(10);
/// A port of the VIP that no harness server takes.
const PORT: u16 = 81;

#[test]
fn server_that_speaks_first_after_a_takeover_is_heard() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces and BPF");
        return Ok(());
    }
    let lab = Lab::raise(&Options::small()?)?;
    let old = lab.wait_settled()?;
    let vip: Ipv4Addr = VIP_V4;
    for host in [old, old.peer()] {
        let node = lab.node(host);
        node.command(&["add", "lb", "vserver", "late", "TCP", &vip.to_string(), &PORT.to_string()])?;
        node.command(&[
            "add",
            "service",
            "l1",
            &backend_v4(1).to_string(),
            "TCP",
            &PORT.to_string(),
            "-usip",
            "YES",
            "-healthMonitor",
            "NO",
        ])?;
        node.command(&["bind", "lb", "vserver", "late", "l1"])?;
    }
    let backend = &lab.topology.backends[0];
    let listener = backend.run(|| TcpListener::bind((backend_v4(1), PORT)).context("listen"))?;
    let mut client = lab
        .topology
        .client
        .run(|| TcpStream::connect_timeout(&SocketAddr::from((vip, PORT)), WITHIN).context("connect to the VIP"))?;
    let (mut server, _) = listener.accept()?;
    client.set_read_timeout(Some(WITHIN))?;
    lab.topology.silence(old, true);
    let deadline = Instant::now() + WITHIN;
    while lab.node(old.peer()).role()? != Role::Primary {
        ensure!(Instant::now() < deadline, "no takeover\n{}", lab.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
    server.write_all(b"first")?;
    let mut heard = [0; 5];
    client.read_exact(&mut heard).with_context(|| format!("what the server said first\n{}", lab.logs()))?;
    ensure!(&heard == b"first");
    Ok(())
}
