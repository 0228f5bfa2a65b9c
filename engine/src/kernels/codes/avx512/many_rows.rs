//! Tiles for many rows, from chunks made ready.
//!
//! On some CPUs (Zen 4) a multiplication of floats takes the place of a `vpdpbusd`. So with very many rows scales are
//! not multiplied: an activation's scale is one of sixteen mantissas times a power of two, the weights' scales times its
//! mantissa are read from the chunk's variants, and `vscalefps` applies the power. Neither rounds where the product
//! would not, so the bits are the same.
//!
//! In assembly, since compilers order this loop in a way that costs a sixth of it. The registers:
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
use crate::kernels::codes::chunk::{Chunk, MANTISSAS, Numbers};
use crate::kernels::codes::{Group, Work};
use crate::kernels::quantise::MANTISSA_BITS;
use crate::kernels::{GROUP, TILE_ROWS};

/// Adds a chunk's part to the outputs of a range of rows, so many at a time.
type AddRows = unsafe fn(&Chunk<'_>, &mut Work<'_, '_>, Range<usize>);

/// See [`crate::kernels::codes::portable::add`].
pub(in crate::kernels::codes) fn add(chunk: &Chunk<'_>, mut work: Work<'_, '_>) {
    let kinds = if chunk.variants.is_empty() { &BY_PRODUCT } else { &BY_VARIANT };
    let by_rows = match (chunk.halves_differ, chunk.mins.is_empty(), chunk.are_nibbles) {
        (true, ..) => &SIXTEENS,
        (false, true, false) => &kinds.plain,
        (false, true, true) => &kinds.nibbles,
        (false, false, false) => &kinds.with_mins,
        (false, false, true) => &kinds.nibbles_with_mins,
    };
    // As equal as possible: 8 rows are 4 + 4.
    let rows = work.rows.count();
    let tiles = rows.div_ceil(TILE_ROWS);
    let (fewer, larger_tiles) = (rows / tiles, rows % tiles);
    let larger = larger_tiles * (fewer + 1);
    // SAFETY: the level was detected, and the work was checked.
    unsafe {
        if larger > 0 {
            by_rows[fewer](chunk, &mut work, 0..larger);
        }
        by_rows[fewer - 1](chunk, &mut work, larger..rows);
    }
}

/// Instructions for each of the first rows, in order.
macro_rules! rows {
    (1, $what:ident $(, $with:tt)*) => { $what!(0 $(, $with)*) };
    (2, $what:ident $(, $with:tt)*) => { concat!(rows!(1, $what $(, $with)*), $what!(1 $(, $with)*)) };
    (3, $what:ident $(, $with:tt)*) => { concat!(rows!(2, $what $(, $with)*), $what!(2 $(, $with)*)) };
    (4, $what:ident $(, $with:tt)*) => { concat!(rows!(3, $what $(, $with)*), $what!(3 $(, $with)*)) };
    (5, $what:ident $(, $with:tt)*) => { concat!(rows!(4, $what $(, $with)*), $what!(4 $(, $with)*)) };
    (6, $what:ident $(, $with:tt)*) => { concat!(rows!(5, $what $(, $with)*), $what!(5 $(, $with)*)) };
}

/// A row's codes of the group.
macro_rules! codes {
    (0) => {
        "dword ptr [{codes}"
    };
    (1) => {
        "dword ptr [{codes} + {codes_stride}"
    };
    (2) => {
        "dword ptr [{codes} + 2 * {codes_stride}"
    };
    (3) => {
        "dword ptr [{codes} + {three_codes}"
    };
    (4) => {
        "dword ptr [{codes} + 4 * {codes_stride}"
    };
    (5) => {
        "dword ptr [{codes} + {five_codes}"
    };
}

/// What is known of a row's group: scale, scaled sum, sums of both halves, four bytes each.
macro_rules! group {
    (0) => {
        "dword ptr [{group}"
    };
    (1) => {
        "dword ptr [{group} + {group_stride}"
    };
    (2) => {
        "dword ptr [{group} + 2 * {group_stride}"
    };
    (3) => {
        "dword ptr [{group} + {three_groups}"
    };
    (4) => {
        "dword ptr [{group} + 4 * {group_stride}"
    };
    (5) => {
        "dword ptr [{group} + {five_groups}"
    };
}

/// Integer sums of a row's first and last 16 outputs.
macro_rules! sum {
    (0, 0) => {
        "zmm0"
    };
    (0, 1) => {
        "zmm1"
    };
    (1, 0) => {
        "zmm2"
    };
    (1, 1) => {
        "zmm3"
    };
    (2, 0) => {
        "zmm4"
    };
    (2, 1) => {
        "zmm5"
    };
    (3, 0) => {
        "zmm6"
    };
    (3, 1) => {
        "zmm7"
    };
    (4, 0) => {
        "zmm8"
    };
    (4, 1) => {
        "zmm9"
    };
    (5, 0) => {
        "zmm10"
    };
    (5, 1) => {
        "zmm11"
    };
}

/// Floats of a row's first and last 16 outputs.
macro_rules! float {
    (0, 0) => {
        "zmm12"
    };
    (0, 1) => {
        "zmm13"
    };
    (1, 0) => {
        "zmm14"
    };
    (1, 1) => {
        "zmm15"
    };
    (2, 0) => {
        "zmm16"
    };
    (2, 1) => {
        "zmm17"
    };
    (3, 0) => {
        "zmm18"
    };
    (3, 1) => {
        "zmm19"
    };
    (4, 0) => {
        "zmm20"
    };
    (4, 1) => {
        "zmm21"
    };
    (5, 0) => {
        "zmm22"
    };
    (5, 1) => {
        "zmm23"
    };
}

/// Sums begin with what the offset takes off the codes of a whole group.
macro_rules! begin_group {
    ($row:tt) => {
        concat!(
            "mov {temporary:e}, ",
            group!($row),
            " + 8]\n",
            "add {temporary:e}, ",
            group!($row),
            " + 12]\n",
            begin!($row)
        )
    };
}

/// The same of half a group, whose sum is at `$at`.
macro_rules! begin_half {
    ($row:tt, $at:tt) => {
        concat!("mov {temporary:e}, ", group!($row), " + ", $at, "]\n", begin!($row))
    };
}

macro_rules! begin {
    ($row:tt) => {
        concat!(
            "imul {temporary:e}, {last:e}\n",
            "vpbroadcastd ",
            sum!($row, 0),
            ", {temporary:e}\n",
            "vmovdqa64 ",
            sum!($row, 1),
            ", ",
            sum!($row, 0),
            "\n"
        )
    };
}

/// For types without an offset.
macro_rules! begin_with_zero {
    ($row:tt) => {
        concat!(
            "vpxord ",
            sum!($row, 0),
            ", ",
            sum!($row, 0),
            ", ",
            sum!($row, 0),
            "\n",
            "vpxord ",
            sum!($row, 1),
            ", ",
            sum!($row, 1),
            ", ",
            sum!($row, 1),
            "\n"
        )
    };
}

/// Four inputs of all rows, whose weights `$read` brings from line `$line`.
macro_rules! quad {
    ($rows:tt, $quad:tt, $read:ident, $line:tt) => {
        concat!($read!($line), rows!($rows, multiply, $quad))
    };
}

macro_rules! bytes {
    ($line:tt) => {
        concat!(
            "vmovdqu64 zmm24, zmmword ptr [{weights} + 128 * ",
            $line,
            "]\n",
            "vmovdqu64 zmm25, zmmword ptr [{weights} + 128 * ",
            $line,
            " + 64]\n"
        )
    };
}

macro_rules! low_nibbles {
    ($line:tt) => {
        concat!(
            "vpandd zmm24, zmm30, zmmword ptr [{weights} + 128 * ",
            $line,
            "]\n",
            "vpandd zmm25, zmm30, zmmword ptr [{weights} + 128 * ",
            $line,
            " + 64]\n"
        )
    };
}

macro_rules! high_nibbles {
    ($line:tt) => {
        concat!(
            bytes!($line),
            "vpsrlw zmm24, zmm24, 4\n",
            "vpsrlw zmm25, zmm25, 4\n",
            "vpandd zmm24, zmm24, zmm30\n",
            "vpandd zmm25, zmm25, zmm30\n"
        )
    };
}

/// The first half of a group's inputs.
macro_rules! first_half {
    ($rows:tt, bytes) => {
        concat!(
            quad!($rows, 0, bytes, 0),
            quad!($rows, 1, bytes, 1),
            quad!($rows, 2, bytes, 2),
            quad!($rows, 3, bytes, 3)
        )
    };
    ($rows:tt, nibbles) => {
        concat!(
            quad!($rows, 0, low_nibbles, 0),
            quad!($rows, 1, low_nibbles, 1),
            quad!($rows, 2, low_nibbles, 2),
            quad!($rows, 3, low_nibbles, 3)
        )
    };
}

macro_rules! second_half {
    ($rows:tt, bytes) => {
        concat!(
            quad!($rows, 4, bytes, 4),
            quad!($rows, 5, bytes, 5),
            quad!($rows, 6, bytes, 6),
            quad!($rows, 7, bytes, 7)
        )
    };
    ($rows:tt, nibbles) => {
        concat!(
            quad!($rows, 4, high_nibbles, 0),
            quad!($rows, 5, high_nibbles, 1),
            quad!($rows, 6, high_nibbles, 2),
            quad!($rows, 7, high_nibbles, 3)
        )
    };
}

macro_rules! multiply {
    ($row:tt, $quad:tt) => {
        concat!(
            "vpbroadcastd zmm26, ",
            codes!($row),
            " + 4 * ",
            $quad,
            "]\n",
            "vpdpbusd ",
            sum!($row, 0),
            ", zmm24, zmm26\n",
            "vpdpbusd ",
            sum!($row, 1),
            ", zmm25, zmm26\n"
        )
    };
}

/// Adds a row's sums to its floats. The scale's mantissa says which variant of the weights' scales, and its exponent the
/// power of two.
macro_rules! by_variant {
    ($row:tt, $part:tt) => {
        concat!(
            "mov {temporary:e}, ",
            group!($row),
            "]\n",
            "shr {temporary:e}, {below_mantissa}\n",
            "and {temporary:e}, {last_mantissa}\n",
            "shl {temporary:e}, 7\n",
            "vgetexpps zmm27, ",
            group!($row),
            "]{{1to16}}\n",
            variant_half!($row, 0),
            variant_half!($row, 1)
        )
    };
}

macro_rules! variant_half {
    ($row:tt, $half:tt) => {
        concat!(
            "vmovups zmm28, zmmword ptr [{scales} + {temporary} + 64 * ",
            $half,
            "]\n",
            "vscalefps zmm28, zmm28, zmm27\n",
            "vcvtdq2ps zmm29, ",
            sum!($row, $half),
            "\n",
            "vfmadd231ps ",
            float!($row, $half),
            ", zmm29, zmm28\n"
        )
    };
}

/// The same by a multiplication of both scales. `$part` is 1 for the scales of a group's second half.
macro_rules! by_product {
    ($row:tt, $part:tt) => {
        concat!(
            "vbroadcastss zmm27, ",
            group!($row),
            "]\n",
            product_half!($row, 0, $part),
            product_half!($row, 1, $part)
        )
    };
}

macro_rules! product_half {
    ($row:tt, $half:tt, $part:tt) => {
        concat!(
            "vmulps zmm28, zmm27, zmmword ptr [{scales} + 64 * ",
            $half,
            " + 128 * ",
            $part,
            "]\n",
            "vcvtdq2ps zmm29, ",
            sum!($row, $half),
            "\n",
            "vfmadd231ps ",
            float!($row, $half),
            ", zmm29, zmm28\n"
        )
    };
}

macro_rules! add_min {
    ($row:tt) => {
        concat!(
            "vbroadcastss zmm27, ",
            group!($row),
            " + 4]\n",
            "vfmadd231ps ",
            float!($row, 0),
            ", zmm24, zmm27\n",
            "vfmadd231ps ",
            float!($row, 1),
            ", zmm25, zmm27\n"
        )
    };
}

/// The instructions for a group.
macro_rules! instructions {
    ($rows:tt, $codes:tt, $scale:ident, plain) => {
        concat!(
            rows!($rows, begin_group),
            first_half!($rows, $codes),
            second_half!($rows, $codes),
            rows!($rows, $scale, 0)
        )
    };
    ($rows:tt, $codes:tt, $scale:ident, with_mins) => {
        concat!(
            rows!($rows, begin_with_zero),
            first_half!($rows, $codes),
            second_half!($rows, $codes),
            rows!($rows, $scale, 0),
            "vmovups zmm24, zmmword ptr [{last}]\n",
            "vmovups zmm25, zmmword ptr [{last} + 64]\n",
            rows!($rows, add_min)
        )
    };
    ($rows:tt, $codes:tt, $scale:ident, sixteens) => {
        concat!(
            rows!($rows, begin_half, 8),
            first_half!($rows, $codes),
            rows!($rows, $scale, 0),
            rows!($rows, begin_half, 12),
            second_half!($rows, $codes),
            rows!($rows, $scale, 1)
        )
    };
}

/// A function for so many rows at a time.
macro_rules! add_rows {
    ($rows:tt, $codes:tt, $scale:ident, $kind:tt) => {{
        /// # Safety
        /// The CPU has the features, and the work was checked.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn add_rows(chunk: &Chunk<'_>, work: &mut Work<'_, '_>, range: Range<usize>) {
            let inputs = work.rows.inputs;
            let group_stride = inputs / GROUP * size_of::<Group>();
            let parts = if chunk.halves_differ { 2 } else { 1 };
            let (scales, scales_size) = if chunk.variants.is_empty() {
                (chunk.scales.as_ptr().cast::<u8>(), size_of::<Numbers>())
            } else {
                (chunk.variants.as_ptr().cast::<u8>(), size_of::<[Numbers; MANTISSAS]>())
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
                    work.ahead.step();
                    // Types with mins have no offset.
                    let last = match chunk.mins.get(index) {
                        Some(mins) => mins.as_ptr().addr().cast_signed(),
                        None => -(chunk.offset as isize),
                    };
                    // SAFETY: the caller's promise. The instructions read what is named here, the weights' 1,024 bytes,
                    // 32 codes and a `Group` of each row, scales (or variants) and a min of 32 floats,
                    // and write registers that are named as outputs.
                    unsafe {
                        asm!(
                            instructions!($rows, $codes, $scale, $kind),
                            // Strides that few rows do not need.
                            "/* {codes_stride} {three_codes} {five_codes} */",
                            "/* {group_stride} {three_groups} {five_groups} */",
                            // What only one way to scale, or only types with an offset, need.
                            "/* {temporary} {below_mantissa} {last_mantissa} */",
                            weights = in(reg) chunk.codes.as_ptr().add(index * chunk.stride),
                            codes = in(reg) rows.codes.as_ptr().add(group * GROUP),
                            codes_stride = in(reg) inputs,
                            three_codes = in(reg) 3 * inputs,
                            five_codes = in(reg) 5 * inputs,
                            group = in(reg) rows.groups.as_ptr().add(group),
                            group_stride = in(reg) group_stride,
                            three_groups = in(reg) 3 * group_stride,
                            five_groups = in(reg) 5 * group_stride,
                            scales = in(reg) scales.add(index * parts * scales_size),
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

/// Functions for each kind of chunk whose groups have one scale.
struct Kinds {
    plain: ByRows,
    nibbles: ByRows,
    with_mins: ByRows,
    nibbles_with_mins: ByRows,
}

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

macro_rules! kinds {
    ($scale:ident) => {
        Kinds {
            plain: by_rows!(bytes, $scale, plain),
            nibbles: by_rows!(nibbles, $scale, plain),
            with_mins: by_rows!(bytes, $scale, with_mins),
            nibbles_with_mins: by_rows!(nibbles, $scale, with_mins),
        }
    };
}

static BY_VARIANT: Kinds = kinds!(by_variant);
static BY_PRODUCT: Kinds = kinds!(by_product);
static SIXTEENS: ByRows = by_rows!(bytes, by_product, sixteens);
