//! The integer tile with AVX2, exact for all codes.
//!
//! `vpmaddubsw` adds two products in 16 bits and saturates past 32,767: codes below 128 are safe with it
//! (127 * 127 * 2), so a code's top bit is multiplied separately and added 128 times.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_slli_epi32, _mm256_srli_epi16, _mm256_storeu_si256,
};

use super::portable::Weights;
use super::{QuantView, Tile};
use crate::kernels::packed::{Format, Scales};
use crate::kernels::{GROUP, PANEL};

/// Registers of eight outputs in a panel.
const REGISTERS: usize = PANEL / 8;

/// See [`super::tile`].
pub(super) fn tile(format: Format, panel: &[u8], rows: QuantView<'_>, out: &mut Tile) {
    // SAFETY: this level is chosen only where AVX2 was detected.
    unsafe { tile_with_avx2(format, panel, rows, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn tile_with_avx2(format: Format, panel: &[u8], rows: QuantView<'_>, out: &mut Tile) {
    let groups = rows.inputs / GROUP;
    let (header, blocks) = panel.split_at(format.header_bytes(rows.inputs));
    let count = rows.codes.len() / rows.inputs;
    for floats in out.iter_mut().take(count) {
        floats.fill(0.0);
    }
    for (group, block) in blocks.chunks_exact(format.block_bytes()).enumerate() {
        let (mut firsts, mut seconds) = ([0.0; PANEL], [0.0; PANEL]);
        let mut mins = [None; PANEL];
        for output in 0..PANEL {
            let weights = Weights { format, header, block, group, output };
            [firsts[output], seconds[output]] = weights.scales();
            mins[output] = weights.min();
        }
        for (row, floats) in out.iter_mut().enumerate().take(count) {
            let codes = &rows.codes[row * rows.inputs + group * GROUP..][..GROUP];
            let scale = rows.scales[row * groups + group];
            let sums = &rows.sums[(row * groups + group) * 2..][..2];
            let low = part_sums(format, block, codes, sums[0], 0);
            let high = part_sums(format, block, codes, sums[1], 1);
            if format.scales == Scales::Sixteens {
                for output in 0..PANEL {
                    let float = &mut floats[output];
                    *float = (low[output] as f32).mul_add(firsts[output] * scale, *float);
                    *float = (high[output] as f32).mul_add(seconds[output] * scale, *float);
                }
            } else {
                for output in 0..PANEL {
                    let sum = (low[output] + high[output]) as f32;
                    floats[output] = sum.mul_add(firsts[output] * scale, floats[output]);
                }
            }
            let sum = scale * (sums[0] + sums[1]) as f32;
            for output in 0..PANEL {
                if let Some(min) = mins[output] {
                    floats[output] = min.mul_add(sum, floats[output]);
                }
            }
        }
    }
}

/// Exact integer products of half a group with 32 outputs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn part_sums(format: Format, block: &[u8], codes: &[i8], sum: i32, half: usize) -> [i32; PANEL] {
    assert!(block.len() >= format.code_bytes() && codes.len() >= GROUP);
    let mut totals = [_mm256_set1_epi32(-i32::from(format.offset) * sum); REGISTERS];
    let mut tops = [_mm256_setzero_si256(); REGISTERS];
    let (ones, bit) = (_mm256_set1_epi16(1), _mm256_set1_epi8(1));
    let (nibble, low_bits) = (_mm256_set1_epi8(15), _mm256_set1_epi8(127));
    for quad in 0..4 {
        let four = &codes[half * 16 + quad * 4..][..4];
        let four = i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8]);
        let four = _mm256_set1_epi32(four);
        let at = if format.four_bits { quad * 128 } else { (half * 4 + quad) * 128 };
        for register in 0..REGISTERS {
            let from = block[at + register * 32..][..32].as_ptr();
            // SAFETY: the slice above has 32 bytes.
            let mut weights = unsafe { _mm256_loadu_si256(from.cast::<__m256i>()) };
            if format.four_bits {
                if half == 1 {
                    weights = _mm256_srli_epi16::<4>(weights);
                }
                weights = _mm256_and_si256(weights, nibble);
            } else if format.offset == 128 {
                let top = _mm256_and_si256(_mm256_srli_epi16::<7>(weights), bit);
                let pairs = _mm256_maddubs_epi16(top, four);
                tops[register] = _mm256_add_epi32(tops[register], _mm256_madd_epi16(pairs, ones));
                weights = _mm256_and_si256(weights, low_bits);
            }
            let pairs = _mm256_maddubs_epi16(weights, four);
            totals[register] = _mm256_add_epi32(totals[register], _mm256_madd_epi16(pairs, ones));
        }
    }
    let mut result = [0; PANEL];
    for register in 0..REGISTERS {
        let total = _mm256_add_epi32(totals[register], _mm256_slli_epi32::<7>(tops[register]));
        let to = result[register * 8..][..8].as_mut_ptr();
        // SAFETY: the slice above has 8 integers.
        unsafe { _mm256_storeu_si256(to.cast::<__m256i>(), total) };
    }
    result
}
