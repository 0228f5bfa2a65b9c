//! Weighted sums with AVX2: bytes are widened to 16 bits, even and odd tokens separately, and `vpmaddwd` adds pairs of
//! products exactly.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_slli_epi16, _mm256_srai_epi16, _mm256_storeu_si256,
};

use super::{PageValues, QUAD, WeightedValues};

/// Elements of a register.
const WIDTH: usize = 8;

/// See [`super::add_weighted`].
pub(super) fn add_weighted(work: &mut WeightedValues<'_>, page: &PageValues<'_>) {
    // SAFETY: this level is chosen only where AVX2 was detected.
    unsafe { with_avx2(work, page) }
}

#[target_feature(enable = "avx2")]
fn with_avx2(work: &mut WeightedValues<'_>, page: &PageValues<'_>) {
    for row in 0..work.rows {
        for plane in 0..2 {
            for quad in 0..page.tokens.div_ceil(QUAD) {
                let [a, b, c, d] = work.quad(page, plane, row, quad).map(i32::from);
                let even = _mm256_set1_epi32(c << 16 | a);
                let odd = _mm256_set1_epi32(d << 16 | b);
                let sums = &mut work.sums[(row * 2 + plane) * work.size..][..work.size];
                let values = &page.codes[quad * QUAD * work.size..][..QUAD * work.size];
                for (sums, values) in
                    sums.chunks_exact_mut(WIDTH).zip(values.chunks_exact(WIDTH * QUAD))
                {
                    // SAFETY: the chunks have 32 bytes each.
                    unsafe {
                        let values = _mm256_loadu_si256(values.as_ptr().cast::<__m256i>());
                        let evens = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(values));
                        let odds = _mm256_srai_epi16::<8>(values);
                        let products = _mm256_add_epi32(
                            _mm256_madd_epi16(evens, even),
                            _mm256_madd_epi16(odds, odd),
                        );
                        let sum = _mm256_loadu_si256(sums.as_ptr().cast::<__m256i>());
                        let sum = _mm256_add_epi32(sum, products);
                        _mm256_storeu_si256(sums.as_mut_ptr().cast::<__m256i>(), sum);
                    }
                }
            }
        }
    }
}
