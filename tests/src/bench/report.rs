//! Rows, for people and for programs.

use serde::Serialize;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which path.
    pub name: &'static str,
    /// `v4`, `v6`, or `-` where there is none.
    pub family: &'static str,
    /// Flows that are recorded, each as likely as the other.
    pub flows: u32,
    /// CPUs that ran it at once, over shared maps.
    pub cpus: usize,
    /// Nanoseconds of CPU time per packet, harness included: median over rounds.
    pub ns: f64,
    /// The same without the harness.
    pub ns_net: f64,
    /// Instructions of the program after the verifier rewrote them.
    pub xlated_insns: u32,
    /// Instructions that the verifier walked.
    pub verified_insns: u32,
}

#[derive(Serialize)]
struct Report<'a> {
    rows: &'a [Row],
}

/// Prints one JSON object.
pub fn print_json(rows: &[Row]) -> serde_json::Result<()> {
    println!("{}", serde_json::to_string(&Report { rows })?);
    Ok(())
}

/// Prints a table.
pub fn print_table(rows: &[Row]) {
    println!(
        "{:16} {:>6} {:>8} {:>5} {:>8} {:>8} {:>8} {:>9}",
        "path", "family", "flows", "cpus", "ns", "ns net", "insns", "verified"
    );
    for row in rows {
        println!(
            "{:16} {:>6} {:>8} {:>5} {:>8.1} {:>8.1} {:>8} {:>9}",
            row.name, row.family, row.flows, row.cpus, row.ns, row.ns_net, row.xlated_insns, row.verified_insns
        );
    }
}
