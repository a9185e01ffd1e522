//! A pair of real daemons with clients and backends, and the watch over it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::client::Role;
use super::connections::Connections;
use super::echo::EchoServer;
use super::node::Node;
use super::prober::{ANSWER_WITHIN, Prober};
use super::rt;
use super::run::Run;
use super::tally::{Question, Tally};
use super::tap::{Catch, Floating, Tap};
use super::topology::{HOST_VIP_V4, Host, SNIP_V4, SNIP_V6, Topology, VIP_V4, VIP_V6, backend_v4, backend_v6};

/// Port of the service behind the VIP.
pub const SERVICE_PORT: u16 = 80;
/// How long a pair may take until one node is Primary, the other Secondary.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// How many probes in a row must be answered before a fault is thrown.
const QUIET_PROBES: u32 = 300;
/// Distance of two looks at the tally while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Distance of two questions to the daemons: each costs a process.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How a lab is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon under test.
    pub binary: PathBuf,
    /// Heartbeat interval.
    pub hello: Duration,
    /// Dead interval.
    pub dead: Duration,
    /// Controller dead interval.
    pub controller_dead: Duration,
    /// TCP connections held open through the VIP.
    pub connections: usize,
    /// Number of backends.
    pub backends: usize,
    /// Whether the nodes' kernels judge role and fence; without it a control run must show two nodes answering.
    pub fence: bool,
    /// Whether each node's legs get packet threads of their own, as if it had its own CPU.
    pub packet_threads: bool,
}

impl Options {
    /// A small pair for tests that look at one thing: one backend, no connections held, and intervals that a busy machine keeps.
    pub fn small() -> Result<Options> {
        Ok(Options {
            binary: daemon()?,
            hello: Duration::from_millis(20),
            dead: Duration::from_millis(200),
            controller_dead: Duration::from_secs(3),
            connections: 0,
            backends: 1,
            fence: true,
            packet_threads: false,
        })
    }
}

/// The daemon under test: `UNDERSTUDY_BIN`, else the one built beside this program.
pub fn daemon() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("UNDERSTUDY_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join("understudy")).find(|path| path.is_file());
    beside.context("no daemon to test: build it with `cargo build --release -p understudy` and name it in UNDERSTUDY_BIN")
}

/// Two nodes that serve.
pub struct Lab {
    /// The nodes, by host.
    nodes: [Node; 2],
    _servers: Vec<EchoServer>,
    /// Hosts and cables.
    pub topology: Topology,
    /// How it was set up.
    pub options: Options,
    run: Run,
}

impl Lab {
    /// Raises everything and waits until the pair has settled.
    pub fn raise(options: &Options) -> Result<Self> {
        Self::raise_with(options, "", |_| Ok(()))
    }

    /// The same, with `more` commands in both nodes' configurations, and with `prepare` done to the network before the nodes start.
    pub fn raise_with(options: &Options, more: &str, prepare: impl FnOnce(&Topology) -> Result<()>) -> Result<Self> {
        let run = Run::start()?;
        let topology = Topology::raise(&run, options.backends)?;
        let mut servers = Vec::new();
        for (index, netns) in topology.backends.iter().enumerate() {
            servers.push(EchoServer::start(netns, (backend_v4(index + 1), SERVICE_PORT).into())?);
            servers.push(EchoServer::start(netns, (backend_v6(index + 1), SERVICE_PORT).into())?);
        }
        prepare(&topology)?;
        let config = |host| config(host, options) + more;
        let node = |host| Node::new(&run, &topology.site(host).netns, host, &options.binary, &config(host));
        let nodes = [node(Host::A)?, node(Host::B)?];
        let mut lab = Self { nodes, _servers: servers, topology, options: options.clone(), run };
        for node in &mut lab.nodes {
            if !options.fence {
                node.set_env("UNDERSTUDY_LAB_NO_FENCE", "1");
            }
        }
        lab.start_nodes()?;
        if options.packet_threads {
            Host::BOTH.into_iter().try_for_each(|host| lab.topology.thread_packets(host))?;
        }
        lab.wait_settled()?;
        Ok(lab)
    }

    /// The run's name, by which its namespaces are found.
    pub fn name(&self) -> &str {
        self.run.name()
    }

    /// Starts the daemons that do not run, at once, and waits until both answer.
    pub fn start_nodes(&mut self) -> Result<()> {
        self.nodes.iter_mut().filter(|node| !node.is_started()).try_for_each(Node::start)?;
        self.nodes.iter_mut().try_for_each(Node::wait_ready)
    }

    /// The daemon of `host`.
    pub fn node(&self, host: Host) -> &Node {
        &self.nodes[host as usize]
    }

    /// The daemon of `host`, to be started or stopped.
    pub fn node_mut(&mut self, host: Host) -> &mut Node {
        &mut self.nodes[host as usize]
    }

    /// Waits until one node is Primary and the other Secondary; the Primary.
    pub fn wait_settled(&self) -> Result<Host> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        loop {
            let roles = Host::BOTH.map(|host| self.node(host).role());
            match &roles {
                [Ok(Role::Primary), Ok(Role::Secondary)] => return Ok(Host::A),
                [Ok(Role::Secondary), Ok(Role::Primary)] => return Ok(Host::B),
                _ => {}
            }
            ensure!(
                Instant::now() < deadline,
                "the pair did not settle within {SETTLE_WITHIN:?}: a {:?}, b {:?}\n{}{}",
                roles[0],
                roles[1],
                self.shown(),
                self.logs()
            );
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Waits until `host` says that both nodes are UP: one that has just come up, or whose daemon has, does not know its own health yet.
    pub fn wait_well(&self, host: Host) -> Result<()> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        let well = |shown: String| shown.matches("Node State: UP").count() == Host::BOTH.len();
        while !self.node(host).command(&["show", "ha", "node"]).is_ok_and(well) {
            ensure!(Instant::now() < deadline, "not both are UP within {SETTLE_WITHIN:?}\n{}{}", self.shown(), self.logs());
            std::thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    /// Waits until `host` says that it has `role`, whatever its peer says.
    pub fn wait_role(&self, host: Host, role: Role) -> Result<()> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        while !self.node(host).role().is_ok_and(|now| now == role) {
            ensure!(
                Instant::now() < deadline,
                "node {} is not {role:?} within {SETTLE_WITHIN:?}\n{}",
                host.name(),
                self.logs()
            );
            std::thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    /// Starts probes, capture and connections, and waits until all is quiet.
    pub fn watch(&self) -> Result<Watch> {
        Watch::start(&self.topology, self.options.connections)
    }

    /// What both nodes say about the pair.
    fn shown(&self) -> String {
        let show = |host| self.node(host).command(&["show", "ha", "node"]).unwrap_or_else(|error| format!("{error:#}\n"));
        Host::BOTH.map(|host| format!("--- node {}: show ha node\n{}", host.name(), show(host))).concat()
    }

    /// Adds the nodes' logs to an error.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        anyhow!("{error:#}\n{}", self.logs())
    }

    /// The last lines of both nodes' logs.
    pub fn logs(&self) -> String {
        Host::BOTH
            .map(|host| {
                let node = self.node(host);
                let counters = node.counters().map_or_else(
                    |error| format!("{error:#}"),
                    |found| found.iter().map(|(reason, packets)| format!("{reason} {packets}  ")).collect(),
                );
                format!("--- log of node {}\n{}\n--- its packets: {counters}\n", host.name(), node.log_tail())
            })
            .concat()
    }
}

/// Probes, capture and connections under way.
pub struct Watch {
    /// All probes so far.
    pub tally: Arc<Tally>,
    /// The connections.
    pub connections: Connections,
    prober: Prober,
    tap: Tap,
}

impl Watch {
    /// Starts probes, capture and connections, and waits until all is quiet. Whose daemons serve does not matter here.
    pub fn start(topology: &Topology, connections: usize) -> Result<Self> {
        let tally = Arc::new(Tally::default());
        let addresses = [VIP_V4.into(), HOST_VIP_V4.into(), VIP_V6.into(), SNIP_V4.into(), SNIP_V6.into()];
        let floating = Floating { addresses: addresses.into(), ..Floating::default() };
        let tap = Tap::start(topology, floating, tally.clone())?;
        let prober = Prober::start(topology, tally.clone())?;
        let targets = [(VIP_V4, SERVICE_PORT).into(), (VIP_V6, SERVICE_PORT).into()];
        let connections = Connections::open(&topology.client, &targets, connections)?;
        let watch = Watch { tally, connections, prober, tap };
        watch.wait_quiet()?;
        Ok(watch)
    }

    /// Waits until every connection speaks and [`QUIET_PROBES`] probes in a row were answered.
    fn wait_quiet(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        let start = rt::now();
        loop {
            std::thread::sleep(LOOK_EVERY);
            let speaking = self.connections.alive_since(start);
            // The youngest may still be on their way.
            let end = self.tally.sent().saturating_sub(5);
            let answered = (0..end).rev().take_while(|index| self.tally.is_answered(*index)).count();
            if speaking == self.connections.progress().len() && answered >= QUIET_PROBES as usize {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "not quiet within {SETTLE_WITHIN:?}: {speaking} connections speak, the last {answered} of {end} probes were answered"
            );
        }
    }

    /// Waits until the client got an answer of `host` to a probe sent after `since`; false if it takes longer than `limit`.
    pub fn wait_answer_of(&self, host: Host, since: Duration, limit: Duration) -> bool {
        let deadline = rt::now() + limit;
        let mut next = self.tally.sent().saturating_sub(1000);
        while rt::now() < deadline {
            let sent = self.tally.sent();
            let answer = |index: u32| {
                self.tally.time(index) >= since
                    && self.tally.is_answered(index)
                    && self.tally.is_seen(index, Question::Echo, host)
            };
            if (next..sent).any(answer) {
                return true;
            }
            // Answers come late and the capture later: look again at the last ones.
            next = sent.saturating_sub(300);
            std::thread::sleep(LOOK_EVERY);
        }
        false
    }

    /// Waits for late answers to what was asked so far, stops and returns what was caught.
    pub fn finish(self) -> Result<(Arc<Tally>, Connections, Catch)> {
        std::thread::sleep(ANSWER_WITHIN);
        drop(self.prober);
        Ok((self.tally, self.connections, self.tap.finish().context("capture at the switch")?))
    }
}

/// The configuration of one node: both halves of the pair, the legs, one TCP service on IPv4 and IPv6.
fn config(host: Host, options: &Options) -> String {
    let (own, peer, name) = (host.nsip(), host.peer().nsip(), host.name());
    let (hello, dead, controller) = (micros(options.hello), micros(options.dead), micros(options.controller_dead));
    let services: String = (1..=options.backends)
        .map(|number| {
            format!(
                "add service s{number} {} TCP {SERVICE_PORT} -usip YES\nbind lb vserver web s{number}\n\
                 add service t{number} {} TCP {SERVICE_PORT} -usip YES\nbind lb vserver web6 t{number}\n",
                backend_v4(number),
                backend_v6(number)
            )
        })
        .collect();
    format!(
        "set ns config -IPAddress {own} -netmask 255.255.255.0\n\
         set ns hostName ns-{name}\n\
         set interface client0 -haMonitor ON -haHeartbeat OFF\n\
         set interface server0 -haMonitor ON -haHeartbeat OFF\n\
         set interface ha0 -haMonitor OFF -haHeartbeat ON\n\
         set interface ha1 -haMonitor OFF -haHeartbeat ON\n\
         set ns rpcnode {own} -password lab-{secret}\n\
         add ha node 1 {peer}\n\
         set ns rpcnode {peer} -password lab-{secret}\n\
         set ha node -helloInterval {hello} -deadInterval {dead} -isolationHold {dead} -controllerDeadInterval {controller}\n\
         add ns ip {VIP_V4} 255.255.255.255 -type VIP\n\
         add ns ip {HOST_VIP_V4} 255.255.255.255 -type VIP\n\
         add ns ip {SNIP_V4} 255.255.255.0 -type SNIP\n\
         add ns ip6 {VIP_V6}/128 -type VIP\n\
         add ns ip6 {SNIP_V6}/64 -type SNIP\n\
         add lb vserver web TCP {VIP_V4} {SERVICE_PORT} -lbMethod SRCIPSRCPORTHASH\n\
         add lb vserver web6 TCP {VIP_V6} {SERVICE_PORT} -lbMethod SRCIPSRCPORTHASH\n\
         {services}",
        secret = std::process::id(),
    )
}

fn micros(duration: Duration) -> String {
    format!("{}us", duration.as_micros())
}
