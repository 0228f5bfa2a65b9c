//! Weighted sums with NEON: `sdot` multiplies 16 value bytes with a quad of weights, both signed, and sums groups of
//! four exactly. Weights are unsigned, so `weight - 128` is multiplied and 128 times the sum of the values is added.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_s32, vdupq_n_s8, vdupq_n_s32, vdupq_n_u8, vdupq_n_u32, veorq_u8,
    vld1q_s8, vld1q_s32, vreinterpretq_s8_u8, vreinterpretq_u8_u32, vshlq_n_s32, vst1q_s32,
};
use std::arch::asm;

use super::{PageValues, QUAD, ROWS, WeightedValues};

/// Elements of a register.
const WIDTH: usize = 4;
/// Registers of values that are computed together: at most 4 x 6 sums, of 32 registers.
const TOGETHER: usize = 2;

/// See [`super::add_weighted`].
pub(super) fn add_weighted(work: &mut WeightedValues<'_>, page: &PageValues<'_>) {
    let mut row = 0;
    while row < work.rows {
        let left = work.rows - row;
        let rows = left.div_ceil(left.div_ceil(ROWS));
        for element in (0..work.size).step_by(TOGETHER * WIDTH) {
            // SAFETY: the level was detected; `check` has found all accesses of these rows and elements inside.
            unsafe {
                match rows {
                    1 => tile::<1>(work, page, row, element),
                    2 => tile::<2>(work, page, row, element),
                    3 => tile::<3>(work, page, row, element),
                    4 => tile::<4>(work, page, row, element),
                    5 => tile::<5>(work, page, row, element),
                    _ => tile::<6>(work, page, row, element),
                }
            }
        }
        row += rows;
    }
}

/// # Safety
/// The CPU must support the features; rows `row .. row + R` and elements `element .. element + 8` must be inside
/// checked work.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const R: usize>(
    work: &mut WeightedValues<'_>,
    page: &PageValues<'_>,
    row: usize,
    element: usize,
) {
    let size = work.size;
    let mut products = [[[vdupq_n_s32(0); TOGETHER]; 2]; R];
    let mut plain = [vdupq_n_s32(0); TOGETHER];
    // SAFETY: by the caller's promise every access is one that `WeightedValues::check` has found inside.
    unsafe {
        let values = page.codes.as_ptr().add(element * QUAD).cast::<i8>();
        let planes =
            work.weights.map(|plane| plane.as_ptr().add(row * work.stride + page.position));
        for quad in 0..page.tokens.div_ceil(QUAD) {
            let whole = (quad + 1) * QUAD <= page.tokens;
            let mut line = [vdupq_n_s8(0); TOGETHER];
            for (register, line) in line.iter_mut().enumerate() {
                *line = vld1q_s8(values.add((quad * size + register * WIDTH) * QUAD));
                plain[register] = dot(plain[register], *line, vdupq_n_s8(1));
            }
            for (r, products) in products.iter_mut().enumerate() {
                for (plane, products) in products.iter_mut().enumerate() {
                    let four = if whole {
                        *planes[plane].add(r * work.stride + quad * QUAD).cast::<[u8; QUAD]>()
                    } else {
                        work.quad(page, plane, row + r, quad)
                    };
                    let four = u32::from_le_bytes(four);
                    let four = veorq_u8(vreinterpretq_u8_u32(vdupq_n_u32(four)), vdupq_n_u8(128));
                    for register in 0..TOGETHER {
                        let four = vreinterpretq_s8_u8(four);
                        products[register] = dot(products[register], line[register], four);
                    }
                }
            }
        }
        for (r, planes) in products.iter().enumerate() {
            for (plane, products) in planes.iter().enumerate() {
                for register in 0..TOGETHER {
                    let at = ((row + r) * 2 + plane) * size + element + register * WIDTH;
                    let sum = work.sums.as_mut_ptr().add(at);
                    let product = vaddq_s32(products[register], vshlq_n_s32::<7>(plain[register]));
                    vst1q_s32(sum, vaddq_s32(vld1q_s32(sum), product));
                }
            }
        }
    }
}

/// Adds the products of 16 value bytes with as many weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(sums: int32x4_t, values: int8x16_t, weights: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: `sdot` only changes its first register, and this function has the feature. `vdotq_s32` is the same, but
    // not yet stable.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {values:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            values = in(vreg) values,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
