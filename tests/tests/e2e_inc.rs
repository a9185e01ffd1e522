//! A pair in two subnets: every heartbeat passes a router.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::client::Role;
use ha_tests::harness::lab::daemon;
use ha_tests::harness::netdev;
use ha_tests::harness::netns::Netns;
use ha_tests::harness::node::Node;
use ha_tests::harness::run::Run;
use ha_tests::harness::topology::Host;
use ha_tests::harness::wire::Wire;

/// How long a pair may take to settle: coming up, it waits for a peer for some seconds.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);

/// The subnet of a node's HA link, and the router in it.
fn subnet(host: Host) -> (String, String, String) {
    let number = 1 + host as u8;
    (format!("10.9.{number}.{number}"), format!("10.9.{number}.254"), format!("10.9.{number}.0/24"))
}

fn config(host: Host) -> String {
    let ((own, ..), (peer, ..)) = (subnet(host), subnet(host.peer()));
    format!(
        "set ns config -IPAddress {own} -netmask 255.255.255.0\n\
         set interface client0 -haMonitor ON -haHeartbeat OFF\n\
         set interface ha0 -haMonitor OFF -haHeartbeat ON\n\
         set ns rpcnode {own} -password lab\n\
         add ha node 1 {peer} -inc ENABLED\n\
         set ns rpcnode {peer} -password lab\n\
         set ha node -helloInterval 20 -deadInterval 400ms\n\
         bind ha node -routeMonitor 10.77.0.0 255.255.0.0\n\
         add ns ip 10.1.0.100 255.255.255.255 -type VIP\n"
    )
}

/// The routers' namespace: a bridge for clients, and a leg into each node's subnet.
fn raise(run: &Run, wire: &mut Wire) -> Result<[Netns; 2]> {
    let router = run.netns("router")?;
    router.sysctl("ipv4/ip_forward", "1")?;
    router.ip("link add brc type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set brc up\n")?;
    let node = |host: Host, wire: &mut Wire| -> Result<Netns> {
        let (netns, name) = (run.netns(host.name())?, host.name());
        let (own, gateway, _) = subnet(host);
        let (.., there) = subnet(host.peer());
        router.ip(&format!(
            "link add h-{name} type veth peer name ha0 netns {netns}\naddr add {gateway}/24 dev h-{name}\nlink set h-{name} up\n\
             link add c-{name} type veth peer name client0 netns {netns}\nlink set c-{name} master brc\nlink set c-{name} up\n",
            netns = netns.name(),
        ))?;
        netns.ip(&format!(
            "link set ha0 up\nlink set client0 up\naddr add {own}/24 dev ha0\naddr add 10.1.0.1{n}/24 dev client0\n\
             route add {there} via {gateway}\nroute add 10.77.0.0/16 via 10.1.0.254\n",
            n = 1 + host as u8,
        ))?;
        netns.run(|| ["ha0", "client0"].into_iter().try_for_each(netdev::finish_checksums))?;
        // A veth delivers what XDP transmits only to a program.
        router.run(|| ["h", "c"].into_iter().try_for_each(|leg| wire.attach(&format!("{leg}-{name}")).map(drop)))?;
        Ok(netns)
    };
    Ok([node(Host::A, wire)?, node(Host::B, wire)?])
}

struct Pair([Node; 2]);

impl Pair {
    fn wait(&self, what: &str, wanted: impl Fn(&[Node; 2]) -> bool) -> Result<()> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        while !wanted(&self.0) {
            let shown =
                || self.0.iter().map(|node| node.command(&["show", "ha", "node"]).unwrap_or_default() + &node.log_tail());
            ensure!(Instant::now() < deadline, "not within {SETTLE_WITHIN:?}: {what}\n{}", shown().collect::<String>());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn primary(&self) -> Option<usize> {
        let roles = [0, 1].map(|at: usize| self.0[at].role());
        match roles {
            [Ok(Role::Primary), Ok(Role::Secondary)] => Some(0),
            [Ok(Role::Secondary), Ok(Role::Primary)] => Some(1),
            _ => None,
        }
    }
}

#[test]
fn pair_behind_a_router_forms_swaps_roles_by_force_and_judges_its_own_routes() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces and BPF");
        return Ok(());
    }
    let run = Run::start()?;
    let mut wire = Wire::new()?;
    let [a, b] = raise(&run, &mut wire)?;
    let binary = daemon()?;
    let start = |netns: &Netns, host| -> Result<Node> {
        let mut node = Node::new(&run, netns, host, &binary, &config(host))?;
        node.start()?;
        node.wait_ready()?;
        Ok(node)
    };
    let pair = Pair([start(&a, Host::A)?, start(&b, Host::B)?]);
    pair.wait("one Primary and one Secondary", |_| pair.primary().is_some())?;
    let first = pair.primary().context("settled")?;
    // A kernel answers heartbeats before its daemon has said anything of itself.
    let both_say_so =
        |node: &Node| node.command(&["show", "ha", "node"]).is_ok_and(|shown| shown.matches("INC State: ENABLED").count() == 2);
    pair.wait("each node says that both are in INC mode", |nodes| nodes.iter().all(both_say_so))?;
    for node in &pair.0 {
        let echoed = node.counters()?.into_iter().find(|(reason, _)| *reason == "heartbeat_echoed");
        ensure!(echoed.is_some_and(|(_, count)| count > 0), "echoes pass the router");
    }
    let both_up =
        |node: &Node| node.command(&["show", "ha", "node"]).is_ok_and(|shown| shown.matches("Node State: UP").count() == 2);
    pair.wait("both nodes know that both are well", |nodes| nodes.iter().all(both_up))?;
    pair.0[first].command(&["force", "ha", "failover"])?;
    pair.wait("the roles are swapped", |_| pair.primary() == Some(1 - first))?;

    // In INC route monitors count on both nodes, at once: a Secondary without its route is not well.
    let netns = [&a, &b][first];
    netns.ip("route del 10.77.0.0/16")?;
    let not_up =
        |node: &Node| node.command(&["show", "ha", "node", "0"]).is_ok_and(|shown| shown.contains("Node State: NOT UP"));
    pair.wait("the Secondary misses its route", |nodes| not_up(&nodes[first]))?;
    let shown = pair.0[first].command(&["stat", "ha", "node"])?;
    ensure!(shown.contains("ROUTEMONITORFAIL"), "{shown}");
    netns.ip("route add 10.77.0.0/16 via 10.1.0.254")?;
    pair.wait("the Secondary is well again", |nodes| !not_up(&nodes[first]))?;
    Ok(())
}
