//! Tiles for many rows, from prepared chunks.
//!
//! On some CPUs (Zen 4) a float multiplication takes the execution slot of a `vpdpbusd`. With very many rows, scales
//! are therefore not multiplied: an activation's scale is one of sixteen mantissas times a power of two, the weights'
//! scales times that mantissa are read from the chunk's variants, and `vscalefps` applies the power. Neither rounds
//! where the product would not, so the bits are the same.
//!
//! This is written in assembly, because compilers order the loop in a way that makes it a sixth slower
//! (instructions.rs). The registers:
//!
//! ```text
//! zmm0 .. 11    integer sums, two of a row        zmm24, 25   weight codes, or mins
//! zmm12 .. 23   the rows' floats                  zmm26 .. 29 activation codes, scales
//! zmm30         the lower four bits of every byte
//! ```

use std::arch::asm;
use std::arch::x86_64::{_mm512_set1_epi8, _mm512_setzero_ps};
use std::ops::Range;

use super::{load, store};
use crate::cpu::gemm::chunk::{Chunk, GroupScales, MANTISSAS, Numbers};
use crate::cpu::gemm::{Group, Work};
use crate::cpu::quantise::MANTISSA_BITS;
use crate::cpu::{GROUP, TILE_ROWS};

/// Adds a chunk's part to the outputs of a range of rows, a fixed number at a time.
type AddRows = unsafe fn(&Chunk<'_>, &GroupScales<'_>, &mut Work<'_, '_>, Range<usize>);

/// See [`crate::cpu::gemm::portable::add`].
pub(in crate::cpu::gemm) fn add(
    chunk: &Chunk<'_>,
    scales: &GroupScales<'_>,
    mut work: Work<'_, '_>,
) {
    let has_mins = !scales.mins.is_empty();
    let by_rows = match (scales.variants.is_empty(), has_mins, chunk.are_nibbles) {
        (true, false, false) => &PLAIN,
        (true, false, true) => &NIBBLES,
        (true, true, false) => &WITH_MINS,
        (true, true, true) => &NIBBLES_WITH_MINS,
        (false, false, false) => &PLAIN_BY_VARIANT,
        (false, true, false) => &WITH_MINS_BY_VARIANT,
        (false, true, true) => &NIBBLES_WITH_MINS_BY_VARIANT,
        (false, false, true) => unreachable!("with variants and without mins nibbles are bytes"),
    };
    for (at_once, rows) in equal_tiles(work.rows.count, TILE_ROWS) {
        // SAFETY: the level was detected, and the work was checked.
        unsafe { by_rows[at_once - 1](chunk, scales, &mut work, rows) };
    }
}

/// Splits rows into tiles that are as equal as possible (8 become 4 + 4): the number of rows at a time, and the rows.
pub(super) fn equal_tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let tiles = rows.div_ceil(most);
    let (fewer, larger_tiles) = (rows / tiles, rows % tiles);
    let larger = larger_tiles * (fewer + 1);
    let both = [(fewer + 1, 0..larger), (fewer, larger..rows)];
    both.into_iter().filter(|(_, rows)| !rows.is_empty())
}

/// A function for this many rows at a time.
macro_rules! add_rows {
    ($rows:tt, $codes:tt, $scale:ident, $kind:tt) => {{
        /// # Safety
        /// The CPU must support the features, and the work must be checked.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn add_rows(
            chunk: &Chunk<'_>,
            scales: &GroupScales<'_>,
            work: &mut Work<'_, '_>,
            range: Range<usize>,
        ) {
            let inputs = work.rows.inputs;
            let group_stride = inputs / GROUP * size_of::<Group>();
            let (all_scales, scales_size) = if scales.variants.is_empty() {
                (scales.scales.as_ptr().cast::<u8>(), size_of::<Numbers>())
            } else {
                (scales.variants.as_ptr().cast::<u8>(), size_of::<[Numbers; MANTISSAS]>())
            };
            for first in range.step_by($rows) {
                let rows = work.rows.rows(first, $rows);
                let mut floats = [[_mm512_setzero_ps(); 2]; TILE_ROWS];
                if chunk.groups.start > 0 {
                    for row in 0..$rows {
                        floats[row] = load(work.out.row(first + row));
                    }
                }
                let [[mut a, mut b], [mut c, mut d], [mut e, mut f], ..] = floats;
                let [.., [mut g, mut h], [mut i, mut j], [mut k, mut l]] = floats;
                for (index, group) in chunk.groups.clone().enumerate() {
                    work.prefetch.step();
                    // Types with mins have no offset.
                    let last = match scales.mins.get(index) {
                        Some(mins) => mins.as_ptr().addr().cast_signed(),
                        None => -(chunk.offset as isize),
                    };
                    // SAFETY: the caller's promise. The instructions read only what is named here (the weights' 1,024
                    // bytes, 32 codes and a `Group` of each row, scales or variants, and a min of 32 floats), and write
                    // only registers that are declared as outputs.
                    unsafe {
                        asm!(
                            instructions!($rows, $codes, $scale, $kind),
                            // Strides that are unused with few rows.
                            "/* {codes_stride} {three_codes} {five_codes} */",
                            "/* {group_stride} {three_groups} {five_groups} */",
                            // Needed for only one of the ways to scale, or only for types with an offset.
                            "/* {temporary} {below_mantissa} {last_mantissa} */",
                            weights = in(reg) chunk.codes.as_ptr().add(index * chunk.stride),
                            // Only prefetched; after the last group it may be past the panel.
                            next = in(reg) chunk.codes.as_ptr().wrapping_add((index + 1) * chunk.stride),
                            codes = in(reg) rows.codes.as_ptr().add(group * GROUP),
                            codes_stride = in(reg) inputs,
                            three_codes = in(reg) 3 * inputs,
                            five_codes = in(reg) 5 * inputs,
                            group = in(reg) rows.groups.as_ptr().add(group),
                            group_stride = in(reg) group_stride,
                            three_groups = in(reg) 3 * group_stride,
                            five_groups = in(reg) 5 * group_stride,
                            scales = in(reg) all_scales.add(index * scales_size),
                            last = in(reg) last,
                            temporary = out(reg) _,
                            below_mantissa = const 23 - MANTISSA_BITS,
                            last_mantissa = const MANTISSAS - 1,
                            inout("zmm12") a, inout("zmm13") b, inout("zmm14") c,
                            inout("zmm15") d, inout("zmm16") e, inout("zmm17") f,
                            inout("zmm18") g, inout("zmm19") h, inout("zmm20") i,
                            inout("zmm21") j, inout("zmm22") k, inout("zmm23") l,
                            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                            out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                            out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                            out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
                            out("zmm28") _, out("zmm29") _, in("zmm30") _mm512_set1_epi8(15),
                            options(nostack, readonly),
                        );
                    }
                }
                let floats = [[a, b], [c, d], [e, f], [g, h], [i, j], [k, l]];
                for row in 0..$rows {
                    store(&floats[row], work.out.row(first + row));
                }
            }
        }
        add_rows
    }};
}

/// Functions for one to six rows.
type ByRows = [AddRows; TILE_ROWS];

macro_rules! by_rows {
    ($codes:tt, $scale:ident, $kind:tt) => {
        [
            add_rows!(1, $codes, $scale, $kind),
            add_rows!(2, $codes, $scale, $kind),
            add_rows!(3, $codes, $scale, $kind),
            add_rows!(4, $codes, $scale, $kind),
            add_rows!(5, $codes, $scale, $kind),
            add_rows!(6, $codes, $scale, $kind),
        ]
    };
}

static PLAIN: ByRows = by_rows!(bytes, by_product, plain);
static NIBBLES: ByRows = by_rows!(nibbles, by_product, plain);
static WITH_MINS: ByRows = by_rows!(bytes, by_product, with_mins);
static NIBBLES_WITH_MINS: ByRows = by_rows!(nibbles, by_product, with_mins);
static PLAIN_BY_VARIANT: ByRows = by_rows!(bytes, by_variant, plain);
static WITH_MINS_BY_VARIANT: ByRows = by_rows!(bytes, by_variant, with_mins);
static NIBBLES_WITH_MINS_BY_VARIANT: ByRows = by_rows!(nibbles, by_variant, with_mins);
