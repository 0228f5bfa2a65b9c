//! Weights of attention with AVX-512, 16 tokens per register.

use std::arch::x86_64::{
    __m512, _CMP_NLT_UQ, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps,
    _mm_storeu_si128, _mm256_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm512_add_ps,
    _mm512_castps_si512, _mm512_castps512_ps256, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi8,
    _mm512_extractf32x8_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_scalef_ps,
    _mm512_max_epu32, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_reduce_max_epu32,
    _mm512_reduce_max_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_srli_epi32, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::{HIGHEST, LANES, SoftmaxRows};
use crate::cpu::rows::{EXP_LOWEST, EXP_POLYNOMIAL, LN2_HIGH, LN2_LOW, ROUND};

/// Rows computed side by side: a single one would wait for its own sums and maxima.
const ROWS: usize = 3;

/// As [`super::softmax_body`], with the same bits.
///
/// # Safety
/// The CPU must support AVX-512, and the work must be checked.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) unsafe fn softmax(mut work: SoftmaxRows<'_>) {
    let mut first = 0;
    while first < work.factors.len() {
        let rows = ROWS.min(work.factors.len() - first);
        // SAFETY: the caller's promise; these rows are among the checked ones.
        unsafe {
            match rows {
                1 => weigh_rows::<1>(&mut work, first),
                2 => weigh_rows::<2>(&mut work, first),
                _ => weigh_rows::<ROWS>(&mut work, first),
            }
        }
        first += rows;
    }
}

/// # Safety
/// As above; rows `first .. first + R` must be part of the work.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn weigh_rows<const R: usize>(work: &mut SoftmaxRows<'_>, first: usize) {
    let (length, stride) = (work.value_scales.len(), work.stride);
    let start = first * stride;
    let (scales, scores) = (work.value_scales.as_ptr(), work.scores.as_mut_ptr());
    // SAFETY (whole body): all accesses are to 16 elements from a multiple of 16 below the length, in checked rows.
    unsafe {
        let scores = scores.add(start);
        let shifts = greatest::<R>(scores, length, stride);
        let (mut sums, mut top) = ([_mm512_setzero_ps(); R], [_mm512_setzero_si512(); R]);
        for at in (0..length).step_by(LANES) {
            let scale = _mm512_loadu_ps(scales.add(at));
            for row in 0..R {
                let to = scores.add(row * stride + at);
                let value = exp(_mm512_sub_ps(_mm512_loadu_ps(to), shifts[row]));
                sums[row] = _mm512_add_ps(sums[row], value);
                let scaled = _mm512_mul_ps(value, scale);
                _mm512_storeu_ps(to, scaled);
                top[row] = _mm512_max_epu32(top[row], _mm512_castps_si512(scaled));
            }
        }
        let top = top.map(|top| f32::from_bits(_mm512_reduce_max_epu32(top)));
        let inverses = top.map(|top| _mm512_set1_ps(if top > 0.0 { HIGHEST / top } else { 0.0 }));
        let (highest, round) = (_mm512_set1_ps(HIGHEST), _mm512_set1_ps(8_388_608.0));
        let (high, low) = (work.high.as_mut_ptr().add(start), work.low.as_mut_ptr().add(start));
        for at in (0..length).step_by(LANES) {
            for (row, &inverse) in inverses.iter().enumerate() {
                let at = row * stride + at;
                let scaled = _mm512_mul_ps(_mm512_loadu_ps(scores.add(at)), inverse);
                // For NaN, the instruction returns the second operand.
                let code = _mm512_add_ps(_mm512_min_ps(scaled, highest), round);
                let code = _mm512_castps_si512(code);
                let upper = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<8>(code));
                _mm_storeu_si128(high.add(at).cast(), upper);
                _mm_storeu_si128(low.add(at).cast(), _mm512_cvtepi32_epi8(code));
            }
        }
        for row in 0..R {
            work.factors[first + row] = top[row] / HIGHEST / sum(sums[row]);
        }
    }
}

/// The greatest score of each row. NaN scores are ignored here; they show up in the row's sum.
///
/// # Safety
/// There must be `R` rows of scores, `stride` apart.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn greatest<const R: usize>(
    scores: *const f32,
    length: usize,
    stride: usize,
) -> [__m512; R] {
    let mut greatest = [_mm512_set1_ps(f32::NEG_INFINITY); R];
    for at in (0..length).step_by(LANES) {
        for (row, greatest) in greatest.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let scores = unsafe { _mm512_loadu_ps(scores.add(row * stride + at)) };
            // For NaN, the instruction returns the second operand.
            *greatest = _mm512_max_ps(scores, *greatest);
        }
    }
    greatest.map(|greatest| _mm512_set1_ps(_mm512_reduce_max_ps(greatest)))
}

/// See [`crate::cpu::rows::add_lanes`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn sum(lanes: __m512) -> f32 {
    let (low, high) = (_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps::<1>(lanes));
    let eight = _mm256_add_ps(low, high);
    let (low, high) = (_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let four = _mm_add_ps(low, high);
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// See [`crate::cpu::rows::exp`]; for numbers up to 0.
#[inline]
#[target_feature(enable = "avx512f")]
fn exp(x: __m512) -> __m512 {
    let lowest = _mm512_set1_ps(EXP_LOWEST);
    let round = _mm512_set1_ps(ROUND);
    // NaN is the second operand, and so is preserved.
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
    let counts = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, lowest);
    _mm512_maskz_scalef_ps(counts, p, n)
}
