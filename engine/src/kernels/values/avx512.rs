//! Weighted sums with AVX-512 VNNI: `vpdpbusd` multiplies broadcast weights (unsigned) with 64 value bytes (signed)
//! and adds groups of four exactly.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_or_si512,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_test_epi8_mask,
};

use super::{QUAD, ROWS, WeightedValues};
use crate::kernels::LANES;

/// See [`super::add_weighted`].
pub(super) fn add_weighted(mut work: WeightedValues<'_>) {
    let mut row = 0;
    while row < work.rows {
        let left = work.rows - row;
        let rows = left.div_ceil(left.div_ceil(ROWS));
        // SAFETY: the level was detected; `check` has found all accesses of these rows inside.
        let are_high = unsafe { have_high_bytes(&work, row, rows) };
        let mut element = 0;
        while element < work.size {
            let wide = work.size - element >= 2 * LANES;
            // SAFETY: as above.
            unsafe {
                match (wide, are_high) {
                    (true, true) => some_rows::<2, 2>(&mut work, row, rows, element),
                    (true, false) => some_rows::<2, 1>(&mut work, row, rows, element),
                    (false, true) => some_rows::<1, 2>(&mut work, row, rows, element),
                    (false, false) => some_rows::<1, 1>(&mut work, row, rows, element),
                }
            }
            element += if wide { 2 * LANES } else { LANES };
        }
        row += rows;
    }
}

/// Whether some rows have weights with high bytes. Where one token of another page has nearly all weight, they have none.
///
/// # Safety
/// AVX-512 is there, and the rows are part of checked work.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn have_high_bytes(work: &WeightedValues<'_>, row: usize, rows: usize) -> bool {
    let mut found = _mm512_setzero_si512();
    for row in row..row + rows {
        for first in (0..work.tokens).step_by(64) {
            let mask = u64::MAX >> 64usize.saturating_sub(work.tokens - first);
            // SAFETY: the mask leaves out what is past the row's tokens.
            let weights = unsafe {
                let at = work.weights[0].as_ptr().add(row * work.stride + first);
                _mm512_maskz_loadu_epi8(mask, at.cast())
            };
            found = _mm512_or_si512(found, weights);
        }
    }
    _mm512_test_epi8_mask(found, found) != 0
}

/// # Safety
/// As for [`tile`], with as many rows.
unsafe fn some_rows<const V: usize, const PLANES: usize>(
    work: &mut WeightedValues<'_>,
    row: usize,
    rows: usize,
    element: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => tile::<1, V, PLANES>(work, row, element),
            2 => tile::<2, V, PLANES>(work, row, element),
            3 => tile::<3, V, PLANES>(work, row, element),
            4 => tile::<4, V, PLANES>(work, row, element),
            5 => tile::<5, V, PLANES>(work, row, element),
            _ => tile::<ROWS, V, PLANES>(work, row, element),
        }
    }
}

/// Adds the sums of the last `PLANES` planes: both, or the low one.
///
/// # Safety
/// AVX-512 VNNI is there; rows `row .. row + R` and elements `element .. element + 16 * V` are inside checked work.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize, const V: usize, const PLANES: usize>(
    work: &mut WeightedValues<'_>,
    row: usize,
    element: usize,
) {
    let (size, whole) = (work.size, work.tokens / QUAD);
    let first_plane = 2 - PLANES;
    // SAFETY: by the caller's promise every access is one that `WeightedValues::check` has found inside.
    unsafe {
        let sums = work.sums.as_mut_ptr().add((row * 2 + first_plane) * size + element);
        let place = |r: usize, p: usize, v: usize| (r * 2 + p) * size + v * LANES;
        let mut totals = [[[_mm512_setzero_si512(); V]; PLANES]; R];
        for (r, totals) in totals.iter_mut().enumerate() {
            for (p, totals) in totals.iter_mut().enumerate() {
                for (v, total) in totals.iter_mut().enumerate() {
                    *total = _mm512_loadu_si512(sums.add(place(r, p, v)).cast());
                }
            }
        }
        let values = work.values.as_ptr().add(element * QUAD);
        let planes: [*const u8; PLANES] =
            std::array::from_fn(|p| work.weights[first_plane + p].as_ptr().add(row * work.stride));
        for quad in 0..whole {
            let line = lines::<V>(values, size, quad);
            for (r, totals) in totals.iter_mut().enumerate() {
                for (p, totals) in totals.iter_mut().enumerate() {
                    let four = planes[p].add(r * work.stride + quad * QUAD);
                    add(totals, four.cast::<i32>().read_unaligned(), line);
                }
            }
        }
        if work.tokens > whole * QUAD {
            let line = lines::<V>(values, size, whole);
            for (r, totals) in totals.iter_mut().enumerate() {
                for (p, totals) in totals.iter_mut().enumerate() {
                    let four = work.quad(first_plane + p, row + r, whole);
                    add(totals, i32::from_le_bytes(four), line);
                }
            }
        }
        for (r, totals) in totals.iter().enumerate() {
            for (p, totals) in totals.iter().enumerate() {
                for (v, total) in totals.iter().enumerate() {
                    _mm512_storeu_si512(sums.add(place(r, p, v)).cast(), *total);
                }
            }
        }
    }
}

/// The values of a quad of tokens.
///
/// # Safety
/// AVX-512 is there, and the quad can be read.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn lines<const V: usize>(values: *const u8, size: usize, quad: usize) -> [__m512i; V] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|v| unsafe {
        _mm512_loadu_si512(values.add((quad * size + v * LANES) * QUAD).cast())
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add<const V: usize>(totals: &mut [__m512i; V], four: i32, line: [__m512i; V]) {
    let four = _mm512_set1_epi32(four);
    for (total, line) in totals.iter_mut().zip(line) {
        *total = _mm512_dpbusd_epi32(*total, four, line);
    }
}
