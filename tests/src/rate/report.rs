//! Figures, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::measure::{Placement, Sample};
use super::rows::{CEILING, Row};
use crate::bench::median;

/// All rounds of one row.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The row's name.
    pub name: &'static str,
    /// Who carried packets.
    pub placement: Placement,
    /// Rounds.
    pub rounds: usize,
    /// Frames offered in all.
    pub offered: u64,
    /// Frames that left the device in all.
    pub out: u64,
    /// Offered per second: median.
    pub offered_per_second: f64,
    /// CPU time per packet, ns: median, least and most.
    pub ns: [f64; 3],
    /// The same above the ceiling of the same round.
    pub ns_above_ceiling: [f64; 3],
    /// What it is compared with.
    pub against: Option<Comparison>,
}

/// A row beside another.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The other row.
    pub of: &'static str,
    /// Part of its cost, both above the ceiling.
    pub part: f64,
    /// At most this was aimed at.
    pub goal: f64,
    /// Whether it was reached.
    pub met: bool,
}

/// The figures of one placement; `rounds` has the samples of all rows of each round, in the order of `rows`.
pub fn figures(rows: &[Row], placement: Placement, rounds: &[Vec<Sample>]) -> Vec<Figure> {
    let ceiling = rows.iter().position(|row| row.name == CEILING);
    let figure = |(index, row): (usize, &Row)| {
        let all: Vec<Sample> = rounds.iter().map(|round| round[index]).collect();
        let above = rounds.iter().map(|round| round[index].ns - ceiling.map_or(f64::NAN, |ceiling| round[ceiling].ns));
        Figure {
            name: row.name,
            placement,
            rounds: all.len(),
            offered: all.iter().map(|sample| sample.offered).sum(),
            out: all.iter().map(|sample| sample.out).sum(),
            offered_per_second: median(all.iter().map(|sample| sample.rate).collect()),
            ns: spread(all.iter().map(|sample| sample.ns).collect()),
            ns_above_ceiling: spread(above.collect()),
            against: None,
        }
    };
    let mut figures: Vec<Figure> = rows.iter().enumerate().map(figure).collect();
    for (index, row) in rows.iter().enumerate() {
        let Some(goal) = row.goal else { continue };
        let Some(of) = figures.iter().find(|figure| figure.name == goal.of) else { continue };
        let part = figures[index].ns_above_ceiling[0] / of.ns_above_ceiling[0];
        figures[index].against = Some(Comparison { of: goal.of, part, goal: goal.part, met: part <= goal.part });
    }
    figures
}

/// Median, least and most.
fn spread(samples: Vec<f64>) -> [f64; 3] {
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [median(samples), least, most]
}

/// A table.
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:15} {:>9} {:>10} {:>10} {:>7} {:>8} {:>21}  {}\n",
        "row", "cpu", "offered", "out", "ns", "above", "least .. most", "compared with"
    );
    for figure in figures {
        let [above, least, most] = figure.ns_above_ceiling;
        let placement = match figure.placement {
            Placement::Inline => "inline",
            Placement::Threaded => "threaded",
        };
        let against = figure.against.as_ref().map_or_else(String::new, |against| {
            let met = if against.met { "met" } else { "missed" };
            format!("1/{:.1} of {} (goal 1/{:.0}: {met})", 1.0 / against.part, against.of, 1.0 / against.goal)
        });
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:15} {:>9} {:>10} {:>10} {:>7.0} {:>8.0} {:>21}  {against}",
            figure.name,
            placement,
            figure.offered,
            figure.out,
            figure.ns[0],
            above,
            format!("{least:.0} .. {most:.0}"),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::rows::ROWS;

    #[test]
    fn a_row_is_compared_above_the_ceiling_of_its_own_round() {
        let rows: Vec<Row> = ROWS.iter().filter(|row| [CEILING, "nft_dnat", "nat"].contains(&row.name)).copied().collect();
        let sample = |ns| Sample { offered: 10, out: 10, rate: 1e6, ns };
        // The machine is slower by 100 ns in the second and third round.
        let rounds = [[500.0, 1700.0, 700.0], [600.0, 1800.0, 800.0], [600.0, 1800.0, 800.0]];
        let rounds: Vec<Vec<Sample>> = rounds.iter().map(|round| round.map(sample).to_vec()).collect();
        let figures = figures(&rows, Placement::Inline, &rounds);
        assert_eq!(figures[2].ns_above_ceiling, [200.0; 3]);
        let against = figures[2].against.as_ref().unwrap();
        assert!((against.part - 1.0 / 6.0).abs() < 1e-9 && against.met, "{against:?}");
    }
}
