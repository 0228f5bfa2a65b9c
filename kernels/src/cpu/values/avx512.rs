//! Weighted sums with AVX-512 VNNI: `vpdpbusd` multiplies broadcast weights (unsigned) with 64 value bytes (signed)
//! and adds groups of four exactly.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_or_si512,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_test_epi8_mask,
};

use super::{PageValues, QUAD, ROWS, WeightedValues};
use crate::cpu::LANES;

/// Pages that are summed in registers before sums are stored: a bit per page says whether it has high bytes.
const PAGES: usize = u64::BITS as usize;

/// See [`super::add_weighted`].
pub(super) fn add_weighted(work: &mut WeightedValues<'_>) {
    for pages in work.pages.chunks(PAGES) {
        let mut first = 0;
        while first < work.rows {
            let left = work.rows - first;
            let count = left.div_ceil(left.div_ceil(ROWS));
            let have_high = |page| {
                // SAFETY: the level was detected; `check` has found all accesses of these rows inside.
                unsafe { have_high_bytes(work, page, first, count) }
            };
            let high_pages = pages
                .iter()
                .enumerate()
                .fold(0, |all, (index, page)| all | u64::from(have_high(page)) << index);
            let rows = Rows { first, count, pages, high_pages };
            // SAFETY: as above.
            unsafe { add_rows(work, &rows) };
            first += count;
        }
    }
}

/// Rows that are computed together, up to [`ROWS`].
struct Rows<'a> {
    first: usize,
    count: usize,
    /// The pages that they see, up to [`PAGES`].
    pages: &'a [PageValues<'a>],
    /// The pages, from the lowest bit on, where one of the rows has a weight with a high byte.
    high_pages: u64,
}

/// Whether some rows have weights with high bytes on a page. If one token of another page has nearly all the weight,
/// they have none.
///
/// # Safety
/// The CPU must support AVX-512, and page and rows must be part of checked work.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn have_high_bytes(
    work: &WeightedValues<'_>,
    page: &PageValues<'_>,
    row: usize,
    rows: usize,
) -> bool {
    let mut found = _mm512_setzero_si512();
    for row in row..row + rows {
        for first in (0..page.tokens).step_by(64) {
            let mask = u64::MAX >> 64usize.saturating_sub(page.tokens - first);
            // SAFETY: the mask leaves out what is past the row's tokens.
            let weights = unsafe {
                let at = work.weights[0].as_ptr().add(row * work.stride + page.position + first);
                _mm512_maskz_loadu_epi8(mask, at.cast())
            };
            found = _mm512_or_si512(found, weights);
        }
    }
    _mm512_test_epi8_mask(found, found) != 0
}

/// # Safety
/// The CPU must support AVX-512 VNNI; the rows must be inside checked work.
unsafe fn add_rows(work: &mut WeightedValues<'_>, rows: &Rows<'_>) {
    let mut element = 0;
    while element < work.size {
        let is_wide = work.size - element >= 2 * LANES;
        // SAFETY: the caller's promise.
        unsafe {
            if is_wide {
                by_count::<2>(work, rows, element);
            } else {
                by_count::<1>(work, rows, element);
            }
        }
        element += if is_wide { 2 * LANES } else { LANES };
    }
}

/// # Safety
/// As for [`tile`].
unsafe fn by_count<const V: usize>(work: &mut WeightedValues<'_>, rows: &Rows<'_>, element: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows.count {
            1 => tile::<1, V>(work, rows, element),
            2 => tile::<2, V>(work, rows, element),
            3 => tile::<3, V>(work, rows, element),
            4 => tile::<4, V>(work, rows, element),
            5 => tile::<5, V>(work, rows, element),
            _ => tile::<ROWS, V>(work, rows, element),
        }
    }
}

/// Adds the weighted values of all pages. Sums stay in registers from page to page.
///
/// # Safety
/// The CPU must support AVX-512 VNNI; there must be `R` rows; they and elements `element .. element + 16 * V` must be
/// inside checked work.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize, const V: usize>(
    work: &mut WeightedValues<'_>,
    rows: &Rows<'_>,
    element: usize,
) {
    let (size, stride) = (work.size, work.stride);
    let place = |plane: usize, row: usize| (row * 2 + plane) * size;
    // SAFETY: by the caller's promise every access is one that `WeightedValues::check` has found inside.
    unsafe {
        let sums = work.sums.as_mut_ptr().add(place(0, rows.first) + element);
        let mut totals: [[[__m512i; V]; R]; 2] = std::array::from_fn(|plane| {
            std::array::from_fn(|row| load::<V>(sums.add(place(plane, row))))
        });
        for (index, page) in rows.pages.iter().enumerate() {
            let values = page.codes.as_ptr().add(element * QUAD);
            let line = |quad: usize| lines::<V>(values, size, quad);
            let weights =
                work.weights.map(|plane| plane.as_ptr().add(rows.first * stride + page.position));
            let four = |plane: usize, row: usize, quad: usize| {
                weights[plane].add(row * stride + quad * QUAD).cast::<i32>().read_unaligned()
            };
            let is_high = rows.high_pages >> index & 1 == 1;
            let whole = page.tokens / QUAD;
            if is_high {
                for quad in 0..whole {
                    let line = line(quad);
                    let [high, low] = &mut totals;
                    for (row, (high, low)) in high.iter_mut().zip(low).enumerate() {
                        add(high, four(0, row, quad), line);
                        add(low, four(1, row, quad), line);
                    }
                }
            } else {
                for quad in 0..whole {
                    let line = line(quad);
                    for (row, totals) in totals[1].iter_mut().enumerate() {
                        add(totals, four(1, row, quad), line);
                    }
                }
            }
            if page.tokens > whole * QUAD {
                let line = line(whole);
                for (plane, totals) in totals.iter_mut().enumerate() {
                    for (row, totals) in totals.iter_mut().enumerate() {
                        let four = work.quad(page, plane, rows.first + row, whole);
                        add(totals, i32::from_le_bytes(four), line);
                    }
                }
            }
        }
        for (plane, totals) in totals.iter().enumerate() {
            for (row, totals) in totals.iter().enumerate() {
                for (register, total) in totals.iter().enumerate() {
                    let to = sums.add(place(plane, row) + register * LANES);
                    _mm512_storeu_si512(to.cast(), *total);
                }
            }
        }
    }
}

/// Neighbouring sums.
///
/// # Safety
/// The CPU must support AVX-512, and the sums must be readable.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load<const V: usize>(sums: *const i32) -> [__m512i; V] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|v| unsafe { _mm512_loadu_si512(sums.add(v * LANES).cast()) })
}

/// The values of a quad of tokens.
///
/// # Safety
/// The CPU must support AVX-512, and the quad must be readable.
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
