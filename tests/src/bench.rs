//! What does a packet cost? Nanoseconds by `BPF_PROG_TEST_RUN`, against baselines measured in the same run.

mod paths;
mod report;
mod rig;

pub use paths::{Path, paths};
pub use report::{Row, print_json, print_table};
pub use rig::{Rig, object};

/// Frames per round and CPU.
pub const REPEATS: u32 = 300_000;

/// The median of `samples`.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_in_the_middle_whatever_the_order() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < f64::EPSILON);
    }
}
