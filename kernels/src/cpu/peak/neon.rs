//! The loops for AArch64.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, uint8x16_t, vdupq_n_f32, vdupq_n_s8, vdupq_n_s32, vfmaq_f32,
    vld1q_u8, vreinterpretq_f32_u8, vreinterpretq_s8_u8,
};
use std::arch::asm;
use std::hint::black_box;

use super::{OPERAND_BYTES, Operand};

/// Products per loaded register: enough to hide a latency of four at two or three per cycle.
const SUMS: usize = 12;
/// Registers of the other factor.
const FACTORS: usize = 3;

/// The registers of an operand, in order.
fn registers(operand: &Operand) -> impl Iterator<Item = uint8x16_t> {
    // SAFETY: every chunk has a register's 16 bytes.
    operand.0.as_chunks::<16>().0.iter().map(|chunk| unsafe { vld1q_u8(chunk.as_ptr()) })
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn dot(operand: &Operand, passes: u64) -> u64 {
    let factors = [1, 2, 3].map(|value| vdupq_n_s8(black_box(value)));
    let mut sums: [int32x4_t; SUMS] = [vdupq_n_s32(0); SUMS];
    for _ in 0..passes {
        for codes in registers(operand) {
            let codes: int8x16_t = vreinterpretq_s8_u8(codes);
            for (index, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `sdot` only changes its first register, and this function has the feature.
                unsafe {
                    asm!(
                        "sdot {sum:v}.4s, {codes:v}.16b, {factor:v}.16b",
                        sum = inout(vreg) *sum,
                        codes = in(vreg) codes,
                        factor = in(vreg) factors[index % FACTORS],
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
            }
        }
    }
    black_box(sums);
    passes * (OPERAND_BYTES * SUMS * 2) as u64
}

#[target_feature(enable = "neon")]
pub(super) fn fma(operand: &Operand, passes: u64) -> u64 {
    let factors = [0.1, 0.2, 0.3].map(|value| vdupq_n_f32(black_box(value)));
    let mut sums: [float32x4_t; SUMS] = [vdupq_n_f32(0.0); SUMS];
    for _ in 0..passes {
        for floats in registers(operand) {
            let floats = vreinterpretq_f32_u8(floats);
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum = vfmaq_f32(*sum, floats, factors[index % FACTORS]);
            }
        }
    }
    black_box(sums);
    passes * (OPERAND_BYTES / 4 * SUMS * 2) as u64
}
