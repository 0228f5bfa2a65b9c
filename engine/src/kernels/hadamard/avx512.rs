//! The transform with AVX-512: 16 elements a register.

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_permute_ps, _mm512_set_ps,
    _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_sub_ps,
};

use crate::kernels::LANES;

/// See [`super::hadamard_body`], whose bits it gives: a product with 1 or -1 is exact.
///
/// # Safety
/// AVX-512 is there; the length of `x` is a multiple of `length`, that of 16.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn hadamard(x: &mut [f32], length: usize) {
    for block in x.chunks_exact_mut(length) {
        let registers = length / LANES;
        let start = block.as_mut_ptr();
        let at = |register: usize| start.wrapping_add(register * LANES);
        // SAFETY: registers are inside the block.
        unsafe {
            for register in 0..registers {
                let sums = inside(_mm512_loadu_ps(at(register)));
                _mm512_storeu_ps(at(register), sums);
            }
            let mut half = 1;
            while half < registers {
                for first in (0..registers).filter(|register| register & half == 0) {
                    let [x, y] =
                        [first, first + half].map(|register| _mm512_loadu_ps(at(register)));
                    _mm512_storeu_ps(at(first), _mm512_add_ps(x, y));
                    _mm512_storeu_ps(at(first + half), _mm512_sub_ps(x, y));
                }
                half *= 2;
            }
        }
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
