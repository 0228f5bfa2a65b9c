//! Up to 16 groups at once: values that exist once per group are lanes.

use std::arch::x86_64::{
    __m512, __m512i, _CMP_GT_OQ, _mm_storeu_si128, _mm512_add_epi32, _mm512_and_si512,
    _mm512_andnot_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask,
    _mm512_cmplt_epu32_mask, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_div_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_mov_ps, _mm512_maskz_div_ps,
    _mm512_maskz_mov_epi32, _mm512_max_epu32, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_shuffle_epi32, _mm512_shuffle_i32x4, _mm512_storeu_ps,
    _mm512_storeu_si512, _mm512_sub_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::super::{ROUND, SIGN, ScaleKind, TINIEST};
use crate::cpu::gemm::{Group, QuantRow};
use crate::cpu::{GROUP, LANES};

/// Groups whose lanes are joined first.
const QUAD: usize = 4;
const QUADS: usize = LANES / QUAD;

/// See [`super::quantise`], and, if scales are `SHARED` by superblocks, [`super::quantise_superblocks`].
///
/// # Safety
/// The CPU must support AVX-512 VNNI, the row's slices must fit `x`, and there must be 1 to 16 groups, of whole
/// superblocks if scales are shared.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn quantise<const SHARED: bool>(x: &[f32], row: QuantRow<'_>) {
    let QuantRow { codes, groups, scales: kind } = row;
    let count = groups.len();
    // SAFETY: groups past the last one repeat the last.
    let load = |group: usize, half: usize| unsafe {
        _mm512_loadu_ps(x.as_ptr().add(group.min(count - 1) * GROUP + half * LANES))
    };
    let (zero, magnitude) = (_mm512_setzero_si512(), _mm512_set1_epi32((!SIGN).cast_signed()));
    let mut greatest = [zero; QUADS];
    for (quad, greatest) in greatest.iter_mut().enumerate() {
        if quad * QUAD < count {
            *greatest = of_quad::<true>([0, 1, 2, 3].map(|group| {
                let [first, second] = [0, 1].map(|half| {
                    let x = _mm512_castps_si512(load(quad * QUAD + group, half));
                    _mm512_and_si512(x, magnitude)
                });
                _mm512_max_epu32(first, second)
            }));
        }
    }
    let greatest = of_quads::<true>(greatest);
    let mantissas = if SHARED { shared_mantissas(greatest) } else { zero };
    let [scale, inverse] = scales(greatest, kind, mantissas);
    let mut inverses = [0.0f32; LANES];
    // SAFETY: as many lanes.
    unsafe { _mm512_storeu_ps(inverses.as_mut_ptr(), inverse) };
    let (round, lowest_byte) = (_mm512_set1_ps(ROUND), _mm512_set1_epi32(1));
    // Stores a group's codes; returns lanes whose sums are those of its halves.
    let mut encode = |group: usize| -> [__m512i; 2] {
        let inverse = _mm512_set1_ps(inverses[group]);
        [0, 1].map(|half| {
            // The lowest byte of a float near 1.5 * 2^23 is the rounded integer.
            let x = _mm512_castps_si512(_mm512_fmadd_ps(load(group, half), inverse, round));
            if group < count {
                // SAFETY: the row has 32 codes for every group, by the caller's promise.
                unsafe {
                    let to = codes.as_mut_ptr().add(group * GROUP + half * LANES);
                    _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(x));
                }
            }
            _mm512_dpbusd_epi32(zero, lowest_byte, x)
        })
    };
    let (mut firsts, mut seconds) = ([zero; QUADS], [zero; QUADS]);
    for (quad, (first, second)) in firsts.iter_mut().zip(&mut seconds).enumerate() {
        if quad * QUAD < count {
            let lanes = [0, 1, 2, 3].map(|at| encode(quad * QUAD + at));
            *first = of_quad::<false>(lanes.map(|[first, _]| first));
            *second = of_quad::<false>(lanes.map(|[_, second]| second));
        }
    }
    let sums = [of_quads::<false>(firsts), of_quads::<false>(seconds)];
    let all = interleaved(scale, sums);
    if count == LANES {
        // SAFETY: there are 16 groups.
        unsafe { put(all, groups.as_mut_ptr()) };
    } else {
        let mut some = [Group::default(); LANES];
        // SAFETY: as above.
        unsafe { put(all, some.as_mut_ptr()) };
        groups.copy_from_slice(&some[..count]);
    }
}

/// See [`super::scale_of`].
#[inline]
#[target_feature(enable = "avx512f")]
fn scales(greatest: __m512i, kind: ScaleKind, mantissas: __m512i) -> [__m512; 2] {
    let greatest = _mm512_castsi512_ps(greatest);
    let step = _mm512_div_ps(greatest, _mm512_set1_ps(127.0));
    let unused = _mm512_set1_epi32(kind.unused_bits().cast_signed());
    let bits = _mm512_castps_si512(step);
    // Not below zero.
    let beyond = _mm512_sub_epi32(_mm512_max_epu32(bits, mantissas), mantissas);
    let up = _mm512_andnot_si512(unused, _mm512_add_epi32(beyond, unused));
    let up = _mm512_castsi512_ps(_mm512_add_epi32(up, mantissas));
    let scale = _mm512_mask_mov_ps(step, is_finite(bits), up);
    let counts = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(greatest, _mm512_set1_ps(TINIEST));
    [scale, _mm512_maskz_div_ps(counts, _mm512_set1_ps(1.0), scale)]
}

/// For each lane, the mantissa of its superblock's greatest scale (a short one): eight lanes are a superblock.
#[inline]
#[target_feature(enable = "avx512f")]
fn shared_mantissas(greatest: __m512i) -> __m512i {
    let joined = _mm512_max_epu32(greatest, _mm512_shuffle_epi32::<0b10_11_00_01>(greatest));
    let joined = _mm512_max_epu32(joined, _mm512_shuffle_epi32::<0b01_00_11_10>(joined));
    let joined = _mm512_max_epu32(joined, _mm512_shuffle_i32x4::<0b10_11_00_01>(joined, joined));
    let [scale, _] = scales(joined, ScaleKind::Short, _mm512_setzero_si512());
    let (bits, unused) = (_mm512_castps_si512(scale), ScaleKind::Power.unused_bits());
    let mantissa = _mm512_and_si512(bits, _mm512_set1_epi32(unused.cast_signed()));
    _mm512_maskz_mov_epi32(is_finite(bits), mantissa)
}

/// Which magnitudes are finite.
#[inline]
#[target_feature(enable = "avx512f")]
fn is_finite(bits: __m512i) -> u16 {
    let infinity = _mm512_castps_si512(_mm512_set1_ps(f32::INFINITY));
    _mm512_cmplt_epu32_mask(bits, infinity)
}

/// Greatest lanes, or sums of lanes, of four groups: every quarter of the register has a partial result of each, and
/// the quarters must still be combined.
#[inline]
#[target_feature(enable = "avx512f")]
fn of_quad<const GREATEST: bool>([a, b, c, d]: [__m512i; QUAD]) -> __m512i {
    let pair = |x: __m512i, y: __m512i| {
        joined::<GREATEST>(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y))
    };
    let (x, y) = (pair(a, b), pair(c, d));
    joined::<GREATEST>(_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y))
}

/// Combines the quarters of four such registers: one lane per group.
#[inline]
#[target_feature(enable = "avx512f")]
fn of_quads<const GREATEST: bool>([a, b, c, d]: [__m512i; QUADS]) -> __m512i {
    let pair = |x: __m512i, y: __m512i| {
        let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(x, y);
        joined::<GREATEST>(even, _mm512_shuffle_i32x4::<0b11_01_11_01>(x, y))
    };
    pair(pair(a, b), pair(c, d))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn joined<const GREATEST: bool>(x: __m512i, y: __m512i) -> __m512i {
    if GREATEST { _mm512_max_epu32(x, y) } else { _mm512_add_epi32(x, y) }
}

/// The fields of [`Group`] side by side: register i has groups i, 4 + i, 8 + i and 12 + i.
#[inline]
#[target_feature(enable = "avx512f")]
fn interleaved(scale: __m512, sums: [__m512i; 2]) -> [__m512i; QUAD] {
    let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sums[0], sums[1]));
    let scaled = _mm512_castps_si512(_mm512_mul_ps(scale, sum));
    let scale = _mm512_castps_si512(scale);
    let floats = [_mm512_unpacklo_epi32(scale, scaled), _mm512_unpackhi_epi32(scale, scaled)];
    let integers =
        [_mm512_unpacklo_epi32(sums[0], sums[1]), _mm512_unpackhi_epi32(sums[0], sums[1])];
    [
        _mm512_unpacklo_epi64(floats[0], integers[0]),
        _mm512_unpackhi_epi64(floats[0], integers[0]),
        _mm512_unpacklo_epi64(floats[1], integers[1]),
        _mm512_unpackhi_epi64(floats[1], integers[1]),
    ]
}

/// Stores 16 groups in order.
///
/// # Safety
/// There is room for them.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn put([a, b, c, d]: [__m512i; QUAD], to: *mut Group) {
    let low = |x, y| _mm512_shuffle_i32x4::<0b01_00_01_00>(x, y);
    let high = |x, y| _mm512_shuffle_i32x4::<0b11_10_11_10>(x, y);
    let even = |x, y| _mm512_shuffle_i32x4::<0b10_00_10_00>(x, y);
    let odd = |x, y| _mm512_shuffle_i32x4::<0b11_01_11_01>(x, y);
    let (ab, cd) = (low(a, b), low(c, d));
    let (ab_high, cd_high) = (high(a, b), high(c, d));
    let quads = [even(ab, cd), odd(ab, cd), even(ab_high, cd_high), odd(ab_high, cd_high)];
    for (quad, groups) in quads.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(to.add(quad * QUAD).cast(), groups) };
    }
}
