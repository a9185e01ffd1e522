//! Golden vectors through the pipeline on the host.

use std::collections::HashSet;

use ha_common::time::Nanos;
use ha_tests::vectors;

/// Any instant long after the boot.
const NOW: Nanos = Nanos(1_000_000_000_000);

#[test]
fn every_vector_holds_on_the_host() {
    let mut failed = Vec::new();
    for vector in vectors::all() {
        let tables = vector.tables(NOW);
        failed.extend(vector.check(&vector.tables(NOW), &vector.run_on_host(&tables)).err());
    }
    assert!(failed.is_empty(), "{} vectors failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_claim_is_made_once() {
    let vectors = vectors::all();
    let names: HashSet<_> = vectors.iter().map(|vector| vector.name).collect();
    assert_eq!(names.len(), vectors.len());
    assert!(vectors.len() >= 80, "{} vectors", vectors.len());
}

#[test]
fn no_frame_however_mutilated_is_worse_than_dropped() {
    for vector in vectors::all() {
        for len in 0..=vector.frame().len() {
            let tables = vector.tables(NOW);
            let outcome = vector.mutilated(vector.frame()[..len].to_vec()).run_on_host(&tables);
            let packets: u64 = outcome.counters.iter().map(|(_, counter)| counter.packets).sum();
            assert_eq!(packets, 1, "{} cut to {len} bytes is counted once", vector.name);
        }
    }
}
