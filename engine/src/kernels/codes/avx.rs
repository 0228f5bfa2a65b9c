//! The integer tile on registers of 32 bytes, for each of their ways to multiply bytes.
//!
//! ```text
//! avx2.rs      vpmaddubsw
//! avx_vnni.rs  vpdpbusd, in both encodings
//! ```
//!
//! A register holds the codes of 8 outputs and 4 inputs. All functions here are inlined into their callers, which
//! bring the instructions.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _MM_HINT_T1, _mm_cvtsi64_si128, _mm_lddqu_si128, _mm_prefetch,
    _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_lddqu_si256, _mm256_mul_ps,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_srli_epi16, _mm256_storeu_ps,
};

use super::{Outputs, QuantView};
use crate::kernels::packed::{Format, Scales};
use crate::kernels::{GROUP, PANEL, TILE_ROWS};

/// Outputs of a register.
const WIDTH: usize = 8;
/// Registers of a panel.
const REGISTERS: usize = PANEL / WIDTH;
/// Quads of inputs in half a group.
const QUADS: usize = 4;
/// Bytes that are fetched at once.
const CACHE_LINE: usize = 64;

/// A way to multiply weight codes with activation codes.
pub(super) trait Dot {
    /// Whether a weight code `c` counts as `c - 128`; otherwise as it is.
    const SIGNED: bool;
    /// Quads after which running sums must be flushed: 1, 2 or 4.
    const RUN: usize;

    /// Adds the products of 32 weight codes with 32 activation codes to running sums.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add(running: __m256i, weights: __m256i, codes: __m256i) -> __m256i;

    /// Adds running sums to 8 totals of 32 bits.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn flush(total: __m256i, running: __m256i) -> __m256i;
}

/// What a group's 32 outputs share among rows.
struct GroupScales {
    /// Of both halves of the group.
    scales: [[__m256; REGISTERS]; 2],
    mins: Option<[__m256; REGISTERS]>,
}

/// See [`super::tile`]. `FOUR`: codes are nibbles.
///
/// # Safety
/// The CPU has AVX2, FMA, F16C and the instructions of `D`, and the caller is compiled for them.
#[inline(always)]
pub(super) unsafe fn tile<D: Dot, const FOUR: bool>(
    format: Format,
    panel: &[u8],
    rows: QuantView<'_>,
    out: Outputs<'_>,
    next: &[u8],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows.codes.len() / rows.inputs {
            1 => tile_of::<D, 1, FOUR>(format, panel, rows, out, next),
            2 => tile_of::<D, 2, FOUR>(format, panel, rows, out, next),
            3 => tile_of::<D, 3, FOUR>(format, panel, rows, out, next),
            4 => tile_of::<D, 4, FOUR>(format, panel, rows, out, next),
            5 => tile_of::<D, 5, FOUR>(format, panel, rows, out, next),
            6 => tile_of::<D, 6, FOUR>(format, panel, rows, out, next),
            other => unreachable!("a tile of {other} rows"),
        }
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn tile_of<D: Dot, const R: usize, const FOUR: bool>(
    format: Format,
    panel: &[u8],
    rows: QuantView<'_>,
    mut out: Outputs<'_>,
    next: &[u8],
) {
    const { assert!(R <= TILE_ROWS && QUADS.is_multiple_of(D::RUN)) };
    let inputs = rows.inputs;
    let groups = inputs / GROUP;
    let header_bytes = format.header_bytes(inputs);
    let (code_bytes, block_bytes) = (format.code_bytes(), format.block_bytes());
    assert!(FOUR == format.four_bits && panel.len() >= header_bytes + groups * block_bytes);
    assert!(rows.codes.len() >= R * inputs && rows.scales.len() >= R * groups);
    assert!(rows.sums.len() >= R * groups * 2 && rows.scaled_sums.len() >= R * groups);
    let offset = if D::SIGNED { 0 } else { i32::from(format.offset) };
    let halves_differ = format.scales == Scales::Sixteens;
    let lines_a_group = next.len().div_ceil(CACHE_LINE).div_ceil(groups);
    let mut ahead = next.chunks(CACHE_LINE);
    // SAFETY: every offset below stays inside the slices by the assertions above: blocks are `groups` times
    // `block_bytes` after the header, headers hold an entry for every 8 groups, rows are `inputs` codes apart.
    unsafe {
        let low_bits = _mm256_set1_epi8(15);
        let mut floats = [[_mm256_setzero_ps(); REGISTERS]; R];
        for group in 0..groups {
            for line in ahead.by_ref().take(lines_a_group) {
                _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
            }
            let block = panel.as_ptr().add(header_bytes + group * block_bytes);
            let stored = group_scales(format.scales, panel.as_ptr(), block.add(code_bytes), group);
            let codes = rows.codes.as_ptr().add(group * GROUP);
            let mut scales = [0.0; R];
            let mut offsets = [[0; 2]; R];
            let mut min_sums = [0.0; R];
            for row in 0..R {
                scales[row] = *rows.scales.as_ptr().add(row * groups + group);
                let sums = *rows.sums.as_ptr().add((row * groups + group) * 2).cast::<[i32; 2]>();
                let whole = sums[0] + sums[1];
                offsets[row] =
                    if halves_differ { sums } else { [whole; 2] }.map(|sum| -offset * sum);
                min_sums[row] = *rows.scaled_sums.get_unchecked(row * groups + group);
            }
            for register in 0..REGISTERS {
                let mut totals = [_mm256_setzero_si256(); R];
                #[expect(
                    clippy::needless_range_loop,
                    reason = "the half is a place in the codes, too"
                )]
                for half in 0..2 {
                    let mut running = [_mm256_setzero_si256(); R];
                    for quad in 0..QUADS {
                        let line = if FOUR { quad } else { half * QUADS + quad };
                        let mut weights = load(block.add(line * PANEL * 4 + register * 32));
                        if FOUR {
                            if half == 1 {
                                weights = _mm256_srli_epi16::<4>(weights);
                            }
                            weights = _mm256_and_si256(weights, low_bits);
                        }
                        for (row, running) in running.iter_mut().enumerate() {
                            let four = codes.add(row * inputs + half * 16 + quad * 4);
                            let four = i32::from_le_bytes(*four.cast::<[u8; 4]>());
                            let four = _mm256_set1_epi32(four);
                            *running = D::add(*running, weights, four);
                        }
                        if (quad + 1).is_multiple_of(D::RUN) {
                            for (total, running) in totals.iter_mut().zip(&mut running) {
                                *total = D::flush(*total, *running);
                                *running = _mm256_setzero_si256();
                            }
                        }
                    }
                    if half == 0 && !halves_differ {
                        continue;
                    }
                    for row in 0..R {
                        let offset = _mm256_set1_epi32(offsets[row][half]);
                        let total = _mm256_add_epi32(totals[row], offset);
                        let scale = _mm256_set1_ps(scales[row]);
                        let scale = _mm256_mul_ps(stored.scales[half][register], scale);
                        let float = &mut floats[row][register];
                        *float = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total), scale, *float);
                        totals[row] = _mm256_setzero_si256();
                    }
                }
                if let Some(mins) = &stored.mins {
                    for (row, floats) in floats.iter_mut().enumerate() {
                        let float = &mut floats[register];
                        let sum = _mm256_set1_ps(min_sums[row]);
                        *float = _mm256_fmadd_ps(mins[register], sum, *float);
                    }
                }
            }
        }
        for (row, floats) in floats.iter().enumerate() {
            let out = out.row(row);
            for (register, &float) in floats.iter().enumerate() {
                _mm256_storeu_ps(out[register * WIDTH..][..WIDTH].as_mut_ptr(), float);
            }
        }
    }
}

/// Scales and mins of a group, from its block's `stored` bytes and the header.
///
/// # Safety
/// As [`tile`]; the header has an entry for the group, the block is whole.
#[inline(always)]
unsafe fn group_scales(
    kind: Scales,
    header: *const u8,
    stored: *const u8,
    group: usize,
) -> GroupScales {
    // SAFETY: the caller's promise.
    unsafe {
        let mut scales = [[_mm256_setzero_ps(); REGISTERS]; 2];
        let mut mins = [_mm256_setzero_ps(); REGISTERS];
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
                    scales[0][register] = _mm256_mul_ps(factor, bytes(stored.add(at)));
                    scales[1][register] = scales[0][register];
                    let factor = halves(factors.add((PANEL + at) * 2));
                    mins[register] = _mm256_mul_ps(factor, bytes(stored.add(PANEL + at)));
                }
                Scales::Sixteens => {
                    let factor = halves(header.add(group / 8 * PANEL * 2 + at * 2));
                    for (half, scales) in scales.iter_mut().enumerate() {
                        let scale = signed_bytes(stored.add(half * PANEL + at));
                        scales[register] = _mm256_mul_ps(factor, scale);
                    }
                }
            }
        }
        let has_mins = matches!(kind, Scales::HalfMin | Scales::Factored);
        GroupScales { scales, mins: has_mins.then_some(mins) }
    }
}

// Loads here are of the kinds that the dev profile does not check in front of every one: `loadu` and `read_unaligned`
// compare addresses there, which takes longer than the arithmetic.

/// # Safety
/// 32 bytes can be read; instructions as [`tile`].
#[inline(always)]
unsafe fn load(from: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_lddqu_si256(from.cast::<__m256i>()) }
}

/// # Safety
/// 16 bytes can be read; instructions as [`tile`].
#[inline(always)]
unsafe fn halves(from: *const u8) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_cvtph_ps(_mm_lddqu_si128(from.cast::<__m128i>())) }
}

/// # Safety
/// 8 bytes can be read; instructions as [`tile`].
#[inline(always)]
unsafe fn bytes(from: *const u8) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight(from))) }
}

/// # Safety
/// 8 bytes can be read; instructions as [`tile`].
#[inline(always)]
unsafe fn signed_bytes(from: *const u8) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight(from))) }
}

/// # Safety
/// 8 bytes can be read; instructions as [`tile`].
#[inline(always)]
unsafe fn eight(from: *const u8) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe { _mm_cvtsi64_si128(i64::from_le_bytes(*from.cast::<[u8; 8]>())) }
}
