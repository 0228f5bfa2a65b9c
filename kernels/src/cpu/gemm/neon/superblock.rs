//! The tile of a superblock, with NEON.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

use std::arch::aarch64::{
    int16x4x2_t, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, vfmaq_f32, vld1q_f32,
    vld2_s16, vmlaq_n_s32, vmlaq_s32, vmovl_s16, vmulq_f32, vshlq_s32, vst1q_f32,
};

use super::super::Work;
use super::super::chunk::{Chunk, Pairs, SuperblockScales};
use super::super::superblock::GROUPS;
use super::{REGISTERS, WIDTH, add_half, numbers};
use crate::cpu::{GROUP, PANEL};

/// See [`super::super::portable::add_superblock`].
pub(in crate::cpu::gemm) fn add(
    chunk: &Chunk<'_>,
    scales: &SuperblockScales<'_>,
    mut work: Work<'_, '_>,
) {
    for rows in work.tiles() {
        // SAFETY: the level was detected, and the work was checked.
        unsafe {
            with_rows!(rows.len(), |R| add_tile::<R>(chunk, scales, &mut work, rows.start));
        }
    }
}

/// # Safety
/// The CPU must support the features; the work must be checked and contain the rows `first .. first + R`.
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_tile<const R: usize>(
    chunk: &Chunk<'_>,
    scales: &SuperblockScales<'_>,
    work: &mut Work<'_, '_>,
    first: usize,
) {
    let (rows, inputs) = (work.rows.rows(first, R), work.rows.inputs);
    let superblock = |row: usize| rows.superblock(row, chunk.groups.start / GROUPS);
    let pairs = scales.scales.len();
    work.prefetch.step();
    // SAFETY: every offset below stays inside the slices, since the work was checked: rows are `inputs` codes apart.
    unsafe {
        let codes = rows.codes.as_ptr().add(chunk.groups.start * GROUP).cast::<u8>();
        for register in 0..REGISTERS {
            let mut integers = [vdupq_n_s32(0); R];
            for part in 0..pairs * 2 {
                let (pair, second) = (part / 2, part % 2);
                let facts: [_; R] = std::array::from_fn(|row| superblock(row).parts(pairs)[pair]);
                let mut sums = facts.map(|facts| vdupq_n_s32(facts.starts[second]));
                // The halves of groups that belong to the part, counted from the start of the superblock.
                let halves = 2 * GROUPS / (pairs * 2);
                for half in part * halves..(part + 1) * halves {
                    let line = half % 2 * 4 * PANEL * 4 + register * 16;
                    let weights = chunk.codes.as_ptr().add(half / 2 * chunk.stride + line);
                    let codes = codes.add(half * GROUP / 2);
                    add_half(&mut sums, weights, vdupq_n_u8(0), codes, inputs);
                }
                let both = load_pairs(&scales.scales[pair], register);
                let scales = vmovl_s16(if second == 0 { both.0 } else { both.1 });
                for row in 0..R {
                    let right = facts[row].shifts()[second].cast_signed();
                    let shifted = vshlq_s32(sums[row], vdupq_n_s32(-right));
                    integers[row] = vmlaq_s32(integers[row], shifted, scales);
                }
            }
            let factors = numbers(scales.factors, register);
            for (row, &integers) in integers.iter().enumerate() {
                let block = superblock(row);
                let mut value = vmulq_f32(vcvtq_f32_s32(integers), factors);
                if !scales.mins.is_empty() {
                    let mut min = vdupq_n_s32(0);
                    for (mins, sums) in scales.mins.iter().zip(block.sums.as_chunks::<2>().0) {
                        let mins = load_pairs(mins, register);
                        min = vmlaq_n_s32(min, vmovl_s16(mins.0), i32::from(sums[0]));
                        min = vmlaq_n_s32(min, vmovl_s16(mins.1), i32::from(sums[1]));
                    }
                    let min_factors = numbers(scales.min_factors, register);
                    value = vfmaq_f32(value, vcvtq_f32_s32(min), min_factors);
                }
                let out = work.out.row(first + row)[register * WIDTH..][..WIDTH].as_mut_ptr();
                let before = match chunk.groups.start {
                    0 => vdupq_n_f32(0.0),
                    _ => vld1q_f32(out),
                };
                vst1q_f32(out, vfmaq_f32(before, value, vdupq_n_f32(block.scale)));
            }
        }
    }
}

/// The pairs of four outputs: first and second numbers.
#[inline]
#[target_feature(enable = "neon")]
fn load_pairs(pairs: &Pairs, register: usize) -> int16x4x2_t {
    let four = &pairs[register * WIDTH..][..WIDTH];
    // SAFETY: there are eight integers.
    unsafe { vld2_s16(four.as_ptr().cast()) }
}
