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
