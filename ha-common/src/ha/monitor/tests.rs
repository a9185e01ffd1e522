//! One test per public rule of what makes a node unwell.

use super::*;

fn leg(name: &str) -> Watch {
    Watch { name: name.into(), enabled: true, monitored: true, carries: true, ..Watch::default() }
}

fn link(name: &str) -> Watch {
    Watch { name: name.into(), enabled: true, heartbeats: true, ..Watch::default() }
}

fn rules(interfaces: &[Watch], sets: &[(&str, &[&str])]) -> Rules {
    let set = |(name, members): &(&str, &[&str])| Set {
        name: (*name).into(),
        members: members.iter().map(|member| (*member).into()).collect(),
    };
    Rules { interfaces: interfaces.to_vec(), sets: sets.iter().map(set).collect() }
}

/// Judges with everything up at 10 Gbit/s but `down`.
fn judge(rules: &Rules, down: &[&str]) -> Findings {
    let port = |watch: &Watch| Port { carrier: !down.contains(&watch.name.as_str()), speed: Some(10_000) };
    let ports = rules.interfaces.iter().map(|watch| (watch.name.clone(), port(watch))).collect();
    rules.judge(&ports, true).expect("every port is known")
}

fn interfaces(rules: &Rules, down: &[&str]) -> Interfaces {
    judge(rules, down).health.interfaces
}

#[test]
fn a_critical_interface_without_carrier_is_a_partial_failure() {
    let rules = rules(&[leg("c"), leg("s"), link("h")], &[]);
    assert_eq!(judge(&rules, &[]).health, Health::WELL);
    let found = judge(&rules, &["s"]);
    assert_eq!((found.health.interfaces, &found.failed[..]), (Interfaces::SomeFail, &["s".to_owned()][..]));
    assert_eq!(rules.critical().collect::<Vec<_>>(), ["c", "s"]);
}

#[test]
fn every_monitored_interface_failing_is_a_complete_failure() {
    let rules = rules(&[leg("c"), leg("s")], &[]);
    let found = judge(&rules, &["c", "s"]);
    assert_eq!((found.health.interfaces, found.health.connected), (Interfaces::AllFail, false));
    assert_eq!(found.failed, ["c", "s"]);
}

#[test]
fn a_set_fails_only_when_all_its_members_fail() {
    let rules = rules(&[leg("a"), leg("b"), leg("c")], &[("uplinks", &["a", "b"])]);
    assert_eq!(rules.critical().collect::<Vec<_>>(), ["c"], "members are not critical");
    for one in ["a", "b"] {
        let found = judge(&rules, &[one]);
        assert_eq!((found.health.interfaces, found.failed.len()), (Interfaces::Work, 0), "{one}");
    }
    let found = judge(&rules, &["a", "b"]);
    assert_eq!((found.health.interfaces, &found.failed[..]), (Interfaces::SomeFail, &["a".to_owned(), "b".into()][..]));
    assert_eq!(found.sets, [("uplinks".to_owned(), true)].into());
    assert_eq!(interfaces(&rules, &["a", "b", "c"]), Interfaces::AllFail);
}

#[test]
fn a_speed_below_the_threshold_fails_and_an_unknown_one_does_not() {
    let rules = rules(&[Watch { throughput: 1_000, ..leg("c") }, leg("s")], &[]);
    let at = |speed| {
        let port = |speed| Port { carrier: true, speed };
        rules.judge(&[("c".into(), port(speed)), ("s".into(), port(Some(10)))].into(), true).unwrap().health
    };
    assert_eq!(at(Some(999)).interfaces, Interfaces::SomeFail);
    assert!(at(Some(999)).connected, "slow is not cut off");
    assert_eq!(at(Some(1_000)).interfaces, Interfaces::Work);
    assert_eq!(at(None).interfaces, Interfaces::Work);
    assert_eq!(rules.timed(), ["c"]);
}

#[test]
fn a_slow_member_fails_its_set_like_one_without_carrier() {
    let rules = rules(&[Watch { throughput: 40_000, ..leg("a") }, leg("b")], &[("uplinks", &["a", "b"])]);
    assert_eq!(interfaces(&rules, &[]), Interfaces::Work);
    assert_eq!(interfaces(&rules, &["b"]), Interfaces::AllFail);
}

#[test]
fn an_interface_disabled_by_the_operator_does_not_count() {
    let rules = rules(&[leg("c"), Watch { enabled: false, ..leg("spare") }], &[]);
    assert_eq!(interfaces(&rules, &["spare"]), Interfaces::Work);
    assert_eq!(interfaces(&rules, &["spare", "c"]), Interfaces::AllFail, "what is disabled does not soften a complete failure");
    assert_eq!(rules.names(), ["c"]);
}

#[test]
fn a_disabled_member_leaves_its_set_to_the_others_and_a_set_of_disabled_ones_cannot_fail() {
    let mut rules = rules(&[leg("a"), leg("b"), leg("c")], &[("uplinks", &["a", "b"])]);
    rules.interfaces[0].enabled = false;
    assert_eq!(interfaces(&rules, &["a"]), Interfaces::Work);
    assert_eq!(interfaces(&rules, &["a", "b"]), Interfaces::SomeFail);
    rules.interfaces[1].enabled = false;
    let found = judge(&rules, &["a", "b"]);
    assert_eq!((found.health.interfaces, found.sets["uplinks"]), (Interfaces::Work, false));
    assert_eq!(interfaces(&rules, &["a", "b", "c"]), Interfaces::AllFail);
}

#[test]
fn an_unmonitored_interface_does_not_count_even_as_a_member() {
    let rules = rules(&[leg("a"), Watch { monitored: false, ..leg("b") }, leg("c")], &[("uplinks", &["a", "b"])]);
    assert_eq!(interfaces(&rules, &["b"]), Interfaces::Work);
    assert_eq!(interfaces(&rules, &["a"]), Interfaces::SomeFail, "b does not hold the set up");
}

#[test]
fn a_dead_directly_cabled_peer_does_not_make_the_survivor_unwell() {
    // Cabled directly, left at the default of -haMonitor ON: no floating address and no backend is behind it.
    let cable = Watch { monitored: true, ..link("h") };
    let rules = rules(&[leg("c"), leg("s"), cable], &[]);
    let found = judge(&rules, &["h"]);
    assert_eq!((found.health.interfaces, found.health.linked), (Interfaces::Work, false));
    assert!(found.failed.is_empty() && !rules.critical().any(|name| name == "h"));
}

#[test]
fn a_leg_that_carries_heartbeats_too_is_still_health() {
    let rules = rules(&[Watch { heartbeats: true, ..leg("c") }, leg("s")], &[]);
    let found = judge(&rules, &["c"]);
    assert_eq!((found.health.interfaces, found.health.linked), (Interfaces::SomeFail, false));
}

#[test]
fn links_say_whether_silence_says_something() {
    let rules = rules(&[leg("c"), link("h0"), link("h1")], &[]);
    assert!(judge(&rules, &["h0"]).health.linked);
    assert!(!judge(&rules, &["h0", "h1"]).health.linked);
}

#[test]
fn a_node_that_monitors_nothing_is_well() {
    let rules = rules(&[link("h")], &[]);
    let found = judge(&rules, &["h"]);
    assert_eq!((found.health.interfaces, found.health.connected), (Interfaces::Work, true));
}

#[test]
fn a_missing_route_is_not_an_interface() {
    let rules = rules(&[leg("c")], &[]);
    let found = rules.judge(&[("c".into(), Port { carrier: true, speed: None })].into(), false).unwrap();
    assert_eq!(found.health, Health { routes: false, linked: false, ..Health::WELL });
}

#[test]
fn nothing_is_judged_before_everything_that_matters_is_known() {
    let rules = rules(&[leg("c"), link("h"), Watch { enabled: false, ..leg("spare") }], &[]);
    let port = Port { carrier: true, speed: None };
    assert_eq!(rules.judge(&[("c".into(), port)].into(), true), None);
    assert!(rules.judge(&[("c".into(), port), ("h".into(), port)].into(), true).is_some());
}
