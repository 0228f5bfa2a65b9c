//! Tiles of superblocks for few rows, directly from the panel.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_mask_blend_epi16, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_sllv_epi32, _mm512_srav_epi32,
};

use super::{Factors, GROUP_PAIRS};
use crate::cpu::gemm::Work;
use crate::cpu::gemm::avx512::blocks::{code, pairs, scaled};
use crate::cpu::gemm::superblock::{GROUPS, STEP, SUM_STEP};
use crate::cpu::packed::{Format, Scales};
use crate::cpu::{GROUP, PANEL, TILE_ROWS};

/// The upper 16 bits of every 32.
const UPPER_HALVES: u32 = 0xAAAA_AAAA;
/// Registers for the codes of half a group, each for 16 outputs.
const HALF_GROUP: usize = 8;

/// Computes the outputs of all rows.
pub(in crate::cpu::gemm::avx512) fn gemv(format: Format, panel: &[u8], mut work: Work<'_, '_>) {
    for rows in work.tiles() {
        // SAFETY: the level was detected, and `tile` checks the slices' lengths.
        unsafe {
            with_rows!(rows.len(), |R| tile::<R>(format, panel, &mut work, rows.start));
        }
    }
}

/// # Safety
/// The CPU must support the features.
unsafe fn tile<const R: usize>(
    format: Format,
    panel: &[u8],
    work: &mut Work<'_, '_>,
    first_row: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (format.scales, format.bits) {
            (Scales::Factored, 4) => compute::<R, 0, false>(format, panel, work, first_row),
            (Scales::Factored, 5) => compute::<R, 1, false>(format, panel, work, first_row),
            (Scales::Sixteens, 6) => compute::<R, 2, true>(format, panel, work, first_row),
            other => unreachable!("no weight type has {other:?}"),
        }
    }
}

/// Codes have `UPPER` bits besides the lower four; if parts are `HALVES` of groups, there are no mins.
///
/// # Safety
/// The CPU must support the features.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn compute<const R: usize, const UPPER: usize, const HALVES: bool>(
    format: Format,
    panel: &[u8],
    work: &mut Work<'_, '_>,
    first_row: usize,
) {
    const { assert!(R <= TILE_ROWS) };
    let rows = work.rows.rows(first_row, R);
    let (inputs, block_bytes) = (rows.inputs, format.block_bytes());
    assert!(usize::from(format.bits) == 4 + UPPER && panel.len() >= format.panel_bytes(inputs));
    assert!(rows.codes.len() >= R * inputs);
    let (header, blocks) = panel.split_at(format.header_bytes(inputs));
    let headers = header.chunks_exact(format.header_bytes(GROUPS * GROUP));
    let superblocks = headers.zip(blocks.chunks_exact(GROUPS * block_bytes));
    let zero = _mm512_setzero_si512();
    let pairs_of_parts = if HALVES { GROUPS } else { GROUP_PAIRS };
    for (index, (header, blocks)) in superblocks.enumerate() {
        let mut integers = [[zero; 2]; R];
        let mut mins = [[zero; 2]; GROUP_PAIRS];
        #[allow(clippy::needless_range_loop)] // Only some pairs have mins.
        for pair in 0..pairs_of_parts {
            let mut firsts = [[zero; 2]; R];
            let mut scales = [zero; 2];
            for part in 0..2 {
                let group = if HALVES { pair } else { pair * 2 + part };
                if part == 0 || !HALVES {
                    work.prefetch.step();
                }
                let block = &blocks[group * block_bytes..][..block_bytes];
                let stored = &block[format.code_bytes()..];
                match (HALVES, part) {
                    (_, 0) => scales = pairs::<HALVES>(stored),
                    (false, _) => mins[pair] = pairs::<false>(stored),
                    (true, _) => {}
                }
                let facts = |row: usize| {
                    let block = rows.superblock(row, index);
                    if HALVES { block.halves[pair] } else { block.groups[pair] }
                };
                let mut sums: [_; R] =
                    std::array::from_fn(|row| [_mm512_set1_epi32(facts(row).starts[part]); 2]);
                // SAFETY: rows are `inputs` codes apart, and a block has the registers.
                unsafe {
                    let codes = rows.codes.as_ptr().add((index * GROUPS + group) * GROUP);
                    if HALVES && part == 1 {
                        let (block, codes) = (block.as_ptr(), codes.add(GROUP / 2));
                        multiply_half::<R, UPPER, 1>(&mut sums, block, codes, inputs);
                    } else {
                        multiply_half::<R, UPPER, 0>(&mut sums, block.as_ptr(), codes, inputs);
                    }
                    if !HALVES {
                        let (block, codes) = (block.as_ptr(), codes.add(GROUP / 2));
                        multiply_half::<R, UPPER, 1>(&mut sums, block, codes, inputs);
                    }
                }
                for row in 0..R {
                    for half in 0..2 {
                        if part == 0 {
                            let right = _mm512_set1_epi32(facts(row).right.cast_signed());
                            firsts[row][half] = _mm512_srav_epi32(sums[row][half], right);
                        } else {
                            let left = _mm512_set1_epi32(facts(row).left.cast_signed());
                            let upper = _mm512_sllv_epi32(sums[row][half], left);
                            let both =
                                _mm512_mask_blend_epi16(UPPER_HALVES, firsts[row][half], upper);
                            let to = &mut integers[row][half];
                            *to = _mm512_dpwssd_epi32(*to, both, scales[half]);
                        }
                    }
                }
            }
        }
        let min_factors = if HALVES { None } else { Some(scaled(&header[PANEL * 2..], SUM_STEP)) };
        let factors = Factors {
            factors: scaled(header, STEP),
            mins: min_factors.map(|factors| (&mins, factors)),
        };
        for (row, &integers) in integers.iter().enumerate() {
            let block = rows.superblock(row, index);
            factors.add(integers, block, index == 0, work.out.row(first_row + row));
        }
    }
}

/// Adds the products of half a group's inputs.
///
/// # Safety
/// A block must be readable, and half a group's codes of every row, `stride` apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn multiply_half<const R: usize, const UPPER: usize, const HALF: usize>(
    sums: &mut [[__m512i; 2]; R],
    block: *const u8,
    codes: *const i8,
    stride: usize,
) {
    for quad in 0..4 {
        // SAFETY: the caller's promise.
        unsafe {
            let register = HALF * HALF_GROUP + quad * 2;
            let weights = [code::<UPPER>(block, register), code::<UPPER>(block, register + 1)];
            for (row, sums) in sums.iter_mut().enumerate() {
                let four = codes.add(row * stride + quad * 4);
                let four = _mm512_set1_epi32(four.cast::<i32>().read_unaligned());
                sums[0] = _mm512_dpbusd_epi32(sums[0], weights[0], four);
                sums[1] = _mm512_dpbusd_epi32(sums[1], weights[1], four);
            }
        }
    }
}
