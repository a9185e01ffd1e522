//! The real witness and the thread by which a node asks it, over the loopback.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_common::ha::event::Testimony;
use ha_common::witness::{Identity, PairName};
use ha_tests::harness::lab::{Lab, Options, daemon};
use ha_tests::harness::netns::Netns;
use ha_tests::harness::process;
use ha_tests::harness::topology::{CLIENT_V4, Host, Leg};
use ha_tests::harness::trial::alone;
use ha_tests::harness::wire::Direction;
use understudy::keys::witness_keys;
use understudy::witness::{Client, Settings};

const PASSWORD: &str = "between the two of us";
const SOON: Duration = Duration::from_secs(10);

/// A witness with its files; ended and removed when dropped.
struct Witness {
    /// Where it runs, if not in the test's own namespace.
    netns: Option<Netns>,
    dir: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl Witness {
    /// On a free port of the loopback.
    fn start(name: &str) -> Result<Self> {
        Self::start_at(name, UdpSocket::bind("127.0.0.1:0")?.local_addr()?, None)
    }

    fn start_at(name: &str, address: SocketAddr, netns: Option<Netns>) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("understudy-e2e-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("keys"), format!("# the only pair\n{PASSWORD}\n"))?;
        fs::set_permissions(dir.join("keys"), fs::Permissions::from_mode(0o600))?;
        let mut witness = Self { netns, dir, address, child: None };
        witness.restart()?;
        Ok(witness)
    }

    /// Kills it, if it runs, and starts it on the same files.
    fn restart(&mut self) -> Result<()> {
        self.kill();
        let mut command = Command::new(daemon()?);
        command.arg("witness").arg("--listen").arg(self.address.to_string());
        command.arg("--state").arg(&self.dir).arg("--key-file").arg(self.dir.join("keys"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        process::die_with_parent(&mut command);
        self.child = Some(match &self.netns {
            Some(netns) => netns.spawn(command)?,
            None => command.spawn().context("start understudy witness")?,
        });
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended by itself cannot be killed; waiting reaps it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.kill();
        // What is left of a failed run lies in the temporary directory.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Node {
    client: Client,
    answers: Receiver<Testimony>,
}

impl Node {
    fn new(id: u8, server: SocketAddr, password: &str) -> Result<Self> {
        let (told, answers) = channel();
        let client = Client::spawn(move |testimony| told.send(testimony).unwrap_or_default())?;
        let keys = witness_keys(password)?;
        let pair = PairName { low: Ipv4Addr::new(10, 9, 0, 1), high: Ipv4Addr::new(10, 9, 0, 2) };
        client.set(Some(Settings { server, keys, identity: Identity { pair, node: id } }));
        Ok(Self { client, answers })
    }

    fn ask(&self) -> Result<Testimony> {
        self.client.ask();
        self.answers.recv_timeout(SOON).context("neither an answer nor that there is none")
    }

    /// Asks until the witness, which may be coming up, says something.
    fn ask_until_answered(&self) -> Result<Testimony> {
        let deadline = Instant::now() + SOON;
        loop {
            match self.ask()? {
                Testimony::Silent => ensure!(Instant::now() < deadline, "the witness does not come up"),
                // Of a release before.
                Testimony::Noted => {}
                said => return Ok(said),
            }
        }
    }
}

#[test]
fn grant_outlives_kill_9_of_the_witness_and_ends_when_both_nodes_have_released() -> Result<()> {
    let mut witness = Witness::start("grant")?;
    let [a, b] = [Node::new(1, witness.address, PASSWORD)?, Node::new(2, witness.address, PASSWORD)?];
    ensure!(a.ask_until_answered()? == Testimony::Granted);
    ensure!(b.ask_until_answered()? == Testimony::Refused);
    witness.restart()?;
    ensure!(b.ask_until_answered()? == Testimony::Refused, "the witness forgot whom it granted");
    b.client.release();
    a.client.release();
    let path = witness.dir.join("witness.json");
    let deadline = Instant::now() + SOON;
    while fs::read_to_string(&path)? != "[]" {
        ensure!(Instant::now() < deadline, "both have released, and the grant stands: {}", fs::read_to_string(&path)?);
        std::thread::sleep(Duration::from_millis(5));
    }
    ensure!(b.ask_until_answered()? == Testimony::Granted);
    Ok(())
}

#[test]
fn node_with_another_password_and_node_without_a_witness_are_told_of_silence() -> Result<()> {
    let mut witness = Witness::start("silence")?;
    let node = Node::new(1, witness.address, PASSWORD)?;
    ensure!(node.ask_until_answered()? == Testimony::Granted);
    ensure!(Node::new(2, witness.address, "something else")?.ask()? == Testimony::Silent);
    witness.kill();
    ensure!(node.ask()? == Testimony::Silent);
    Ok(())
}

/// Waits until the nodes are Primary and Secondary, whichever way round, and stay so for a while.
fn settles(lab: &Lab) -> Result<Host> {
    let primary = lab.wait_settled()?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(lab.wait_settled()? == primary, "the roles do not stay\n{}", lab.logs());
    Ok(primary)
}

#[test]
fn of_two_nodes_whose_links_are_cut_the_one_that_the_witness_chose_serves_alone_until_they_heal() -> Result<()> {
    let Some(_alone) = alone() else { return Ok(()) };
    let options = Options {
        hello: Duration::from_millis(10),
        dead: Duration::from_millis(30),
        controller_dead: Duration::from_secs(1),
        ..Options::small()?
    };
    let lab = Lab::raise(&options)?;
    let old = lab.wait_settled()?;
    let witness = Witness::start_at("pair", SocketAddr::from((CLIENT_V4, 3006)), Some(lab.topology.client.clone()))?;
    for host in Host::BOTH {
        let node = lab.node(host);
        node.command(&["set", "ha", "node", "-witness", &witness.address.to_string(), "-witnessPassword", PASSWORD])?;
    }
    let cut = |cut| {
        for direction in [Direction::FromHost, Direction::ToHost] {
            lab.topology.cut(old, &Leg::HA, direction, cut);
        }
    };
    cut(true);
    let answered = |word| -> Result<bool> {
        let said = format!("testimony={word}");
        Ok(lab.node(Host::A).log()?.contains(&said) || lab.node(Host::B).log()?.contains(&said))
    };
    let deadline = Instant::now() + SOON;
    while !(answered("Granted")? && answered("Refused")?) {
        ensure!(Instant::now() < deadline, "the witness was not asked by both, or answered both alike\n{}", lab.logs());
        std::thread::sleep(Duration::from_millis(5));
    }
    let chosen = settles(&lab).map_err(|error| lab.explain(error))?;
    ensure!(lab.node(chosen).log()?.contains("testimony=Granted"), "the other one serves\n{}", lab.logs());
    let log = lab.node(chosen).log()?;
    ensure!(!log.contains("IpConflict"), "the former Primary's last words are no conflict:\n{log}");
    cut(false);
    ensure!(settles(&lab)? == chosen, "nobody takes over when the links are back\n{}", lab.logs());
    let path = witness.dir.join("witness.json");
    let deadline = Instant::now() + SOON;
    while fs::read_to_string(&path)? != "[]" {
        ensure!(Instant::now() < deadline, "the nodes hear each other, and the grant stands\n{}", lab.logs());
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
