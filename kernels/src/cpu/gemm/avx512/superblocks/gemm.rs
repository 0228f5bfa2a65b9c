//! Tiles of superblocks for many rows, in assembly like those of groups (`../gemm.rs`). The registers:
//!
//! ```text
//! zmm0 .. 7     integer sums of a part, two of a row   zmm24, 25   weight codes, or scales
//! zmm8 .. 11    shifted sums of the first of two parts zmm26 .. 29 activation codes, shifts, and what nibbles leave
//! zmm20 .. 23   (of rows 0 and 1, and of 2 and 3)      zmm30       the lower four bits of every byte
//! zmm12 .. 19   the superblock's integers              k1          the lower halves of 32 bits
//! ```

use std::arch::asm;
use std::arch::x86_64::{__m512i, _mm512_loadu_si512, _mm512_set1_epi8, _mm512_setzero_si512};
use std::ops::Range;

use super::{Factors, GROUP_PAIRS};
use crate::cpu::gemm::Work;
use crate::cpu::gemm::avx512::gemm::equal_tiles;
use crate::cpu::gemm::avx512::load;
use crate::cpu::gemm::chunk::{Chunk, Pairs, SuperblockScales};
use crate::cpu::gemm::superblock::{GROUPS, Parts, Superblock};
use crate::cpu::packed::BLOCK_CODES;
use crate::cpu::{GROUP, PANEL};

/// Maximum rows that are computed together: with six, each takes longer.
pub(in crate::cpu::gemm::avx512) const MOST_ROWS: usize = 4;
/// The lower 16 bits of every 32.
const LOWER_HALVES: u32 = 0x5555_5555;

/// Lines that the instructions for a superblock prefetch.
const PREFETCH_LINES: usize = 16;

/// Adds a superblock's part to the outputs of a range of rows, a fixed number at a time.
type AddRows = unsafe fn(&Chunk<'_>, &SuperblockScales<'_>, &mut Work<'_, '_>, Range<usize>);

/// See [`crate::cpu::gemm::portable::add_superblock`].
pub(in crate::cpu::gemm) fn add(
    chunk: &Chunk<'_>,
    scales: &SuperblockScales<'_>,
    mut work: Work<'_, '_>,
) {
    let by_rows = match (scales.scales.len() == GROUPS, chunk.are_nibbles) {
        (true, _) => &HALVES,
        (false, true) => &NIBBLES,
        (false, false) => &BYTES,
    };
    for (at_once, rows) in equal_tiles(work.rows.count, MOST_ROWS) {
        // SAFETY: the level was detected, and the work was checked.
        unsafe { by_rows[at_once - 1](chunk, scales, &mut work, rows) };
    }
}

/// Bytes from a part's weights to the next part's. Nibbles stay in the panel's blocks, with the scales between them.
macro_rules! part_bytes {
    (nibbles) => {
        BLOCK_CODES / 2 + 2 * PANEL
    };
    (bytes) => {
        BLOCK_CODES
    };
    (half) => {
        BLOCK_CODES / 2
    };
}

macro_rules! part_inputs {
    (half) => {
        GROUP / 2
    };
    ($whole:tt) => {
        GROUP
    };
}

/// What the first tile prefetches into the first-level cache: the next part or, if all parts were prepared, the source
/// of the next superblock's.
macro_rules! next_codes {
    (nibbles, $chunk:ident) => {
        $chunk.codes.as_ptr().wrapping_add(part_bytes!(nibbles))
    };
    ($expanded:tt, $chunk:ident) => {
        $chunk.following.as_ptr()
    };
}

/// A function for this many rows at a time. Parts are halves of groups, or groups of bytes or nibbles.
macro_rules! add_rows {
    ($rows:tt, $part:tt) => {{
        /// # Safety
        /// The CPU must support the features, and the work must be checked.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
        unsafe fn add_rows(
            chunk: &Chunk<'_>,
            scales: &SuperblockScales<'_>,
            work: &mut Work<'_, '_>,
            range: Range<usize>,
        ) {
            let (inputs, first_group) = (work.rows.inputs, chunk.groups.start);
            let parts_stride = work.rows.superblocks_of_a_row() * size_of::<Superblock>();
            let mins = match scales.mins.first_chunk::<GROUP_PAIRS>() {
                Some(mins) => mins.each_ref().map(|pairs| load_pairs(pairs)),
                None => [[_mm512_setzero_si512(); 2]; GROUP_PAIRS],
            };
            let factors = Factors {
                factors: load(scales.factors),
                mins: (!scales.mins.is_empty()).then(|| (&mins, load(scales.min_factors))),
            };
            for first in range.step_by($rows) {
                let rows = work.rows.rows(first, $rows);
                let block = rows.superblock(0, first_group / GROUPS);
                let zero = _mm512_setzero_si512();
                let [mut a, mut b, mut c, mut d] = [zero; 4];
                let [mut e, mut f, mut g, mut h] = [zero; 4];
                let pairs = scales.scales.len();
                let parts: *const Parts = block.parts(pairs).as_ptr();
                let (prefetch, line) = work.prefetch.hand_out(PREFETCH_LINES);
                // SAFETY: the caller's promise. The instructions read only what is named here (the superblock's
                // weights, 256 codes of each row, its parts, and scales), and write only registers that are declared as
                // outputs.
                unsafe {
                    let weights = chunk.codes.as_ptr();
                    asm!(
                        superblock!($rows, $part),
                        // Strides that are unused with few rows.
                        "/* {codes_stride} {three_codes} */",
                        "/* {group_stride} {three_groups} */",
                        weights = inout(reg) weights => _,
                        // Only prefetched; it may be past the panel.
                        next = inout(reg) next_codes!($part, chunk) => _,
                        codes = inout(reg) rows.codes.as_ptr().add(first_group * GROUP) => _,
                        codes_stride = in(reg) inputs,
                        three_codes = in(reg) 3 * inputs,
                        group = inout(reg) parts => _,
                        group_stride = in(reg) parts_stride,
                        three_groups = in(reg) 3 * parts_stride,
                        scales = inout(reg) scales.scales.as_ptr() => _,
                        pairs = inout(reg) pairs => _,
                        prefetch = inout(reg) prefetch => _,
                        line = in(reg) line,
                        part_bytes = const part_bytes!($part),
                        part_inputs = const part_inputs!($part),
                        inout("zmm12") a, inout("zmm13") b, inout("zmm14") c,
                        inout("zmm15") d, inout("zmm16") e, inout("zmm17") f,
                        inout("zmm18") g, inout("zmm19") h,
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                        out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                        out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                        out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
                        out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
                        out("zmm28") _, out("zmm29") _, in("zmm30") _mm512_set1_epi8(15),
                        in("k1") LOWER_HALVES,
                        options(nostack, readonly),
                    );
                }
                let integers = [[a, b], [c, d], [e, f], [g, h]];
                for row in 0..$rows {
                    let block = rows.superblock(row, first_group / GROUPS);
                    let out = work.out.row(first + row);
                    factors.add(integers[row], block, first_group == 0, out);
                }
            }
        }
        add_rows
    }};
}

/// Functions for one to four rows.
type ByRows = [AddRows; MOST_ROWS];

macro_rules! by_rows {
    ($part:tt) => {
        [add_rows!(1, $part), add_rows!(2, $part), add_rows!(3, $part), add_rows!(4, $part)]
    };
}

static BYTES: ByRows = by_rows!(bytes);
static NIBBLES: ByRows = by_rows!(nibbles);
static HALVES: ByRows = by_rows!(half);

#[inline]
#[target_feature(enable = "avx512f")]
fn load_pairs(pairs: &Pairs) -> [__m512i; 2] {
    // SAFETY: there are 64 integers of 16 bits.
    unsafe {
        [_mm512_loadu_si512(pairs.as_ptr().cast()), _mm512_loadu_si512(pairs[16..].as_ptr().cast())]
    }
}
