//! The integer tile with `vpdpbusd` on 32 bytes: weight codes (unsigned) times activation codes (signed), summed
//! exactly in groups of four.
//!
//! CPUs without AVX-512 have the instruction in the AVX-VNNI encoding, others perhaps only in the AVX-512 one (AVX-512
//! VL with VNNI). Both compute the same.

#![allow(unsafe_code)] // Intrinsics whose features were detected.

use std::arch::x86_64::{__m256i, _mm256_add_epi32, _mm256_dpbusd_avx_epi32, _mm256_dpbusd_epi32};

use super::Work;
use super::avx::{self, Dot};
use super::chunk::{Chunk, GroupScales, SuperblockScales};

/// The encoding of AVX-VNNI.
struct Vex;

/// The encoding of AVX-512.
struct Evex;

/// A function of this level, with whichever encoding the CPU supports.
macro_rules! with_either {
    ($add:ident($scales:ty)) => {
        /// See [`super::portable`].
        pub(super) fn $add(chunk: &Chunk<'_>, scales: &$scales, work: Work<'_, '_>) {
            #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
            fn with_vex(chunk: &Chunk<'_>, scales: &$scales, work: Work<'_, '_>) {
                // SAFETY: this function has the features.
                unsafe { avx::$add::<Vex>(chunk, scales, work) }
            }

            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
            fn with_evex(chunk: &Chunk<'_>, scales: &$scales, work: Work<'_, '_>) {
                // SAFETY: this function has the features.
                unsafe { avx::$add::<Evex>(chunk, scales, work) }
            }

            // SAFETY: this level is chosen only where one of the encodings was detected.
            unsafe {
                if is_x86_feature_detected!("avxvnni") {
                    with_vex(chunk, scales, work);
                } else {
                    with_evex(chunk, scales, work);
                }
            }
        }
    };
}
with_either!(add(GroupScales<'_>));
with_either!(add_superblock(SuperblockScales<'_>));

macro_rules! dot_by {
    ($encoding:ident, $instruction:ident) => {
        impl Dot for $encoding {
            const SIGNED: bool = false;
            const RUN: usize = 4;

            #[inline(always)]
            unsafe fn add(running: __m256i, weights: __m256i, codes: __m256i) -> __m256i {
                // SAFETY: the caller has the encoding's features.
                unsafe { $instruction(running, weights, codes) }
            }

            #[inline(always)]
            unsafe fn flush(total: __m256i, running: __m256i) -> __m256i {
                // SAFETY: the caller has AVX2.
                unsafe { _mm256_add_epi32(total, running) }
            }
        }
    };
}
dot_by!(Vex, _mm256_dpbusd_avx_epi32);
dot_by!(Evex, _mm256_dpbusd_epi32);
