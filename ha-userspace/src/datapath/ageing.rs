//! Forgets flows that are over: in slices, so that no turn takes long.
//!
//! | what | is forgotten |
//! |---|---|
//! | a conversation in which nothing is said | after the virtual server's `-cltTimeout`, or the service's `-svrTimeout` if that is shorter |
//! | a connection that both sides have closed, or one has reset | [`TIME_WAIT`] after its last segment |
//! | a connection of which only a SYN was seen | [`HALF_OPEN`] after the last one |
//! | a connection that was cut off | [`CUT_OFF_KEPT`] later |

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_common::abi::{Exception, Flow, FlowKey, Nat, ReverseKey};
use ha_common::time::{Nanos, Ticks, Ticks32};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::clocks::Clocks;
use super::loads::{self, Recount};
use super::maps::Maps;
use super::sessions::{Rules, Sessions};
use super::sources::Sources;
use super::table::Cursor;

/// Entries looked at in one turn, per table.
const SLICE: usize = 4096;

/// Entries of `REVERSE` looked at in one turn: each takes a look-up or two.
const REVERSE_SLICE: usize = 512;

/// Entries of `REVERSE_EMBRYONIC` counted in one turn.
const COUNT_SLICE: usize = 1024;

/// From one turn to the next.
const TURN: Duration = Duration::from_millis(100);

/// How long a closed connection is kept: segments of it may still be on their way (the kernel's own TIME_WAIT is 60 s, load
/// balancers' is shorter).
const TIME_WAIT: Duration = Duration::from_secs(40);

/// How long a client has to answer its service, which answers within a second or never.
const HALF_OPEN: Duration = Duration::from_secs(120);

/// How long who speaks next is told that its connection was cut off.
const CUT_OFF_KEPT: Duration = Duration::from_secs(120);

/// The ticks are measured over this time at least.
const MEASURE: Duration = Duration::from_millis(500);

/// How long a conversation may be silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// By vserver. Flows of one that is not in it are forgotten at once.
    pub vservers: HashMap<u32, Duration>,
    /// By service, where that has a limit of its own.
    pub services: HashMap<u32, Duration>,
}

/// Walks over the flow tables for ever.
#[derive(Debug)]
pub struct Ageing {
    maps: Arc<Maps>,
    clocks: Clocks,
    flows: Cursor,
    exceptions: Cursor,
    reverse: Cursor,
    embryonic: Cursor,
    reverse_embryonic: Cursor,
    sources: Sources,
    /// Entries of `REVERSE` without a flow, and since when.
    orphans: HashMap<ReverseKey, Instant>,
    /// Those that this pass has met.
    met_orphans: HashSet<ReverseKey>,
    /// Vservers whose exceptions this pass has met.
    met: HashSet<u32>,
    recount: Recount,
    sessions: Sessions,
    rate: Rate,
}

impl Ageing {
    pub(super) fn new(maps: Arc<Maps>, clocks: Clocks, session_rules: Rules) -> Self {
        Ageing {
            maps,
            clocks,
            flows: Cursor::default(),
            exceptions: Cursor::default(),
            reverse: Cursor::default(),
            embryonic: Cursor::default(),
            reverse_embryonic: Cursor::default(),
            sources: Sources::default(),
            orphans: HashMap::new(),
            met_orphans: HashSet::new(),
            met: HashSet::new(),
            recount: Recount::default(),
            sessions: Sessions::new(session_rules),
            rate: Rate::default(),
        }
    }

    /// Runs until a channel is dropped. After each pass over `EXCEPTIONS`, `exceptions` says which vservers have any.
    pub async fn run(mut self, timeouts: watch::Receiver<Arc<Timeouts>>, exceptions: watch::Sender<HashSet<u32>>) {
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = false;
        while timeouts.has_changed().is_ok() && !exceptions.is_closed() {
            turns.tick().await;
            let present = Arc::clone(&timeouts.borrow());
            match self.turn(&present) {
                Ok(Some(met)) => drop(exceptions.send_replace(met)),
                Ok(None) => {}
                Err(error) if !complained => {
                    complained = true;
                    warn!(%error, "cannot age flows");
                }
                Err(_) => {}
            }
        }
    }

    /// One slice; the vservers with exceptions when a pass over them has ended.
    fn turn(&mut self, timeouts: &Timeouts) -> io::Result<Option<HashSet<u32>>> {
        let (ticks, at) = self.clocks.read()?;
        let Some(rule) = self.rate.rule(ticks, at, timeouts) else {
            return Ok(None);
        };
        let mut flows = Vec::new();
        let more = self.maps.flows.walk(&mut self.flows, SLICE, &mut flows)?;
        let met = flows.len();
        self.recount.meet(Instant::now(), &self.maps.loads, &flows);
        self.sessions.meet(&flows, |seen| rule.idle(seen));
        let is_open =
            |key: &FlowKey, flow: &Flow| !flow.is_cut_off() && flow.close_reason().is_none() && !rule.is_over(key, flow);
        let open = flows.iter().filter(|(key, flow)| is_open(key, flow));
        self.sources.met(|vserver| self.maps.source_limits(vserver), open.map(|(key, _)| key), more);
        flows.retain(|(key, flow)| rule.is_over(key, flow));
        self.maps.census.flows.met(met - flows.len(), more);
        let reverse: Vec<ReverseKey> =
            flows.iter().map(|(key, flow)| self.reverse_key(key, flow.placed_at(), flow.nat)).collect();
        self.maps.flows.delete(&keys(&flows))?;
        self.maps.embryonic.delete(&keys(&flows))?;
        loads::forgotten(&self.maps.loads, &flows);
        if !more {
            self.recount.end(&self.maps.loads);
            self.sessions.end_of_walk();
        }
        self.sessions.turn(&self.maps, |seen| rule.idle(seen))?;
        self.maps.reverse.delete(&reverse)?;
        self.forget_half_open(&rule)?;
        self.look_for_orphans()?;
        self.count_embryonic_sources()?;
        self.sources.turn(&self.maps)?;

        let mut found = Vec::new();
        let more = self.maps.exceptions.walk(&mut self.exceptions, SLICE, &mut found)?;
        let (over, alive): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|(key, exception): &(FlowKey, Exception)| rule.is_idle(key, exception.backend, exception.seen.low()));
        self.met.extend(alive.iter().map(|(key, _)| key.index()));
        self.maps.census.exceptions.met(alive.len(), more);
        let reverse: Vec<ReverseKey> =
            over.iter().map(|(key, exception)| self.reverse_key(key, exception.backend, Nat::NONE)).collect();
        self.maps.exceptions.delete(&keys(&over))?;
        self.maps.reverse.delete(&reverse)?;
        Ok((!more).then(|| std::mem::take(&mut self.met)))
    }
}

fn keys<V>(entries: &[(FlowKey, V)]) -> Vec<FlowKey> {
    entries.iter().map(|(key, _)| *key).collect()
}

impl Ageing {
    /// Key of the entry in `REVERSE` that a flow may have.
    fn reverse_key(&self, key: &FlowKey, backend: u32, nat: Nat) -> ReverseKey {
        reverse_key(&self.maps, key, backend, nat)
    }

    /// Counts the sources of connections of which only a SYN was seen.
    fn count_embryonic_sources(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        let more = self.maps.reverse_embryonic.walk(&mut self.reverse_embryonic, COUNT_SLICE, &mut found)?;
        self.maps.census.reverse_embryonic.met(found.len(), more);
        Ok(())
    }

    /// Forgets connections of which only a SYN was seen, and gives their sources back.
    fn forget_half_open(&mut self, rule: &Rule<'_>) -> io::Result<()> {
        let mut embryos = Vec::new();
        let more = self.maps.embryonic.walk(&mut self.embryonic, SLICE, &mut embryos)?;
        let met = embryos.len();
        embryos.retain(|(_, embryo)| rule.idle(embryo.seen) >= HALF_OPEN);
        self.maps.census.embryonic.met(met - embryos.len(), more);
        self.maps.embryonic.delete(&keys(&embryos))?;
        for (key, embryo) in embryos.into_iter().filter(|(_, embryo)| !embryo.nat.is_none()) {
            let source = self.reverse_key(&key, embryo.backend, embryo.nat);
            // Somebody else's by now, perhaps.
            if self.maps.reverse_embryonic.get(&source)? == Some(key) {
                self.maps.reverse_embryonic.delete(&[source])?;
            }
        }
        Ok(())
    }

    /// Forgets what is in `REVERSE` for flows that are not there any more, or have another source by now (what was left by one that began
    /// anew), [`TIME_WAIT`] after it was first found so: segments of it may still be on their way.
    fn look_for_orphans(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        let more = self.maps.reverse.walk(&mut self.reverse, REVERSE_SLICE, &mut found)?;
        let sources = if more { HashSet::new() } else { self.maps.source_addresses() };
        self.maps.census.met_sources(&found, more, |addr| sources.contains(&addr));
        let now = Instant::now();
        let mut over = Vec::new();
        for (reverse, flow) in found {
            let known = self.maps.flows.get(&flow)?.map(|record| self.reverse_key(&flow, record.placed_at(), record.nat));
            if known == Some(reverse) {
                continue;
            }
            let excepted = self.maps.exceptions.get(&flow)?.map(|record| self.reverse_key(&flow, record.backend, Nat::NONE));
            if excepted == Some(reverse) {
                continue;
            }
            let since = *self.orphans.entry(reverse).or_insert(now);
            if now.duration_since(since) >= TIME_WAIT {
                over.push(reverse);
            }
            self.met_orphans.insert(reverse);
        }
        self.maps.reverse.delete(&over)?;
        if !more {
            let met = std::mem::take(&mut self.met_orphans);
            self.orphans.retain(|reverse, _| met.contains(reverse));
        }
        Ok(())
    }
}

/// Key of the entry in `REVERSE` that a flow may have.
pub(super) fn reverse_key(maps: &Maps, key: &FlowKey, backend: u32, nat: Nat) -> ReverseKey {
    if nat.is_none() {
        return ReverseKey { backend, addr: key.addr, port: key.port, protocol: key.transport().into() };
    }
    ReverseKey { backend, addr: maps.snip(nat.snip).addr, port: nat.port, protocol: key.transport().into() }
}

/// How many ticks make a second: measured, because kernels differ.
#[derive(Debug, Default)]
struct Rate {
    first: Option<(Ticks, Nanos)>,
}

impl Rate {
    fn rule<'t>(&mut self, ticks: Ticks, at: Nanos, timeouts: &'t Timeouts) -> Option<Rule<'t>> {
        let (first_ticks, first_at) = *self.first.get_or_insert((ticks, at));
        let span = at.since(first_at);
        let counted = ticks.0.wrapping_sub(first_ticks.0);
        (span >= MEASURE && counted > 0).then(|| Rule { now: ticks, tick: span.div_f64(counted as f64), timeouts })
    }
}

/// Which flows are over.
struct Rule<'t> {
    now: Ticks,
    tick: Duration,
    timeouts: &'t Timeouts,
}

impl Rule<'_> {
    fn is_over(&self, key: &FlowKey, flow: &Flow) -> bool {
        let idle = self.idle(flow.seen);
        if flow.is_cut_off() {
            return idle >= CUT_OFF_KEPT;
        }
        flow.close_reason().is_some() && idle >= TIME_WAIT || self.is_idle(key, flow.backend, flow.seen)
    }

    fn is_idle(&self, key: &FlowKey, service: u32, seen: Ticks32) -> bool {
        let Some(of_clients) = self.timeouts.vservers.get(&key.index()) else { return true };
        let limit = self.timeouts.services.get(&service).map_or(*of_clients, |of_server| *of_clients.min(of_server));
        self.idle(seen) >= limit
    }

    /// A flow that was seen after this turn's reading of the clock is not idle at all.
    fn idle(&self, seen: Ticks32) -> Duration {
        self.tick.mul_f64(seen.until(self.now).into())
    }
}

#[cfg(test)]
mod tests {
    use ha_common::abi::{CUT_OFF, tcp_seen};

    use super::*;

    const START: (Ticks, Nanos) = (Ticks(4_000_000), Nanos(7_000_000_000));

    /// The clocks `seconds` after the start, at 250 ticks per second.
    fn after(seconds: u64) -> (Ticks, Nanos) {
        (Ticks(START.0.0 + 250 * seconds), START.1 + Duration::from_secs(seconds))
    }

    fn timeouts() -> Timeouts {
        let vservers = HashMap::from([(1, Duration::from_secs(120))]);
        Timeouts { vservers, services: HashMap::from([(7, Duration::from_secs(60)), (8, Duration::from_secs(600))]) }
    }

    fn is_over(now: u64, vserver: u16, flow: &Flow) -> bool {
        let mut rate = Rate::default();
        let timeouts = timeouts();
        assert!(rate.rule(START.0, START.1, &timeouts).is_none(), "nothing is measured yet");
        let (ticks, at) = after(now);
        rate.rule(ticks, at, &timeouts).unwrap().is_over(&FlowKey { vserver, ..FlowKey::default() }, flow)
    }

    #[test]
    fn flows_end_after_the_idle_time_of_their_vserver() {
        let flow = Flow { seen: after(100).0.low(), ..Flow::default() };
        assert!(!is_over(219, 1, &flow));
        assert!(is_over(221, 1, &flow));
    }

    #[test]
    fn the_shorter_of_the_clients_and_the_services_idle_time_counts() {
        let at = |backend| Flow { seen: after(100).0.low(), backend, ..Flow::default() };
        assert!(!is_over(159, 1, &at(7)) && is_over(161, 1, &at(7)));
        assert!(!is_over(219, 1, &at(8)) && is_over(221, 1, &at(8)));
    }

    #[test]
    fn flows_that_were_cut_off_are_kept_for_who_speaks_next_whatever_their_idle_time_is() {
        let flow = Flow { seen: after(100).0.low(), backend: 7 | CUT_OFF, client_tcp: tcp_seen::RST, ..Flow::default() };
        assert!(!is_over(219, 1, &flow) && is_over(221, 1, &flow));
    }

    #[test]
    fn closed_flows_end_after_the_time_wait() {
        let finished =
            Flow { seen: after(100).0.low(), client_tcp: tcp_seen::FIN, server_tcp: tcp_seen::FIN, ..Flow::default() };
        let half = Flow { server_tcp: 0, ..finished };
        let reset = Flow { client_tcp: tcp_seen::RST, ..half };
        assert!(!is_over(139, 1, &finished));
        assert!(is_over(141, 1, &finished) && is_over(141, 1, &reset));
        assert!(!is_over(141, 1, &half));
    }

    #[test]
    fn flows_of_a_vserver_that_is_gone_end_at_once() {
        assert!(is_over(100, 2, &Flow { seen: after(100).0.low(), ..Flow::default() }));
    }

    #[test]
    fn a_flow_that_was_seen_a_moment_later_is_not_idle() {
        assert!(!is_over(100, 1, &Flow { seen: after(101).0.low(), ..Flow::default() }));
    }
}
