//! Prepares a chunk with AVX-512.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_storeu_si512,
};

use super::blocks::{code, halves, pairs, scaled};
use super::store;
use crate::cpu::PANEL;
use crate::cpu::gemm::chunk::{MANTISSAS, Pairs, Places, Source};
use crate::cpu::gemm::superblock::{STEP, SUM_STEP};
use crate::cpu::packed::{BLOCK_CODES, Scales};

/// See [`crate::cpu::gemm::chunk::Workspace::ready`].
///
/// # Safety
/// The CPU must support AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
pub(in crate::cpu::gemm) unsafe fn ready(source: &Source<'_>, to: &mut Places) {
    let Source { format, .. } = *source;
    let header = source.header();
    if format.is_factored() {
        store(&scaled(header, STEP), &mut to.factors);
    }
    if format.scales == Scales::Factored {
        store(&scaled(&header[PANEL * 2..], SUM_STEP), &mut to.min_factors);
    }
    for (group, block) in source.blocks().enumerate() {
        let (codes, stored) = block.split_at(format.code_bytes());
        let mut put = |at: usize, scales: [__m512; 2]| {
            if !source.with_variants {
                return store(&scales, &mut to.scales[at]);
            }
            // Exact: scales of weights have at most 18 significant bits. Additions leave the units that multiply free.
            let step = _mm512_set1_ps(1.0 / MANTISSAS as f32);
            let steps = scales.map(|scale| _mm512_mul_ps(scale, step));
            let mut scales = scales;
            for variant in &mut to.variants[at] {
                store(&scales, variant);
                scales = [0, 1].map(|half| _mm512_add_ps(scales[half], steps[half]));
            }
        };
        match format.scales {
            Scales::Half => put(group, halves(stored)),
            Scales::HalfMin => {
                put(group, halves(stored));
                store(&halves(&stored[PANEL * 2..]), &mut to.mins[group]);
            }
            Scales::Factored if group % 2 == 0 => {
                put_pairs(pairs::<false>(stored), &mut to.scale_pairs[group / 2]);
            }
            Scales::Factored => put_pairs(pairs::<false>(stored), &mut to.min_pairs[group / 2]),
            Scales::Sixteens => put_pairs(pairs::<true>(stored), &mut to.scale_pairs[group]),
        }
        let expanded = &mut to.codes[group * BLOCK_CODES..][..BLOCK_CODES];
        match format.bits {
            4 if source.expands_nibbles() => expand::<0>(codes, expanded),
            5 => expand::<1>(codes, expanded),
            6 => expand::<2>(codes, expanded),
            _ => {}
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn put_pairs(pairs: [__m512i; 2], to: &mut Pairs) {
    for (to, pairs) in to.chunks_exact_mut(PANEL / 2).zip(pairs) {
        // SAFETY: there are 32 integers of 16 bits.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), pairs) };
    }
}

/// Expands codes of four lower and `UPPER` upper bits to bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn expand<const UPPER: usize>(packed: &[u8], codes: &mut [u8]) {
    assert!(packed.len() >= BLOCK_CODES / 8 * (4 + UPPER) && codes.len() >= BLOCK_CODES);
    macro_rules! each {
        ($($register:literal)*) => {
            $(
                // SAFETY: both lengths are checked.
                unsafe {
                    let expanded = code::<UPPER>(packed.as_ptr(), $register);
                    _mm512_storeu_si512(codes.as_mut_ptr().add($register * 64).cast(), expanded);
                }
            )*
        };
    }
    // Unrolled by hand, so that every register's shifts are constant.
    each!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}
