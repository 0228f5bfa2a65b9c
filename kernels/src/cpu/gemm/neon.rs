//! The integer tile with NEON: `sdot` multiplies 16 weight codes with activation codes, both signed, and sums groups of
//! four exactly.
//!
//! Weight codes below 128 are valid signed bytes. 8-bit codes have an offset of 128: flipping their top bit turns them
//! into signed bytes and removes the offset.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

mod superblock;

pub(super) use superblock::add as add_superblock;

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, uint8x16_t, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32,
    vdupq_n_u8, veorq_u8, vfmaq_f32, vld1q_f32, vmulq_f32, vreinterpretq_s8_u8, vst1q_f32,
};
use std::arch::asm;
use std::mem::transmute;

use super::chunk::{Chunk, GroupScales, Numbers};
use super::{Group, Work};
use crate::cpu::{GROUP, PANEL, TILE_ROWS};

/// Outputs of a register.
const WIDTH: usize = 4;
/// Registers of a panel.
const REGISTERS: usize = PANEL / WIDTH;

/// See [`super::portable::add`].
pub(super) fn add(chunk: &Chunk<'_>, scales: &GroupScales<'_>, mut work: Work<'_, '_>) {
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
    scales: &GroupScales<'_>,
    work: &mut Work<'_, '_>,
    first: usize,
) {
    const { assert!(R <= TILE_ROWS) };
    let (rows, inputs) = (work.rows.rows(first, R), work.rows.inputs);
    let groups = inputs / GROUP;
    let wide = chunk.bits == 8;
    let offset = if wide { 0 } else { chunk.offset };
    let flipped = vdupq_n_u8(if wide { 128 } else { 0 });
    let mut floats = [[vdupq_n_f32(0.0); REGISTERS]; R];
    // SAFETY: every offset below stays inside the slices, since the work was checked: rows are `inputs` codes and
    // `groups` groups apart.
    unsafe {
        if chunk.groups.start > 0 {
            for (row, floats) in floats.iter_mut().enumerate() {
                for (register, float) in floats.iter_mut().enumerate() {
                    *float = numbers(work.out.row(first + row), register);
                }
            }
        }
        for (index, group) in chunk.groups.clone().enumerate() {
            work.prefetch.step();
            let block = chunk.codes.as_ptr().add(index * chunk.stride);
            let codes = rows.codes.as_ptr().add(group * GROUP).cast::<u8>();
            let facts = |row: usize| *rows.groups.get_unchecked(row * groups + group);
            for register in 0..REGISTERS {
                let mut totals: [_; R] = std::array::from_fn(|row| {
                    let [low, high] = facts(row).sums;
                    vdupq_n_s32(-offset * (low + high))
                });
                for half in 0..2 {
                    let weights = block.add(half * 4 * PANEL * 4 + register * 16);
                    add_half(&mut totals, weights, flipped, codes.add(half * 16), inputs);
                }
                let weight_scales = numbers(&scales.scales[index], register);
                for row in 0..R {
                    let scale = vmulq_f32(weight_scales, vdupq_n_f32(facts(row).scale));
                    let float = &mut floats[row][register];
                    *float = vfmaq_f32(*float, vcvtq_f32_s32(totals[row]), scale);
                }
                if let Some(mins) = scales.mins.get(index) {
                    let mins = numbers(mins, register);
                    for row in 0..R {
                        let float = &mut floats[row][register];
                        *float = vfmaq_f32(*float, mins, vdupq_n_f32(facts(row).scaled_sum));
                    }
                }
            }
        }
        for (row, floats) in floats.iter().enumerate() {
            let out = work.out.row(first + row);
            for (register, &float) in floats.iter().enumerate() {
                vst1q_f32(out[register * WIDTH..][..WIDTH].as_mut_ptr(), float);
            }
        }
    }
}

/// Adds the products of half a group's codes to totals. Weight codes are signed bytes once they are `flipped`.
///
/// # Safety
/// Four lines of weights must be readable from `weights`, and 16 codes of every row, `stride` apart.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_half<const R: usize>(
    totals: &mut [int32x4_t; R],
    weights: *const u8,
    flipped: uint8x16_t,
    codes: *const u8,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let [first, second, third, fourth] = [0, 1, 2, 3].map(|quad| {
            vreinterpretq_s8_u8(veorq_u8(load(weights.add(quad * PANEL * 4)), flipped))
        });
        for (row, total) in totals.iter_mut().enumerate() {
            let codes = vreinterpretq_s8_u8(load(codes.add(row * stride)));
            *total = dot::<0>(*total, first, codes);
            *total = dot::<1>(*total, second, codes);
            *total = dot::<2>(*total, third, codes);
            *total = dot::<3>(*total, fourth, codes);
        }
    }
}

/// Four of the numbers.
#[inline]
#[target_feature(enable = "neon")]
fn numbers(numbers: &Numbers, register: usize) -> float32x4_t {
    let four = &numbers[register * WIDTH..][..WIDTH];
    // SAFETY: there are four floats.
    unsafe { vld1q_f32(four.as_ptr()) }
}

/// Adds the products of 16 weight codes, 4 outputs' quads, with quad `QUAD` of 16 activation codes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const QUAD: u8>(sums: int32x4_t, weights: int8x16_t, codes: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: `sdot` only changes its first register, and this function has the feature. `vdotq_laneq_s32` is the
    // same, but not yet stable.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {codes:v}.4b[{quad}]",
            sums = inout(vreg) sums,
            weights = in(vreg) weights,
            codes = in(vreg) codes,
            quad = const QUAD,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

// Loads here are of kinds that the dev profile does not check every time: `vld1q_u8` and `read_unaligned` compare
// addresses there.

/// # Safety
/// 16 bytes must be readable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(from: *const u8) -> uint8x16_t {
    // SAFETY: the caller's promise; a register is 16 bytes of any content.
    unsafe { transmute::<[u8; 16], uint8x16_t>(*from.cast::<[u8; 16]>()) }
}
