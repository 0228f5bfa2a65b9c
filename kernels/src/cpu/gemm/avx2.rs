//! The exact integer tile with AVX2.
//!
//! `vpmaddubsw` adds two products of an unsigned and a signed byte in 16 bits and saturates above 32,767. Small weight
//! codes leave room for further products; 8-bit codes are multiplied as magnitudes whose sign is transferred to the
//! activation: at most 2 * 128 * 127. Activation codes are never -128, which has no negative in a byte.

#![allow(unsafe_code)] // Intrinsics whose features were detected.

use std::arch::x86_64::{
    __m256i, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_sign_epi8, _mm256_xor_si256,
};

use super::Work;
use super::avx::{self, Dot};
use super::chunk::{Chunk, GroupScales, SuperblockScales};

/// Weight codes below 128; the sums of `RUN` quads fit in 16 bits.
struct Small<const RUN: usize>;

/// 8-bit weight codes with an offset of 128.
struct Signed;

/// See [`super::portable::add`].
pub(super) fn add(chunk: &Chunk<'_>, scales: &GroupScales<'_>, work: Work<'_, '_>) {
    // SAFETY: this level is chosen only where its features were detected.
    unsafe {
        match chunk.bits {
            8 => with_avx2::<Signed>(chunk, scales, work),
            // 5 bits, or 4: 4 * 2 * 31 * 127 < 32,768
            _ => with_avx2::<Small<4>>(chunk, scales, work),
        }
    }
}

/// See [`super::portable::add_superblock`].
pub(super) fn add_superblock(chunk: &Chunk<'_>, scales: &SuperblockScales<'_>, work: Work<'_, '_>) {
    // SAFETY: as above.
    unsafe {
        match chunk.bits {
            // 2 quads * 2 * 63 * 127 < 32,768
            6 => superblock_with_avx2::<Small<2>>(chunk, scales, work),
            _ => superblock_with_avx2::<Small<4>>(chunk, scales, work),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn with_avx2<D: Dot>(chunk: &Chunk<'_>, scales: &GroupScales<'_>, work: Work<'_, '_>) {
    // SAFETY: both ways to multiply need only AVX2.
    unsafe { avx::add::<D>(chunk, scales, work) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn superblock_with_avx2<D: Dot>(
    chunk: &Chunk<'_>,
    scales: &SuperblockScales<'_>,
    work: Work<'_, '_>,
) {
    // SAFETY: as above.
    unsafe { avx::add_superblock::<D>(chunk, scales, work) }
}

// === impl Small ===

impl<const RUN: usize> Dot for Small<RUN> {
    const SIGNED: bool = false;
    const RUN: usize = RUN;

    #[inline(always)]
    unsafe fn add(running: __m256i, weights: __m256i, codes: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_add_epi16(running, _mm256_maddubs_epi16(weights, codes)) }
    }

    #[inline(always)]
    unsafe fn flush(total: __m256i, running: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_add_epi32(total, _mm256_madd_epi16(running, _mm256_set1_epi16(1))) }
    }
}

// === impl Signed ===

impl Dot for Signed {
    const SIGNED: bool = true;
    const RUN: usize = 1;

    #[inline(always)]
    unsafe fn add(running: __m256i, weights: __m256i, codes: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe {
            let weights = _mm256_xor_si256(weights, _mm256_set1_epi8(-128));
            let codes = _mm256_sign_epi8(codes, weights);
            _mm256_add_epi16(running, _mm256_maddubs_epi16(_mm256_abs_epi8(weights), codes))
        }
    }

    #[inline(always)]
    unsafe fn flush(total: __m256i, running: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { <Small<1> as Dot>::flush(total, running) }
    }
}
