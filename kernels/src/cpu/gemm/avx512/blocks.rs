//! The contents of a block in AVX-512 registers.

use std::arch::x86_64::{
    __m512, __m512i, _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi8_epi16,
    _mm512_cvtepu8_epi16, _mm512_cvtph_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8,
    _mm512_set1_ps, _mm512_slli_epi16, _mm512_srli_epi16, _mm512_ternarylogic_epi32,
};

use crate::cpu::PANEL;
use crate::cpu::packed::BLOCK_CODES;

/// Registers of a block's codes.
const REGISTERS: usize = BLOCK_CODES / 64;

/// A register of codes with four lower and `UPPER` upper bits, as bytes. With a constant register, the shifts are
/// constant as well.
///
/// # Safety
/// A block must be readable, and the register must be one of its [`REGISTERS`] (16).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn code<const UPPER: usize>(block: *const u8, register: usize) -> __m512i {
    let low_bits = _mm512_set1_epi8(15);
    // SAFETY: there are half as many registers of lower bits as of codes; the upper bits follow.
    unsafe {
        let read = |at: usize| _mm512_loadu_si512(block.add(at * 64).cast());
        let low = read(register % (REGISTERS / 2));
        let is_first = register < REGISTERS / 2;
        let low = if is_first { low } else { _mm512_srli_epi16::<4>(low) };
        if UPPER == 0 {
            return _mm512_and_si512(low, low_bits);
        }
        // Each register of upper bits serves the codes of an eighth or a quarter of the block.
        let width = REGISTERS * UPPER / 8;
        let high = to_bit_4(read(REGISTERS / 2 + register % width), register / width * UPPER);
        let high = _mm512_and_si512(high, _mm512_set1_epi8((((1 << UPPER) - 1) << 4) as i8));
        // high | (low & low_bits)
        _mm512_ternarylogic_epi32::<0xF8>(high, low, low_bits)
    }
}

/// Moves one bit of every byte to bit 4, with the next ones above it; the others must be masked out.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn to_bit_4(bytes: __m512i, from: usize) -> __m512i {
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
#[target_feature(enable = "avx512f,avx512vl,f16c")]
pub(super) fn halves(from: &[u8]) -> [__m512; 2] {
    let from = &from[..PANEL * 2];
    // SAFETY: there are 64 bytes.
    [0, 32].map(|at| _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from.as_ptr().add(at).cast()) }))
}

/// Pairs of bytes as 16-bit integers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn pairs<const SIGNED: bool>(from: &[u8]) -> [__m512i; 2] {
    let from = &from[..PANEL * 2];
    [0, PANEL].map(|at| {
        // SAFETY: there are 64 bytes.
        let bytes = unsafe { _mm256_loadu_si256(from.as_ptr().add(at).cast()) };
        if SIGNED { _mm512_cvtepi8_epi16(bytes) } else { _mm512_cvtepu8_epi16(bytes) }
    })
}

/// Finite f16 numbers times a power of two.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,f16c")]
pub(super) fn scaled(from: &[u8], scale: f32) -> [__m512; 2] {
    halves(from).map(|number| _mm512_mul_ps(number, _mm512_set1_ps(scale)))
}
