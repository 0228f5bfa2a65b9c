//! Types of two to four bits, whose codes are converted to a wider type that the kernels support.
//!
//! ```text
//! type     form    bits per weight, file and memory   error relative to the file's weights
//! Q3_K     Q6_K      3.4    6.6                        none
//! IQ4_NL   Q8_0      4.5    8.5                        none
//! IQ4_XS   Q8_0      4.25   8.5                        scales are rounded to f16: at most one part in 2,048
//! Q2_K     Q8_0      2.6    8.5                        half a step of 1/127 of the largest of 32 weights, and as above
//! ```
//!
//! Weights read as floats (embeddings) have no error.

use half::f16;

use super::half_at;

/// The values of the IQ4 types' codes.
const IQ4_VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// Offset of Q8_0's codes, which are stored unsigned.
const Q8_OFFSET: i16 = 128;
/// Largest code after subtracting the offset.
const LARGEST_CODE: f32 = 127.0;

/// Converts to Q6_K's form: codes with an offset of 32, and 16 integer scales. Returns the factor.
///
/// The kernels round sums of products with codes to a step that is fine for six-bit codes but coarse for codes from -4
/// to 3. Codes are therefore multiplied by up to 8, and the factor divided by the same, as long as the factor stays
/// exact.
pub(super) fn read_q3_k(block: &[u8], codes: &mut [u8], scales: &mut [f32]) -> f32 {
    let (high_bits, low_bits, packed_scales) = (&block[..32], &block[32..96], &block[96..108]);
    let (factor, multiple) = spread(half_at(block, 108));
    for (position, code) in codes.iter_mut().enumerate() {
        let high = high_bits[position % 32] >> (position / 32) & 1;
        let stored = two_bits(low_bits, position) | high << 2;
        *code = 32 + stored * multiple - 4 * multiple;
    }
    for (group, scale) in scales.iter_mut().enumerate() {
        let low = packed_scales[group % 8] >> (group / 8 * 4) & 15;
        let high = packed_scales[8 + group % 4] >> (group / 4 * 2) & 3;
        *scale = f32::from(low | high << 4) - 32.0;
    }
    factor
}

/// A factor divided by the largest power of two, up to 8, for which the quotient is still an f16; and that power.
fn spread(factor: f32) -> (f32, u8) {
    let exact = |multiple: &u8| {
        let part = factor / f32::from(*multiple);
        rounded(part) == part
    };
    let multiple = [8, 4, 2].into_iter().find(exact).unwrap_or(1);
    (factor / f32::from(multiple), multiple)
}

pub(super) fn read_iq4_nl(block: &[u8], codes: &mut [u8], scales: &mut [f32]) {
    scales[0] = half_at(block, 0);
    iq4_codes(&block[2..18], codes);
}

pub(super) fn read_iq4_xs(block: &[u8], codes: &mut [u8], scales: &mut [f32]) {
    for (group, scale) in scales.iter_mut().enumerate() {
        *scale = rounded(iq4_xs_scale(block, group));
        iq4_codes(&block[8 + group * 16..][..16], &mut codes[group * 32..][..32]);
    }
}

pub(super) fn iq4_xs_floats(block: &[u8], floats: &mut [f32]) {
    let mut codes = [0; 32];
    for (group, floats) in floats.chunks_exact_mut(32).enumerate() {
        iq4_codes(&block[8 + group * 16..][..16], &mut codes);
        let scale = iq4_xs_scale(block, group);
        for (float, code) in floats.iter_mut().zip(codes) {
            *float = scale * f32::from(i16::from(code) - Q8_OFFSET);
        }
    }
}

/// Weights in groups of 16 with a min each, which the kernels do not support, rounded to 8-bit codes.
pub(super) fn read_q2_k(block: &[u8], codes: &mut [u8], scales: &mut [f32]) {
    let mut floats = [0.0; 256];
    q2_k_floats(block, &mut floats);
    let groups = floats.chunks_exact(32).zip(codes.chunks_exact_mut(32));
    for ((floats, codes), scale) in groups.zip(scales.iter_mut()) {
        let largest = floats.iter().fold(0.0f32, |largest, float| largest.max(float.abs()));
        *scale = rounded(largest / LARGEST_CODE);
        let by_scale = if *scale == 0.0 { 0.0 } else { 1.0 / *scale };
        for (code, float) in codes.iter_mut().zip(floats) {
            let step = (float * by_scale).round().clamp(-LARGEST_CODE, LARGEST_CODE);
            *code = (step as i16 + Q8_OFFSET) as u8;
        }
    }
    // The maximum ignores NaN, but a damaged block must not look valid.
    if !floats.iter().all(|float| float.is_finite()) {
        scales[0] = f32::NAN;
    }
}

pub(super) fn q2_k_floats(block: &[u8], floats: &mut [f32]) {
    let (factor, min_factor) = (half_at(block, 80), half_at(block, 82));
    for (position, float) in floats.iter_mut().enumerate() {
        let numbers = block[position / 16];
        let (scale, min) = (f32::from(numbers & 15), f32::from(numbers >> 4));
        let code = f32::from(two_bits(&block[16..80], position));
        *float = factor * scale * code - min_factor * min;
    }
}

/// 32 bytes hold the codes of 128 weights: the first 32 in their lowest bits.
fn two_bits(packed: &[u8], position: usize) -> u8 {
    packed[position / 128 * 32 + position % 32] >> (position / 32 % 4 * 2) & 3
}

/// 16 bytes: low nibbles are weights 0..16, high nibbles 16..32.
fn iq4_codes(packed: &[u8], codes: &mut [u8]) {
    let code = |nibble: u8| (i16::from(IQ4_VALUES[usize::from(nibble)]) + Q8_OFFSET) as u8;
    for (position, &byte) in packed.iter().enumerate() {
        codes[position] = code(byte & 15);
        codes[position + 16] = code(byte >> 4);
    }
}

fn iq4_xs_scale(block: &[u8], group: usize) -> f32 {
    let low = block[4 + group / 2] >> (group % 2 * 4) & 15;
    let high = block[2 + group / 4] >> (group % 4 * 2) & 3;
    half_at(block, 0) * (f32::from(low | high << 4) - 32.0)
}

/// Rounded as the kernels store it.
fn rounded(scale: f32) -> f32 {
    f16::from_f32(scale).to_f32()
}
