//! The integer tile with NEON: `sdot` multiplies 16 weight codes with activation codes, both signed, and adds groups of
//! four exactly.
//!
//! Weight codes below 128 are signed bytes as they are. Codes of 8 bits have an offset of 128: with their top bit
//! flipped they are signed bytes, and the offset is off.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, uint8x16_t, vaddq_s32, vandq_u8, vcreate_s8, vcreate_u8,
    vcreate_u16, vcvtq_f32_s32, vcvtq_f32_u32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, veorq_u8,
    vfmaq_f32, vget_low_s16, vget_low_u16, vmovl_s8, vmovl_s16, vmovl_u8, vmovl_u16, vmulq_f32,
    vreinterpretq_s8_u8, vshrq_n_u8, vst1q_f32,
};
use std::arch::asm;
use std::mem::transmute;

use super::{Outputs, QuantView};
use crate::kernels::packed::{Format, Scales};
use crate::kernels::{GROUP, PANEL, TILE_ROWS};

/// Outputs of a register.
const WIDTH: usize = 4;
/// Registers of a panel.
const REGISTERS: usize = PANEL / WIDTH;

/// What a group's 32 outputs share among rows.
struct GroupScales {
    /// Of both halves of the group.
    scales: [[float32x4_t; REGISTERS]; 2],
    mins: Option<[float32x4_t; REGISTERS]>,
}

/// See [`super::tile`].
pub(super) fn tile(format: Format, panel: &[u8], rows: QuantView<'_>, out: Outputs<'_>) {
    macro_rules! by_rows {
        ($four:literal) => {
            match rows.codes.len() / rows.inputs {
                // SAFETY: the level was detected, and the slices have the lengths checked in `tile_of`.
                1 => unsafe { tile_of::<1, $four>(format, panel, rows, out) },
                // SAFETY: as above, also below.
                2 => unsafe { tile_of::<2, $four>(format, panel, rows, out) },
                // SAFETY: as above.
                3 => unsafe { tile_of::<3, $four>(format, panel, rows, out) },
                // SAFETY: as above.
                4 => unsafe { tile_of::<4, $four>(format, panel, rows, out) },
                // SAFETY: as above.
                5 => unsafe { tile_of::<5, $four>(format, panel, rows, out) },
                // SAFETY: as above.
                6 => unsafe { tile_of::<6, $four>(format, panel, rows, out) },
                other => unreachable!("a tile of {other} rows"),
            }
        };
    }
    if format.four_bits { by_rows!(true) } else { by_rows!(false) }
}

/// # Safety
/// The CPU has the features.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile_of<const R: usize, const FOUR: bool>(
    format: Format,
    panel: &[u8],
    rows: QuantView<'_>,
    mut out: Outputs<'_>,
) {
    const { assert!(R <= TILE_ROWS) };
    let inputs = rows.inputs;
    let groups = inputs / GROUP;
    let header_bytes = format.header_bytes(inputs);
    let (code_bytes, block_bytes) = (format.code_bytes(), format.block_bytes());
    assert!(FOUR == format.four_bits && panel.len() >= header_bytes + groups * block_bytes);
    assert!(rows.codes.len() >= R * inputs && rows.scales.len() >= R * groups);
    assert!(rows.sums.len() >= R * groups * 2 && rows.scaled_sums.len() >= R * groups);
    let wide = format.offset == 128;
    let offset = if wide { 0 } else { i32::from(format.offset) };
    let flipped = vdupq_n_u8(if wide { 128 } else { 0 });
    let halves_differ = format.scales == Scales::Sixteens;
    let mut floats = [[vdupq_n_f32(0.0); REGISTERS]; R];
    // SAFETY: every offset below stays inside the slices by the assertions above: blocks are `groups` times
    // `block_bytes` after the header, headers hold an entry for every 8 groups, rows are `inputs` codes apart.
    unsafe {
        for group in 0..groups {
            let block = panel.as_ptr().add(header_bytes + group * block_bytes);
            let stored = group_scales(format.scales, panel.as_ptr(), block.add(code_bytes), group);
            let codes = rows.codes.as_ptr().add(group * GROUP).cast::<u8>();
            let row_scales = rows.scales.as_ptr().add(group);
            let sums = rows.sums.as_ptr().add(group * 2);
            for register in 0..REGISTERS {
                let mut totals = [vdupq_n_s32(0); R];
                for half in 0..2 {
                    let mut weights = [vdupq_n_u8(0); 4];
                    for (quad, weights) in weights.iter_mut().enumerate() {
                        let line = if FOUR { quad } else { half * 4 + quad };
                        *weights = load(block.add(line * PANEL * 4 + register * 16));
                        *weights = match (FOUR, half) {
                            (true, 0) => vandq_u8(*weights, vdupq_n_u8(15)),
                            (true, _) => vshrq_n_u8::<4>(*weights),
                            (false, _) => veorq_u8(*weights, flipped),
                        };
                    }
                    let [first, second, third, fourth] =
                        weights.map(|weights| vreinterpretq_s8_u8(weights));
                    for (row, total) in totals.iter_mut().enumerate() {
                        let codes = vreinterpretq_s8_u8(load(codes.add(row * inputs + half * 16)));
                        *total = dot::<0>(*total, first, codes);
                        *total = dot::<1>(*total, second, codes);
                        *total = dot::<2>(*total, third, codes);
                        *total = dot::<3>(*total, fourth, codes);
                    }
                    if half == 0 && !halves_differ {
                        continue;
                    }
                    for row in 0..R {
                        let sum = sums.add(row * groups * 2);
                        let sum = if halves_differ { *sum.add(half) } else { *sum + *sum.add(1) };
                        let total = vaddq_s32(totals[row], vdupq_n_s32(-offset * sum));
                        let scale = vdupq_n_f32(*row_scales.add(row * groups));
                        let scale = vmulq_f32(stored.scales[half][register], scale);
                        let float = &mut floats[row][register];
                        *float = vfmaq_f32(*float, vcvtq_f32_s32(total), scale);
                        totals[row] = vdupq_n_s32(0);
                    }
                }
                if let Some(mins) = &stored.mins {
                    for row in 0..R {
                        let sum = *rows.scaled_sums.as_ptr().add(row * groups + group);
                        let float = &mut floats[row][register];
                        *float = vfmaq_f32(*float, mins[register], vdupq_n_f32(sum));
                    }
                }
            }
        }
        for (row, floats) in floats.iter().enumerate() {
            let out = out.row(row);
            for (register, &float) in floats.iter().enumerate() {
                vst1q_f32(out[register * WIDTH..][..WIDTH].as_mut_ptr(), float);
            }
        }
    }
}

/// Scales and mins of a group, from its block's `stored` bytes and the header.
///
/// # Safety
/// The header has an entry for the group, the block is whole.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn group_scales(
    kind: Scales,
    header: *const u8,
    stored: *const u8,
    group: usize,
) -> GroupScales {
    let mut scales = [[vdupq_n_f32(0.0); REGISTERS]; 2];
    let mut mins = [vdupq_n_f32(0.0); REGISTERS];
    // SAFETY: the caller's promise.
    unsafe {
        for register in 0..REGISTERS {
            let at = register * WIDTH;
            match kind {
                Scales::Half | Scales::HalfMin => {
                    scales[0][register] = halves(stored.add(at * 2));
                    scales[1][register] = scales[0][register];
                    if kind == Scales::HalfMin {
                        mins[register] = halves(stored.add((PANEL + at) * 2));
                    }
                }
                Scales::Factored => {
                    let factors = header.add(group / 8 * PANEL * 4);
                    let factor = halves(factors.add(at * 2));
                    scales[0][register] = vmulq_f32(factor, bytes(stored.add(at)));
                    scales[1][register] = scales[0][register];
                    let factor = halves(factors.add((PANEL + at) * 2));
                    mins[register] = vmulq_f32(factor, bytes(stored.add(PANEL + at)));
                }
                Scales::Sixteens => {
                    let factor = halves(header.add(group / 8 * PANEL * 2 + at * 2));
                    for (half, scales) in scales.iter_mut().enumerate() {
                        let scale = signed_bytes(stored.add(half * PANEL + at));
                        scales[register] = vmulq_f32(factor, scale);
                    }
                }
            }
        }
    }
    let has_mins = matches!(kind, Scales::HalfMin | Scales::Factored);
    GroupScales { scales, mins: has_mins.then_some(mins) }
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

// Loads here are of the kinds that the dev profile does not check in front of every one: `vld1q_u8` and
// `read_unaligned` compare addresses there.

/// # Safety
/// 16 bytes can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(from: *const u8) -> uint8x16_t {
    // SAFETY: the caller's promise; a register is 16 bytes of any content.
    unsafe { transmute::<[u8; 16], uint8x16_t>(*from.cast::<[u8; 16]>()) }
}

/// # Safety
/// 8 bytes can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn halves(from: *const u8) -> float32x4_t {
    let floats: float32x4_t;
    // SAFETY: the caller's promise; `fcvtl` is of the architecture's first version and only writes its register.
    // `vcvt_f32_f16` is the same, but newer than the oldest compiler that we support.
    unsafe {
        asm!(
            "fcvtl {floats:v}.4s, {halves:v}.4h",
            floats = lateout(vreg) floats,
            halves = in(vreg) vcreate_u16(u64::from_le_bytes(*from.cast::<[u8; 8]>())),
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    floats
}

/// # Safety
/// 4 bytes can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn bytes(from: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    let four = unsafe { u32::from_le_bytes(*from.cast::<[u8; 4]>()) };
    vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(u64::from(four))))))
}

/// # Safety
/// 4 bytes can be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn signed_bytes(from: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    let four = unsafe { u32::from_le_bytes(*from.cast::<[u8; 4]>()) };
    vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(u64::from(four))))))
}
