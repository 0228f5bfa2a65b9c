//! Means and deviations of the training rows' states.

use jury_engine::head::Standardisation;

use super::LabelledState;

/// A deviation below this share of the mean's magnitude is rounding error, and the number is left unchanged.
const LEAST_SPREAD: f64 = 1e-6;

/// Computed from at least one row.
pub(super) fn of(rows: &[&LabelledState]) -> Standardisation {
    let n = rows.len() as f64;
    let width = rows.first().map_or(0, |row| row.state.len());
    let (mut means, mut squares) = (vec![0.0; width], vec![0.0; width]);
    for row in rows {
        for (sum, &number) in means.iter_mut().zip(&row.state) {
            *sum += f64::from(number);
        }
    }
    means.iter_mut().for_each(|sum| *sum /= n);
    for row in rows {
        for ((sum, &number), mean) in squares.iter_mut().zip(&row.state).zip(&means) {
            let gap = f64::from(number) - mean;
            *sum += gap * gap;
        }
    }
    let deviation = |(sum, mean): (&f64, &f64)| {
        let deviation = (sum / n).sqrt();
        if deviation > LEAST_SPREAD * mean.abs().max(LEAST_SPREAD) { deviation as f32 } else { 1.0 }
    };
    Standardisation {
        deviation: squares.iter().zip(&means).map(deviation).collect(),
        mean: means.iter().map(|&mean| mean as f32).collect(),
    }
}

/// A row as the network reads it, rounded to f32 to halve the memory.
pub(super) fn apply(standardisation: &Standardisation, state: &[f32]) -> Vec<f32> {
    let Standardisation { mean, deviation } = standardisation;
    let each = state.iter().zip(mean.iter().zip(deviation));
    each.map(|(x, (mean, deviation))| (x - mean) / deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_get_mean_0_and_deviation_1_and_constants_stay_finite() {
        let row = |state: &[f32]| LabelledState {
            item: String::new(),
            query: String::new(),
            state: state.to_vec(),
            correct: true,
        };
        let rows = [row(&[1.0, 5.0, -1e4]), row(&[3.0, 5.0, 1e4])];
        let found = of(&rows.iter().collect::<Vec<_>>());
        assert_eq!(found.mean, [2.0, 5.0, 0.0]);
        assert_eq!(found.deviation, [1.0, 1.0, 1e4]);
        assert_eq!(apply(&found, &rows[1].state), [1.0, 0.0, 1.0]);
    }
}
