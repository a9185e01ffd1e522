//! A transition of a real daemon arrives at a program, at syslog and at a web server of the operator.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::lab::{Lab, Options};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(10);
const SYSLOG: &str = "127.0.0.1:5514";
const WEB: &str = "127.0.0.1:5580";

/// A program that adds what it reads to a file beside it.
fn program(path: &Path) -> Result<()> {
    fs::write(path, "#!/bin/sh\ncat >> \"$0.out\"\n")?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o700))?)
}

/// The first transition to Primary among the lines of the file.
fn wait_for_primary(path: &Path) -> Result<Value> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may be half-written.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(found) = lines.into_iter().find(|line| line["trap"] == "changeToPrimary") {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "the program was not told of the new role; it was told:\n{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn takeover_arrives_at_program_syslog_and_web_server() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces and BPF");
        return Ok(());
    }
    let lab = Lab::raise(&Options::small()?)?;
    let old = lab.wait_settled()?;
    let new = old.peer();
    let netns = &lab.topology.site(new).netns;
    let (syslog, web) = netns.run(|| Ok((UdpSocket::bind(SYSLOG)?, TcpListener::bind(WEB)?)))?;
    syslog.set_read_timeout(Some(WITHIN))?;
    let path = std::env::temp_dir().join(format!("understudy-e2e-hook-{}", std::process::id()));
    program(&path)?;
    let (path_text, url) = (path.display().to_string(), format!("http://{WEB}/ha"));
    lab.node(new).command(&["set", "ha", "hook", "-syslog", SYSLOG, "-program", &path_text, "-webhook", &url])?;
    lab.wait_well(old)?;
    lab.node(old).command(&["force", "ha", "failover"]).map_err(|error| lab.explain(error))?;

    let out = path.with_extension("out");
    let told = wait_for_primary(&out).map_err(|error| lab.explain(error))?;
    ensure!(told["kind"] == "transition" && told["to"] == "Primary" && told["lost"] == 0, "{told}");
    ensure!(told["node"]["name"] == format!("ns-{}", new.name()), "{told}");
    ensure!(told["evidence"].as_str().is_some_and(|text| text.contains("links heard")), "{told}");

    let mut line = [0; 2048];
    let mut said = String::new();
    while !said.contains(" changeToPrimary - ") {
        let len = syslog.recv(&mut line).with_context(|| format!("no line of the new role, only: {said}"))?;
        said += &String::from_utf8_lossy(&line[..len]);
    }
    let (mut request, mut stream) = (Vec::new(), web.accept()?.0);
    stream.set_read_timeout(Some(WITHIN))?;
    while !String::from_utf8_lossy(&request).contains("\"kind\":\"transition\"") {
        let mut part = [0; 4096];
        let len = stream.read(&mut part)?;
        ensure!(len > 0, "the request ended without its body");
        request.extend_from_slice(&part[..len]);
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    let shown = lab.node(new).command(&["show", "ha", "hook"])?;
    ensure!(shown.contains(SYSLOG) && shown.contains("lost: 0"), "{shown}");
    fs::remove_file(&path)?;
    fs::remove_file(&out)?;
    Ok(())
}
