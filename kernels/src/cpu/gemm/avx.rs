//! The integer tile on 32-byte registers, generic over the way to multiply bytes.
//!
//! ```text
//! avx2.rs            vpmaddubsw
//! avx_vnni.rs        vpdpbusd, in both encodings
//! avx/superblock.rs  the tile of K-quants' superblocks, with any of them
//! ```
//!
//! A register holds the codes of 8 outputs and 4 inputs. All functions here are inlined into their callers, which
//! enable the instructions.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

mod superblock;

pub(super) use superblock::add as add_superblock;

use std::arch::x86_64::{
    __m256, __m256i, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_lddqu_si256, _mm256_loadu_ps,
    _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_storeu_ps,
};

use super::chunk::{Chunk, GroupScales, Numbers};
use super::{Group, Work};
use crate::cpu::{GROUP, PANEL, TILE_ROWS};

/// Outputs of a register.
const WIDTH: usize = 8;
/// Registers of a panel.
const REGISTERS: usize = PANEL / WIDTH;
/// Quads of inputs in half a group.
const QUADS: usize = 4;

/// A way to multiply weight codes with activation codes.
pub(super) trait Dot {
    /// Whether a weight code `c` means `c - 128`; otherwise it is used unchanged.
    const SIGNED: bool;
    /// Quads after which running sums must be flushed: 1, 2 or 4.
    const RUN: usize;

    /// Adds the products of 32 weight codes with 32 activation codes to running sums.
    ///
    /// # Safety
    /// The CPU must support the instructions.
    unsafe fn add(running: __m256i, weights: __m256i, codes: __m256i) -> __m256i;

    /// Adds running sums to 8 totals of 32 bits.
    ///
    /// # Safety
    /// The CPU must support the instructions.
    unsafe fn flush(total: __m256i, running: __m256i) -> __m256i;
}

/// See [`super::portable::add`].
///
/// # Safety
/// The CPU must support AVX2, FMA and the instructions of `D`, and the caller must be compiled for them.
#[inline(always)]
pub(super) unsafe fn add<D: Dot>(
    chunk: &Chunk<'_>,
    scales: &GroupScales<'_>,
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
    all_scales: &GroupScales<'_>,
    work: &mut Work<'_, '_>,
    first: usize,
) {
    const { assert!(R <= TILE_ROWS && QUADS.is_multiple_of(D::RUN)) };
    let (rows, inputs) = (work.rows.rows(first, R), work.rows.inputs);
    let groups = inputs / GROUP;
    let offset = if D::SIGNED { 0 } else { chunk.offset };
    // SAFETY: every offset below stays inside the slices, since the work was checked: rows are `inputs` codes and
    // `groups` groups apart.
    unsafe {
        let mut floats = [[_mm256_setzero_ps(); REGISTERS]; R];
        if chunk.groups.start > 0 {
            for (row, floats) in floats.iter_mut().enumerate() {
                *floats = load_numbers(work.out.row(first + row));
            }
        }
        for (index, group) in chunk.groups.clone().enumerate() {
            work.prefetch.step();
            let block = chunk.codes.as_ptr().add(index * chunk.stride);
            let weight_scales = load_numbers(&all_scales.scales[index]);
            let mins = all_scales.mins.get(index).map(|mins| load_numbers(mins));
            let codes = rows.codes.as_ptr().add(group * GROUP);
            let mut scales = [0.0; R];
            let mut starts = [0; R];
            let mut min_sums = [0.0; R];
            for row in 0..R {
                let Group { scale, scaled_sum, sums } =
                    *rows.groups.get_unchecked(row * groups + group);
                (scales[row], min_sums[row]) = (scale, scaled_sum);
                starts[row] = -offset * (sums[0] + sums[1]);
            }
            for register in 0..REGISTERS {
                let mut totals = starts.map(|start| _mm256_set1_epi32(start));
                for half in 0..2 {
                    let weights = block.add(half * QUADS * PANEL * 4 + register * 32);
                    add_half::<D, R>(&mut totals, weights, codes.add(half * 16), inputs);
                }
                for row in 0..R {
                    let scale = _mm256_set1_ps(scales[row]);
                    let scale = _mm256_mul_ps(weight_scales[register], scale);
                    let float = &mut floats[row][register];
                    *float = _mm256_fmadd_ps(_mm256_cvtepi32_ps(totals[row]), scale, *float);
                }
                if let Some(mins) = &mins {
                    for (row, floats) in floats.iter_mut().enumerate() {
                        let float = &mut floats[register];
                        let sum = _mm256_set1_ps(min_sums[row]);
                        *float = _mm256_fmadd_ps(mins[register], sum, *float);
                    }
                }
            }
        }
        for (row, floats) in floats.iter().enumerate() {
            let out = work.out.row(first + row);
            for (register, &float) in floats.iter().enumerate() {
                _mm256_storeu_ps(out[register * WIDTH..][..WIDTH].as_mut_ptr(), float);
            }
        }
    }
}

/// Adds the products of half a group's codes to totals.
///
/// # Safety
/// Four lines of weights must be readable from `weights`, and 16 codes of every row, `stride` apart; instructions as
/// [`add`].
#[inline(always)]
unsafe fn add_half<D: Dot, const R: usize>(
    totals: &mut [__m256i; R],
    weights: *const u8,
    codes: *const i8,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut running = [_mm256_setzero_si256(); R];
        for quad in 0..QUADS {
            let weights = load(weights.add(quad * PANEL * 4));
            for (row, running) in running.iter_mut().enumerate() {
                let four = codes.add(row * stride + quad * 4);
                let four = _mm256_set1_epi32(i32::from_le_bytes(*four.cast::<[u8; 4]>()));
                *running = D::add(*running, weights, four);
            }
            if (quad + 1).is_multiple_of(D::RUN) {
                for (total, running) in totals.iter_mut().zip(&mut running) {
                    *total = D::flush(*total, *running);
                    *running = _mm256_setzero_si256();
                }
            }
        }
    }
}

/// # Safety
/// 32 bytes must be readable; instructions as [`add`].
#[inline(always)]
unsafe fn load(from: *const u8) -> __m256i {
    // SAFETY: the caller's promise. `lddqu` is used because the dev profile does not check this kind of load every
    // time: `loadu` and `read_unaligned` compare addresses there, which takes longer than the arithmetic.
    unsafe { _mm256_lddqu_si256(from.cast::<__m256i>()) }
}

/// # Safety
/// Instructions as [`add`].
#[inline(always)]
unsafe fn load_numbers(numbers: &Numbers) -> [__m256; REGISTERS] {
    // SAFETY: there are 32 floats; the caller has the instructions.
    unsafe { [0, 1, 2, 3].map(|register| _mm256_loadu_ps(numbers.as_ptr().add(register * WIDTH))) }
}
