//! Weighted sums with AVX-512 VNNI: `vpdpbusd` multiplies broadcast weights (unsigned) with 64 value bytes (signed)
//! and adds groups of four exactly.

use std::arch::x86_64::{
    _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

use super::{QUAD, ROWS, WeightedValues};
use crate::kernels::LANES;

/// See [`super::add_weighted`].
pub(super) fn add_weighted(mut work: WeightedValues<'_>) {
    let mut row = 0;
    while row < work.rows {
        let left = work.rows - row;
        let rows = left.div_ceil(left.div_ceil(ROWS));
        let mut element = 0;
        while element < work.size {
            let wide = work.size - element >= 2 * LANES;
            // SAFETY: the level was detected; `check` has found all accesses of these rows and elements inside.
            unsafe {
                match (rows, wide) {
                    (1, true) => tile::<1, 2>(&mut work, row, element),
                    (2, true) => tile::<2, 2>(&mut work, row, element),
                    (3, true) => tile::<3, 2>(&mut work, row, element),
                    (4, true) => tile::<4, 2>(&mut work, row, element),
                    (5, true) => tile::<5, 2>(&mut work, row, element),
                    (_, true) => tile::<6, 2>(&mut work, row, element),
                    (1, false) => tile::<1, 1>(&mut work, row, element),
                    (2, false) => tile::<2, 1>(&mut work, row, element),
                    (3, false) => tile::<3, 1>(&mut work, row, element),
                    (4, false) => tile::<4, 1>(&mut work, row, element),
                    (5, false) => tile::<5, 1>(&mut work, row, element),
                    (_, false) => tile::<6, 1>(&mut work, row, element),
                }
            }
            element += if wide { 2 * LANES } else { LANES };
        }
        row += rows;
    }
}

/// # Safety
/// AVX-512 VNNI is there; rows `row .. row + R` and elements `element .. element + 16 * V` are inside checked work.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize, const V: usize>(
    work: &mut WeightedValues<'_>,
    row: usize,
    element: usize,
) {
    let (size, whole) = (work.size, work.tokens / QUAD);
    // SAFETY: by the caller's promise every access is one that `WeightedValues::check` has found inside.
    unsafe {
        let sums = work.sums.as_mut_ptr().add(row * 2 * size + element);
        let mut high = [[_mm512_setzero_si512(); V]; R];
        let mut low = high;
        for r in 0..R {
            for v in 0..V {
                let at = sums.add(r * 2 * size + v * LANES);
                high[r][v] = _mm512_loadu_si512(at.cast());
                low[r][v] = _mm512_loadu_si512(at.add(size).cast());
            }
        }
        let values = work.values.as_ptr().add(element * QUAD);
        let planes = work.weights.map(|plane| plane.as_ptr().add(row * work.stride));
        for quad in 0..whole {
            let mut line = [_mm512_setzero_si512(); V];
            for (v, line) in line.iter_mut().enumerate() {
                let at = values.add((quad * size + v * LANES) * QUAD);
                *line = _mm512_loadu_si512(at.cast());
            }
            for r in 0..R {
                let at = r * work.stride + quad * QUAD;
                let four = planes
                    .map(|plane| _mm512_set1_epi32(plane.add(at).cast::<i32>().read_unaligned()));
                for v in 0..V {
                    high[r][v] = _mm512_dpbusd_epi32(high[r][v], four[0], line[v]);
                    low[r][v] = _mm512_dpbusd_epi32(low[r][v], four[1], line[v]);
                }
            }
        }
        if work.tokens > whole * QUAD {
            for r in 0..R {
                let four = [0, 1].map(|plane| {
                    _mm512_set1_epi32(i32::from_le_bytes(work.quad(plane, row + r, whole)))
                });
                for v in 0..V {
                    let at = values.add((whole * size + v * LANES) * QUAD);
                    let line = _mm512_loadu_si512(at.cast());
                    high[r][v] = _mm512_dpbusd_epi32(high[r][v], four[0], line);
                    low[r][v] = _mm512_dpbusd_epi32(low[r][v], four[1], line);
                }
            }
        }
        for r in 0..R {
            for v in 0..V {
                let at = sums.add(r * 2 * size + v * LANES);
                _mm512_storeu_si512(at.cast(), high[r][v]);
                _mm512_storeu_si512(at.add(size).cast(), low[r][v]);
            }
        }
    }
}
