//! The tools that look at a node, on a real pair: `explain` says what then happens.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::lab::{Lab, Options};
use ha_tests::harness::node::Node;
use ha_tests::harness::topology::{CLIENT_V4, CLIENT_V6, Host, VIP_V4, VIP_V6, backend_v4, backend_v6};
use ha_tests::harness::trial;
use ha_tests::harness::ways::WITHIN;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// Port of virtual servers by hash, whose clients are hidden from three backends.
const HASHED: u16 = 86;
/// Port of one without a service.
const DARK: u16 = 87;
/// Port without a virtual server.
const NOBODY: u16 = 88;
/// Clients' ports are tried from here on.
const FIRST_PORT: u16 = 45_000;
const BACKENDS: usize = 3;

/// A pair with three backends, its Primary, and the lock that keeps other labs waiting. `None` without root.
fn pair() -> Result<Option<(Lab, Host, MutexGuard<'static, ()>)>> {
    let Some(alone) = trial::alone() else { return Ok(None) };
    let mut more = format!(
        "add lb vserver hashed TCP {VIP_V4} {HASHED}\nadd lb vserver hashed6 TCP {VIP_V6} {HASHED}\n\
         add lb vserver dark TCP {VIP_V4} {DARK}\n"
    );
    for number in 1..=BACKENDS {
        let (v4, v6) = (backend_v4(number), backend_v6(number));
        more += &format!(
            "add service h{number} {v4} TCP {HASHED} -usip NO -healthMonitor NO\nbind lb vserver hashed h{number}\n\
             add service k{number} {v6} TCP {HASHED} -usip NO -healthMonitor NO\nbind lb vserver hashed6 k{number}\n"
        );
    }
    let options = Options { dead: Duration::from_millis(500), backends: BACKENDS, ..Options::small()? };
    let lab = Lab::raise_with(&options, &more, |_| Ok(()))?;
    let primary = lab.wait_settled()?;
    Ok(Some((lab, primary, alone)))
}

/// Both ends of a connection from the client's `port`.
fn ends(v6: bool, port: u16, to: u16) -> [SocketAddr; 2] {
    let (client, vip): (IpAddr, IpAddr) =
        if v6 { (CLIENT_V6.into(), VIP_V6.into()) } else { (CLIENT_V4.into(), VIP_V4.into()) };
    [(client, port).into(), (vip, to).into()]
}

/// What the node says would become of the client's SYN.
fn explained(node: &Node, [from, to]: [SocketAddr; 2]) -> Result<Value> {
    let text = node.told(&["--json", "explain", "tcp", &from.to_string(), &to.to_string()])?;
    serde_json::from_str(&text).with_context(|| format!("explain printed {text}"))
}

fn connect(lab: &Lab, [from, to]: [SocketAddr; 2]) -> Result<TcpStream> {
    lab.topology.client.run(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&from.into())?;
        socket.connect_timeout(&to.into(), WITHIN).with_context(|| format!("connect from {from} to {to}"))?;
        Ok(socket.into())
    })
}

/// A listener on each backend.
fn listeners(lab: &Lab, v6: bool) -> Result<Vec<TcpListener>> {
    let listen = |number: usize| {
        let addr: IpAddr = if v6 { backend_v6(number).into() } else { backend_v4(number).into() };
        lab.topology.backends[number - 1].run(|| {
            let listener = TcpListener::bind((addr, HASHED)).with_context(|| format!("listen on {addr}"))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
    };
    (1..=BACKENDS).map(listen).collect()
}

/// Which backend has got the connection, and whom it sees.
fn accepted(listeners: &[TcpListener]) -> Result<(usize, SocketAddr)> {
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        for (number, listener) in (1..).zip(listeners) {
            match listener.accept() {
                Ok((_, seen)) => return Ok((number, seen)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        std::thread::yield_now();
    }
    anyhow::bail!("no backend has got the connection within {WITHIN:?}")
}

fn says(explanation: &Value, about: &str) -> String {
    let steps = explanation["steps"].as_array().into_iter().flatten();
    let found: Vec<&str> = steps.filter(|step| step["about"] == about).filter_map(|step| step["says"].as_str()).collect();
    found.join("; ")
}

#[test]
fn explain_says_which_backend_and_source_a_connection_then_gets_and_why_others_get_none() -> Result<()> {
    let Some((mut lab, primary, _alone)) = pair()? else { return Ok(()) };
    let claim = |lab: &Lab| {
        let node = lab.node(primary);
        for v6 in [false, true] {
            let listeners = listeners(lab, v6)?;
            let mut met = BTreeSet::new();
            for port in (FIRST_PORT..).take(16) {
                let ends = ends(v6, port, HASHED);
                let said = explained(node, ends)?;
                // Explained twice, it is the same: the first left nothing.
                ensure!(explained(node, ends)? == said, "{said:#}");
                ensure!(said["reason"] == "forward_syn" && said["action"] == "redirect", "{said:#}");
                let _client = connect(lab, ends)?;
                let (number, seen) = accepted(&listeners)?;
                let (vserver, service) = if v6 { ("hashed6", format!("k{number}")) } else { ("hashed", format!("h{number}")) };
                ensure!(said["service"] == service.as_str() && said["vserver"] == vserver, "{service} got it: {said:#}");
                ensure!(said["leaves"]["from"] == seen.to_string(), "{service} sees {seen}: {said:#}");
                ensure!(says(&said, "source").contains(&seen.to_string()), "{said:#}");
                met.insert(service);
            }
            ensure!(met.len() == BACKENDS, "only {met:?} were met");
        }
        let dark = explained(node, ends(false, FIRST_PORT, DARK))?;
        ensure!(dark["reason"] == "vserver_down" && dark["vserver"] == "dark", "{dark:#}");
        ensure!(says(&dark, "state").starts_with("DOWN"), "{dark:#}");
        let nobody = explained(node, ends(false, FIRST_PORT, NOBODY))?;
        ensure!(nobody["reason"] == "no_vserver" && says(&nobody, "virtual server").starts_with("none at"), "{nobody:#}");
        let text = node.told(&["explain", "tcp", &format!("{CLIENT_V4}:1"), &format!("{VIP_V4}:{HASHED}"), "-flags", "ACK"])?;
        ensure!(text.contains("hashed: TCP") && text.contains("forward_new: To a backend, flow recorded now."), "{text}");
        let idle = explained(lab.node(primary.peer()), ends(false, FIRST_PORT, HASHED))?;
        ensure!(says(&idle, "serving") == "no: this node is not Primary" && idle["reason"] == "stray_sent", "{idle:#}");
        Ok(())
    };
    claim(&lab).map_err(|error| lab.explain(error))?;
    lab.node_mut(primary).terminate()?;
    let claim = |lab: &Lab| {
        let [from, to] = ends(false, FIRST_PORT, NOBODY - 2).map(|end| end.to_string());
        let text = lab.node(primary).told(&["explain", "tcp", &from, &to])?;
        ensure!(text.contains("virtual server number") && text.contains("no daemon answers"), "{text}");
        Ok(())
    };
    claim(&lab).map_err(|error| lab.explain(error))
}
