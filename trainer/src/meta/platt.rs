//! From logits to probabilities (Platt, 1999), and how accurate those are.

use jury_engine::head::Calibration;

use super::fit::{cross_entropy, sigmoid};
use super::report::ReliabilityBin;

/// Smallest slope. Logits that rank the wrong way, or not at all, become probabilities that hardly differ but keep
/// their order: a calibration must not reverse a ranking because of what may be chance.
const LEAST_SLOPE: f64 = 1e-3;
const MOST_STEPS: usize = 100;
const BINS: usize = 10;

/// Slope and intercept with the least cross-entropy against Platt's smoothed labels, by Newton's method with step
/// halving (Lin, Lin and Weng, 2007).
pub(super) fn calibrate(logits: &[f64], correct: &[bool]) -> Calibration {
    let n_correct = correct.iter().filter(|&&correct| correct).count() as f64;
    let n_wrong = correct.len() as f64 - n_correct;
    let (high, low) = ((n_correct + 1.0) / (n_correct + 2.0), 1.0 / (n_wrong + 2.0));
    let targets: Vec<f64> =
        correct.iter().map(|&correct| if correct { high } else { low }).collect();
    let (slope, intercept) = newton(logits, &targets, None);
    let (slope, intercept) = match slope > LEAST_SLOPE {
        true => (slope, intercept),
        false => newton(logits, &targets, Some(LEAST_SLOPE)),
    };
    Calibration { slope: slope as f32, intercept: intercept as f32 }
}

/// With `fixed`, the slope is constant.
fn newton(logits: &[f64], targets: &[f64], fixed: Option<f64>) -> (f64, f64) {
    let loss = |slope: f64, intercept: f64| -> f64 {
        let each = logits.iter().zip(targets).map(|(&logit, &target)| {
            let logit = slope * logit + intercept;
            target * cross_entropy(logit, true) + (1.0 - target) * cross_entropy(logit, false)
        });
        each.sum()
    };
    let (mut slope, mut intercept) = (fixed.unwrap_or(1.0), 0.0);
    let mut current = loss(slope, intercept);
    for _ in 0..MOST_STEPS {
        // A small constant is added to the diagonal so that the matrix can always be inverted.
        let (mut gs, mut gi) = (0.0, 0.0);
        let (mut hss, mut hsi, mut hii) = (1e-12, 0.0, 1e-12);
        for (&logit, &target) in logits.iter().zip(targets) {
            let p = sigmoid(slope * logit + intercept);
            let (error, curvature) = (p - target, p * (1.0 - p));
            gs += error * logit;
            gi += error;
            hss += curvature * logit * logit;
            hsi += curvature * logit;
            hii += curvature;
        }
        let (ds, di) = match fixed {
            Some(_) => (0.0, gi / hii),
            None => {
                let determinant = hss * hii - hsi * hsi;
                ((hii * gs - hsi * gi) / determinant, (hss * gi - hsi * gs) / determinant)
            }
        };
        let halved = (0..30).map(|halvings| 1.0 / f64::from(1u32 << halvings));
        let tried = halved.map(|step| (slope - step * ds, intercept - step * di));
        let mut lower =
            tried.filter(|&(slope, intercept)| loss(slope, intercept) < current - 1e-12);
        let Some(next) = lower.next() else { break };
        (slope, intercept) = next;
        current = loss(slope, intercept);
    }
    (slope, intercept)
}

/// Reliability of probabilities in ten equally wide bins; empty bins are omitted.
pub(super) fn reliability(logits: &[f64], correct: &[bool]) -> Vec<ReliabilityBin> {
    let mut bins = [(0.0, 0_usize, 0_usize); BINS];
    for (&logit, &correct) in logits.iter().zip(correct) {
        let p = sigmoid(logit);
        let bin = &mut bins[((p * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += p;
        bin.1 += usize::from(correct);
        bin.2 += 1;
    }
    let filled = bins.into_iter().filter(|(_, _, rows)| *rows > 0);
    let bin = |(sum, correct, rows): (f64, usize, usize)| ReliabilityBin {
        probability: sum / rows as f64,
        correct: correct as f64 / rows as f64,
        rows,
    };
    filled.map(bin).collect()
}

/// Expected calibration error: the mean over the bins, weighted by rows, of the distance between probability and
/// share of correct rows. 0..=1.
pub(super) fn expected_error(bins: &[ReliabilityBin]) -> f64 {
    let rows: usize = bins.iter().map(|bin| bin.rows).sum();
    let distance = |bin: &ReliabilityBin| bin.rows as f64 * (bin.probability - bin.correct).abs();
    bins.iter().map(distance).sum::<f64>() / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use jury_grm::random::SplitMix64;

    /// Logits that are `scale` times too large, with labels drawn according to the true ones.
    fn drawn(scale: f64, shift: f64) -> (Vec<f64>, Vec<bool>) {
        let mut random = SplitMix64::for_purpose(3, "platt");
        let row = |_| {
            let truth = 6.0 * random.uniform() - 3.0;
            (scale * truth + shift, random.uniform() < sigmoid(truth))
        };
        (0..4000).map(row).unzip()
    }

    fn error(logits: &[f64], correct: &[bool]) -> f64 {
        expected_error(&reliability(logits, correct))
    }

    #[test]
    fn bins_tell_what_stands_in_them() {
        let bins = reliability(&[-9.0, -9.0, 9.0, 0.0], &[false, true, true, true]);
        let found: Vec<(f64, usize)> = bins.iter().map(|bin| (bin.correct, bin.rows)).collect();
        assert_eq!(found, [(0.5, 2), (1.0, 1), (1.0, 1)]);
        assert_eq!(bins[1].probability, 0.5);
        assert!((expected_error(&bins) - 0.375).abs() < 1e-3);
        assert_eq!(expected_error(&[]), 0.0);
    }

    #[test]
    fn it_undoes_a_scale_and_a_shift() {
        let (logits, correct) = drawn(4.0, 2.0);
        let Calibration { slope, intercept } = calibrate(&logits, &correct);
        assert!((slope - 0.25).abs() < 0.03, "{slope}");
        assert!((intercept + 0.5).abs() < 0.1, "{intercept}");
        let calibrated: Vec<f64> =
            logits.iter().map(|logit| f64::from(slope) * logit + f64::from(intercept)).collect();
        let (before, after) = (error(&logits, &correct), error(&calibrated, &correct));
        assert!(after < 0.03 && before > 0.1, "{before} {after}");
    }

    #[test]
    fn logits_that_rank_the_wrong_way_keep_their_order_and_say_hardly_anything() {
        let (logits, correct) = drawn(-1.0, 0.0);
        let Calibration { slope, intercept } = calibrate(&logits, &correct);
        assert_eq!(slope, LEAST_SLOPE as f32);
        let share = correct.iter().filter(|&&correct| correct).count() as f64 / 4000.0;
        assert!((sigmoid(f64::from(intercept)) - share).abs() < 0.01);
    }

    #[test]
    fn logits_that_divide_both_kinds_stay_finite() {
        let logits: Vec<f64> = (0..40).map(f64::from).collect();
        let correct: Vec<bool> = (0..40).map(|row| row >= 20).collect();
        let Calibration { slope, intercept } = calibrate(&logits, &correct);
        assert!(slope.is_finite() && slope > 0.0 && intercept.is_finite());
    }
}
