//! How the figures are shown: JSON for programs, two tables and a comparison for people.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::event::Event;
use super::measure::Sample;
use super::steadiness::Steadiness;
use crate::harness::report::ms;

/// The pair and the setting that figures belong to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Whose pair.
    pub system: &'static str,
    /// Which of its settings.
    pub variant: &'static str,
    /// Distance of heartbeats or adverts.
    pub hello_ms: f64,
    /// Silence after which the peer takes over.
    pub dead_ms: f64,
}

/// All runs of one event at one setting.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// At which setting.
    #[serde(flatten)]
    pub setting: Setting,
    /// What happened.
    pub event: &'static str,
    /// How often.
    pub runs: usize,
    /// Time without an answer: median.
    pub outage_ms_median: f64,
    /// The same: 99 of 100 runs are not longer (the longest of less than 100).
    pub outage_ms_p99: f64,
    /// The same: longest.
    pub outage_ms_max: f64,
    /// From the event to the first probe that the new Primary answered: median of the runs in which one did.
    pub to_new_primary_ms_median: Option<f64>,
    /// Probes, one per millisecond, without an answer: median.
    pub probes_lost_median: u32,
    /// Probes without an answer in all runs, and probes.
    #[serde(skip)]
    lost_of: (u32, u32),
    /// Probes that both nodes answered: most.
    #[serde(skip)]
    both_answered_max: u32,
    /// Worst lateness of the prober in any run: bounds the error of all times.
    #[serde(skip)]
    late_ms_max: f64,
}

impl Row {
    /// The figures of `samples`, at least one.
    pub fn new(setting: &Setting, event: Event, samples: &[Sample]) -> Self {
        let outages: Vec<Duration> = sorted(samples.iter().map(|sample| sample.outage));
        let to_new: Vec<Duration> = sorted(samples.iter().filter_map(|sample| sample.to_new_primary));
        let lost: Vec<u32> = sorted(samples.iter().map(|sample| sample.probes_lost));
        Self {
            setting: setting.clone(),
            event: event.name(),
            runs: samples.len(),
            outage_ms_median: ms(rank(&outages, 50).unwrap_or_default()),
            outage_ms_p99: ms(rank(&outages, 99).unwrap_or_default()),
            outage_ms_max: ms(rank(&outages, 100).unwrap_or_default()),
            to_new_primary_ms_median: rank(&to_new, 50).map(ms),
            probes_lost_median: rank(&lost, 50).unwrap_or_default(),
            lost_of: samples.iter().fold((0, 0), |(lost, sent), one| (lost + one.probes_lost, sent + one.probes_sent)),
            both_answered_max: samples.iter().map(|sample| sample.both_answered).max().unwrap_or_default(),
            late_ms_max: ms(samples.iter().map(|sample| sample.late_max).max().unwrap_or_default()),
        }
    }
}

/// One time with busy loops at one setting.
#[derive(Clone, Debug, Serialize)]
pub struct FalseFailovers {
    /// At which setting.
    #[serde(flatten)]
    pub setting: Setting,
    /// How long.
    pub seconds: u64,
    /// With how many busy loops.
    pub busy_loops: usize,
    /// False takeovers: those that no stall of the machine accounts for.
    pub count: usize,
    /// Takeovers while a CPU stood still for longer than the dead interval; not in `count`.
    pub explained_by_stall: usize,
    /// Probes without an answer.
    pub probes_lost: u32,
    /// Longest stall of a CPU.
    #[serde(skip)]
    stall_ms_max: f64,
    /// Stalls longer than the dead interval.
    #[serde(skip)]
    stalls_beyond_dead: usize,
}

impl FalseFailovers {
    /// The figures of `seen`.
    pub fn new(setting: &Setting, time: Duration, busy_loops: usize, seen: &Steadiness) -> Self {
        Self {
            setting: setting.clone(),
            seconds: time.as_secs(),
            busy_loops,
            count: seen.unexplained,
            explained_by_stall: seen.explained,
            probes_lost: seen.probes_lost,
            stall_ms_max: ms(seen.stall_max),
            stalls_beyond_dead: seen.stalls_beyond_dead,
        }
    }
}

/// Everything that one run of the bench measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    /// Outages.
    pub rows: Vec<Row>,
    /// False takeovers.
    pub false_failovers: Vec<FalseFailovers>,
}

impl Results {
    /// Two tables and, if there is something to compare with, how the pairs compare.
    pub fn for_people(&self) -> String {
        let mut text = format!(
            "{:34} {:13} {:>4} {:>8} {:>8} {:>8} {:>12} {:>12} {:>5} {:>9}\n",
            "setting (hello/dead ms)", "event", "runs", "outage", "p99", "max", "new answers", "lost/sent", "both", "prober"
        );
        self.rows.iter().for_each(|row| text.push_str(&format!("{row}\n")));
        text.push_str("(ms; lost, both: probes of all runs, one per ms, without an answer, answered by both nodes; prober: its own worst lateness)\n");
        if !self.false_failovers.is_empty() {
            text.push_str(&self.false_table());
        }
        self.comparisons().into_iter().fold(text, |text, line| text + &line + "\n")
    }

    fn false_table(&self) -> String {
        let mut text = format!(
            "\n{:34} {:>7} {:>5} {:>6} {:>13} {:>6} {:>11} {:>11}\n",
            "setting (hello/dead ms)", "seconds", "loops", "false", "in a stall", "lost", "stall max", "> dead"
        );
        self.false_failovers.iter().for_each(|row| text.push_str(&format!("{row}\n")));
        text + "(false takeovers; takeovers while a CPU stood still for longer than the dead interval; stalls in ms, and their number)\n"
    }

    /// Each setting of ours beside the fastest one of keepalived that took over falsely not once in this run.
    fn comparisons(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for event in [Event::SilentCut, Event::CarrierLoss] {
            let rows = || self.rows.iter().filter(move |row| row.event == event.name());
            let steady = rows().filter(|row| row.setting.system == KEEPALIVED && self.is_steady(&row.setting));
            let Some(best) = steady.min_by(|a, b| a.outage_ms_median.total_cmp(&b.outage_ms_median)) else { continue };
            for own in rows().filter(|row| row.setting.system == UNDERSTUDY) {
                let (ours, theirs) = (own.outage_ms_median, best.outage_ms_median);
                // Below the prober's step a ratio says nothing.
                let ratio = if theirs >= STEP_MS { format!(" = {:.2} of it", ours / theirs) } else { String::new() };
                lines.push(format!(
                    "{}: keepalived's fastest steady setting here {} {theirs:.1} ms; {} {ours:.1} ms{ratio}",
                    event.name(),
                    best.setting.variant,
                    own.setting
                ));
            }
        }
        lines
    }

    fn is_steady(&self, setting: &Setting) -> bool {
        self.false_failovers.iter().any(|row| row.setting == *setting && row.count == 0)
    }
}

/// Distance of two probes.
const STEP_MS: f64 = 1.0;
/// Name of the system under test.
pub const UNDERSTUDY: &str = "understudy";
/// Name of the system it is compared with.
pub const KEEPALIVED: &str = "keepalived";

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}/{:.0}", self.system, self.variant, self.hello_ms, self.dead_ms)
    }
}

/// A line of the table.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new = self.to_new_primary_ms_median.map_or("-".into(), |ms| format!("{ms:.1}"));
        write!(
            f,
            "{:34} {:13} {:>4} {:>8.1} {:>8.1} {:>8.1} {new:>12} {:>12} {:>5} {:>9.1}",
            self.setting.to_string(),
            self.event,
            self.runs,
            self.outage_ms_median,
            self.outage_ms_p99,
            self.outage_ms_max,
            format!("{}/{}", self.lost_of.0, self.lost_of.1),
            self.both_answered_max,
            self.late_ms_max
        )
    }
}

/// A line of the table.
impl fmt::Display for FalseFailovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:34} {:>7} {:>5} {:>6} {:>13} {:>6} {:>11.1} {:>11}",
            self.setting.to_string(),
            self.seconds,
            self.busy_loops,
            self.count,
            self.explained_by_stall,
            self.probes_lost,
            self.stall_ms_max,
            self.stalls_beyond_dead
        )
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}

/// The smallest of sorted `values` that `percent` of them do not exceed.
fn rank<T: Copy>(values: &[T], percent: usize) -> Option<T> {
    let place = (values.len() * percent).div_ceil(100).max(1);
    values.get(place - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(system: &'static str, variant: &'static str) -> Setting {
        Setting { system, variant, hello_ms: 2.0, dead_ms: 6.0 }
    }

    fn row(setting: &Setting, outages_ms: &[u64]) -> Row {
        let sample = |ms: &u64| Sample {
            at: (Duration::ZERO, Duration::ZERO),
            lost_from: None,
            outage: Duration::from_millis(*ms),
            to_new_primary: None,
            probes_sent: 500,
            probes_lost: *ms as u32,
            both_answered: 0,
            late_max: Duration::ZERO,
        };
        Row::new(setting, Event::SilentCut, &outages_ms.iter().map(sample).collect::<Vec<_>>())
    }

    #[test]
    fn the_99th_percentile_of_few_runs_is_the_longest() {
        let row = row(&setting(UNDERSTUDY, "default"), &[9, 5, 6, 5, 7]);
        assert_eq!((row.outage_ms_median, row.outage_ms_p99, row.outage_ms_max), (6.0, 9.0, 9.0));
        assert_eq!(row.to_new_primary_ms_median, None);
        assert_eq!(rank(&(1..=200).collect::<Vec<_>>(), 99), Some(198));
    }

    #[test]
    fn ours_is_compared_with_the_fastest_that_is_steady_and_not_with_the_fastest() {
        let (own, fast, steady) = (setting(UNDERSTUDY, "default"), setting(KEEPALIVED, "fast"), setting(KEEPALIVED, "steady"));
        let steadiness = |setting, unexplained| {
            let seen = Steadiness { unexplained, ..Steadiness::default() };
            FalseFailovers::new(setting, Duration::from_secs(60), 8, &seen)
        };
        let results = Results {
            rows: vec![row(&own, &[6]), row(&fast, &[7]), row(&steady, &[12])],
            false_failovers: vec![steadiness(&fast, 3), steadiness(&steady, 0)],
        };
        let lines = results.comparisons();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("0.50") && lines[0].contains("steady 12.0 ms"), "{}", lines[0]);
    }

    #[test]
    fn json_has_the_fields_that_programs_read_and_no_others() {
        let own = setting(UNDERSTUDY, "default");
        let failed = FalseFailovers::new(&own, Duration::from_secs(60), 8, &Steadiness::default());
        let results = Results { rows: vec![row(&own, &[6])], false_failovers: vec![failed] };
        let json = serde_json::to_value(&results).unwrap();
        let keys = |table: &str| {
            let mut keys: Vec<String> = json[table][0].as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys.join(" ")
        };
        assert_eq!(
            keys("rows"),
            "dead_ms event hello_ms outage_ms_max outage_ms_median outage_ms_p99 probes_lost_median runs system \
             to_new_primary_ms_median variant"
        );
        assert_eq!(
            keys("false_failovers"),
            "busy_loops count dead_ms explained_by_stall hello_ms probes_lost seconds system variant"
        );
    }
}
