//! Adapters of rows: adds `scale * B (A x)` to a projection's outputs.
//!
//! ```text
//! inputs of some projections --A of each, strip by strip: a phase--> low: rows x projections x rank
//! a projection's computed panel --B's panel, strip by strip--> added to the same outputs
//! ```
//!
//! A strip is a few neighbouring rows of one adapter. Sums run in the order of the inputs, whatever other rows there
//! are (see `kernels/src/cpu/gemm_f32.rs`), so a row's bits depend on its own adapter and input alone. A pass without
//! adapters has none of these phases.

use std::ops::Range;
use std::sync::Arc;

use super::buffers::SharedInputs;
use super::{Pass, Walk};
use crate::model::adapted::{Adapted, Projection};
use jury_kernels::cpu::gemm_f32::{Product, product};
use jury_kernels::cpu::thread_pool::Claim;
use jury_kernels::cpu::{PANEL, SimdLevel};

/// Additional phases of a layer: for the inputs of queries, keys and values, of the output, of gate and up, and of
/// down.
pub(super) const PHASES: usize = 4;
/// Maximum number of projections with the same inputs.
pub(super) const MOST_BESIDE: usize = 3;
/// Maximum rows of a strip, so that there are pieces for several threads.
const STRIP_ROWS: usize = 16;

/// Rows of a batch that use one adapter.
#[derive(Debug, Clone)]
pub(crate) struct AdaptedRows {
    pub(crate) rows: Range<usize>,
    pub(crate) adapter: Arc<Adapted>,
}

/// A few neighbouring rows of one adapter.
#[derive(Debug, Clone)]
pub(super) struct Strip<'a> {
    rows: Range<usize>,
    adapter: &'a Adapted,
}

/// What is added to a panel's outputs.
#[derive(Clone, Copy)]
pub(super) struct Addition<'b> {
    layer: usize,
    projection: Projection,
    strips: &'b [Strip<'b>],
    /// Products with A: rows x projections x room for a rank.
    low: &'b [f32],
    /// Floats between the starts of two projections.
    width: usize,
}

/// Strips of all rows of a batch, and of those whose logits are wanted, by their new indices.
pub(super) fn strips<'a>(adapted: &'a [AdaptedRows], wanted: &[usize]) -> [Vec<Strip<'a>>; 2] {
    let (mut all, mut leaving) = (Vec::new(), Vec::new());
    for AdaptedRows { rows, adapter } in adapted {
        cut(rows.clone(), adapter, &mut all);
        let new = |row: usize| wanted.partition_point(|&wanted| wanted < row);
        cut(new(rows.start)..new(rows.end), adapter, &mut leaving);
    }
    [all, leaving]
}

fn cut<'a>(rows: Range<usize>, adapter: &'a Adapted, strips: &mut Vec<Strip<'a>>) {
    for first in rows.clone().step_by(STRIP_ROWS) {
        strips.push(Strip { rows: first..rows.end.min(first + STRIP_ROWS), adapter });
    }
}

impl Pass<'_> {
    /// One phase: multiplies inputs with A of each of their projections.
    pub(super) fn lower(
        &self,
        layer: usize,
        projections: &[Projection],
        inputs: &SharedInputs<'_>,
        walk: &mut Walk<'_>,
    ) {
        if self.adapter_width == 0 {
            return;
        }
        let (strips, width) = (self.strips(walk), self.adapter_width);
        let scratch = &mut walk.scratch.low;
        walk.thread.run(strips.len() * projections.len(), |claim, piece| {
            let Strip { rows, adapter } = &strips[piece / projections.len()];
            let projection = projections[piece % projections.len()];
            let Some(part) = adapter.part(layer, projection) else { return };
            scratch.resize(rows.len() * part.columns, 0.0);
            product(
                self.level,
                Product {
                    a: inputs.floats.read(claim, rows.clone()),
                    a_stride: part.inputs,
                    b: &part.a,
                    b_stride: part.columns,
                    c: scratch,
                    c_stride: part.columns,
                    rows: rows.len(),
                    inner: part.inputs,
                    columns: part.columns,
                    accumulate: false,
                },
            );
            let first = projection.place() * width;
            let mut low = self.low.block(claim, rows.clone(), first..first + part.columns);
            for (row, product) in scratch.chunks_exact(part.columns).enumerate() {
                low.row(row).copy_from_slice(product);
            }
        });
    }

    /// What to add to the outputs of a projection whose inputs [`Pass::lower`] has multiplied.
    pub(super) fn addition<'p>(
        &'p self,
        claim: &'p Claim<'_>,
        layer: usize,
        projection: Projection,
        strips: &'p [Strip<'p>],
    ) -> Option<Addition<'p>> {
        let width = self.adapter_width;
        if width == 0 {
            return None;
        }
        let low = self.low.read(claim, 0..self.rows());
        Some(Addition { layer, projection, strips, low, width })
    }

    /// Strips of the rows that are computed now.
    pub(super) fn strips(&self, walk: &Walk<'_>) -> &[Strip<'_>] {
        &self.strips[usize::from(walk.rows_left)]
    }

    /// Whether any row of the batch has an adapter.
    pub(super) fn adapts(&self) -> bool {
        self.adapter_width > 0
    }
}

// === impl Addition ===

impl Addition<'_> {
    /// Adds to a panel's outputs, rows x 32, of the rows from `first_row` on.
    pub(super) fn add(&self, level: SimdLevel, panel: usize, first_row: usize, out: &mut [f32]) {
        let end = first_row + out.len() / PANEL;
        let stride = MOST_BESIDE * self.width;
        for Strip { rows, adapter } in self.strips {
            let rows = rows.start.max(first_row)..rows.end.min(end);
            let Some(part) = adapter.part(self.layer, self.projection) else { continue };
            if rows.is_empty() {
                continue;
            }
            product(
                level,
                Product {
                    a: &self.low[rows.start * stride + self.projection.place() * self.width..],
                    a_stride: stride,
                    b: part.b(panel),
                    b_stride: PANEL,
                    c: &mut out[(rows.start - first_row) * PANEL..],
                    c_stride: PANEL,
                    rows: rows.len(),
                    inner: part.rank,
                    columns: PANEL,
                    accumulate: true,
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_hold_every_adapted_row_once_before_and_after_rows_leave() {
        let adapter = Arc::new(Adapted::new(1));
        let adapted = [(2..40, &adapter), (45..46, &adapter), (50..60, &adapter)]
            .map(|(rows, adapter)| AdaptedRows { rows, adapter: adapter.clone() });
        let wanted = [0, 3, 39, 41, 45, 59, 60];
        let [all, leaving] = strips(&adapted, &wanted);
        let rows = |strips: &[Strip<'_>]| -> Vec<usize> {
            strips.iter().flat_map(|strip| strip.rows.clone()).collect()
        };
        assert_eq!(rows(&all), (2..40).chain(45..46).chain(50..60).collect::<Vec<_>>());
        assert_eq!(rows(&leaving), [1, 2, 4, 5]);
        assert!(all.iter().all(|strip| strip.rows.len() <= STRIP_ROWS));
    }
}
