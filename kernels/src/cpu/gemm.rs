//! Products of packed integer weights with quantised activations.
//!
//! ```text
//! panel -> chunks of up to 8 groups of 32 inputs, prepared once for all rows       chunk.rs
//!       -> tiles of up to six rows: integer sums, scaled and added to the outputs  portable.rs, avx512.rs ...
//! ```
//!
//! For every group of 32 inputs the integer products are summed exactly; then the output's float gets
//! `sum * (weight scale * activation scale)` by one fused multiply-add, groups in ascending order. Types with a min
//! then add `min * (activation scale * sum of codes)`. K-quants are summed in integers over 256 inputs: superblock.rs.

/// Calls a function for one to six rows, with the number of rows as a constant.
macro_rules! with_rows {
    ($rows:expr, |$count:ident| $call:expr) => {
        with_rows!($rows, $count, $call, 1 2 3 4 5 6)
    };
    ($rows:expr, $count:ident, $call:expr, $($number:literal)*) => {
        match $rows {
            $(
                $number => {
                    const $count: usize = $number;
                    $call
                }
            )*
            other => unreachable!("a tile of {other} rows"),
        }
    };
}

/// Calls a level's function of this name.
macro_rules! at {
    ($level:expr, $function:ident($($argument:expr),*)) => {
        match $level {
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx2 => avx2::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            SimdLevel::AvxVnni => avx_vnni::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx512Vnni => avx512::$function($($argument),*),
            #[cfg(target_arch = "aarch64")]
            SimdLevel::Neon => neon::$function($($argument),*),
            SimdLevel::Portable => portable::$function($($argument),*),
        }
    };
}

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
mod quantised;
mod shared;
mod superblock;

pub use chunk::Workspace;
pub use quantised::{Group, QuantRow, QuantRows, QuantView};
pub use shared::{CodesBlock, SharedCodes};
pub use superblock::{SUPERBLOCK, Superblock};

use std::ops::Range;

use chunk::{Chunk, GroupScales, Scaling, Source, SuperblockScales, chunks};
use superblock::{GROUPS, SIXTEENS_OFFSET};

use super::packed::{BLOCK_CODES, Format};
use super::prefetch::Prefetcher;
use super::quantise::ScaleKind;
use super::{GROUP, PANEL, SimdLevel, TILE_ROWS};

/// Output rows of a product: 32 floats each, `stride` floats apart.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// Row-major: row `r` starts at `r * stride`.
    pub floats: &'a mut [f32],
    /// Floats from one row to the next, at least 32.
    pub stride: usize,
}

/// The product of a panel of 32 outputs with some rows.
#[derive(Debug, Clone, Copy)]
pub struct PanelGemm<'a> {
    /// The panel's layout.
    pub format: Format,
    /// The panel: [`Format::panel_bytes`] for the rows' number of inputs.
    pub panel: &'a [u8],
    /// Quantised activations.
    pub rows: QuantView<'a>,
    /// Data needed soon, to be prefetched into the second-level cache meanwhile.
    pub prefetch: &'a [u8],
}

/// The rows to be multiplied with a chunk.
struct Work<'a, 'b> {
    rows: QuantView<'a>,
    out: Outputs<'b>,
    /// Advances by one step with every group of every tile, or with every superblock of prepared chunks.
    prefetch: &'b mut Prefetcher<'a>,
}

// === impl Outputs ===

impl Outputs<'_> {
    fn row(&mut self, row: usize) -> &mut [f32; PANEL] {
        let row = &mut self.floats[row * self.stride..][..PANEL];
        row.as_chunks_mut().0.first_mut().expect("the slice is as long as the array")
    }
}

// === impl PanelGemm ===

impl PanelGemm<'_> {
    /// Computes the outputs of all rows.
    ///
    /// # Panics
    /// The panel's length differs from what its format requires, rows lack codes, groups or superblocks, or the outputs
    /// are too short.
    pub fn compute(self, level: SimdLevel, workspace: &mut Workspace, out: Outputs<'_>) {
        let PanelGemm { format, panel, rows, prefetch } = self;
        assert!(matches!(format.bits, 4 | 5 | 6 | 8), "codes have 4, 5, 6 or 8 bits");
        assert_eq!(panel.len(), format.panel_bytes(rows.inputs), "bytes of a panel");
        // The last row may end with its panel; the work checks that all rows are inside the slice.
        assert!(
            out.stride >= PANEL && (rows.count < 2 || out.stride <= out.floats.len()),
            "outputs' stride"
        );
        assert!(
            !format.is_factored() || rows.scales == ScaleKind::Power,
            "superblocks are missing"
        );
        if rows.count == 0 {
            return;
        }
        let tiles = rows.count.div_ceil(TILE_ROWS);
        let groups = rows.inputs / GROUP;
        #[cfg(target_arch = "x86_64")]
        if level == SimdLevel::Avx512Vnni && avx512::is_for_gemv(rows.count, format) {
            let mut prefetch = Prefetcher::new(prefetch, tiles * groups);
            return avx512::gemv(format, panel, Work { rows, out, prefetch: &mut prefetch });
        }
        let steps = if format.is_factored() { groups / GROUPS } else { groups };
        let mut prefetch = Prefetcher::new(prefetch, tiles * steps);
        #[cfg(target_arch = "x86_64")]
        let with_variants = level == SimdLevel::Avx512Vnni && avx512::pays_variants(&rows, format);
        #[cfg(not(target_arch = "x86_64"))]
        let with_variants = false;
        for groups in chunks(format, groups) {
            let source = Source { format, panel, inputs: rows.inputs, groups, with_variants };
            let chunk = workspace.ready(level, &source);
            let out = Outputs { floats: out.floats, stride: out.stride };
            let work = Work { rows, out, prefetch: &mut prefetch };
            work.check(&chunk);
            match &chunk.scaling {
                Scaling::Groups(scales) => at!(level, add(&chunk, scales, work)),
                Scaling::Superblock(scales) => at!(level, add_superblock(&chunk, scales, work)),
            }
        }
    }
}

// === impl Work ===

impl Work<'_, '_> {
    /// Checks that all accesses of the kernels are inside the slices.
    fn check(&self, chunk: &Chunk<'_>) {
        let (rows, groups) = (self.rows.count, chunk.groups.len());
        assert!(rows > 0 && groups > 0 && chunk.groups.end <= self.rows.inputs / GROUP);
        let code_bytes = if chunk.are_nibbles { BLOCK_CODES / 2 } else { BLOCK_CODES };
        assert!(chunk.codes.len() >= (groups - 1) * chunk.stride + code_bytes);
        match &chunk.scaling {
            Scaling::Groups(GroupScales { scales, variants, mins }) => {
                assert!(scales.len().max(variants.len()) == groups);
                assert!(mins.is_empty() || mins.len() == groups);
            }
            Scaling::Superblock(SuperblockScales { scales, mins, .. }) => {
                assert!(groups == GROUPS && chunk.groups.start.is_multiple_of(GROUPS));
                let offset = if scales.len() == GROUPS { SIXTEENS_OFFSET } else { 0 };
                assert!(scales.len() == GROUPS || scales.len() == GROUPS / 2);
                assert!(chunk.offset == offset, "superblocks were made for another offset");
                assert!(mins.is_empty() || mins.len() == GROUPS / 2);
                let blocks = self.rows.superblocks_of_a_row();
                assert!(self.rows.superblocks.len() >= rows * blocks && blocks > 0);
            }
        }
        assert!(self.rows.codes.len() >= rows * self.rows.inputs);
        assert!(self.rows.groups.len() >= rows * (self.rows.inputs / GROUP));
        assert!(self.out.floats.len() >= (rows - 1) * self.out.stride + PANEL);
    }

    /// The rows of each tile, as equal as possible: 8 become 4 + 4.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.rows.count;
        let tiles = rows.div_ceil(TILE_ROWS);
        (0..tiles).map(move |tile| rows * tile / tiles..rows * (tile + 1) / tiles)
    }
}

#[cfg(test)]
mod tests;
