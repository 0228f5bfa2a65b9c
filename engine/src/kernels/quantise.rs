//! Activations rounded to 8-bit codes, one scale for 32 elements.

#![allow(unsafe_code)] // Calls functions whose features were detected.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::codes::QuantRow;
use super::rows::ROUND;
use super::{GROUP, Level, at_level};

/// Groups whose greatest magnitude is not above this count as zeros: the inverse of their scale would be infinite.
const TINIEST: f32 = 1e-36;

/// The sign of a float.
const SIGN: u32 = 1 << 31;

/// Rounds a row to 8-bit codes, one scale for 32 elements (the greatest magnitude is 127 steps; ties go to even). A
/// group with an element that is no number gets such a scale.
pub(crate) fn quantise(level: Level, x: &[f32], row: QuantRow<'_>) {
    assert!(row.codes.len() == x.len() && row.scales.len() * GROUP == x.len());
    assert!(row.sums.len() == 2 * row.scales.len());
    assert!(row.scaled_sums.len() == row.scales.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected, and the lengths fit.
        Level::Avx512Vnni => unsafe { avx512::quantise(x, row) },
        _ => at_level!(level, quantise_body, (x: &[f32], row: QuantRow<'_>)),
    }
}

/// A group's scale and the inverse that makes codes, from the bits of its greatest magnitude. (Magnitudes compare as
/// their bits do, and what is no number is the greatest.)
#[inline(always)]
fn scale_of(greatest: u32) -> [f32; 2] {
    let greatest = f32::from_bits(greatest);
    [greatest / 127.0, if greatest > TINIEST { 127.0 / greatest } else { 0.0 }]
}

#[inline(always)]
#[allow(clippy::needless_pass_by_value)] // A row is some borrowed slices.
fn quantise_body(x: &[f32], row: QuantRow<'_>) {
    for (group, x) in x.chunks_exact(GROUP).enumerate() {
        let greatest = x.iter().fold(0, |greatest: u32, x| greatest.max(x.to_bits() & !SIGN));
        let [scale, inverse] = scale_of(greatest);
        let codes = &mut row.codes[group * GROUP..][..GROUP];
        for (code, x) in codes.iter_mut().zip(x) {
            // The low bits of a float near 1.5 * 2^23 are the rounded integer.
            *code = x.mul_add(inverse, ROUND).to_bits() as i8;
        }
        let halves = [0, 16].map(|half| codes[half..half + 16].iter().map(|&c| i32::from(c)).sum());
        row.scales[group] = scale;
        row.sums[group * 2..][..2].copy_from_slice(&halves);
        row.scaled_sums[group] = scale * (halves[0] + halves[1]) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::codes::QuantRows;

    fn run(level: Level, x: &[f32]) -> QuantRows {
        let mut rows = QuantRows::default();
        rows.resize(1, x.len());
        quantise(level, x, rows.row_mut(0));
        rows
    }

    #[test]
    fn every_level_gives_the_portable_bits() {
        let mut x: Vec<f32> = (0..576).map(|i| ((i * 7919) % 1000) as f32 / 250.0 - 2.0).collect();
        x[40] = f32::NAN;
        x[70] = f32::NEG_INFINITY;
        x[96..128].fill(1e-38);
        let bits = |level: Level| {
            let QuantRows { codes, scales, sums, scaled_sums, .. } = run(level, &x);
            let floats: Vec<u32> =
                scales.iter().chain(&scaled_sums).map(|scale| scale.to_bits() & !SIGN).collect();
            (codes, sums, floats)
        };
        for level in Level::available() {
            assert_eq!(bits(level), bits(Level::Portable), "{level:?}");
        }
    }

    #[test]
    fn codes_times_scale_are_within_half_a_step() {
        let x: Vec<f32> = (0..64).map(|i| ((i * 37) % 64) as f32 - 31.5).collect();
        let QuantRows { codes, scales, sums, .. } = run(Level::detect(), &x);
        for (at, (&x, &code)) in x.iter().zip(&codes).enumerate() {
            let scale = scales[at / GROUP];
            assert!((x - scale * f32::from(code)).abs() <= scale * 0.5001);
        }
        let total: i32 = codes.iter().map(|&code| i32::from(code)).sum();
        assert_eq!(sums.iter().sum::<i32>(), total);
    }

    #[test]
    fn what_is_no_number_or_not_finite_leaves_no_finite_scale() {
        for odd in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
            for level in Level::available() {
                for place in [0, 17, 31] {
                    let mut x = [1.0; 32];
                    x[place] = odd;
                    assert!(!run(level, &x).scales[0].is_finite(), "{level:?} {odd}");
                }
            }
        }
    }

    #[test]
    fn zeros_and_tiny_groups_quantise_to_zeros() {
        for tiny in [0.0, 1e-38] {
            for level in Level::available() {
                let rows = run(level, &[tiny; 32]);
                assert!(rows.codes.iter().all(|&code| code == 0) && rows.sums == [0, 0]);
            }
        }
    }
}
