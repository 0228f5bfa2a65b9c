//! The integer tile with AVX-512 VNNI: `vpdpbusd` multiplies 64 weight codes (unsigned) with broadcast activation
//! codes (signed) and adds groups of four exactly.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch,
    _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::{Outputs, QuantView};
use crate::kernels::fetch::CACHE_LINE;
use crate::kernels::packed::{Format, Scales};
use crate::kernels::{GROUP, PANEL, TILE_ROWS};

/// Values of the const parameter `KIND`, one for each [`Scales`].
const HALF: u8 = 0;
const HALF_MIN: u8 = 1;
const FACTORED: u8 = 2;
const SIXTEENS: u8 = 3;

/// See [`super::tile`].
pub(super) fn tile(
    format: Format,
    panel: &[u8],
    rows: QuantView<'_>,
    out: Outputs<'_>,
    next: &[u8],
) {
    macro_rules! by_rows {
        ($four:literal, $kind:ident) => {
            match rows.codes.len() / rows.inputs {
                // SAFETY: the level was detected, and the slices have the lengths checked in `tile_of`.
                1 => unsafe { tile_of::<1, $four, $kind>(format, panel, rows, out, next) },
                // SAFETY: as above, also below.
                2 => unsafe { tile_of::<2, $four, $kind>(format, panel, rows, out, next) },
                // SAFETY: as above.
                3 => unsafe { tile_of::<3, $four, $kind>(format, panel, rows, out, next) },
                // SAFETY: as above.
                4 => unsafe { tile_of::<4, $four, $kind>(format, panel, rows, out, next) },
                // SAFETY: as above.
                5 => unsafe { tile_of::<5, $four, $kind>(format, panel, rows, out, next) },
                // SAFETY: as above.
                6 => unsafe { tile_of::<6, $four, $kind>(format, panel, rows, out, next) },
                other => unreachable!("a tile of {other} rows"),
            }
        };
    }
    match (format.four_bits, format.scales) {
        (false, Scales::Half) => by_rows!(false, HALF),
        (false, Scales::HalfMin) => by_rows!(false, HALF_MIN),
        (false, Scales::Factored) => by_rows!(false, FACTORED),
        (false, Scales::Sixteens) => by_rows!(false, SIXTEENS),
        (true, Scales::Half) => by_rows!(true, HALF),
        (true, Scales::HalfMin) => by_rows!(true, HALF_MIN),
        (true, Scales::Factored) => by_rows!(true, FACTORED),
        (true, Scales::Sixteens) => by_rows!(true, SIXTEENS),
    }
}

/// # Safety
/// The CPU has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn tile_of<const R: usize, const FOUR: bool, const KIND: u8>(
    format: Format,
    panel: &[u8],
    rows: QuantView<'_>,
    mut out: Outputs<'_>,
    next: &[u8],
) {
    const { assert!(R <= TILE_ROWS) };
    let inputs = rows.inputs;
    let groups = inputs / GROUP;
    let code_bytes = GROUP * PANEL / if FOUR { 2 } else { 1 };
    let block_bytes = code_bytes + if KIND == HALF_MIN { PANEL * 4 } else { PANEL * 2 };
    let header_bytes = format.header_bytes(inputs);
    assert!(panel.len() >= header_bytes + groups * block_bytes);
    assert!(rows.codes.len() >= R * inputs && rows.scales.len() >= R * groups);
    assert!(rows.sums.len() >= R * groups * 2 && rows.scaled_sums.len() >= R * groups);
    let start = i32::from(format.offset);
    let low_bits = _mm512_set1_epi8(15);
    let mut floats = [[_mm512_setzero_ps(); 2]; R];
    let lines_a_group = next.len().div_ceil(CACHE_LINE).div_ceil(groups);
    let mut ahead = next.chunks(CACHE_LINE);
    // SAFETY: every offset below stays inside the slices by the assertions above: blocks are `groups` times
    // `block_bytes` after the header, headers hold an entry for every 8 groups, rows are `inputs` codes apart.
    unsafe {
        let mut factors = [_mm512_setzero_ps(); 2];
        let mut min_factors = [_mm512_setzero_ps(); 2];
        for group in 0..groups {
            let at = header_bytes + group * block_bytes;
            let block = panel.as_ptr().add(at);
            for line in ahead.by_ref().take(lines_a_group) {
                _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
            }
            let codes = rows.codes.as_ptr().add(group * GROUP);
            let sums = rows.sums.as_ptr().add(group * 2);
            if KIND == FACTORED && group % 8 == 0 {
                let header = panel.as_ptr().add(group / 8 * PANEL * 4);
                factors = [halves(header), halves(header.add(32))];
                min_factors = [halves(header.add(64)), halves(header.add(96))];
            }
            // Read where they are wanted: here, registers are scarcer.
            let sixteens = panel.as_ptr().add(group / 8 * PANEL * 2);
            let stored = block.add(code_bytes);
            let mut integers = [[_mm512_set1_epi32(0); 2]; R];
            for (row, integers) in integers.iter_mut().enumerate() {
                let sum = sums.add(row * groups * 2);
                let sum = if KIND == SIXTEENS { *sum } else { *sum + *sum.add(1) };
                *integers = [_mm512_set1_epi32(-start * sum); 2];
            }
            for quad in 0..8 {
                let weights = if FOUR {
                    let packed = block.add(quad % 4 * 128);
                    let pair = [load(packed), load(packed.add(64))];
                    let pair = if quad < 4 {
                        pair
                    } else {
                        [_mm512_srli_epi16::<4>(pair[0]), _mm512_srli_epi16::<4>(pair[1])]
                    };
                    [_mm512_and_si512(pair[0], low_bits), _mm512_and_si512(pair[1], low_bits)]
                } else {
                    [load(block.add(quad * 128)), load(block.add(quad * 128 + 64))]
                };
                for (row, integers) in integers.iter_mut().enumerate() {
                    let four = codes.add(row * inputs + quad * 4).cast::<i32>().read_unaligned();
                    let four = _mm512_set1_epi32(four);
                    integers[0] = _mm512_dpbusd_epi32(integers[0], weights[0], four);
                    integers[1] = _mm512_dpbusd_epi32(integers[1], weights[1], four);
                }
                if KIND == SIXTEENS && quad == 3 {
                    let scales = [
                        _mm512_mul_ps(halves(sixteens), signed_bytes(stored)),
                        _mm512_mul_ps(halves(sixteens.add(32)), signed_bytes(stored.add(16))),
                    ];
                    for row in 0..R {
                        let scale = *rows.scales.get_unchecked(row * groups + group);
                        add(&mut floats[row], integers[row], scales, scale);
                        let sum = *sums.add(row * groups * 2 + 1);
                        integers[row] = [_mm512_set1_epi32(-start * sum); 2];
                    }
                }
            }
            let scales: [__m512; 2] = match KIND {
                HALF | HALF_MIN => [halves(stored), halves(stored.add(32))],
                FACTORED => [
                    _mm512_mul_ps(factors[0], bytes(stored)),
                    _mm512_mul_ps(factors[1], bytes(stored.add(16))),
                ],
                _ => [
                    _mm512_mul_ps(halves(sixteens), signed_bytes(stored.add(32))),
                    _mm512_mul_ps(halves(sixteens.add(32)), signed_bytes(stored.add(48))),
                ],
            };
            for row in 0..R {
                let scale = *rows.scales.get_unchecked(row * groups + group);
                add(&mut floats[row], integers[row], scales, scale);
            }
            if KIND == HALF_MIN || KIND == FACTORED {
                let mins = if KIND == HALF_MIN {
                    [halves(stored.add(64)), halves(stored.add(96))]
                } else {
                    [
                        _mm512_mul_ps(min_factors[0], bytes(stored.add(32))),
                        _mm512_mul_ps(min_factors[1], bytes(stored.add(48))),
                    ]
                };
                for (row, floats) in floats.iter_mut().enumerate() {
                    let sum = *rows.scaled_sums.get_unchecked(row * groups + group);
                    let sum = _mm512_set1_ps(sum);
                    floats[0] = _mm512_fmadd_ps(mins[0], sum, floats[0]);
                    floats[1] = _mm512_fmadd_ps(mins[1], sum, floats[1]);
                }
            }
        }
        for (row, floats) in floats.iter().enumerate() {
            let out = out.row(row);
            _mm512_storeu_ps(out.as_mut_ptr(), floats[0]);
            _mm512_storeu_ps(out.as_mut_ptr().add(16), floats[1]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
fn add(floats: &mut [__m512; 2], integers: [__m512i; 2], scales: [__m512; 2], scale: f32) {
    let scale = _mm512_set1_ps(scale);
    for half in 0..2 {
        let product = _mm512_cvtepi32_ps(integers[half]);
        floats[half] = _mm512_fmadd_ps(product, _mm512_mul_ps(scales[half], scale), floats[half]);
    }
}

/// # Safety
/// 64 bytes can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn load(from: *const u8) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_loadu_si512(from.cast()) }
}

/// # Safety
/// 32 bytes can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn halves(from: *const u8) -> __m512 {
    // SAFETY: the caller's promise.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from.cast::<__m256i>()) })
}

/// # Safety
/// 16 bytes can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn bytes(from: *const u8) -> __m512 {
    // SAFETY: the caller's promise.
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(from.cast::<__m128i>()) }))
}

/// # Safety
/// 16 bytes can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn signed_bytes(from: *const u8) -> __m512 {
    // SAFETY: the caller's promise.
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(from.cast::<__m128i>()) }))
}
