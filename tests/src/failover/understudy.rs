//! The pair of the daemon under test.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::pair::Pair;
use crate::harness::lab::{Lab, Options, daemon};
use crate::harness::node::Node;
use crate::harness::rt;
use crate::harness::topology::{Host, Topology};

/// Hello and dead interval; nothing else is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Heartbeat interval, ms.
    pub hello_ms: f64,
    /// Dead interval, ms.
    pub dead_ms: f64,
}

impl Settings {
    /// Reads `hello/dead` in milliseconds.
    pub fn parse(text: &str) -> Result<Self> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|ms| *ms > 0.0);
        let pair = text.split_once('/').and_then(|(hello, dead)| Some((number(hello)?, number(dead)?)));
        let Some((hello_ms, dead_ms)) = pair else { bail!("{text}: give hello and dead interval in ms as 2/6") };
        Ok(Self { hello_ms, dead_ms })
    }

    /// Raises a pair with these settings and everything else at its default.
    pub fn raise(&self) -> Result<Lab> {
        let ms = |value: f64| Duration::from_secs_f64(value / 1000.0);
        Lab::raise(&Options {
            binary: daemon()?,
            hello: ms(self.hello_ms),
            dead: ms(self.dead_ms),
            controller_dead: Duration::from_secs(3),
            connections: 0,
            backends: 2,
            fence: true,
            packet_threads: false,
        })
    }
}

impl Pair for Lab {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn wait_settled(&self) -> Result<Host> {
        Lab::wait_settled(self)
    }

    fn kill(&mut self, host: Host) -> Result<()> {
        self.node_mut(host).kill()
    }

    fn stop(&mut self, host: Host) -> Result<()> {
        self.node_mut(host).stop()
    }

    fn start(&mut self, host: Host) -> Result<()> {
        self.node_mut(host).start()?;
        self.node_mut(host).wait_ready()
    }

    fn hand_over(&mut self, host: Host) -> Result<()> {
        self.node(host).command(&["force", "ha", "failover", "-force"]).map(drop)
    }

    /// The roles are equals: nothing is left to undo.
    fn end_hand_over(&mut self, _: Host) -> Result<()> {
        Ok(())
    }

    fn takeovers(&self) -> Result<Vec<Duration>> {
        let of = |host| takeovers_in(self.node(host));
        let mut all = [of(Host::A)?, of(Host::B)?].concat();
        all.sort_unstable();
        Ok(all)
    }

    fn logs(&self) -> String {
        Lab::logs(self)
    }
}

/// When the node became Primary from something that does not serve, by its log.
fn takeovers_in(node: &Node) -> Result<Vec<Duration>> {
    let wall_offset = rt::wall_offset();
    let log = node.log()?;
    let at = |line: &str| {
        let at = changed_at(line).with_context(|| format!("a line of the log does not say when: {line}"))?;
        Ok(at.saturating_sub(wall_offset))
    };
    log.lines().filter(|line| is_takeover(line)).map(at).collect()
}

fn is_takeover(line: &str) -> bool {
    line.contains("to=Primary") && (line.contains("from=Secondary") || line.contains("from=Claiming"))
}

/// The line's own field `at`, in seconds since 1970 with microseconds: the line itself may have been written late.
fn changed_at(line: &str) -> Option<Duration> {
    let (seconds, micros) = line.split_whitespace().find_map(|word| word.strip_prefix("at="))?.split_once('.')?;
    Some(Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_change_is_its_own_and_not_the_lines() {
        let line = "2026-11-20T11:05:22.1Z INFO role from=Secondary to=Primary term=5 evidence=\"x\" at=1795172721.583527";
        assert_eq!(changed_at(line), Some(Duration::from_micros(1_795_172_721_583_527)));
        assert_eq!(changed_at("2026-11-20T11:05:22.1Z INFO role"), None);
    }

    #[test]
    fn a_primary_that_takes_a_new_term_is_no_takeover() {
        assert!(is_takeover("x INFO role from=Secondary to=Primary term=5"));
        assert!(!is_takeover("x INFO role from=Primary to=Primary term=6"));
        assert!(!is_takeover("x INFO role from=Handing over to=Primary term=7"));
    }

    #[test]
    fn settings_are_two_numbers() {
        assert_eq!(Settings::parse("2/6").unwrap(), Settings { hello_ms: 2.0, dead_ms: 6.0 });
        for wrong in ["2", "2/", "a/b", "0/4", "-1/4"] {
            assert!(Settings::parse(wrong).is_err(), "{wrong}");
        }
    }
}
