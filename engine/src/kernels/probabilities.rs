//! From a row of attention scores to integer weights of the values.
//!
//! ```text
//! probability = exp(score - greatest score) / sum       (sum: 16 lanes by position, then pairwise)
//! weight      = round(65,535 * exp(..) * value scale / the row's greatest of these), two planes of bytes
//! result      = integer sum * factor                    (factor: what `weigh` returns)
//! ```
//!
//! A token whose share is below 1 / 131,070 of the greatest weighs nothing.

#![allow(unsafe_code)] // Calls functions whose features were detected.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::rows::{add_lanes, exp, greatest_body};
use super::{LANES, Level, at_level};

/// The greatest weight.
const HIGHEST: f32 = 65_535.0;

/// A row on its way from scores to weights. All slices have one length, a multiple of 16.
pub(crate) struct Weighing<'a> {
    /// Scores; padding and masked tokens are minus infinity. Overwritten.
    pub(crate) scores: &'a mut [f32],
    /// `value = scale * code`, by position; zero or more.
    pub(crate) value_scales: &'a [f32],
    pub(crate) high: &'a mut [u8],
    pub(crate) low: &'a mut [u8],
}

/// Turns scores to weights; gives the factor that makes sums of weighted codes the attention's result. Scores that
/// are not numbers make it not a number.
pub(crate) fn weigh(level: Level, row: Weighing<'_>) -> f32 {
    row.check();
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512Vnni {
        // SAFETY: the level was detected, and the lengths were checked.
        return unsafe { avx512::weigh(row) };
    }
    let mut factor = 0.0;
    let to = &mut factor;
    at_level!(level, weigh_body, (row: Weighing<'_>, to: &mut f32));
    factor
}

// === impl Weighing ===

impl Weighing<'_> {
    fn check(&self) {
        let length = self.scores.len();
        assert!(length.is_multiple_of(LANES) && self.value_scales.len() == length);
        assert!(self.high.len() == length && self.low.len() == length);
    }
}

#[inline(always)]
#[allow(clippy::needless_pass_by_value)] // A row is four borrowed slices.
fn weigh_body(row: Weighing<'_>, factor: &mut f32) {
    let mut greatest = 0.0;
    greatest_body(row.scores, &mut greatest);
    let mut sums = [0.0f32; LANES];
    // Products are not negative: they compare as their bits do, and what is no number is the greatest.
    let mut top = [0u32; LANES];
    for (scores, scales) in
        row.scores.chunks_exact_mut(LANES).zip(row.value_scales.chunks_exact(LANES))
    {
        for lane in 0..LANES {
            let value = exp(scores[lane] - greatest);
            sums[lane] += value;
            scores[lane] = value * scales[lane];
            top[lane] = top[lane].max(scores[lane].to_bits());
        }
    }
    let top = f32::from_bits(top.into_iter().fold(0, u32::max));
    let inverse = if top > 0.0 { HIGHEST / top } else { 0.0 };
    for ((&score, high), low) in row.scores.iter().zip(row.high).zip(row.low) {
        // Adding 2^23 leaves the rounded integer in the low bits. Minimum first: rounding of `inverse` may carry
        // the greatest past the last code.
        let scaled = score * inverse;
        let scaled = if scaled < HIGHEST { scaled } else { HIGHEST };
        let code = (scaled + 8_388_608.0).to_bits();
        *high = (code >> 8) as u8;
        *low = code as u8;
    }
    *factor = top / HIGHEST / add_lanes(sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(level: Level, scores: &[f32], scales: &[f32]) -> (Vec<u16>, f32) {
        let (mut high, mut low) = (vec![0; scores.len()], vec![0; scores.len()]);
        let mut scores = scores.to_vec();
        let row =
            Weighing { scores: &mut scores, value_scales: scales, high: &mut high, low: &mut low };
        let factor = weigh(level, row);
        let codes = high.iter().zip(&low).map(|(&high, &low)| u16::from_be_bytes([high, low]));
        (codes.collect(), factor)
    }

    fn scores() -> Vec<f32> {
        let mut scores: Vec<f32> = (0..112).map(|i| ((i * 7919) % 101) as f32 / 10.0).collect();
        scores[105..].fill(f32::NEG_INFINITY);
        scores
    }

    #[test]
    fn weights_times_factor_are_probabilities_times_scales() {
        let scales: Vec<f32> = (0..112).map(|i| 0.5 + (i % 7) as f32).collect();
        let (codes, factor) = run(Level::detect(), &scores(), &scales);
        let exact: Vec<f64> = scores().iter().map(|&score| f64::from(score).exp()).collect();
        let sum: f64 = exact.iter().sum();
        let top = exact.iter().zip(&scales).map(|(e, &s)| e * f64::from(s)).fold(0.0, f64::max);
        for ((exact, &scale), &code) in exact.iter().zip(&scales).zip(&codes) {
            let expected = exact * f64::from(scale) / sum;
            let error = (f64::from(code) * f64::from(factor) - expected).abs();
            assert!(error < top / sum / 131_000.0 + expected * 1e-6);
        }
    }

    #[test]
    fn padding_weighs_nothing_and_leaves_no_trace() {
        let scales = vec![1.0; 128];
        let (codes, factor) = run(Level::detect(), &scores(), &scales[..112]);
        assert!(codes[105..].iter().all(|&code| code == 0));
        let mut longer = scores();
        longer.resize(128, f32::NEG_INFINITY);
        let (more, same) = run(Level::detect(), &longer, &scales);
        assert_eq!((&more[..112], same), (&codes[..], factor));
    }

    #[test]
    fn a_score_that_is_no_number_makes_the_factor_none() {
        for level in Level::available() {
            for at in [0, 50, 104] {
                let mut odd = scores();
                odd[at] = f32::NAN;
                assert!(run(level, &odd, &vec![1.0; 112]).1.is_nan(), "{level:?}, {at}");
            }
        }
    }

    #[test]
    fn every_level_gives_the_portable_bits() {
        let scales: Vec<f32> = (0..112).map(|i| (i % 5) as f32 / 3.0).collect();
        let expected = run(Level::Portable, &scores(), &scales);
        for level in Level::available() {
            assert_eq!(run(level, &scores(), &scales), expected, "{level:?}");
        }
    }
}
