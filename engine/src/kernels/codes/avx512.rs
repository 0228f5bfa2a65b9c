//! The integer tile with AVX-512 VNNI: `vpdpbusd` multiplies 64 weight codes (unsigned) with broadcast activation
//! codes (signed) and adds groups of four exactly.
//!
//! ```text
//! few rows, one tile     here
//! many rows              many_rows.rs: the same without multiplications of scales
//! ```

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

mod many_rows;
mod ready;

pub(super) use ready::ready;

use std::arch::x86_64::{
    __m512, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::Work;
use super::chunk::{Chunk, Numbers};
use crate::kernels::{GROUP, PANEL, TILE_ROWS};

/// Values of the const parameter `KIND`.
const PLAIN: u8 = 0;
const WITH_MINS: u8 = 1;
const SIXTEENS: u8 = 2;

/// See [`super::portable::add`].
pub(super) fn add(chunk: &Chunk<'_>, work: Work<'_, '_>) {
    if !chunk.variants.is_empty() {
        return many_rows::add(chunk, work);
    }
    match (chunk.halves_differ, chunk.mins.is_empty(), chunk.are_nibbles) {
        (true, ..) => add_kind::<SIXTEENS, false>(chunk, work),
        (false, true, false) => add_kind::<PLAIN, false>(chunk, work),
        (false, true, true) => add_kind::<PLAIN, true>(chunk, work),
        (false, false, false) => add_kind::<WITH_MINS, false>(chunk, work),
        (false, false, true) => add_kind::<WITH_MINS, true>(chunk, work),
    }
}

fn add_kind<const KIND: u8, const NIBBLES: bool>(chunk: &Chunk<'_>, mut work: Work<'_, '_>) {
    for rows in work.tiles() {
        // SAFETY: the level was detected, and the work was checked.
        unsafe {
            match rows.len() {
                1 => add_tile::<1, KIND, NIBBLES>(chunk, &mut work, rows.start),
                2 => add_tile::<2, KIND, NIBBLES>(chunk, &mut work, rows.start),
                3 => add_tile::<3, KIND, NIBBLES>(chunk, &mut work, rows.start),
                4 => add_tile::<4, KIND, NIBBLES>(chunk, &mut work, rows.start),
                5 => add_tile::<5, KIND, NIBBLES>(chunk, &mut work, rows.start),
                6 => add_tile::<6, KIND, NIBBLES>(chunk, &mut work, rows.start),
                other => unreachable!("a tile of {other} rows"),
            }
        }
    }
}

/// # Safety
/// The CPU has the features; the work was checked and has the rows `first_row .. first_row + R`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn add_tile<const R: usize, const KIND: u8, const NIBBLES: bool>(
    chunk: &Chunk<'_>,
    work: &mut Work<'_, '_>,
    first_row: usize,
) {
    const { assert!(R <= TILE_ROWS) };
    let (rows, inputs) = (work.rows.rows(first_row, R), work.rows.inputs);
    let (first, count, groups) = (chunk.groups.start, chunk.groups.len(), inputs / GROUP);
    let parts = if KIND == SIXTEENS { 2 } else { 1 };
    let low_bits = _mm512_set1_epi8(15);
    // SAFETY: every offset below stays inside the slices, since the work was checked: rows are `inputs` codes and
    // `groups` groups apart.
    unsafe {
        let mut floats = [[_mm512_setzero_ps(); 2]; R];
        if first > 0 {
            for (row, floats) in floats.iter_mut().enumerate() {
                *floats = load(work.out.row(first_row + row));
            }
        }
        for group in 0..count {
            let facts = |row: usize| rows.groups.get_unchecked(row * groups + first + group);
            let weights = chunk.codes.as_ptr().add(group * chunk.stride);
            let codes = rows.codes.as_ptr().add((first + group) * GROUP);
            work.ahead.step();
            let mut integers = [[_mm512_set1_epi32(0); 2]; R];
            for (row, integers) in integers.iter_mut().enumerate() {
                let [low, high] = facts(row).sums;
                let sum = if KIND == SIXTEENS { low } else { low + high };
                *integers = [_mm512_set1_epi32(-chunk.offset * sum); 2];
            }
            for quad in 0..8 {
                let line = weights.add(if NIBBLES { quad % 4 } else { quad } * PANEL * 4);
                let weights = [0, 64].map(|at| {
                    let weights = _mm512_loadu_si512(line.add(at).cast());
                    match (NIBBLES, quad < 4) {
                        (false, _) => weights,
                        (true, true) => _mm512_and_si512(weights, low_bits),
                        (true, false) => {
                            _mm512_and_si512(_mm512_srli_epi16::<4>(weights), low_bits)
                        }
                    }
                });
                for (row, integers) in integers.iter_mut().enumerate() {
                    let four = codes.add(row * inputs + quad * 4);
                    let four = _mm512_set1_epi32(four.cast::<i32>().read_unaligned());
                    integers[0] = _mm512_dpbusd_epi32(integers[0], weights[0], four);
                    integers[1] = _mm512_dpbusd_epi32(integers[1], weights[1], four);
                }
                if quad == 7 || KIND == SIXTEENS && quad == 3 {
                    let scales = load(&chunk.scales[group * parts + quad / 4 * (parts - 1)]);
                    for row in 0..R {
                        let scale = _mm512_set1_ps(facts(row).scale);
                        let floats = &mut floats[row];
                        for half in 0..2 {
                            let product = _mm512_cvtepi32_ps(integers[row][half]);
                            let scale = _mm512_mul_ps(scales[half], scale);
                            floats[half] = _mm512_fmadd_ps(product, scale, floats[half]);
                        }
                        let start = _mm512_set1_epi32(-chunk.offset * facts(row).sums[1]);
                        integers[row] = [start; 2];
                    }
                }
            }
            if KIND == WITH_MINS {
                let mins = load(&chunk.mins[group]);
                for (row, floats) in floats.iter_mut().enumerate() {
                    let sum = _mm512_set1_ps(facts(row).scaled_sum);
                    floats[0] = _mm512_fmadd_ps(mins[0], sum, floats[0]);
                    floats[1] = _mm512_fmadd_ps(mins[1], sum, floats[1]);
                }
            }
        }
        for (row, floats) in floats.iter().enumerate() {
            store(floats, work.out.row(first_row + row));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(numbers: &Numbers) -> [__m512; 2] {
    // SAFETY: there are 32 floats.
    unsafe { [_mm512_loadu_ps(numbers.as_ptr()), _mm512_loadu_ps(numbers.as_ptr().add(16))] }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(floats: &[__m512; 2], to: &mut Numbers) {
    // SAFETY: there are 32 floats.
    unsafe {
        _mm512_storeu_ps(to.as_mut_ptr(), floats[0]);
        _mm512_storeu_ps(to.as_mut_ptr().add(16), floats[1]);
    }
}
