//! Matrix products by panels, as the pieces of a phase compute them.

use std::ops::Range;

use super::buffers::SharedInputs;
use super::{Pass, Walk, span};
use jury_kernels::cpu::disjoint::Disjoint;
use jury_kernels::cpu::gemm::Workspace;
use jury_kernels::cpu::packed::{Input, PackedMatrix};
use jury_kernels::cpu::{PANEL, SimdLevel};

/// One panel of a product.
#[derive(Clone, Copy)]
pub(super) struct Piece<'b> {
    pub(super) matrix: &'b PackedMatrix,
    pub(super) bias: Option<&'b [f32]>,
    pub(super) panel: usize,
    /// The row of the outputs that the first input's go to.
    pub(super) first_row: usize,
    /// What the thread will want next: fetched into the cache meanwhile.
    pub(super) prefetch: &'b [u8],
}

/// A thread's memory for the product of a panel.
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

    /// The same, to memory of the caller's.
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
        Piece { matrix, bias: None, panel, first_row: 0, prefetch }
    }

    fn compute(
        self,
        level: SimdLevel,
        input: &Input<'_>,
        workspace: &mut Workspace,
        out: &mut [f32],
    ) {
        self.matrix.panel(level, self.panel, self.prefetch, input, workspace, out);
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

    /// A phase that completes rows whose floats several pieces wrote, where products want that.
    ///
    /// # Safety
    /// The rows were written in an earlier phase.
    pub(super) unsafe fn complete(
        &self,
        inputs: &SharedInputs<'_>,
        rows: usize,
        walk: &mut Walk<'_>,
    ) {
        // SAFETY: pieces are rows.
        self.each_joined_row(inputs, rows, walk, |row| unsafe { inputs.complete(self.level, row) });
    }

    /// The same for rows of which only codes are kept.
    ///
    /// # Safety
    /// As above.
    pub(super) unsafe fn join_groups(
        &self,
        inputs: &SharedInputs<'_>,
        rows: usize,
        walk: &mut Walk<'_>,
    ) {
        let codes = &inputs.codes;
        // SAFETY: pieces are rows.
        self.each_joined_row(inputs, rows, walk, |row| unsafe {
            codes.join_groups(self.level, row);
        });
    }

    /// A phase over rows, if their groups are to be joined.
    fn each_joined_row(
        &self,
        inputs: &SharedInputs<'_>,
        rows: usize,
        walk: &mut Walk<'_>,
        join: impl FnMut(usize),
    ) {
        if inputs.codes.has_superblocks() {
            walk.parallel_for().run_in_chunks(rows, self.row_chunk, join);
        }
    }

    /// Computes a panel and visits every row's outputs, without the bias: its number among rows of outputs, and they.
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
            visit(piece.first_row + row, &outputs[..width]);
        }
    }

    /// Writes a panel's outputs to rows of `out`, which are as wide as the matrix.
    ///
    /// # Safety
    /// The caller's piece is this panel's columns of `out`.
    pub(super) unsafe fn store(
        &self,
        piece: Piece<'_>,
        input: &Input<'_>,
        scratch: &mut PanelScratch,
        out: &Disjoint<'_, f32>,
    ) {
        let (columns, width) = (piece.columns(), piece.matrix.outputs);
        fetch_columns(out, piece.first_row, input.rows, width, &columns);
        self.outputs(piece, input, scratch, |row, outputs| {
            // SAFETY: the caller's promise.
            let out = unsafe { out.part(within(row, width, &columns)) };
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

    /// Adds a panel's outputs to the residual stream.
    ///
    /// # Safety
    /// The caller's piece is this panel's columns of the stream.
    pub(super) unsafe fn add(
        &self,
        piece: Piece<'_>,
        input: &Input<'_>,
        scratch: &mut PanelScratch,
    ) {
        let (columns, width) = (piece.columns(), self.shape.width);
        fetch_columns(&self.stream, piece.first_row, input.rows, width, &columns);
        self.outputs(piece, input, scratch, |row, outputs| {
            // SAFETY: the caller's promise.
            let stream = unsafe { self.stream.part(within(row, width, &columns)) };
            for (to, &value) in stream.iter_mut().zip(outputs) {
                *to += value;
            }
        });
    }
}

/// Starts to bring some columns of some rows here, to be written when they are computed.
fn fetch_columns(
    out: &Disjoint<'_, f32>,
    first_row: usize,
    rows: usize,
    width: usize,
    columns: &Range<usize>,
) {
    for row in 0..rows_to_fetch(rows) {
        out.prefetch_write(within(first_row + row, width, columns));
    }
}

/// Of how many rows outputs are fetched before they are computed: of more they would not stay in the cache.
pub(super) fn rows_to_fetch(rows: usize) -> usize {
    const MOST: usize = 64;
    if rows <= MOST { rows } else { 0 }
}

/// Copies a panel's outputs, without a call where it is a whole panel.
pub(super) fn copy(outputs: &[f32], to: &mut [f32]) {
    match (outputs.as_chunks::<PANEL>(), to.as_chunks_mut::<PANEL>()) {
        (([outputs], []), ([to], [])) => *to = *outputs,
        _ => to.copy_from_slice(outputs),
    }
}

/// Columns of a row of `width` elements.
pub(super) fn within(row: usize, width: usize, columns: &Range<usize>) -> Range<usize> {
    let row = span(row, width).start;
    row + columns.start..row + columns.end
}
