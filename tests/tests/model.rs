//! Every schedule of the pair, within bounds that take seconds: `cargo xtask model --full` goes further.

use std::time::Duration;

use ha_tests::model::{Limits, Rule, check, quick};

const LIMITS: Limits = Limits { threads: 1, time: Duration::from_secs(200) };

#[test]
fn no_history_within_the_quick_bounds_breaks_an_invariant_or_fails_to_heal() {
    for bounds in quick() {
        let report = check(bounds, None, LIMITS);
        println!("{bounds}: {} states, {} healed, depth {}, {:.1?}", report.states, report.healed, report.depth, report.took);
        if let Some(violation) = report.violation {
            panic!("{bounds}: {} after {} steps\n{}", violation.what, violation.steps, violation.history);
        }
        assert!(report.complete, "{bounds}: not done after {:?}", LIMITS.time);
    }
}

#[test]
fn every_rule_is_missed_when_it_is_taken_out() {
    for rule in Rule::ALL {
        let bounds = rule.missed_within();
        let found = check(bounds, Some(rule), LIMITS).violation;
        let violation = found.unwrap_or_else(|| panic!("without {}, nothing goes wrong within {bounds}", rule.name()));
        println!("without {}, {bounds}: {} after {} steps", rule.name(), violation.what, violation.steps);
    }
}
