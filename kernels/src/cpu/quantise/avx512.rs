//! Quantisation with AVX-512: many groups together, few of them one by one, each in two registers.

mod block;

use std::arch::x86_64::{
    __m512, _mm_add_epi64, _mm_cvtsi128_si32, _mm_storeu_si128, _mm_unpackhi_epi64,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_sad_epu8, _mm256_set_m128i,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_xor_si256, _mm512_and_si512,
    _mm512_castps_si512, _mm512_cvtepi32_epi8, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_epu32,
    _mm512_reduce_max_epu32, _mm512_set1_epi32, _mm512_set1_ps,
};

use super::{ROUND, SIGN, scale_of};
use crate::cpu::gemm::{Group, QuantRow, SUPERBLOCK};
use crate::cpu::{GROUP, LANES};

/// From this number of groups on, a block takes no longer than groups one by one.
const LEAST_TOGETHER: usize = 8;

/// See [`super::quantise_superblocks`].
///
/// # Safety
/// The CPU must support AVX-512 VNNI, and the row's slices must fit `x`, which must be whole superblocks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn quantise_superblocks(x: &[f32], row: QuantRow<'_>) {
    const { assert!(LANES * GROUP == 2 * SUPERBLOCK && LEAST_TOGETHER * GROUP == SUPERBLOCK) };
    let QuantRow { codes, groups, scales } = row;
    let parts = codes.chunks_mut(LANES * GROUP).zip(groups.chunks_mut(LANES));
    for (x, (codes, groups)) in x.chunks(LANES * GROUP).zip(parts) {
        // SAFETY: the caller's promise holds for the parts.
        unsafe { block::quantise::<true>(x, QuantRow { codes, groups, scales }) };
    }
}

/// See [`super::quantise`].
///
/// # Safety
/// The CPU must support AVX-512 VNNI, and the row's slices must fit `x`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn quantise(x: &[f32], row: QuantRow<'_>) {
    let QuantRow { codes, groups, scales } = row;
    let parts = codes.chunks_mut(LANES * GROUP).zip(groups.chunks_mut(LANES));
    for (x, (codes, groups)) in x.chunks(LANES * GROUP).zip(parts) {
        let row = QuantRow { codes, groups, scales };
        // SAFETY: the caller's promise holds for the parts.
        unsafe {
            if row.groups.len() >= LEAST_TOGETHER {
                block::quantise::<false>(x, row);
            } else {
                one_by_one(x, row);
            }
        }
    }
}

/// # Safety
/// As above.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn one_by_one(x: &[f32], row: QuantRow<'_>) {
    let QuantRow { codes, groups, scales } = row;
    let magnitude = _mm512_set1_epi32((!SIGN).cast_signed());
    let round = _mm512_set1_ps(ROUND);
    let flip = _mm256_set1_epi8(i8::MIN);
    for (group, x) in x.chunks_exact(GROUP).enumerate() {
        // SAFETY: a chunk has 32 floats.
        let x: [__m512; 2] = unsafe { [0, 16].map(|half| _mm512_loadu_ps(x.as_ptr().add(half))) };
        let magnitudes = x.map(|x| _mm512_and_si512(_mm512_castps_si512(x), magnitude));
        let greatest = _mm512_reduce_max_epu32(_mm512_max_epu32(magnitudes[0], magnitudes[1]));
        let [scale, inverse] = scale_of(greatest, scales.unused_bits(), 0);
        let inverse = _mm512_set1_ps(inverse);
        // The low bits of a float near 1.5 * 2^23 are the rounded integer.
        let [first, second] = x
            .map(|x| _mm512_cvtepi32_epi8(_mm512_castps_si512(_mm512_fmadd_ps(x, inverse, round))));
        // SAFETY: the row has 32 codes for every group, by the caller's promise.
        unsafe {
            let codes = codes.as_mut_ptr().add(group * GROUP);
            _mm_storeu_si128(codes.cast(), first);
            _mm_storeu_si128(codes.add(16).cast(), second);
        }
        // With the top bit flipped, codes are bytes from 0 to 255, each too large by 128.
        let bytes = _mm256_xor_si256(_mm256_set_m128i(second, first), flip);
        let eights = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
        let [low, high] = [_mm256_castsi256_si128(eights), _mm256_extracti128_si256::<1>(eights)];
        let halves = [low, high].map(|half| {
            _mm_cvtsi128_si32(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half))) - 16 * 128
        });
        // SAFETY: as above, one per group.
        unsafe { *groups.get_unchecked_mut(group) = Group::new(scale, halves) };
    }
}
