//! Weights of attention with AVX-512, 16 tokens a register.

use std::arch::x86_64::{
    __m512, _CMP_LT_OQ, _CMP_UNORD_Q, _mm_storeu_si128, _mm512_add_epi32, _mm512_add_ps,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi8,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_mov_ps, _mm512_max_epu32, _mm512_max_ps,
    _mm512_min_ps, _mm512_mul_ps, _mm512_reduce_max_epu32, _mm512_reduce_max_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi32,
    _mm512_storeu_ps, _mm512_sub_ps,
};

use super::{HIGHEST, LANES, Weighing};
use crate::kernels::rows::{EXP_LOWEST, EXP_POLYNOMIAL, LN2_HIGH, LN2_LOW, ROUND, add_lanes};

/// See [`super::weigh_body`], whose bits it gives.
///
/// # Safety
/// AVX-512 is there; all slices have one length, a multiple of 16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[allow(clippy::needless_pass_by_value)] // A row is four borrowed slices.
pub(super) unsafe fn weigh(row: Weighing<'_>) -> f32 {
    let length = row.scores.len();
    let shift = _mm512_set1_ps(greatest(row.scores));
    let scores = row.scores.as_mut_ptr();
    let (mut sums, mut top) = (_mm512_setzero_ps(), _mm512_setzero_si512());
    // SAFETY: all accesses are to 16 elements from a multiple of 16 below the length.
    unsafe {
        for at in (0..length).step_by(LANES) {
            let value = exp(_mm512_sub_ps(_mm512_loadu_ps(scores.add(at)), shift));
            sums = _mm512_add_ps(sums, value);
            let scaled = _mm512_mul_ps(value, _mm512_loadu_ps(row.value_scales.as_ptr().add(at)));
            _mm512_storeu_ps(scores.add(at), scaled);
            top = _mm512_max_epu32(top, _mm512_castps_si512(scaled));
        }
        let top = f32::from_bits(_mm512_reduce_max_epu32(top));
        let inverse = _mm512_set1_ps(if top > 0.0 { HIGHEST / top } else { 0.0 });
        let (highest, round) = (_mm512_set1_ps(HIGHEST), _mm512_set1_ps(8_388_608.0));
        for at in (0..length).step_by(LANES) {
            let scaled = _mm512_mul_ps(_mm512_loadu_ps(scores.add(at)), inverse);
            // What is no number gives the second operand.
            let code = _mm512_add_ps(_mm512_min_ps(scaled, highest), round);
            let code = _mm512_castps_si512(code);
            let high = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<8>(code));
            _mm_storeu_si128(row.high.as_mut_ptr().add(at).cast(), high);
            _mm_storeu_si128(row.low.as_mut_ptr().add(at).cast(), _mm512_cvtepi32_epi8(code));
        }
        let mut lanes = [0.0; LANES];
        _mm512_storeu_ps(lanes.as_mut_ptr(), sums);
        top / HIGHEST / add_lanes(lanes)
    }
}

/// The greatest score; not a number if one is not.
#[inline]
#[target_feature(enable = "avx512f")]
fn greatest(scores: &[f32]) -> f32 {
    let mut greatest = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut odd = 0;
    for scores in scores.as_chunks::<LANES>().0 {
        // SAFETY: there are 16 floats.
        let scores = unsafe { _mm512_loadu_ps(scores.as_ptr()) };
        greatest = _mm512_max_ps(scores, greatest);
        odd |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(scores, scores);
    }
    if odd == 0 { _mm512_reduce_max_ps(greatest) } else { f32::NAN }
}

/// See [`crate::kernels::rows::exp`]; for numbers that are not positive.
#[inline]
#[target_feature(enable = "avx512f")]
fn exp(x: __m512) -> __m512 {
    let lowest = _mm512_set1_ps(EXP_LOWEST);
    let round = _mm512_set1_ps(ROUND);
    // What is no number comes second, and stays.
    let inside = _mm512_max_ps(lowest, x);
    let shifted = _mm512_fmadd_ps(inside, _mm512_set1_ps(std::f32::consts::LOG2_E), round);
    let n = _mm512_sub_ps(shifted, round);
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(-LN2_HIGH), inside);
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(-LN2_LOW), r);
    let mut p = _mm512_set1_ps(EXP_POLYNOMIAL[0]);
    for next in &EXP_POLYNOMIAL[1..] {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(*next));
    }
    let p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(p, r), r, r), _mm512_set1_ps(1.0));
    let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
    let value = _mm512_castsi512_ps(_mm512_add_epi32(power, _mm512_castps_si512(p)));
    let is_low = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, lowest);
    _mm512_mask_mov_ps(value, is_low, _mm512_setzero_ps())
}
