//! Weight matrices repacked at load into panels of 32 outputs, in the order in which the kernels read them.
//!
//! ```text
//! panel   = header, block, block ...          one block for every 32 inputs
//! header  = for factored types, for every 256 inputs: 32 factors (f16), and 32 min factors (negated) if there are mins
//! block   = codes, scales
//! codes   = 8-bit: for every 4 inputs, 32 outputs x 4 bytes            (1,024 bytes)
//!           4-bit: the same for the first 16 inputs in the low and the last 16 in the high nibbles (512 bytes)
//! scales  = 32 f16, then 32 f16 mins if there are any; factored: 32 + 32 bytes, scales and mins (or, where a
//!           scale covers 16 inputs, the scales of both halves)
//! float   = for every input 32 floats
//! ```
//!
//! Nothing is rounded on the way. Outputs are padded with zeros to a whole panel.

use half::f16;

use super::aligned::AlignedBytes;
use super::codes::{Outputs, QuantView, Tile, tile};
use super::floats::{Product, product};
use super::{GROUP, Level, PANEL, TILE_ROWS};
use crate::gguf::BlockType;
use crate::gguf::blocks::{CodeRow, CodeShape};

/// A matrix of `outputs` x `inputs` weights.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Codes { format: Format, panels: AlignedBytes },
    Floats { panels: AlignedBytes },
}

/// The layout of a panel of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) scales: Scales,
    pub(crate) four_bits: bool,
    pub(crate) offset: u8,
}

/// How scales are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// f16 for 32 inputs.
    Half,
    /// f16 scale and min for 32 inputs.
    HalfMin,
    /// Integer scale and min for 32 inputs, f16 factors for 256.
    Factored,
    /// Integer scale for 16 inputs, f16 factor for 256.
    Sixteens,
}

// === impl Format ===

impl Format {
    fn new(shape: CodeShape) -> Format {
        let scales = match (shape.factored, shape.has_min) {
            (false, false) => Scales::Half,
            (false, true) => Scales::HalfMin,
            (true, true) => Scales::Factored,
            (true, false) => Scales::Sixteens,
        };
        Format { scales, four_bits: shape.four_bits, offset: shape.offset }
    }

    pub(crate) fn code_bytes(self) -> usize {
        if self.four_bits { GROUP * PANEL / 2 } else { GROUP * PANEL }
    }

    pub(crate) fn block_bytes(self) -> usize {
        let scales = if self.scales == Scales::HalfMin { PANEL * 4 } else { PANEL * 2 };
        self.code_bytes() + scales
    }

    pub(crate) fn header_bytes(self, inputs: usize) -> usize {
        match self.scales {
            Scales::Half | Scales::HalfMin => 0,
            Scales::Factored => inputs / 256 * PANEL * 4,
            Scales::Sixteens => inputs / 256 * PANEL * 2,
        }
    }

    pub(crate) fn panel_bytes(self, inputs: usize) -> usize {
        self.header_bytes(inputs) + inputs / GROUP * self.block_bytes()
    }
}

// === impl Packed ===

impl Packed {
    /// Packs rows of GGUF blocks. `None` when a scale is not finite: the file is damaged.
    pub(crate) fn new(
        kind: BlockType,
        bytes: &[u8],
        inputs: usize,
        outputs: usize,
    ) -> Option<Packed> {
        let storage = match kind.code_shape() {
            Some(shape) => pack_codes(kind, shape, bytes, inputs, outputs)?,
            None => pack_floats(kind, bytes, inputs, outputs)?,
        };
        Some(Packed { outputs, inputs, storage })
    }

    /// Whether its inputs are floats, not codes.
    pub(crate) fn takes_floats(&self) -> bool {
        matches!(self.storage, Storage::Floats { .. })
    }

    /// Number of panels: the units of work.
    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Computes one panel's outputs for all rows and hands them on, at most six rows at a time: first row, rows, tile.
    /// What comes `ahead` is fetched into the cache meanwhile, a share with every tile.
    pub(crate) fn panel(
        &self,
        level: Level,
        panel: usize,
        ahead: &[u8],
        input: &Input<'_>,
        mut sink: impl FnMut(usize, usize, &Tile),
    ) {
        let mut out: Tile = [[0.0; PANEL]; TILE_ROWS];
        let mut first = 0;
        while first < input.rows {
            let rows = tile_rows(input.rows - first);
            let share = ahead.len() * first / input.rows..ahead.len() * (first + rows) / input.rows;
            match &self.storage {
                Storage::Codes { format, .. } => {
                    let view = input.codes.rows(first, rows);
                    let (panel, ahead) = (self.panel_bytes(panel), &ahead[share]);
                    tile(level, *format, panel, view, Outputs::tile(&mut out), ahead);
                }
                Storage::Floats { panels } => {
                    let floats = self.inputs * PANEL;
                    let these = &panels.as_floats()[panel * floats..][..floats];
                    product(
                        level,
                        Product {
                            a: &input.floats[first * self.inputs..],
                            a_stride: self.inputs,
                            b: these,
                            b_stride: PANEL,
                            c: out.as_flattened_mut(),
                            c_stride: PANEL,
                            rows,
                            inner: self.inputs,
                            columns: PANEL,
                            accumulate: false,
                        },
                    );
                }
            }
            sink(first, rows, &out);
            first += rows;
        }
    }

    /// A panel as it is stored, to be fetched ahead.
    pub(crate) fn panel_bytes(&self, panel: usize) -> &[u8] {
        let (panels, bytes) = match &self.storage {
            Storage::Codes { format, panels } => (panels, format.panel_bytes(self.inputs)),
            Storage::Floats { panels } => (panels, self.inputs * PANEL * 4),
        };
        &panels.as_slice()[panel * bytes..][..bytes]
    }
}

/// Rows of activations, in the form that a matrix takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) rows: usize,
    /// For matrices of codes.
    pub(crate) codes: QuantView<'a>,
    /// For matrices of floats: rows x inputs.
    pub(crate) floats: &'a [f32],
}

/// Six rows at a time, but without leaving a small rest: 8 rows are 4 + 4.
fn tile_rows(left: usize) -> usize {
    let tiles = left.div_ceil(TILE_ROWS);
    left.div_ceil(tiles)
}

fn pack_codes(
    kind: BlockType,
    shape: CodeShape,
    bytes: &[u8],
    inputs: usize,
    outputs: usize,
) -> Option<Storage> {
    let format = Format::new(shape);
    let panel_bytes = format.panel_bytes(inputs);
    let mut panels = AlignedBytes::zeroed(outputs.div_ceil(PANEL) * panel_bytes);
    let row_bytes = kind.row_bytes(inputs);
    let groups = inputs / shape.group;
    let (mut codes, mut scales) = (vec![0; inputs], vec![0.0; groups]);
    let (mut mins, mut factors) = (vec![0.0; groups], vec![(0.0, 0.0); inputs.div_ceil(256)]);
    for (output, blocks) in bytes.chunks_exact(row_bytes).take(outputs).enumerate() {
        let row = CodeRow {
            codes: &mut codes,
            scales: &mut scales,
            mins: &mut mins,
            factors: &mut factors,
        };
        read_checked(kind, blocks, row)?;
        let panel = &mut panels.as_mut_slice()[output / PANEL * panel_bytes..][..panel_bytes];
        let (header, blocks) = panel.split_at_mut(format.header_bytes(inputs));
        let column = output % PANEL;
        for (index, block) in blocks.chunks_exact_mut(format.block_bytes()).enumerate() {
            let (code_bytes, scale_bytes) = block.split_at_mut(format.code_bytes());
            put_codes(format, &codes[index * GROUP..][..GROUP], column, code_bytes);
            match format.scales {
                Scales::Half => put_half(scale_bytes, column, scales[index]),
                Scales::HalfMin => {
                    put_half(scale_bytes, column, scales[index]);
                    put_half(scale_bytes, PANEL + column, mins[index]);
                }
                Scales::Factored => {
                    scale_bytes[column] = scales[index] as u8;
                    scale_bytes[PANEL + column] = mins[index] as u8;
                }
                Scales::Sixteens => {
                    scale_bytes[column] = scales[index * 2] as i8 as u8;
                    scale_bytes[PANEL + column] = scales[index * 2 + 1] as i8 as u8;
                }
            }
        }
        for (index, &(factor, min_factor)) in factors.iter().enumerate() {
            match format.scales {
                Scales::Half | Scales::HalfMin => {}
                Scales::Factored => {
                    put_half(header, index * PANEL * 2 + column, factor);
                    put_half(header, index * PANEL * 2 + PANEL + column, min_factor);
                }
                Scales::Sixteens => put_half(header, index * PANEL + column, factor),
            }
        }
    }
    Some(Storage::Codes { format, panels })
}

fn read_checked(kind: BlockType, blocks: &[u8], mut row: CodeRow<'_>) -> Option<()> {
    kind.read_codes(blocks, &mut row);
    let finite = row.scales.iter().chain(row.mins.iter()).all(|number| number.is_finite())
        && row.factors.iter().all(|(factor, min)| factor.is_finite() && min.is_finite());
    finite.then_some(())
}

fn put_half(halves: &mut [u8], index: usize, value: f32) {
    // Exact: the value was read from an f16.
    halves[index * 2..][..2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

fn put_codes(format: Format, codes: &[u8], column: usize, packed: &mut [u8]) {
    for (input, &code) in codes.iter().enumerate() {
        if format.four_bits {
            let (input, shift) = (input % 16, input / 16 * 4);
            packed[input / 4 * PANEL * 4 + column * 4 + input % 4] |= code << shift;
        } else {
            packed[input / 4 * PANEL * 4 + column * 4 + input % 4] = code;
        }
    }
}

fn pack_floats(kind: BlockType, bytes: &[u8], inputs: usize, outputs: usize) -> Option<Storage> {
    let mut panels = AlignedBytes::zeroed(outputs.div_ceil(PANEL) * PANEL * inputs * 4);
    let mut row = vec![0.0; inputs];
    for (output, bytes) in bytes.chunks_exact(kind.row_bytes(inputs)).take(outputs).enumerate() {
        kind.read_floats(bytes, &mut row);
        if !row.iter().all(|weight| weight.is_finite()) {
            return None;
        }
        let panel = &mut panels.as_mut_floats()[output / PANEL * PANEL * inputs..];
        for (input, &weight) in row.iter().enumerate() {
            panel[input * PANEL + output % PANEL] = weight;
        }
    }
    Some(Storage::Floats { panels })
}
