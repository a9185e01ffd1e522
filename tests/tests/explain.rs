//! Golden vectors, explained: what is said must be what happens, and saying it must change nothing.

use anyhow::{Result, ensure};
use ha_common::abi::Reason;
use ha_common::tables::HostTables;
use ha_common::time::Nanos;
use ha_tests::frozen::Frozen;
use ha_tests::vectors::{self, Place, Vector, world};
use understudy::explain::{Names, Overlay, Scene, explain, judge};

const NOW: Nanos = Nanos(1_000_000_000_000);

/// Vectors of frames that come in, with their tables.
fn received() -> Vec<(Vector, HostTables, u32)> {
    let with_tables = |vector: Vector| match vector.place() {
        Place::Ingress(ifindex) => {
            let tables = vector.tables(NOW);
            Some((vector, tables, ifindex))
        }
        Place::Egress => None,
    };
    vectors::all().into_iter().filter_map(with_tables).collect()
}

#[test]
fn every_vector_is_explained_as_it_ends_and_the_tables_stay_as_they_are() -> Result<()> {
    let vectors = received();
    ensure!(vectors.len() > 200, "{} vectors", vectors.len());
    for (vector, tables, ifindex) in &vectors {
        let before = format!("{tables:?}");
        let (verdict, left, _) = judge(&Overlay::new(&Frozen(tables)), vector.frame(), *ifindex);
        ensure!(format!("{tables:?}") == before, "{}: explaining it changes the tables", vector.name);
        let outcome = vector.run_on_host(&vector.tables(NOW));
        let counted: Vec<Reason> = outcome.counters.iter().map(|(reason, _)| *reason).collect();
        ensure!(verdict.action() == outcome.action, "{}: {:?} instead of {:?}", vector.name, verdict.action(), outcome.action);
        ensure!(counted == [verdict.reason()], "{}: {:?} instead of {counted:?}", vector.name, verdict.reason());
        ensure!(left == outcome.frame, "{}: the frame that leaves is another one", vector.name);
    }
    Ok(())
}

#[test]
fn every_explanation_ends_with_its_reason_and_one_line_says_the_outcome() -> Result<()> {
    let names = Names::default();
    for (vector, tables, ifindex) in &received() {
        let source = Frozen(tables);
        let explanation = explain(&Overlay::new(&source), &Scene::new(&source, &names), vector.frame(), *ifindex);
        let text = explanation.to_string();
        let last = text.lines().last().unwrap_or_default();
        ensure!(last.contains(explanation.reason) && last.ends_with('.'), "{}:\n{text}", vector.name);
        ensure!(explanation.line().ends_with(explanation.reason) && explanation.line().lines().count() == 1, "{}", vector.name);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let count = lines.len();
        lines.dedup();
        ensure!(lines.len() == count, "{}: something is said twice:\n{text}", vector.name);
    }
    Ok(())
}

#[test]
fn the_packets_of_a_connection_find_what_those_before_them_would_have_left() {
    /// Where the flags of TCP over plain IPv4 are.
    const FLAGS: usize = 47;
    let tables = world::pair(NOW);
    let source = Frozen(&tables);
    let overlay = Overlay::new(&source);
    let to_web = |end: &Vector| end.frame().len() > FLAGS && end.frame()[12..14] == [8, 0] && end.frame()[FLAGS] == 2;
    let is_syn = |end: &Vector| judge(&Overlay::new(&source), end.frame(), world::CLIENT_LEG).0.reason() == Reason::ForwardSyn;
    let syn = vectors::all().into_iter().find(|vector| to_web(vector) && is_syn(vector)).expect("a SYN");
    let mut frame = syn.frame().to_vec();
    let reasons = [2, 16, 24].map(|flags| {
        frame[FLAGS] = flags;
        judge(&overlay, &frame, world::CLIENT_LEG).0.reason()
    });
    assert_eq!(reasons, [Reason::ForwardSyn, Reason::ForwardNew, Reason::ForwardHit]);
    assert!(tables.flows.borrow().is_empty() && tables.embryonic.borrow().is_empty());
}
