//! Matrix products by panels: the pieces of a phase.

use std::ops::Range;

use super::adapt::Addition;
use super::buffers::SharedInputs;
use super::{Pass, Walk};
use jury_kernels::cpu::gemm::Workspace;
use jury_kernels::cpu::packed::{Input, PackedMatrix};
use jury_kernels::cpu::shared::{Block, SharedRows};
use jury_kernels::cpu::thread_pool::Claim;
use jury_kernels::cpu::{PANEL, SimdLevel};

/// One panel of a product.
#[derive(Clone, Copy)]
pub(super) struct Piece<'b> {
    pub(super) matrix: &'b PackedMatrix,
    pub(super) bias: Option<&'b [f32]>,
    /// What adapters add.
    pub(super) addition: Option<Addition<'b>>,
    pub(super) panel: usize,
    /// The output row of the first input.
    pub(super) first_row: usize,
    /// What the thread will need next, prefetched into the cache meanwhile.
    pub(super) prefetch: &'b [u8],
}

/// A thread's scratch memory for the product of a panel.
#[derive(Debug, Default)]
pub(super) struct PanelScratch {
    workspace: Workspace,
    /// Rows x 32 outputs.
    out: Vec<f32>,
}

// === impl PanelScratch ===

impl PanelScratch {
    /// Computes a panel's outputs, rows x 32, without the bias.
    pub(super) fn compute(
        &mut self,
        level: SimdLevel,
        piece: Piece<'_>,
        input: &Input<'_>,
    ) -> &[f32] {
        self.out.resize(input.rows * PANEL, 0.0);
        piece.compute(level, input, &mut self.workspace, &mut self.out);
        &self.out
    }

    /// The same, into memory of the caller.
    pub(super) fn compute_to(
        &mut self,
        level: SimdLevel,
        piece: Piece<'_>,
        input: &Input<'_>,
        out: &mut Vec<f32>,
    ) {
        out.resize(input.rows * PANEL, 0.0);
        piece.compute(level, input, &mut self.workspace, out);
    }
}

// === impl Piece ===

impl<'b> Piece<'b> {
    pub(super) fn new(matrix: &'b PackedMatrix, panel: usize, prefetch: &'b [u8]) -> Piece<'b> {
        Piece { matrix, bias: None, addition: None, panel, first_row: 0, prefetch }
    }

    fn compute(
        self,
        level: SimdLevel,
        input: &Input<'_>,
        workspace: &mut Workspace,
        out: &mut [f32],
    ) {
        self.matrix.panel(level, self.panel, self.prefetch, input, workspace, out);
        if let Some(addition) = self.addition {
            addition.add(level, self.panel, self.first_row, out);
        }
    }

    /// The outputs of the panel.
    pub(super) fn columns(&self) -> Range<usize> {
        self.panel * PANEL..self.matrix.outputs.min((self.panel + 1) * PANEL)
    }
}

// === impl Pass ===

impl Pass<'_> {
    pub(super) fn rows(&self) -> usize {
        self.batch.rows.len()
    }

    /// A phase that completes rows whose floats were written by several pieces, if products need that.
    pub(super) fn complete(&self, inputs: &SharedInputs<'_>, rows: usize, walk: &mut Walk<'_>) {
        self.each_joined_row(inputs, rows, walk, |claim, row| {
            inputs.complete(claim, self.level, row);
        });
    }

    /// The same for rows of which only codes are stored.
    pub(super) fn join_groups(&self, inputs: &SharedInputs<'_>, rows: usize, walk: &mut Walk<'_>) {
        self.each_joined_row(inputs, rows, walk, |claim, row| {
            inputs.codes.join_groups(claim, self.level, row);
        });
    }

    /// A phase over rows, if their groups are to be joined.
    fn each_joined_row(
        &self,
        inputs: &SharedInputs<'_>,
        rows: usize,
        walk: &mut Walk<'_>,
        join: impl FnMut(&Claim<'_>, usize),
    ) {
        if inputs.codes.has_superblocks() {
            walk.thread.run_in_chunks(rows, self.row_chunk, join);
        }
    }

    /// Computes a panel and visits every row's outputs, without the bias: the row's index among the inputs, and the
    /// outputs.
    pub(super) fn outputs(
        &self,
        piece: Piece<'_>,
        input: &Input<'_>,
        scratch: &mut PanelScratch,
        mut visit: impl FnMut(usize, &[f32]),
    ) {
        let width = piece.columns().len();
        let outputs = scratch.compute(self.level, piece, input);
        for (row, outputs) in outputs.chunks_exact(PANEL).enumerate() {
            visit(row, &outputs[..width]);
        }
    }

    /// Writes a panel's outputs to its columns of rows of `out`, which are as wide as the matrix.
    pub(super) fn store(
        &self,
        claim: &Claim<'_>,
        piece: Piece<'_>,
        input: &Input<'_>,
        scratch: &mut PanelScratch,
        out: &SharedRows<'_, f32>,
    ) {
        let columns = piece.columns();
        let mut block = fetch_block(claim, out, &piece, input.rows);
        self.outputs(piece, input, scratch, |row, outputs| {
            let out = block.row(row);
            match piece.bias {
                None => copy(outputs, out),
                Some(bias) => {
                    for ((out, &value), &bias) in
                        out.iter_mut().zip(outputs).zip(&bias[columns.clone()])
                    {
                        *out = value + bias;
                    }
                }
            }
        });
    }

    /// Adds a panel's outputs to its columns of the residual stream.
    pub(super) fn add(
        &self,
        claim: &Claim<'_>,
        piece: Piece<'_>,
        input: &Input<'_>,
        scratch: &mut PanelScratch,
    ) {
        let mut block = fetch_block(claim, &self.stream, &piece, input.rows);
        self.outputs(piece, input, scratch, |row, outputs| {
            for (to, &value) in block.row(row).iter_mut().zip(outputs) {
                *to += value;
            }
        });
    }
}

/// The place of a panel's outputs. Starts prefetching it, to be written once they are computed.
fn fetch_block<'p>(
    claim: &'p Claim<'_>,
    out: &'p SharedRows<'_, f32>,
    piece: &Piece<'_>,
    rows: usize,
) -> Block<'p, f32> {
    for row in 0..rows_to_fetch(rows) {
        out.prefetch_write(piece.first_row + row, &piece.columns());
    }
    out.block(claim, piece.first_row..piece.first_row + rows, piece.columns())
}

/// Number of rows whose outputs are prefetched before they are computed: more would not stay in the cache.
pub(super) fn rows_to_fetch(rows: usize) -> usize {
    const MOST: usize = 64;
    if rows <= MOST { rows } else { 0 }
}

/// Copies a panel's outputs, without a function call if the panel is whole.
pub(super) fn copy(outputs: &[f32], to: &mut [f32]) {
    match (outputs.as_chunks::<PANEL>(), to.as_chunks_mut::<PANEL>()) {
        (([outputs], []), ([to], [])) => *to = *outputs,
        _ => to.copy_from_slice(outputs),
    }
}
