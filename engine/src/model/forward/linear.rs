//! Inputs and outputs of the matrix products, as the pieces of a pass share them.

use super::{Pass, span};
use crate::kernels::PANEL;
use crate::kernels::codes::Tile;
use crate::kernels::disjoint::Disjoint;
use crate::kernels::packed::{Input, Packed};
use crate::kernels::rows::{quantise, rms_norm};
use crate::kernels::team::Member;
use crate::model::weights::Linear;

// === impl Pass ===

impl Pass<'_> {
    pub(super) fn rows(&self) -> usize {
        self.batch.rows.len()
    }

    /// Norm and quantisation of a row of the residual stream, to row `to` of the inputs.
    ///
    /// # Safety
    /// The caller's piece is both rows.
    pub(super) unsafe fn normalise(&self, row: usize, to: usize, weight: &[f32]) {
        let (width, epsilon) = (self.shape.width, self.shape.norm_epsilon);
        // SAFETY: the caller's promise.
        unsafe {
            let stream = self.stream.read(span(row, width));
            let normed = self.normed.part(span(to, width));
            rms_norm(self.level, stream, weight, epsilon, normed);
            quantise(self.level, normed, self.width_codes.part(to, 0, width));
        }
    }

    /// Writes a panel's outputs, with their bias.
    ///
    /// # Safety
    /// The caller's piece is this panel's columns of `out`.
    pub(super) unsafe fn store_panel(
        &self,
        linear: &Linear,
        panel: usize,
        ahead: &[u8],
        input: &Input<'_>,
        out: &Disjoint<'_, f32>,
    ) {
        let columns = columns(&linear.matrix, panel);
        linear.matrix.panel(self.level, panel, ahead, input, |first, count, tile| {
            each_row(tile, first, count, |row, tile| {
                let at = row * linear.matrix.outputs + columns.start;
                // SAFETY: the caller's promise.
                let out = unsafe { out.part(at..at + columns.len()) };
                match &linear.bias {
                    None => out.copy_from_slice(&tile[..columns.len()]),
                    Some(bias) => {
                        for ((out, &value), &bias) in
                            out.iter_mut().zip(tile).zip(&bias[columns.clone()])
                        {
                            *out = value + bias;
                        }
                    }
                }
            });
        });
    }

    /// Adds a panel's outputs to the residual stream.
    ///
    /// # Safety
    /// The caller's piece is this panel's columns of the stream.
    pub(super) unsafe fn add_panel(
        &self,
        matrix: &Packed,
        panel: usize,
        ahead: &[u8],
        input: &Input<'_>,
    ) {
        let columns = columns(matrix, panel);
        matrix.panel(self.level, panel, ahead, input, |first, count, tile| {
            each_row(tile, first, count, |row, tile| {
                let at = row * matrix.outputs + columns.start;
                // SAFETY: the caller's promise.
                let out = unsafe { self.stream.part(at..at + columns.len()) };
                for (out, &value) in out.iter_mut().zip(tile) {
                    *out += value;
                }
            });
        });
    }
}

/// What a member should fetch while it computes a panel: its next panel of the same matrix, or else the panel of the
/// matrix after this that the member will get first.
pub(super) fn ahead<'b>(
    matrix: &'b Packed,
    next: Option<usize>,
    then: &'b Packed,
    member: Member,
) -> &'b [u8] {
    match next {
        Some(next) => matrix.panel_bytes(next),
        None => then.panel_bytes(member.number.min(then.panels() - 1)),
    }
}

/// The outputs of a panel.
pub(super) fn columns(matrix: &Packed, panel: usize) -> std::ops::Range<usize> {
    panel * PANEL..matrix.outputs.min((panel + 1) * PANEL)
}

/// Visits the rows of a tile.
pub(super) fn each_row(
    tile: &Tile,
    first: usize,
    count: usize,
    mut visit: impl FnMut(usize, &[f32; PANEL]),
) {
    for (index, tile) in tile.iter().enumerate().take(count) {
        visit(first + index, tile);
    }
}
