//! The transform with AVX-512: 16 elements per register.

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_permute_ps, _mm512_set_ps,
    _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_sub_ps,
};

use crate::cpu::LANES;

/// As [`super::hadamard_body`], with the same bits: a product with 1 or -1 is exact.
///
/// # Safety
/// The CPU must support AVX-512; the length of `x` must be a multiple of `length`, which must be a multiple of 16.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn hadamard(x: &mut [f32], length: usize) {
    for block in x.chunks_exact_mut(length) {
        // SAFETY: as many registers as the block fills.
        unsafe {
            match length / LANES {
                1 => whole::<1>(block),
                2 => whole::<2>(block),
                4 => whole::<4>(block),
                8 => whole::<8>(block),
                16 => whole::<16>(block),
                other => unreachable!("a block of {other} registers"),
            }
        }
    }
}

/// # Safety
/// The CPU must support AVX-512; the block must fill `N` registers, a power of two.
#[target_feature(enable = "avx512f")]
unsafe fn whole<const N: usize>(block: &mut [f32]) {
    let at = block.as_mut_ptr();
    // SAFETY: registers are inside the block.
    let mut x: [__m512; N] =
        std::array::from_fn(|register| unsafe { _mm512_loadu_ps(at.add(register * LANES)) });
    x = x.map(|x| inside(x));
    let mut half = 1;
    while half < N {
        for first in (0..N).filter(|register| register & half == 0) {
            let other = first + half;
            (x[first], x[other]) =
                (_mm512_add_ps(x[first], x[other]), _mm512_sub_ps(x[first], x[other]));
        }
        half *= 2;
    }
    for (register, x) in x.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(at.add(register * LANES), x) };
    }
}

/// The transform of 16 elements.
#[inline]
#[target_feature(enable = "avx512f")]
fn inside(x: __m512) -> __m512 {
    let (p, m) = (1.0, -1.0);
    let signs = _mm512_set_ps(m, p, m, p, m, p, m, p, m, p, m, p, m, p, m, p);
    let x = _mm512_fmadd_ps(x, signs, _mm512_permute_ps::<0b10_11_00_01>(x));
    let signs = _mm512_set_ps(m, m, p, p, m, m, p, p, m, m, p, p, m, m, p, p);
    let x = _mm512_fmadd_ps(x, signs, _mm512_permute_ps::<0b01_00_11_10>(x));
    let signs = _mm512_set_ps(m, m, m, m, p, p, p, p, m, m, m, m, p, p, p, p);
    let x = _mm512_fmadd_ps(x, signs, _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x));
    let signs = _mm512_set_ps(m, m, m, m, m, m, m, m, p, p, p, p, p, p, p, p);
    _mm512_fmadd_ps(x, signs, _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x))
}
