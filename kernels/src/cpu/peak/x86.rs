//! The loops for x86-64.

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi32, _mm256_castsi256_ps, _mm256_dpbusd_avx_epi32,
    _mm256_fmadd_ps, _mm256_load_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm512_castsi512_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_si512, _mm512_set1_epi8,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
};
use std::hint::black_box;

use super::{OPERAND_BYTES, Operand};

/// Products per loaded register: enough to hide a latency of five at two per cycle.
const SUMS: usize = 12;
/// Registers of the other factor.
const FACTORS: usize = 3;

/// The registers of an operand, in order.
macro_rules! registers {
    ($operand:expr, $kind:ty, $load:ident) => {
        // SAFETY: every chunk is a register's bytes, and the operand is aligned to 64 bytes.
        $operand
            .0
            .chunks_exact(size_of::<$kind>())
            .map(|chunk| unsafe { $load(chunk.as_ptr().cast::<$kind>()) })
    };
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn dot_512(operand: &Operand, passes: u64) -> u64 {
    let factors = [1, 2, 3].map(|value| _mm512_set1_epi8(black_box(value)));
    let mut sums = [_mm512_setzero_si512(); SUMS];
    for _ in 0..passes {
        for codes in registers!(operand, __m512i, _mm512_load_si512) {
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_dpbusd_epi32(*sum, codes, factors[index % FACTORS]);
            }
        }
    }
    black_box(sums);
    passes * (OPERAND_BYTES * SUMS * 2) as u64
}

#[target_feature(enable = "avx2,avxvnni")]
pub(super) fn dot_256(operand: &Operand, passes: u64) -> u64 {
    let factors = [1, 2, 3].map(|value| _mm256_set1_epi8(black_box(value)));
    let mut sums = [_mm256_setzero_si256(); SUMS];
    for _ in 0..passes {
        for codes in registers!(operand, __m256i, _mm256_load_si256) {
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_dpbusd_avx_epi32(*sum, codes, factors[index % FACTORS]);
            }
        }
    }
    black_box(sums);
    passes * (OPERAND_BYTES * SUMS * 2) as u64
}

#[target_feature(enable = "avx2")]
pub(super) fn maddubs_256(operand: &Operand, passes: u64) -> u64 {
    let factors = [1, 2, 3].map(|value| _mm256_set1_epi8(black_box(value)));
    let ones = _mm256_set1_epi16(black_box(1));
    let mut sums = [_mm256_setzero_si256(); FACTORS * 2];
    for _ in 0..passes {
        for codes in registers!(operand, __m256i, _mm256_load_si256) {
            for (index, sum) in sums.iter_mut().take(FACTORS).enumerate() {
                let pairs = _mm256_maddubs_epi16(codes, factors[index]);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    black_box(sums);
    passes * (OPERAND_BYTES * FACTORS * 2) as u64
}

#[target_feature(enable = "avx512f")]
pub(super) fn fma_512(operand: &Operand, passes: u64) -> u64 {
    let factors = [0.1, 0.2, 0.3].map(|value| _mm512_set1_ps(black_box(value)));
    let mut sums = [_mm512_setzero_ps(); SUMS];
    for _ in 0..passes {
        for floats in registers!(operand, __m512i, _mm512_load_si512) {
            let floats = _mm512_castsi512_ps(floats);
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_fmadd_ps(floats, factors[index % FACTORS], *sum);
            }
        }
    }
    black_box(sums);
    passes * (OPERAND_BYTES / 4 * SUMS * 2) as u64
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn fma_256(operand: &Operand, passes: u64) -> u64 {
    let factors = [0.1, 0.2, 0.3].map(|value| _mm256_set1_ps(black_box(value)));
    let mut sums = [_mm256_setzero_ps(); SUMS];
    for _ in 0..passes {
        for floats in registers!(operand, __m256i, _mm256_load_si256) {
            let floats = _mm256_castsi256_ps(floats);
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_fmadd_ps(floats, factors[index % FACTORS], *sum);
            }
        }
    }
    black_box(sums);
    passes * (OPERAND_BYTES / 4 * SUMS * 2) as u64
}
