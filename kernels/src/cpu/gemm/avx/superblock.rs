//! The tile of a superblock on 32-byte registers.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_blend_epi16, _mm256_cvtepi32_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sllv_epi32, _mm256_srav_epi32,
    _mm256_storeu_ps,
};

use super::super::Work;
use super::super::chunk::{Chunk, Pairs, SuperblockScales};
use super::super::superblock::GROUPS;
use super::{Dot, QUADS, REGISTERS, WIDTH, add_half, load, load_numbers};
use crate::cpu::{GROUP, PANEL};

/// The upper 16 bits of every 32.
const UPPER_HALVES: i32 = 0xAA;

/// See [`super::super::portable::add_superblock`].
///
/// # Safety
/// The CPU must support AVX2, FMA and the instructions of `D`, and the caller must be compiled for them.
#[inline(always)]
pub(in crate::cpu::gemm) unsafe fn add<D: Dot>(
    chunk: &Chunk<'_>,
    scales: &SuperblockScales<'_>,
    mut work: Work<'_, '_>,
) {
    for rows in work.tiles() {
        // SAFETY: the caller's promise; the work was checked.
        unsafe {
            with_rows!(rows.len(), |R| add_tile::<D, R>(chunk, scales, &mut work, rows.start));
        }
    }
}

/// # Safety
/// As [`add`]; the work must be checked and contain the rows `first .. first + R`.
#[inline(always)]
unsafe fn add_tile<D: Dot, const R: usize>(
    chunk: &Chunk<'_>,
    scales: &SuperblockScales<'_>,
    work: &mut Work<'_, '_>,
    first: usize,
) {
    let (rows, inputs) = (work.rows.rows(first, R), work.rows.inputs);
    let superblock = |row: usize| rows.superblock(row, chunk.groups.start / GROUPS);
    let pairs = scales.scales.len();
    let parts_are_halves = pairs == GROUPS;
    work.prefetch.step();
    // SAFETY: every offset below stays inside the slices, since the work was checked: rows are `inputs` codes apart.
    unsafe {
        let codes = rows.codes.as_ptr().add(chunk.groups.start * GROUP);
        let half = |group: usize, half: usize, register: usize| {
            let line = half * QUADS * PANEL * 4 + register * 32;
            let weights = chunk.codes.as_ptr().add(group * chunk.stride + line);
            (weights, codes.add(group * GROUP + half * 16))
        };
        let (factors, min_factors) =
            (load_numbers(scales.factors), load_numbers(scales.min_factors));
        for register in 0..REGISTERS {
            let mut integers = [_mm256_setzero_si256(); R];
            for pair in 0..pairs {
                let scales = load_pairs(&scales.scales[pair], register);
                let mut firsts = [_mm256_setzero_si256(); R];
                for part in 0..2 {
                    let facts: [_; R] =
                        std::array::from_fn(|row| superblock(row).parts(pairs)[pair]);
                    let mut sums = facts.map(|facts| _mm256_set1_epi32(facts.starts[part]));
                    if parts_are_halves {
                        let (weights, codes) = half(pair, part, register);
                        add_half::<D, R>(&mut sums, weights, codes, inputs);
                    } else {
                        for index in 0..2 {
                            let (weights, codes) = half(pair * 2 + part, index, register);
                            add_half::<D, R>(&mut sums, weights, codes, inputs);
                        }
                    }
                    for row in 0..R {
                        if part == 0 {
                            let right = _mm256_set1_epi32(facts[row].right.cast_signed());
                            firsts[row] = _mm256_srav_epi32(sums[row], right);
                        } else {
                            let left = _mm256_set1_epi32(facts[row].left.cast_signed());
                            let upper = _mm256_sllv_epi32(sums[row], left);
                            let both = _mm256_blend_epi16::<UPPER_HALVES>(firsts[row], upper);
                            let products = _mm256_madd_epi16(both, scales);
                            integers[row] = _mm256_add_epi32(integers[row], products);
                        }
                    }
                }
            }
            for (row, &integers) in integers.iter().enumerate() {
                let block = superblock(row);
                let mut value = _mm256_mul_ps(_mm256_cvtepi32_ps(integers), factors[register]);
                if !scales.mins.is_empty() {
                    let mut min = _mm256_setzero_si256();
                    for (pair, mins) in scales.mins.iter().enumerate() {
                        let sums = _mm256_set1_epi32(block.pair_of_sums(pair));
                        let products = _mm256_madd_epi16(load_pairs(mins, register), sums);
                        min = _mm256_add_epi32(min, products);
                    }
                    value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(min), min_factors[register], value);
                }
                let out = work.out.row(first + row)[register * WIDTH..][..WIDTH].as_mut_ptr();
                let before = match chunk.groups.start {
                    0 => _mm256_setzero_ps(),
                    _ => _mm256_loadu_ps(out),
                };
                let scale = _mm256_set1_ps(block.scale);
                _mm256_storeu_ps(out, _mm256_fmadd_ps(value, scale, before));
            }
        }
    }
}

/// The pairs of 8 outputs.
///
/// # Safety
/// Instructions as [`add`].
#[inline(always)]
unsafe fn load_pairs(pairs: &Pairs, register: usize) -> __m256i {
    // SAFETY: there are 32 bytes.
    unsafe { load(pairs[register * WIDTH..][..WIDTH].as_ptr().cast()) }
}
