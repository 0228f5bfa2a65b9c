//! Products of packed integer weights with quantised activations.
//!
//! A tile is up to six rows times one panel of 32 outputs. For every group of 32 inputs the integer products are
//! summed exactly; then `sum * (weight scale * activation scale)` is added to the output's float by one fused
//! multiply-add, groups in ascending order. Types with a min add `min * (activation scale * sum of codes)` next.
//! Types with a scale for 16 inputs do so for each half of the group.

#[cfg(target_arch = "x86_64")]
mod avx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod shared;

pub(crate) use shared::SharedCodes;

use super::packed::Format;
use super::{GROUP, Level, PANEL, TILE_ROWS};

/// Rows of activations as 8-bit codes: `value = scale * code`.
#[derive(Debug, Default)]
pub(crate) struct QuantRows {
    /// Inputs of a row, a multiple of 32.
    pub(crate) inputs: usize,
    /// rows x inputs, from -127 to 127.
    pub(crate) codes: Vec<i8>,
    /// rows x groups of 32.
    pub(crate) scales: Vec<f32>,
    /// rows x halves of a group (16 codes): sum of the codes.
    pub(crate) sums: Vec<i32>,
    /// rows x groups: sum of the group's codes times its scale.
    pub(crate) scaled_sums: Vec<f32>,
}

/// A view of some rows of [`QuantRows`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuantView<'a> {
    pub(crate) inputs: usize,
    pub(crate) codes: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [i32],
    pub(crate) scaled_sums: &'a [f32],
}

/// The outputs of a tile.
pub(crate) type Tile = [[f32; PANEL]; TILE_ROWS];

// === impl QuantRows ===

impl QuantRows {
    /// Makes room; contents are unspecified.
    pub(crate) fn resize(&mut self, rows: usize, inputs: usize) {
        self.inputs = inputs;
        self.codes.resize(rows * inputs, 0);
        self.scales.resize(rows * inputs / GROUP, 0.0);
        self.sums.resize(rows * inputs / GROUP * 2, 0);
        self.scaled_sums.resize(rows * inputs / GROUP, 0.0);
    }

    /// One row, for a single thread.
    pub(crate) fn row_mut(&mut self, row: usize) -> QuantRow<'_> {
        let (inputs, groups) = (self.inputs, self.inputs / GROUP);
        QuantRow {
            codes: &mut self.codes[row * inputs..][..inputs],
            scales: &mut self.scales[row * groups..][..groups],
            sums: &mut self.sums[row * groups * 2..][..groups * 2],
            scaled_sums: &mut self.scaled_sums[row * groups..][..groups],
        }
    }

    /// All rows, to read.
    pub(crate) fn view(&self) -> QuantView<'_> {
        let QuantRows { inputs, codes, scales, sums, scaled_sums } = self;
        QuantView { inputs: *inputs, codes, scales, sums, scaled_sums }
    }
}

/// The destination of a quantised row, or of some groups of one.
pub(crate) struct QuantRow<'a> {
    pub(crate) codes: &'a mut [i8],
    pub(crate) scales: &'a mut [f32],
    pub(crate) sums: &'a mut [i32],
    pub(crate) scaled_sums: &'a mut [f32],
}

// === impl QuantView ===

impl<'a> QuantView<'a> {
    /// Rows `first .. first + count`.
    pub(crate) fn rows(&self, first: usize, count: usize) -> QuantView<'a> {
        let groups = self.inputs / GROUP;
        QuantView {
            inputs: self.inputs,
            codes: &self.codes[first * self.inputs..][..count * self.inputs],
            scales: &self.scales[first * groups..][..count * groups],
            sums: &self.sums[first * groups * 2..][..count * groups * 2],
            scaled_sums: &self.scaled_sums[first * groups..][..count * groups],
        }
    }
}

/// Where the rows of a tile go: 32 floats each, `stride` floats from one to the next.
#[derive(Debug)]
pub(crate) struct Outputs<'a> {
    pub(crate) floats: &'a mut [f32],
    pub(crate) stride: usize,
}

// === impl Outputs ===

impl<'a> Outputs<'a> {
    /// All of a tile.
    pub(crate) fn tile(tile: &'a mut Tile) -> Outputs<'a> {
        Outputs { floats: tile.as_flattened_mut(), stride: PANEL }
    }

    fn row(&mut self, row: usize) -> &mut [f32; PANEL] {
        let row = &mut self.floats[row * self.stride..][..PANEL];
        row.as_chunks_mut().0.first_mut().expect("the slice is as long as the array")
    }
}

/// Computes a tile: `out[row][output]` for all rows of the view (at most six).
///
/// `next` will be wanted soon; it is fetched into the second-level cache meanwhile.
pub(crate) fn tile(
    level: Level,
    format: Format,
    panel: &[u8],
    rows: QuantView<'_>,
    out: Outputs<'_>,
    next: &[u8],
) {
    debug_assert_eq!(panel.len(), format.panel_bytes(rows.inputs));
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::tile(format, panel, rows, out, next),
        #[cfg(target_arch = "x86_64")]
        Level::AvxVnni => avx_vnni::tile(format, panel, rows, out, next),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => avx512::tile(format, panel, rows, out, next),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => neon::tile(format, panel, rows, out),
        Level::Portable => portable::tile(format, panel, rows, out),
    }
    let _ = next;
}

#[cfg(test)]
mod tests;
