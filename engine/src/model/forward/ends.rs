//! Both ends of a pass: tokens become rows of the residual stream, wanted rows become logits.

use super::linear::{columns, each_row};
use super::{Forward, Pass, Walk, span};
use crate::kernels::PANEL;

// Safety of all methods: called by every member that takes part, in the same order. A member that comes late runs
// through phases that are over without touching anything, so views are made inside claimed pieces only.
impl Pass<'_> {
    pub(super) unsafe fn embed(&self, walk: &mut Walk<'_>) {
        walk.phase().run_in_chunks(self.rows(), self.row_chunk, |row| {
            // SAFETY: the piece is this row.
            let stream = unsafe { self.stream.part(span(row, self.shape.width)) };
            self.weights.embedding.row(self.batch.rows[row].token, stream);
        });
    }

    pub(super) unsafe fn head(&self, walk: &mut Walk<'_>) {
        let head = &self.weights.head;
        let stride = Forward::logits_stride(self.shape);
        walk.phase().run(self.wanted.len(), |index| {
            // SAFETY: the piece is this wanted row, which moves to the front of the inputs.
            unsafe { self.normalise(self.wanted[index], index, &self.weights.output_norm) };
        });
        let member = walk.member;
        walk.phase().run_ahead(member, head.panels(), |panel, next| {
            // SAFETY: the rows were written in the last phase.
            let input = unsafe { self.width_codes.input(self.wanted.len(), &self.normed) };
            let width = columns(head, panel).len();
            let ahead = next.map_or(&[][..], |next| head.panel_bytes(next));
            head.panel(self.level, panel, ahead, &input, |first, count, tile| {
                each_row(tile, first, count, |row, tile| {
                    let at = row * stride + panel * PANEL;
                    // SAFETY: the piece is this panel's columns.
                    let out = unsafe { self.logits.part(at..at + PANEL) };
                    out[..width].copy_from_slice(&tile[..width]);
                    out[width..].fill(f32::NEG_INFINITY);
                });
            });
        });
    }
}
