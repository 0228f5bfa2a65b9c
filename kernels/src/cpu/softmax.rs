//! Turns a row of attention scores into integer weights of the values.
//!
//! ```text
//! probability = exp(score - greatest score) / sum       (sum: 16 lanes by position, then pairwise)
//! weight      = round(65,535 * exp(..) * value scale / the row's greatest of these), two planes of bytes
//! result      = integer sum * factor                    (factor: what `softmax` returns)
//! ```
//!
//! A token whose share is below 1 / 131,070 of the greatest gets weight 0.

#![allow(unsafe_code)] // Calls functions whose features were detected.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::rows::{add_lanes, exp, greatest_body};
use super::{LANES, SimdLevel, at_level};

/// The greatest weight.
const HIGHEST: f32 = 65_535.0;

/// Rows that see the same tokens, to be turned from scores into weights.
pub struct SoftmaxRows<'a> {
    /// Scores, `stride` apart per row; padding and masked tokens are minus infinity. Overwritten.
    pub scores: &'a mut [f32],
    /// `value = scale * code`, by position; zero or more. As many as a row has scores, a multiple of 16.
    pub value_scales: &'a [f32],
    /// The high bytes of the weights, laid out like the scores.
    pub high: &'a mut [u8],
    /// The low bytes of the weights, laid out like the scores.
    pub low: &'a mut [u8],
    /// Distance between rows, of scores and weights.
    pub stride: usize,
    /// Factors that turn a row's sums of weighted codes into attention's result; NaN if any of its scores is.
    pub factors: &'a mut [f32],
}

/// Turns scores into weights, for as many rows as there are factors.
pub fn softmax(level: SimdLevel, rows: SoftmaxRows<'_>) {
    rows.check();
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected, and the lengths were checked.
        SimdLevel::Avx512Vnni => unsafe { avx512::softmax(rows) },
        _ => at_level!(level, softmax_body, (rows: SoftmaxRows<'_>)),
    }
}

// === impl SoftmaxRows ===

impl SoftmaxRows<'_> {
    fn check(&self) {
        let (length, rows) = (self.value_scales.len(), self.factors.len());
        assert!(length.is_multiple_of(LANES) && length <= self.stride && rows > 0);
        let needed = (rows - 1) * self.stride + length;
        assert!(self.scores.len() >= needed);
        assert!(self.high.len() >= needed && self.low.len() >= needed);
    }
}

#[inline(always)]
fn softmax_body(rows: SoftmaxRows<'_>) {
    let SoftmaxRows { scores, value_scales, high, low, stride, factors } = rows;
    for (row, factor) in factors.iter_mut().enumerate() {
        let span = row * stride..row * stride + value_scales.len();
        let scores = &mut scores[span.clone()];
        *factor = softmax_row(scores, value_scales, &mut high[span.clone()], &mut low[span]);
    }
}

#[inline(always)]
fn softmax_row(scores: &mut [f32], scales: &[f32], high: &mut [u8], low: &mut [u8]) -> f32 {
    let mut greatest = 0.0;
    greatest_body(scores, &mut greatest);
    let mut sums = [0.0f32; LANES];
    // Products are not negative, so they compare like their bits, and NaN is the greatest.
    let mut top = [0u32; LANES];
    for (scores, scales) in scores.chunks_exact_mut(LANES).zip(scales.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let value = exp(scores[lane] - greatest);
            sums[lane] += value;
            scores[lane] = value * scales[lane];
            top[lane] = top[lane].max(scores[lane].to_bits());
        }
    }
    let top = f32::from_bits(top.into_iter().fold(0, u32::max));
    let inverse = if top > 0.0 { HIGHEST / top } else { 0.0 };
    for ((&mut score, high), low) in scores.iter_mut().zip(high).zip(low) {
        // Adding 2^23 leaves the rounded integer in the low bits. The minimum comes first: the rounding of `inverse`
        // may push the greatest past the last code.
        let scaled = score * inverse;
        let scaled = if scaled < HIGHEST { scaled } else { HIGHEST };
        let code = (scaled + 8_388_608.0).to_bits();
        *high = (code >> 8) as u8;
        *low = code as u8;
    }
    top / HIGHEST / add_lanes(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(level: SimdLevel, scores: &[f32], scales: &[f32]) -> (Vec<u16>, f32) {
        let (mut high, mut low) = (vec![0; scores.len()], vec![0; scores.len()]);
        let (mut scores, mut factor) = (scores.to_vec(), 0.0);
        let row = SoftmaxRows {
            scores: &mut scores,
            value_scales: scales,
            high: &mut high,
            low: &mut low,
            stride: scales.len(),
            factors: std::slice::from_mut(&mut factor),
        };
        softmax(level, row);
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
        let (codes, factor) = run(SimdLevel::detect(), &scores(), &scales);
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
        let (codes, factor) = run(SimdLevel::detect(), &scores(), &scales[..112]);
        assert!(codes[105..].iter().all(|&code| code == 0));
        let mut longer = scores();
        longer.resize(128, f32::NEG_INFINITY);
        let (more, same) = run(SimdLevel::detect(), &longer, &scales);
        assert_eq!((&more[..112], same), (&codes[..], factor));
    }

    #[test]
    fn a_score_that_is_no_number_makes_the_factor_none() {
        for level in SimdLevel::available() {
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
        let expected = run(SimdLevel::Portable, &scores(), &scales);
        for level in SimdLevel::available() {
            assert_eq!(run(level, &scores(), &scales), expected, "{level:?}");
        }
    }

    #[test]
    fn rows_together_get_the_bits_of_each_alone() {
        let scales: Vec<f32> = (0..112).map(|i| (i % 5) as f32 / 3.0).collect();
        let row = |row: usize| -> Vec<f32> {
            let shift = |(i, score): (usize, f32)| score + ((i * row) % 7) as f32;
            scores().into_iter().enumerate().map(shift).collect()
        };
        for (level, rows) in
            SimdLevel::available().into_iter().flat_map(|l| (1..=7).map(move |n| (l, n)))
        {
            let stride = 120;
            let (mut high, mut low) = (vec![9; rows * stride], vec![9; rows * stride]);
            let mut all: Vec<f32> =
                (0..rows).flat_map(|index| row(index).into_iter().chain([0.5; 8])).collect();
            let mut factors = vec![0.0; rows];
            let work = SoftmaxRows {
                scores: &mut all,
                value_scales: &scales,
                high: &mut high,
                low: &mut low,
                stride,
                factors: &mut factors,
            };
            softmax(level, work);
            for index in 0..rows {
                let (codes, factor) = run(SimdLevel::Portable, &row(index), &scales);
                let span = index * stride..index * stride + 112;
                let found = high[span.clone()].iter().zip(&low[span]);
                let found = found.map(|(&high, &low)| u16::from_be_bytes([high, low]));
                assert!(
                    found.eq(codes) && factors[index] == factor,
                    "{level:?}, {index} of {rows}"
                );
                assert_eq!(high[index * stride + 112..][..8], [9; 8]);
            }
        }
    }
}
