//! Superblocks of K-quants: everything is multiplied in integers until the end.
//!
//! ```text
//! gemv.rs          up to 8 rows, directly from the panel
//! gemm.rs          more rows, from prepared chunks
//! instructions.rs  their assembly text
//! ```
//!
//! The sums of two parts, shifted to 16 bits, share a register: the first in the lower halves, the second in the upper
//! ones, and so do their weight scales. `vpdpwssd` multiplies both and adds them up.

#[macro_use]
mod instructions;
mod gemm;
mod gemv;

pub(super) use gemm::MOST_ROWS;
pub(in crate::cpu::gemm) use gemm::add;
pub(super) use gemv::gemv;

use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtepi32_ps, _mm512_dpwssd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_storeu_ps,
};

use crate::cpu::PANEL;
use crate::cpu::gemm::superblock::{GROUPS, Superblock};

/// Pairs of groups.
const GROUP_PAIRS: usize = GROUPS / 2;

/// The float factors of a superblock's weights, and the mins of its pairs of groups, if there are any.
struct Factors<'a> {
    factors: [__m512; 2],
    mins: Option<(&'a [[__m512i; 2]; GROUP_PAIRS], [__m512; 2])>,
}

// === impl Factors ===

impl Factors<'_> {
    /// Adds a superblock's integers to a row's outputs; the first superblock sets them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni,fma")]
    fn add(
        &self,
        integers: [__m512i; 2],
        block: &Superblock,
        is_first: bool,
        floats: &mut [f32; PANEL],
    ) {
        let scale = _mm512_set1_ps(block.scale);
        for half in 0..2 {
            let mut value = _mm512_mul_ps(_mm512_cvtepi32_ps(integers[half]), self.factors[half]);
            if let Some((mins, min_factors)) = &self.mins {
                let mut min = _mm512_setzero_si512();
                for (pair, mins) in mins.iter().enumerate() {
                    let sums = _mm512_set1_epi32(block.pair_of_sums(pair));
                    min = _mm512_dpwssd_epi32(min, mins[half], sums);
                }
                value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(min), min_factors[half], value);
            }
            let place = floats[half * 16..][..16].as_mut_ptr();
            // SAFETY: there are 16 floats.
            unsafe {
                let before = if is_first { _mm512_setzero_ps() } else { _mm512_loadu_ps(place) };
                _mm512_storeu_ps(place, _mm512_fmadd_ps(value, scale, before));
            }
        }
    }
}
