//! Products of packed integer weights with quantised activations.
//!
//! ```text
//! panel -> chunks of up to 8 groups of 32 inputs, made ready once for all rows       chunk.rs
//!       -> tiles of up to six rows: integer sums, scaled and added to the outputs    portable.rs, avx512.rs ...
//! ```
//!
//! For every group of 32 inputs the integer products are summed exactly; then `sum * (weight scale * activation
//! scale)` is added to the output's float by one fused multiply-add, groups in ascending order. Types with a min add
//! `min * (activation scale * sum of codes)` next. Types with a scale for 16 inputs do so for each half of the group.

#[cfg(target_arch = "x86_64")]
mod avx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod chunk;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod shared;

pub(crate) use chunk::Room;
pub(crate) use shared::SharedCodes;

use std::ops::Range;

use chunk::{Chunk, Source, chunks};

use super::fetch::Ahead;
use super::packed::{BLOCK_CODES, Format};
use super::{GROUP, Level, PANEL, TILE_ROWS};

/// Rows of activations as 8-bit codes: `value = scale * code`.
#[derive(Debug, Default)]
pub(crate) struct QuantRows {
    /// Inputs of a row, a multiple of 32.
    pub(crate) inputs: usize,
    /// rows x inputs, from -127 to 127.
    pub(crate) codes: Vec<i8>,
    /// rows x groups of 32.
    pub(crate) groups: Vec<Group>,
}

/// What the kernels know of a row's group of 32 codes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub(crate) struct Group {
    pub(crate) scale: f32,
    /// The scale times the sum of all codes.
    pub(crate) scaled_sum: f32,
    /// Sums of the codes of both halves.
    pub(crate) sums: [i32; 2],
}

// === impl Group ===

impl Group {
    pub(crate) fn new(scale: f32, sums: [i32; 2]) -> Group {
        Group { scale, scaled_sum: scale * (sums[0] + sums[1]) as f32, sums }
    }
}

/// A view of some rows of [`QuantRows`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuantView<'a> {
    pub(crate) inputs: usize,
    pub(crate) count: usize,
    pub(crate) codes: &'a [i8],
    pub(crate) groups: &'a [Group],
}

// === impl QuantRows ===

impl QuantRows {
    /// Makes room; contents are unspecified.
    pub(crate) fn resize(&mut self, rows: usize, inputs: usize) {
        self.inputs = inputs;
        self.codes.resize(rows * inputs, 0);
        self.groups.resize(rows * inputs / GROUP, Group::default());
    }

    /// All rows one after the other, for a single thread.
    pub(crate) fn all_mut(&mut self) -> QuantRow<'_> {
        QuantRow { codes: &mut self.codes, groups: &mut self.groups }
    }

    /// All rows, to read.
    pub(crate) fn view(&self) -> QuantView<'_> {
        let QuantRows { inputs, codes, groups } = self;
        QuantView { inputs: *inputs, count: codes.len() / inputs.max(&1), codes, groups }
    }
}

/// The destination of a quantised row, or of some groups of one.
pub(crate) struct QuantRow<'a> {
    pub(crate) codes: &'a mut [i8],
    pub(crate) groups: &'a mut [Group],
}

// === impl QuantRow ===

impl QuantRow<'_> {
    /// Makes the only group this one.
    pub(crate) fn set(self, codes: &[i8; GROUP], group: Group) {
        self.codes.copy_from_slice(codes);
        self.groups.copy_from_slice(&[group]);
    }
}

// === impl QuantView ===

impl<'a> QuantView<'a> {
    /// Rows `first .. first + count`.
    #[inline]
    pub(crate) fn rows(&self, first: usize, count: usize) -> QuantView<'a> {
        let groups = self.inputs / GROUP;
        QuantView {
            inputs: self.inputs,
            count,
            codes: &self.codes[first * self.inputs..][..count * self.inputs],
            groups: &self.groups[first * groups..][..count * groups],
        }
    }
}

/// Where the rows of a product go: 32 floats each, `stride` floats from one to the next.
#[derive(Debug)]
pub(crate) struct Outputs<'a> {
    pub(crate) floats: &'a mut [f32],
    pub(crate) stride: usize,
}

/// The product of a panel of 32 outputs with some rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelProduct<'a> {
    pub(crate) format: Format,
    pub(crate) panel: &'a [u8],
    pub(crate) rows: QuantView<'a>,
    /// Whether the rows' scales have few bits ([`super::quantise`]), which spares multiplications.
    pub(crate) has_few_bits: bool,
    /// What will be wanted soon; it is fetched into the second-level cache meanwhile.
    pub(crate) ahead: &'a [u8],
}

/// Rows that meet a chunk.
struct Work<'a, 'b> {
    rows: QuantView<'a>,
    out: Outputs<'b>,
    /// Takes a step with every group of every tile.
    ahead: &'b mut Ahead<'a>,
}

// === impl Outputs ===

impl Outputs<'_> {
    fn row(&mut self, row: usize) -> &mut [f32; PANEL] {
        let row = &mut self.floats[row * self.stride..][..PANEL];
        row.as_chunks_mut().0.first_mut().expect("the slice is as long as the array")
    }
}

// === impl PanelProduct ===

impl PanelProduct<'_> {
    /// Computes the outputs of all rows.
    pub(crate) fn compute(self, level: Level, room: &mut Room, out: Outputs<'_>) {
        let PanelProduct { format, panel, rows, has_few_bits, ahead } = self;
        debug_assert_eq!(panel.len(), format.panel_bytes(rows.inputs));
        if rows.count == 0 {
            return;
        }
        let tiles = rows.count.div_ceil(TILE_ROWS);
        let groups = rows.inputs / GROUP;
        let mut ahead = Ahead::new(ahead, tiles * groups);
        #[cfg(target_arch = "x86_64")]
        if level == Level::Avx512Vnni && avx512::is_for_few_rows(rows.count) {
            return avx512::few_rows(format, panel, Work { rows, out, ahead: &mut ahead });
        }
        #[cfg(target_arch = "x86_64")]
        let with_variants =
            has_few_bits && level == Level::Avx512Vnni && avx512::pays_variants(rows.count, format);
        #[cfg(not(target_arch = "x86_64"))]
        let (with_variants, _) = (false, has_few_bits);
        for groups in chunks(format, groups) {
            let source = Source { format, panel, inputs: rows.inputs, groups, with_variants };
            let chunk = room.ready(level, &source);
            let out = Outputs { floats: out.floats, stride: out.stride };
            let work = Work { rows, out, ahead: &mut ahead };
            work.check(&chunk);
            match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => avx2::add(&chunk, work),
                #[cfg(target_arch = "x86_64")]
                Level::AvxVnni => avx_vnni::add(&chunk, work),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512Vnni => avx512::add(&chunk, work),
                #[cfg(target_arch = "aarch64")]
                Level::Neon => neon::add(&chunk, work),
                Level::Portable => portable::add(&chunk, work),
            }
        }
    }
}

// === impl Work ===

impl Work<'_, '_> {
    /// All accesses of the kernels are inside the slices.
    fn check(&self, chunk: &Chunk<'_>) {
        let (rows, groups) = (self.rows.count, chunk.groups.len());
        let parts = if chunk.halves_differ { 2 } else { 1 };
        assert!(rows > 0 && groups > 0 && chunk.groups.end <= self.rows.inputs / GROUP);
        let code_bytes = if chunk.are_nibbles { BLOCK_CODES / 2 } else { BLOCK_CODES };
        assert!(chunk.codes.len() >= (groups - 1) * chunk.stride + code_bytes);
        assert!(chunk.scales.len().max(chunk.variants.len()) == groups * parts);
        assert!(chunk.mins.is_empty() || chunk.mins.len() == groups);
        assert!(self.rows.codes.len() >= rows * self.rows.inputs);
        assert!(self.rows.groups.len() >= rows * (self.rows.inputs / GROUP));
        assert!(self.out.floats.len() >= (rows - 1) * self.out.stride + PANEL);
    }

    /// The rows of each tile: as equal as possible, 8 are 4 + 4.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.rows.count;
        let tiles = rows.div_ceil(TILE_ROWS);
        (0..tiles).map(move |tile| rows * tile / tiles..rows * (tile + 1) / tiles)
    }
}

#[cfg(test)]
mod tests;
