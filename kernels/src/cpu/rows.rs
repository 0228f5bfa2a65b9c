//! Operations on single rows: norms, exponentials, rotation.
//!
//! Sums use sixteen lanes (element i in lane i mod 16), which are then added pairwise: 8 apart, 4, 2, 1.

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

use super::{LANES, SimdLevel, at_level};

/// Adding and subtracting 1.5 * 2^23 rounds to an integer.
pub(super) const ROUND: f32 = 12_582_912.0;
/// Exponentials below this would be subnormal; they become zero.
pub(super) const EXP_LOWEST: f32 = -87.3;
/// ln 2 in two parts; the first has few bits, so that its products with integers are exact.
pub(super) const LN2_HIGH: f32 = 0.693_359_4;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// `e^r` is about `1 + r + r * r * p(r)` for r within half of ln 2; coefficients of p, highest power first.
pub(super) const EXP_POLYNOMIAL: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5];

/// Elements that [`blocks_with`] checks together.
pub const SEARCH_BLOCK: usize = 64;

/// `out = x / rms(x) * weight`.
pub fn rms_norm(level: SimdLevel, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    at_level!(level, rms_norm_body, (x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]));
}

/// `to += x * factor`.
pub fn add_scaled(level: SimdLevel, x: &[f32], factor: f32, to: &mut [f32]) {
    at_level!(level, add_scaled_body, (x: &[f32], factor: f32, to: &mut [f32]));
}

/// `out = exp((x - shift) * factor)`, and the sum of all by lanes. Lengths must be equal, and multiples of 16.
pub fn exp_scaled(
    level: SimdLevel,
    x: &[f32],
    shift: f32,
    factor: f32,
    out: &mut [f32],
    sum: &mut f32,
) {
    at_level!(level, exp_scaled_body, (x: &[f32], shift: f32, factor: f32, out: &mut [f32], sum: &mut f32));
}

/// The greatest element, or minus infinity. The length must be a multiple of 16. NaN if any element is.
pub fn greatest(level: SimdLevel, x: &[f32], out: &mut f32) {
    at_level!(level, greatest_body, (x: &[f32], out: &mut f32));
}

/// Appends the indices of the blocks of [`SEARCH_BLOCK`] elements that contain one of at least `bound`.
pub fn blocks_with(level: SimdLevel, x: &[f32], bound: f32, blocks: &mut Vec<usize>) {
    at_level!(level, blocks_with_body, (x: &[f32], bound: f32, blocks: &mut Vec<usize>));
}

/// Which elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Neighbours: 0 and 1, 2 and 3 ... (GGUF files of the llama family).
    Neighbours,
    /// Halves: 0 and d/2, 1 and d/2 + 1 ...
    Halves,
}

/// Rotates the first elements of a head; `angles` has cosine and sine of each pair.
pub fn rotate(level: SimdLevel, pairs: RopePairs, head: &mut [f32], angles: &[[f32; 2]]) {
    match pairs {
        RopePairs::Neighbours => {
            at_level!(level, rotate_neighbours, (head: &mut [f32], angles: &[[f32; 2]]));
        }
        RopePairs::Halves => {
            let (first, second) = head[..2 * angles.len()].split_at_mut(angles.len());
            at_level!(level, rotate_halves, (first: &mut [f32], second: &mut [f32], angles: &[[f32; 2]]));
        }
    }
}

/// The dot product of two vectors, whose length must be a multiple of 16.
pub fn dot(level: SimdLevel, x: &[f32], y: &[f32]) -> f32 {
    let mut product = 0.0;
    let to = &mut product;
    at_level!(level, dot_body, (x: &[f32], y: &[f32], to: &mut f32));
    product
}

/// The greatest magnitude; NaN elements are ignored.
pub fn greatest_magnitude(level: SimdLevel, x: &[f32]) -> f32 {
    let mut greatest = 0.0;
    let to = &mut greatest;
    at_level!(level, greatest_magnitude_body, (x: &[f32], to: &mut f32));
    greatest
}

/// `codes = x * inverse`, rounded (ties to even) and clamped to 127 steps; NaN becomes an unspecified code.
pub fn encode(level: SimdLevel, x: &[f32], inverse: f32, codes: &mut [i8]) {
    at_level!(level, encode_body, (x: &[f32], inverse: f32, codes: &mut [i8]));
}

#[inline(always)]
fn rotated(x: f32, y: f32, [cosine, sine]: [f32; 2]) -> [f32; 2] {
    [x.mul_add(cosine, -(y * sine)), x.mul_add(sine, y * cosine)]
}

#[inline(always)]
fn rotate_neighbours(head: &mut [f32], angles: &[[f32; 2]]) {
    for (pair, &angle) in head.chunks_exact_mut(2).zip(angles) {
        let turned = rotated(pair[0], pair[1], angle);
        pair.copy_from_slice(&turned);
    }
}

#[inline(always)]
fn rotate_halves(first: &mut [f32], second: &mut [f32], angles: &[[f32; 2]]) {
    for ((x, y), &angle) in first.iter_mut().zip(second).zip(angles) {
        [*x, *y] = rotated(*x, *y, angle);
    }
}

#[inline(always)]
fn dot_body(x: &[f32], y: &[f32], product: &mut f32) {
    let mut lanes = [0.0f32; LANES];
    for (x, y) in x.as_chunks::<LANES>().0.iter().zip(y.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            lanes[lane] = x[lane].mul_add(y[lane], lanes[lane]);
        }
    }
    *product = add_lanes(lanes);
}

#[inline(always)]
fn greatest_magnitude_body(x: &[f32], greatest: &mut f32) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            let magnitude = chunk[lane].abs();
            lanes[lane] = if magnitude > lanes[lane] { magnitude } else { lanes[lane] };
        }
    }
    let rest = rest.iter().map(|value| value.abs());
    *greatest = lanes.into_iter().chain(rest).fold(0.0, f32::max);
}

#[inline(always)]
fn blocks_with_body(x: &[f32], bound: f32, blocks: &mut Vec<usize>) {
    for (block, x) in x.chunks(SEARCH_BLOCK).enumerate() {
        // Without an early exit, which would prevent vectorisation.
        let found: u32 = x.iter().map(|&x| u32::from(x >= bound)).sum();
        if found > 0 {
            blocks.push(block);
        }
    }
}

#[inline(always)]
fn encode_body(x: &[f32], inverse: f32, codes: &mut [i8]) {
    for (&x, code) in x.iter().zip(codes) {
        let scaled = x * inverse;
        let scaled = if scaled < 127.0 { scaled } else { 127.0 };
        let scaled = if scaled > -127.0 { scaled } else { -127.0 };
        // The low bits of a float near 1.5 * 2^23 are the rounded integer.
        *code = (scaled + ROUND).to_bits() as i8;
    }
}

#[inline(always)]
pub(crate) fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn rms_norm_body(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut lanes = [0.0f32; LANES];
    for chunk in x.chunks_exact(LANES) {
        for lane in 0..LANES {
            lanes[lane] = chunk[lane].mul_add(chunk[lane], lanes[lane]);
        }
    }
    let mean = add_lanes(lanes) / x.len() as f32;
    let factor = 1.0 / (mean + epsilon).sqrt();
    for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * factor * weight;
    }
}

#[inline(always)]
fn add_scaled_body(x: &[f32], factor: f32, to: &mut [f32]) {
    for (to, &x) in to.iter_mut().zip(x) {
        *to = x.mul_add(factor, *to);
    }
}

/// e^x to about one unit in the last place; 0 below -87.3, and for minus infinity.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Larger arguments are clamped; their results are not needed.
    const HIGHEST: f32 = 88.3;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    let inside = if x < EXP_LOWEST { EXP_LOWEST } else { x };
    let inside = if inside > HIGHEST { HIGHEST } else { inside };
    let shifted = inside.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_HIGH, inside);
    let r = n.mul_add(-LN2_LOW, r);
    let [first, rest @ ..] = EXP_POLYNOMIAL;
    let p = rest.into_iter().fold(first, |p, next| p.mul_add(r, next));
    let p = (p * r).mul_add(r, r) + 1.0;
    let bits = (shifted.to_bits() << 23).wrapping_add(p.to_bits());
    if x < EXP_LOWEST { 0.0 } else { f32::from_bits(bits) }
}

#[inline(always)]
pub(crate) fn greatest_body(x: &[f32], out: &mut f32) {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut bad = [false; LANES];
    for chunk in x.chunks_exact(LANES) {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
            bad[lane] |= chunk[lane].is_nan();
        }
    }
    let greatest = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
    *out = if bad.contains(&true) { f32::NAN } else { greatest };
}

#[inline(always)]
fn exp_scaled_body(x: &[f32], shift: f32, factor: f32, out: &mut [f32], sum: &mut f32) {
    let mut lanes = [0.0f32; LANES];
    for (out, x) in out.chunks_exact_mut(LANES).zip(x.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let value = exp((x[lane] - shift) * factor);
            out[lane] = value;
            lanes[lane] += value;
        }
    }
    *sum = add_lanes(lanes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_two_units_in_the_last_place() {
        for step in -8_700..=8_800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.4e-7, "exp({x}) is off by {error:e}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn every_level_gives_the_portable_bits() {
        let x: Vec<f32> = (0..576).map(|i| ((i * 7919) % 1000) as f32 / 250.0 - 2.0).collect();
        let run = |level: SimdLevel| {
            let mut bits: Vec<u32> = Vec::new();
            let mut out = vec![0.0; x.len()];
            rms_norm(level, &x, &x, 1e-5, &mut out);
            bits.extend(out.iter().map(|value| value.to_bits()));
            add_scaled(level, &x, 0.3, &mut out);
            bits.extend(out.iter().map(|value| value.to_bits()));
            bits
        };
        for level in SimdLevel::available() {
            assert_eq!(run(level), run(SimdLevel::Portable), "{level:?}");
        }
    }
}
