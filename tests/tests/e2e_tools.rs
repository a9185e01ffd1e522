//! The tools that look at a node, on a real pair: `explain` says what then happens, and `trace` shows it happening.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_common::abi::node_flags;
use ha_tests::harness::lab::{Lab, Options};
use ha_tests::harness::node::Node;
use ha_tests::harness::topology::{CLIENT_V4, CLIENT_V6, Host, VIP_V4, VIP_V6, backend_v4, backend_v6};
use ha_tests::harness::trial;
use ha_tests::harness::ways::WITHIN;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
/// A lease lasts a thousand ticks, ten seconds where they are longest; the daemon looks every second.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(20);

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

/// A trace that has begun.
struct Trace {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Trace {
    fn begin(node: &Node, words: &[&str]) -> Result<Self> {
        let mut child = node.tool(&[&["--json", "trace"], words].concat())?;
        let mut stderr = BufReader::new(child.stderr.take().context("piped")?);
        let mut line = String::new();
        stderr.read_line(&mut line)?;
        ensure!(line.starts_with("tracing"), "trace {}: {line}", words.join(" "));
        Ok(Trace { child, stderr })
    }

    /// What it told, and its last words.
    fn end(mut self) -> Result<(Vec<Value>, String)> {
        let (mut out, mut last) = (String::new(), String::new());
        self.child.stdout.take().context("piped")?.read_to_string(&mut out)?;
        self.stderr.read_to_string(&mut last)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}: {out}{last}");
        let sights = out.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok((sights.with_context(|| format!("trace printed {out}"))?, last))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id() as i32), signal)?)
    }
}

fn is_traced(node: &Node) -> Result<bool> {
    Ok(node.flags()? & node_flags::TRACED != 0)
}

#[test]
fn trace_shows_a_connection_both_ways_with_reasons_and_leaves_nothing_running() -> Result<()> {
    let Some((lab, primary, _alone)) = pair()? else { return Ok(()) };
    let claim = || {
        let node = lab.node(primary);
        let listeners = listeners(&lab, false)?;
        let client = CLIENT_V4.to_string();
        let [from, to] = ends(false, FIRST_PORT, HASHED);

        let trace = Trace::begin(node, &["tcp", "-host", &client, "-port", &FIRST_PORT.to_string(), "-count", "3"])?;
        let taken = node.told(&["trace", "-seconds", "1"]).err().context("two at a time")?.to_string();
        ensure!(taken.contains(&format!("process {} traces already", trace.child.id())), "{taken}");
        let _held = connect(&lab, [from, to])?;
        let (number, seen) = accepted(&listeners)?;
        let (sights, last) = trace.end()?;
        ensure!(last.starts_with("3 packets; none was lost"), "{last}");
        let backend = SocketAddr::new(backend_v4(number).into(), HASHED);
        let ways: Vec<[String; 3]> = sights
            .iter()
            .map(|sight| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let tuple =
                    |glance: &Value| format!("{} > {} {}", text(&glance["from"]), text(&glance["to"]), text(&glance["more"]));
                [tuple(&sight["packet"]), tuple(&sight["leaves"]), text(&sight["reason"])]
            })
            .collect();
        let expected = [
            [format!("{from} > {to} SYN"), format!("{seen} > {backend} SYN"), "forward_syn".into()],
            [format!("{backend} > {seen} SYN|ACK"), format!("{to} > {from} SYN|ACK"), "return_syn".into()],
            [format!("{from} > {to} ACK"), format!("{seen} > {backend} ACK"), "forward_new".into()],
        ];
        ensure!(ways == expected, "{ways:#?}\ninstead of {expected:#?}");
        ensure!(sights[0]["interface"] == "client0" && sights[0]["leaves_by"] == "server0", "{:#}", sights[0]);
        ensure!(!is_traced(node)?, "a trace that has ended is still running");

        let file = node.state_dir().join("seen.pcapng");
        let path = file.to_str().context("a path of words")?;
        let trace = Trace::begin(node, &["-vserver", "hashed", "-write", path, "-count", "3"])?;
        let _other = connect(&lab, ends(false, FIRST_PORT + 1, HASHED))?;
        accepted(&listeners)?;
        trace.end()?;
        let explained = node.told(&["explain", path])?;
        ensure!(explained.lines().count() == 3 && explained.contains("forward_hit"), "{explained}");
        shark_reads(path)?;

        let trace = Trace::begin(node, &["-seconds", "3600"])?;
        ensure!(is_traced(node)?, "a trace is running");
        trace.signal(Signal::SIGINT)?;
        trace.end()?;
        ensure!(!is_traced(node)?, "a trace that was interrupted is still running");

        let trace = Trace::begin(node, &["-seconds", "3600"])?;
        trace.signal(Signal::SIGKILL)?;
        let (killed, Trace { mut child, .. }) = (Instant::now(), trace);
        child.wait()?;
        while is_traced(node)? {
            ensure!(killed.elapsed() < FORGOTTEN_WITHIN, "a trace that was killed is still running");
            std::thread::sleep(Duration::from_millis(100));
        }
        node.told(&["trace", "udp", "-seconds", "1"]).context("after one that was killed").map(drop)
    };
    claim().map_err(|error| lab.explain(error))
}

/// An independent reader finds the segments and the reasons in the capture at `path`; left out where there is none.
fn shark_reads(path: &str) -> Result<()> {
    let fields = ["frame.comment", "frame.interface_name", "ip.src", "tcp.flags.syn"].map(|field| ["-e", field]).concat();
    let output = match Command::new("tshark").args(["-r", path, "-T", "fields"]).args(fields).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("tshark is not here: the capture was read back by the crate that wrote it alone");
            return Ok(());
        }
        output => output?,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "tshark: {text}{}", String::from_utf8_lossy(&output.stderr));
    for wanted in ["forward_syn -> server0", "forward_syn: as it leaves", "return_syn -> client0"] {
        ensure!(text.lines().any(|line| line.contains(wanted)), "tshark does not find {wanted:?}:\n{text}");
    }
    ensure!(text.lines().any(|line| line.contains("\tclient0\t10.1.0.2\t")), "{text}");
    Ok(())
}
