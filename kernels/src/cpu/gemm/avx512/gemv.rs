//! Tiles for few rows, directly from the panel: unpacked weights are not stored anywhere.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_si512,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
};

use super::blocks::{code, halves};
use super::{store, superblocks};
use crate::cpu::gemm::Work;
use crate::cpu::packed::{Format, Scales};
use crate::cpu::{GROUP, PANEL, TILE_ROWS};

/// Computes the outputs of all rows.
pub(in crate::cpu::gemm) fn gemv(format: Format, panel: &[u8], work: Work<'_, '_>) {
    match (format.scales, format.bits) {
        (Scales::Half, 4) => by_rows::<4, false>(format, panel, work),
        (Scales::Half, 5) => by_rows::<5, false>(format, panel, work),
        (Scales::Half, 8) => by_rows::<8, false>(format, panel, work),
        (Scales::HalfMin, 4) => by_rows::<4, true>(format, panel, work),
        (Scales::HalfMin, 5) => by_rows::<5, true>(format, panel, work),
        (Scales::Factored | Scales::Sixteens, _) => superblocks::gemv(format, panel, work),
        other => unreachable!("no weight type has {other:?}"),
    }
}

fn by_rows<const BITS: u8, const MINS: bool>(format: Format, panel: &[u8], mut work: Work<'_, '_>) {
    for rows in work.tiles() {
        // SAFETY: the level was detected, and `compute` checks the slices' lengths.
        unsafe {
            with_rows!(rows.len(), |R| compute::<R, BITS, MINS>(
                format, panel, &mut work, rows.start
            ));
        }
    }
}

/// # Safety
/// The CPU must support the features.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn compute<const R: usize, const BITS: u8, const MINS: bool>(
    format: Format,
    panel: &[u8],
    work: &mut Work<'_, '_>,
    first_row: usize,
) {
    const { assert!(R <= TILE_ROWS) };
    let rows = work.rows.rows(first_row, R);
    let (inputs, groups) = (rows.inputs, rows.inputs / GROUP);
    assert!(format.bits == BITS && panel.len() >= format.panel_bytes(inputs));
    assert!(rows.codes.len() >= R * inputs && rows.groups.len() >= R * groups);
    let start = i32::from(format.offset);
    let mut floats = [[_mm512_setzero_ps(); 2]; R];
    for (group, block) in panel.chunks_exact(format.block_bytes()).take(groups).enumerate() {
        work.prefetch.step();
        let stored = &block[format.code_bytes()..];
        // SAFETY: every offset below stays inside the slices by the assertions above: rows are `inputs` codes and
        // `groups` groups apart.
        unsafe {
            let facts = |row: usize| rows.groups.get_unchecked(row * groups + group);
            let codes = rows.codes.as_ptr().add(group * GROUP);
            let mut integers = [[_mm512_set1_epi32(0); 2]; R];
            for (row, integers) in integers.iter_mut().enumerate() {
                let [low, high] = facts(row).sums;
                *integers = [_mm512_set1_epi32(-start * (low + high)); 2];
            }
            for quad in 0..8 {
                let weights = [0, 1].map(|half| {
                    let (block, register) = (block.as_ptr(), quad * 2 + half);
                    match BITS {
                        4 => code::<0>(block, register),
                        5 => code::<1>(block, register),
                        _ => _mm512_loadu_si512(block.add(register * 64).cast()),
                    }
                });
                for (row, integers) in integers.iter_mut().enumerate() {
                    let four = codes.add(row * inputs + quad * 4);
                    let four = _mm512_set1_epi32(four.cast::<i32>().read_unaligned());
                    integers[0] = _mm512_dpbusd_epi32(integers[0], weights[0], four);
                    integers[1] = _mm512_dpbusd_epi32(integers[1], weights[1], four);
                }
            }
            let scales = halves(stored);
            for row in 0..R {
                add(&mut floats[row], integers[row], scales, facts(row).scale);
            }
            if MINS {
                let mins = halves(&stored[PANEL * 2..]);
                for (row, floats) in floats.iter_mut().enumerate() {
                    let sum = _mm512_set1_ps(facts(row).scaled_sum);
                    floats[0] = _mm512_fmadd_ps(mins[0], sum, floats[0]);
                    floats[1] = _mm512_fmadd_ps(mins[1], sum, floats[1]);
                }
            }
        }
    }
    for (row, floats) in floats.iter().enumerate() {
        store(floats, work.out.row(first_row + row));
    }
}

#[inline]
#[target_feature(enable = "avx512f,fma")]
fn add(floats: &mut [__m512; 2], integers: [__m512i; 2], scales: [__m512; 2], scale: f32) {
    let scale = _mm512_set1_ps(scale);
    for half in 0..2 {
        let product = _mm512_cvtepi32_ps(integers[half]);
        floats[half] = _mm512_fmadd_ps(product, _mm512_mul_ps(scales[half], scale), floats[half]);
    }
}
