//! The ways in which the pair is hurt, and what must come of it.
//!
//! A scenario is one fault, thrown at the Primary while everything is quiet, and a claim: who serves afterwards and what may be lost. The
//! fault itself is a small function in [`fault`]; running and judging are the same for all.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::lab::{Lab, Watch};
use super::report::{Report, Window, ms, stale_frames};
use super::rt;
use super::tap::Sighting;
use super::topology::Host;

pub mod fault;
mod table;

pub use table::SCENARIOS;

/// How much quiet before the event belongs to the window.
const BEFORE: u32 = 200;
/// How long connections and answers are watched after the last thing that happens.
const AFTER: Duration = Duration::from_secs(2);
/// How long a new Primary may take beyond the interval that must pass, before the run is given up.
const TAKEOVER_MARGIN: Duration = Duration::from_secs(5);

/// Who serves afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer of the node that was hurt.
    PeerServes,
    /// Still the same node.
    SameServes,
    /// The peer, until what was done is undone; then the same node again.
    PeerMeanwhile,
}

/// One scenario.
pub struct Scenario {
    /// Its word on the command line.
    pub name: &'static str,
    /// What happens, in a few words.
    pub about: &'static str,
    /// The fault, thrown at the given Primary; returns what undoes or continues it once the outcome is there, if anything.
    fault: fn(&mut Lab, Host) -> Result<Event>,
    outcome: Outcome,
    /// Whether not even one probe may be lost.
    hitless: bool,
    /// Whether both nodes must be seen answering: true only for the control run without the fence.
    conflict: bool,
    /// See [`Overlap`].
    overlap: Overlap,
}

/// How long both nodes may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overlap {
    /// Not at all: a heartbeat link works in both directions, or only one node lives.
    None,
    /// Until the old Primary has missed the echoes of two requests: no link works in both directions.
    TwoRequests,
    /// Until the cut heals, and a hello and a round trip from then on.
    UntilHealed,
}

/// What undoes or continues a fault.
pub type Sequel = Box<dyn FnOnce(&mut Lab) -> Result<()>>;

/// What a fault function hands back.
pub struct Event {
    /// The moment of the fault.
    pub at: Duration,
    /// What is done once the outcome is there.
    pub then: Option<Sequel>,
    /// What is done when the run has been watched to its end; holds what goes on until then.
    pub end: Option<Sequel>,
}

impl Scenario {
    const fn takeover(name: &'static str, about: &'static str, fault: fn(&mut Lab, Host) -> Result<Event>) -> Self {
        Self { name, about, fault, outcome: Outcome::PeerServes, hitless: false, conflict: false, overlap: Overlap::None }
    }

    /// Nothing at all may come of it.
    const fn calm(name: &'static str, about: &'static str, fault: fn(&mut Lab, Host) -> Result<Event>) -> Self {
        Self { hitless: true, outcome: Outcome::SameServes, ..Self::takeover(name, about, fault) }
    }

    /// The scenario with this name.
    pub fn named(name: &str) -> Result<&'static Self> {
        let names = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
        SCENARIOS
            .iter()
            .find(|scenario| scenario.name == name)
            .with_context(|| format!("no scenario {name}; there are: {}", names()))
    }

    /// Whether the nodes run with their fence.
    pub fn has_fence(&self) -> bool {
        !self.conflict
    }

    /// Throws the fault at the Primary of a quiet lab and measures.
    pub fn run(&self, lab: &mut Lab, watch: Watch) -> Result<Findings> {
        let old = lab.wait_settled()?;
        let first = watch.tally.sent().saturating_sub(BEFORE);
        watch.tally.take_late_max();
        let connections_open = watch.connections.progress().iter().filter(|one| one.fault.is_none()).count();

        let event = (self.fault)(lab, old)?;
        if self.outcome != Outcome::SameServes {
            // The run goes on when no new Primary answers: the report says so.
            let limit = lab.options.controller_dead + lab.options.dead + TAKEOVER_MARGIN;
            watch.wait_answer_of(old.peer(), event.at, limit);
        }
        if let Some(then) = event.then {
            then(lab)?;
        }
        let settled = rt::now();
        rt::sleep_until(settled + AFTER);

        // The last half of the time after counts: TCP's own retransmissions have had their turn by then.
        let connections_kept = watch.connections.alive_since(settled + AFTER / 2);
        let late = watch.tally.take_late_max();
        let end = watch.tally.sent();
        let (tally, connections, catch) = watch.finish()?;
        if let Some(end) = event.end {
            end(lab)?;
        }
        let window = Window { tally: &tally, first, end, event: event.at };
        let stale = stale_frames(&catch.sightings, old, event.at);
        let resets: Vec<_> = catch.resets.iter().filter(|reset| reset.at >= event.at).collect();
        let new = match self.outcome {
            Outcome::PeerServes => old.peer(),
            Outcome::SameServes | Outcome::PeerMeanwhile => old,
        };
        let watched = event.at..settled + AFTER;
        let changes = Host::BOTH.map(|host| lab.node(host).role_changes());
        let changes = changes.into_iter().collect::<Result<Vec<_>>>()?.concat();
        let changes: Vec<_> =
            changes.into_iter().filter(|change| watched.contains(&change.at) && !change.is_adoption()).collect();
        let report = Report {
            scenario: self.name.to_owned(),
            hello_ms: ms(lab.options.hello),
            dead_ms: ms(lab.options.dead),
            vip_outage_ms: ms(window.outage()),
            until_new_primary_answers_ms: match self.outcome {
                Outcome::PeerServes | Outcome::PeerMeanwhile => window.until_answer_of(old.peer()).map(ms),
                Outcome::SameServes => None,
            },
            role_changes: changes.len(),
            takeovers: changes.iter().filter(|change| change.is_takeover()).count(),
            probes_sent: window.sent(),
            probes_lost: window.lost(),
            prober_late_max_ms: ms(late),
            both_answered_ms: window.both_answered(),
            both_answered_after_ms: window.last_both_answered().map_or(0.0, |last| ms(last.saturating_sub(settled))),
            stale_frames_from_old_primary: stale.len() as u32,
            connections_open,
            connections_kept,
            resets_seen: resets.len(),
        };
        let mut faults = self.judge(&report);
        if self.conflict {
            // Everything else is allowed to go wrong here.
            return Ok(Findings { report, faults });
        }
        if window.last_answerer() != Some(new) {
            faults.push(format!("node {} had to serve in the end, but {:?} answered last", new.name(), window.last_answerer()));
        }
        let first = |what: &str, frame: &Sighting| {
            format!("first {what}: {frame:?}, {} ms after the event", ms(frame.at.saturating_sub(event.at)))
        };
        faults.extend(stale.first().filter(|_| self.overlap == Overlap::None).map(|frame| first("stale frame", frame)));
        faults.extend(resets.first().map(|frame| first("reset", frame)));
        for (number, one) in connections.progress().iter().enumerate().filter(|(_, one)| one.fault.is_some()) {
            faults.push(format!("connection {number}: {:?} after {} echoes", one.fault, one.echoes));
        }
        if !faults.is_empty() {
            let told =
                changes.iter().map(|change| format!("{change}, {} ms after the event", ms(change.at.saturating_sub(event.at))));
            faults.extend(told);
        }
        Ok(Findings { report, faults })
    }

    /// What in the figures contradicts the scenario's claim.
    fn judge(&self, report: &Report) -> Vec<String> {
        let mut faults = Vec::new();
        let mut claim = |holds: bool, text: &str| {
            if !holds {
                faults.push(text.to_owned());
            }
        };
        if self.conflict {
            claim(report.both_answered_ms > 0, "without the fence both nodes had to be seen answering: the detector is blind");
            claim(
                report.stale_frames_from_old_primary > 0,
                "without the fence the old Primary had to be seen sending: the tap is blind",
            );
            return faults;
        }
        // In the scheduler's and the switch's own time, besides what the rules take.
        const MARGIN_MS: f64 = 10.0;
        match self.overlap {
            Overlap::None => {
                claim(report.both_answered_ms == 0, "both nodes answered");
                claim(
                    report.stale_frames_from_old_primary == 0,
                    "the old Primary sent from a floating address after the new one",
                );
            }
            Overlap::TwoRequests => {
                let limit = 2.0 * report.hello_ms + MARGIN_MS;
                claim(f64::from(report.both_answered_ms) <= limit, "both nodes answered for longer than two requests take");
            }
            Overlap::UntilHealed => {
                claim(report.both_answered_ms > 0, "both nodes had to answer while they could not know: nothing was cut");
                let limit = report.hello_ms + MARGIN_MS;
                claim(report.both_answered_after_ms <= limit, "both nodes still answered a hello after the heal");
            }
        }
        claim(report.connections_kept == report.connections_open, "connections were lost");
        claim(report.resets_seen == 0, "connections were reset");
        claim(!self.hitless || report.probes_lost == 0, "probes were lost");
        let (takeovers, others) = (report.takeovers, report.role_changes);
        match self.outcome {
            Outcome::SameServes => claim(others == 0, "a role changed"),
            Outcome::PeerServes | Outcome::PeerMeanwhile => claim(takeovers == 1, "a role was not taken once"),
        }
        claim(self.outcome == Outcome::SameServes || report.until_new_primary_answers_ms.is_some(), "no new Primary answered");
        faults
    }
}

/// A run's figures and what is wrong with them.
pub struct Findings {
    /// The figures.
    pub report: Report,
    /// One line each; empty when the claim held.
    pub faults: Vec<String>,
}

impl Findings {
    /// Fails with all faults and the nodes' logs when the claim did not hold.
    pub fn check(&self, lab: &Lab) -> Result<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        bail!("{}: {}\n{}", self.report.scenario, self.faults.join("\n  "), lab.logs())
    }
}
