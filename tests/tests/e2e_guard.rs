//! Protection and limits, with a real pair, real clients and real backends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_tests::harness::lab::Lab;
use ha_tests::harness::node::Node;
use ha_tests::harness::ways::{FAMILIES, Family, WITHIN, converse, listen, pair, services};
use serde_json::Value;

/// Ports of the VIP that no harness server takes.
const HIDDEN: u16 = 81;
/// Distance of two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn asked(node: &Node, words: &[&str], resource: &str) -> Result<Value> {
    let said = node.command(&[words, &["-json"]].concat())?;
    let mut reply: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    Ok(reply[resource].take())
}

/// Waits until `found` is something.
fn wait<T>(what: &str, mut found: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = found()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {WITHIN:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What `show ns limits` says of `table`.
fn limit(node: &Node, table: &str) -> Result<Value> {
    let limits = asked(node, &["show", "ns", "limits"], "nslimits")?;
    let rows = limits["tables"].as_array().context("tables")?;
    rows.iter().find(|row| row["name"] == table).cloned().with_context(|| format!("{table} in {limits}"))
}

#[test]
fn limits_are_shown_as_they_fill_alarmed_and_resized_by_a_stop_and_a_start() -> Result<()> {
    const CONNECTIONS: usize = 52;
    let more = format!("set ns limits -flows 64\n{}", services(HIDDEN, "IP", "NO"));
    let Some((mut lab, primary, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = |lab: &mut Lab| {
        let [v4, _]: [Family; 2] = FAMILIES;
        let listener = listen(lab, (v4.backend(), HIDDEN).into())?;
        let open = |_| converse(lab, (v4.vip(), HIDDEN).into(), &listener);
        let ends = (0..CONNECTIONS).map(open).collect::<Result<Vec<_>>>()?;
        let node = lab.node(primary);
        let flows = wait("the connections are counted", || {
            let row = limit(node, "FLOWS")?;
            Ok((row["used"].as_u64() >= Some(CONNECTIONS as u64)).then_some(row))
        })?;
        ensure!(flows["maximum"] == 64, "{flows}");
        let text = wait("an alarm", || {
            let alarms = node.command(&["show", "ns", "alarms"])?;
            Ok(alarms.contains("LimitNear FLOWS").then_some(alarms))
        })?;
        ensure!(text.contains("set ns limits -flows 128"), "{text}");
        let pool = wait("a source port pool", || {
            let pool = asked(node, &["show", "ns", "limits"], "nslimits")?["sourceports"].take();
            Ok((pool["used"].as_u64() == Some(CONNECTIONS as u64)).then_some(pool))
        })?;
        ensure!(pool["service"] == format!("s-TCP-{HIDDEN}-IPv4"), "{pool}");
        let said = node.command(&["set", "ns", "limits", "-flows", "512"])?;
        ensure!(said.contains("FLOWS goes on with room for 64") && said.contains("understudy stop"), "{said}");
        node.command(&["save", "ns", "config"])?;

        let node = lab.node_mut(primary);
        node.terminate()?;
        node.start()?;
        node.wait_ready()?;
        ensure!(limit(node, "FLOWS")?["maximum"] == 64, "the daemon came back: its table is what it was");
        node.stop()?;
        node.start()?;
        node.wait_ready()?;
        ensure!(limit(node, "FLOWS")?["maximum"] == 512, "made anew");
        drop(ends);
        Ok(())
    };
    claim(&mut lab).map_err(|error| lab.explain(error))
}
