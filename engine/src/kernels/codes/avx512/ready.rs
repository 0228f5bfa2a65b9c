//! A chunk made ready with AVX-512.

use std::arch::x86_64::{
    __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_loadu_si512, _mm512_mul_ps,
    _mm512_set1_epi8, _mm512_set1_ps, _mm512_slli_epi16, _mm512_srli_epi16,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32,
};

use super::store;
use crate::kernels::PANEL;
use crate::kernels::codes::chunk::{Places, Source};
use crate::kernels::packed::{BLOCK_CODES, Scales};

/// Registers of a block's codes.
const REGISTERS: usize = BLOCK_CODES / 64;

/// See [`crate::kernels::codes::chunk::Room::ready`].
///
/// # Safety
/// AVX-512 is there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
pub(in crate::kernels::codes) unsafe fn ready(source: &Source<'_>, to: &mut Places) {
    let Source { format, .. } = *source;
    let zero = [_mm512_set1_ps(0.0); 2];
    let header = source.header();
    let (factors, min_factors) = match format.scales {
        Scales::Half | Scales::HalfMin => (zero, zero),
        Scales::Factored => (halves(header), halves(&header[PANEL * 2..])),
        Scales::Sixteens => (halves(header), zero),
    };
    for (group, block) in source.blocks().enumerate() {
        let (codes, stored) = block.split_at(format.code_bytes());
        let mut put = |at: usize, scales: [__m512; 2]| {
            if source.with_variants {
                for (variant, factor) in to.variants[at].iter_mut().zip([1.0, 1.25, 1.5, 1.75]) {
                    let factor = _mm512_set1_ps(factor);
                    store(&scales.map(|scale| _mm512_mul_ps(scale, factor)), variant);
                }
            } else {
                store(&scales, &mut to.scales[at]);
            }
        };
        match format.scales {
            Scales::Half => put(group, halves(stored)),
            Scales::HalfMin => {
                put(group, halves(stored));
                store(&halves(&stored[PANEL * 2..]), &mut to.mins[group]);
            }
            Scales::Factored => {
                put(group, products(factors, bytes(stored)));
                let mins = products(min_factors, bytes(&stored[PANEL..]));
                store(&mins, &mut to.mins[group]);
            }
            Scales::Sixteens => {
                put(group * 2, products(factors, signed_bytes(stored)));
                put(group * 2 + 1, products(factors, signed_bytes(&stored[PANEL..])));
            }
        }
        let expanded = &mut to.codes[group * BLOCK_CODES..][..BLOCK_CODES];
        match format.bits {
            5 => expand::<1>(codes, expanded),
            6 => expand::<2>(codes, expanded),
            _ => {}
        }
    }
}

/// Codes of four lower and `UPPER` upper bits as bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn expand<const UPPER: usize>(packed: &[u8], codes: &mut [u8]) {
    assert!(packed.len() >= BLOCK_CODES / 8 * (4 + UPPER) && codes.len() >= BLOCK_CODES);
    let low_mask = _mm512_set1_epi8(15);
    let high_mask = _mm512_set1_epi8((((1 << UPPER) - 1) << 4) as i8);
    // Registers of upper bits; each serves the codes of an eighth or a quarter of the block.
    let width = REGISTERS * UPPER / 8;
    // SAFETY: registers of lower bits are half as many as those of codes, upper ones follow; both lengths are checked.
    unsafe {
        let read = |at: usize| _mm512_loadu_si512(packed.as_ptr().add(at * 64).cast());
        for register in 0..width {
            let upper = read(REGISTERS / 2 + register);
            for part in 0..REGISTERS / width {
                let at = part * width + register;
                let low = read(at % (REGISTERS / 2));
                let low = if at < REGISTERS / 2 { low } else { _mm512_srli_epi16::<4>(low) };
                let high = shifted(upper, part * UPPER);
                let high = _mm512_and_si512(high, high_mask);
                // (low & mask) | high
                let code = _mm512_ternarylogic_epi32::<0xF8>(high, low, low_mask);
                _mm512_storeu_si512(codes.as_mut_ptr().add(at * 64).cast(), code);
            }
        }
    }
}

/// Brings bit `from` of every byte to bit 4; other bits are to be masked out.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn shifted(bytes: __m512i, from: usize) -> __m512i {
    match from {
        0 => _mm512_slli_epi16::<4>(bytes),
        1 => _mm512_slli_epi16::<3>(bytes),
        2 => _mm512_slli_epi16::<2>(bytes),
        3 => _mm512_slli_epi16::<1>(bytes),
        4 => bytes,
        5 => _mm512_srli_epi16::<1>(bytes),
        6 => _mm512_srli_epi16::<2>(bytes),
        _ => _mm512_srli_epi16::<3>(bytes),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn products(factors: [__m512; 2], numbers: [__m512; 2]) -> [__m512; 2] {
    [_mm512_mul_ps(factors[0], numbers[0]), _mm512_mul_ps(factors[1], numbers[1])]
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl,f16c")]
fn halves(from: &[u8]) -> [__m512; 2] {
    let from = &from[..PANEL * 2];
    // SAFETY: there are 64 bytes.
    [0, 32].map(|at| _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from.as_ptr().add(at).cast()) }))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn bytes(from: &[u8]) -> [__m512; 2] {
    let from = &from[..PANEL];
    // SAFETY: there are 32 bytes.
    [0, 16].map(|at| unsafe {
        let bytes = _mm_loadu_si128(from.as_ptr().add(at).cast());
        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn signed_bytes(from: &[u8]) -> [__m512; 2] {
    let from = &from[..PANEL];
    // SAFETY: there are 32 bytes.
    [0, 16].map(|at| unsafe {
        let bytes = _mm_loadu_si128(from.as_ptr().add(at).cast());
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
    })
}
