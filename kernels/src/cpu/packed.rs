//! Weight matrices, repacked at load into panels of 32 outputs in the order in which the kernels read them.
//!
//! ```text
//! format.rs   panels of codes: 4, 5, 6 or 8 bits each, as in the file
//! pack.rs     from the file's blocks to panels; floats become panels with 32 floats for every input
//! ```
//!
//! Outputs are padded with zeros to a whole panel.

mod format;
mod pack;

pub use format::{BLOCK_CODES, Format, Scales};

use super::gemm::{Outputs, PanelGemm, QuantView, Workspace};
use super::gemm_f32::{Product, product};
use super::memory::{AlignedBytes, Arena};
use super::quantise::ScaleKind;
use super::{PANEL, SimdLevel};
use crate::blocks::BlockType;

/// A matrix of `outputs` x `inputs` weights.
#[derive(Debug)]
pub struct PackedMatrix {
    /// Rows of the matrix: outputs of a product.
    pub outputs: usize,
    /// Columns of the matrix: inputs of a product.
    pub inputs: usize,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Codes { format: Format, panels: AlignedBytes },
    Floats { panels: AlignedBytes },
}

/// Rows of activations, in the form that a matrix takes.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Number of rows.
    pub rows: usize,
    /// For matrices of codes.
    pub codes: QuantView<'a>,
    /// For matrices of floats: rows x inputs.
    pub floats: &'a [f32],
}

// === impl PackedMatrix ===

impl PackedMatrix {
    /// Packs rows of GGUF blocks. `None` if a scale is not finite, which means that the file is damaged.
    pub fn new(
        memory: &Arena,
        kind: BlockType,
        bytes: &[u8],
        inputs: usize,
        outputs: usize,
    ) -> Option<PackedMatrix> {
        let storage = match kind.code_shape() {
            Some(shape) => pack::pack_codes(memory, kind, shape, bytes, inputs, outputs)?,
            None => pack::pack_floats(memory, kind, bytes, inputs, outputs)?,
        };
        Some(PackedMatrix { outputs, inputs, storage })
    }

    /// Whether its inputs are floats rather than codes.
    #[inline]
    pub fn takes_floats(&self) -> bool {
        matches!(self.storage, Storage::Floats { .. })
    }

    /// The kind of scales that its inputs' groups must have.
    #[inline]
    pub fn input_scales(&self) -> ScaleKind {
        match &self.storage {
            Storage::Codes { format, .. } if format.is_factored() => ScaleKind::Power,
            _ => ScaleKind::Short,
        }
    }

    /// Number of panels: the units of work.
    #[inline]
    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Computes one panel's outputs for all rows: `out` is rows x 32. Meanwhile `prefetch`, the data needed next, is
    /// brought into the cache.
    pub fn panel(
        &self,
        level: SimdLevel,
        panel: usize,
        prefetch: &[u8],
        input: &Input<'_>,
        workspace: &mut Workspace,
        out: &mut [f32],
    ) {
        match &self.storage {
            Storage::Codes { format, .. } => {
                let rows = input.codes.rows(0, input.rows);
                let panel = self.panel_bytes(panel);
                let product = PanelGemm { format: *format, panel, rows, prefetch };
                product.compute(level, workspace, Outputs { floats: out, stride: PANEL });
            }
            Storage::Floats { panels } => {
                let floats = self.inputs * PANEL;
                let these = &panels.as_floats()[panel * floats..][..floats];
                product(
                    level,
                    Product {
                        a: input.floats,
                        a_stride: self.inputs,
                        b: these,
                        b_stride: PANEL,
                        c: out,
                        c_stride: PANEL,
                        rows: input.rows,
                        inner: self.inputs,
                        columns: PANEL,
                        accumulate: false,
                    },
                );
            }
        }
    }

    /// A panel's stored bytes, for prefetching.
    #[inline]
    pub fn panel_bytes(&self, panel: usize) -> &[u8] {
        let (panels, bytes) = match &self.storage {
            Storage::Codes { format, panels } => (panels, format.panel_bytes(self.inputs)),
            Storage::Floats { panels } => (panels, self.inputs * PANEL * 4),
        };
        &panels.as_slice()[panel * bytes..][..bytes]
    }
}
