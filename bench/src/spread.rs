//! Statistics of repeated measurements.

use serde::Serialize;

/// Values of one quantity, one per round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// All values, in the order of the rounds.
    pub values: Vec<f64>,
}

/// The middle value, or the mean of the two in the middle; `None` if there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return Some(sorted[middle]);
    }
    let lower = sorted.get(middle.checked_sub(1)?)?;
    Some((lower + sorted[middle]) / 2.0)
}

/// The median of the per-round ratios. A machine that drifts does so for both sides of a round, so this varies less
/// than the ratio of the medians. `None` unless both sides have the same rounds.
pub fn paired_ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    if ours.len() != theirs.len() {
        return None;
    }
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    median(&ratios)
}

/// Explains the numbers of a table, with this many sides that alternated over this many rounds.
pub fn caption(rounds: usize, sides: usize) -> String {
    match (rounds, sides) {
        (1, _) => "one round".to_owned(),
        (_, 1) => format!("medians of {rounds} rounds (least to greatest)"),
        _ => format!("medians of {rounds} alternating rounds (least to greatest)"),
    }
}

/// A number with a noun in the singular or plural.
pub fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

// === impl Spread ===

impl Spread {
    /// `None` if there are no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let median = median(values)?;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median, min, max, values: values.to_vec() })
    }

    /// For a table: numbers below ten get `small_decimals` decimals, others none. A single value has no range.
    pub fn shown(&self, small_decimals: usize) -> String {
        let Self { median, min, max, values } = self;
        let decimals = if *median < 10.0 { small_decimals } else { 0 };
        match values.len() {
            1 => format!("{median:.decimals$}"),
            _ => format!("{median:.decimals$} ({min:.decimals$} to {max:.decimals$})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[9.0, 1.0, 5.0, 3.0]), Some(4.0));
    }

    #[test]
    fn a_spread_keeps_its_outliers_out_of_the_median_only() {
        let spread = Spread::of(&[10.0, 11.0, 900.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (11.0, 10.0, 900.0));
        assert_eq!(spread.values, [10.0, 11.0, 900.0]);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_single_value_has_no_range_and_one_side_does_not_alternate() {
        assert_eq!(Spread::of(&[162.0]).unwrap().shown(1), "162");
        assert_eq!(Spread::of(&[2.5, 3.5]).unwrap().shown(2), "3.00 (2.50 to 3.50)");
        assert_eq!(
            (counted(1, "thread"), counted(2, "thread")),
            ("1 thread".into(), "2 threads".into())
        );
        assert_eq!(caption(1, 2), "one round");
        assert_eq!(caption(3, 1), "medians of 3 rounds (least to greatest)");
        assert_eq!(caption(3, 2), "medians of 3 alternating rounds (least to greatest)");
    }

    #[test]
    fn a_machine_that_slows_down_for_both_changes_no_ratio() {
        assert_eq!(paired_ratio(&[40.0, 20.0, 10.0], &[10.0, 5.0, 2.5]), Some(4.0));
        assert_eq!(paired_ratio(&[40.0], &[]), None);
    }
}
