use proptest::prelude::*;

use super::*;

const START: Nanos = Nanos(1_000_000_000);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A monitor with its clock: every probe ends with the outcome given, right when it starts.
struct Rig {
    now: Nanos,
    monitor: Monitor,
}

impl Rig {
    fn new(verdict: Verdict) -> Self {
        Rig { now: START, monitor: Monitor::new(Settings::default(), verdict, START) }
    }

    /// Goes to the next probe, ends it with `outcome`; how long it took to come, and the verdict after it.
    fn probe(&mut self, outcome: Outcome) -> (Duration, Verdict) {
        let before = self.now;
        self.now = self.monitor.poll_timeout();
        assert_eq!(self.monitor.handle_timeout(self.now), Step::Probe);
        let _ = self.monitor.handle_outcome(self.now, outcome);
        (self.now.since(before), self.monitor.verdict())
    }
}

#[test]
fn first_outcome_decides_alone() {
    assert_eq!(Rig::new(Verdict::Unknown).probe(Outcome::Good), (seconds(0), Verdict::Up));
    assert_eq!(Rig::new(Verdict::Unknown).probe(Outcome::Bad), (seconds(0), Verdict::Down));
}

#[test]
fn a_node_that_cannot_ask_changes_no_verdict() {
    for verdict in [Verdict::Unknown, Verdict::Up, Verdict::Down] {
        let mut rig = Rig::new(verdict);
        for _ in 0..10 {
            assert_eq!(rig.probe(Outcome::NotAsked).1, verdict);
        }
    }
}

#[test]
fn up_falls_after_three_bad_probes_in_a_row_and_rests_for_the_down_time() {
    let mut rig = Rig::new(Verdict::Up);
    let outcomes = [Outcome::Bad, Outcome::Bad, Outcome::Good, Outcome::Bad, Outcome::Bad, Outcome::NotAsked];
    for outcome in outcomes {
        assert_eq!(rig.probe(outcome).1, Verdict::Up);
    }
    assert_eq!(rig.probe(Outcome::Bad), (seconds(5), Verdict::Down));
    assert_eq!(rig.probe(Outcome::Bad), (seconds(30), Verdict::Down));
    assert_eq!(rig.probe(Outcome::Good), (seconds(5), Verdict::Up));
}

#[test]
fn an_unanswered_probe_is_bad_after_the_response_timeout() {
    let mut monitor = Monitor::new(Settings { retries: 1, ..Settings::default() }, Verdict::Up, START);
    assert_eq!(monitor.handle_timeout(START), Step::Probe);
    assert_eq!(monitor.poll_timeout(), START + seconds(2));
    assert_eq!(monitor.handle_timeout(START + seconds(1)), Step::Nothing);
    assert_eq!(monitor.handle_timeout(START + seconds(2)), Step::Changed(Verdict::Down));
    assert_eq!(monitor.handle_outcome(START + seconds(3), Outcome::Good), Step::Nothing, "too late, ignored");
}

#[test]
fn rises_only_after_the_good_probes_asked_for() {
    let settings = Settings { success_retries: 2, ..Settings::default() };
    let mut rig = Rig { now: START, monitor: Monitor::new(settings, Verdict::Down, START) };
    assert_eq!(rig.probe(Outcome::Good).1, Verdict::Down);
    assert_eq!(rig.probe(Outcome::Bad).1, Verdict::Down);
    assert_eq!(rig.probe(Outcome::Good).1, Verdict::Down);
    assert_eq!(rig.probe(Outcome::Good).1, Verdict::Up);
}

#[test]
fn hurrying_probes_at_once() {
    let mut rig = Rig::new(Verdict::Unknown);
    rig.probe(Outcome::Bad);
    rig.monitor.hurry(rig.now + seconds(1));
    assert_eq!(rig.probe(Outcome::Good), (seconds(1), Verdict::Up));
}

proptest! {
    /// Whatever happens, probes never come closer than the interval unless one takes longer than it.
    #[test]
    fn probes_keep_their_distance(outcomes in proptest::collection::vec(0..3, 1..50)) {
        let mut rig = Rig::new(Verdict::Unknown);
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let outcome = [Outcome::Good, Outcome::Bad, Outcome::NotAsked][outcome as usize];
            let (waited, _) = rig.probe(outcome);
            prop_assert!(n == 0 || waited >= seconds(5));
        }
    }
}
