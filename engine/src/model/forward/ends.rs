//! Both ends of a pass: tokens become rows of the residual stream, wanted rows become logits.

use super::branch::Joining;
use super::linear::{Piece, copy};
use super::{Forward, Pass, Walk, span};
use jury_kernels::cpu::PANEL;
use jury_kernels::cpu::activations::soft_cap;

// Safety of all methods: called by every member that takes part, in the same order. A member that comes late runs
// through phases that are over without touching anything, so views are made inside claimed pieces only.
impl Pass<'_> {
    pub(super) unsafe fn embed(&self, walk: &mut Walk<'_>) {
        let scale = self.shape.embedding_scale;
        walk.parallel_for().run_in_chunks(self.rows(), self.row_chunk, |row| {
            // SAFETY: the piece is this row.
            let stream = unsafe { self.stream.part(span(row, self.shape.width)) };
            self.weights.embedding.row(self.batch.rows[row].token, stream);
            if scale != 1.0 {
                stream.iter_mut().for_each(|value| *value *= scale);
            }
        });
    }

    /// `joining` is what the last layer leaves to be done.
    pub(super) unsafe fn head(&self, joining: Joining<'_>, walk: &mut Walk<'_>) {
        let head = &self.weights.head;
        let stride = Forward::logits_stride(self.shape);
        walk.parallel_for().run(self.wanted.len(), |index| {
            let norm = &self.weights.output_norm;
            // SAFETY: the piece is this row, one of those that the last layer has left.
            unsafe { self.normalise(index, index, joining, norm) };
        });
        let (parallel_for, scratch) = (walk.parallel_for(), &mut walk.scratch.panel);
        // The chunk of a prompt that goes on wants none.
        let panels = if self.wanted.is_empty() { 0 } else { head.panels() };
        parallel_for.run_with_next(panels, |panel, next| {
            // SAFETY: the rows were written in the last phase.
            let input = unsafe { self.normed.rows(0..self.wanted.len()) };
            let prefetch = next.map_or(&[][..], |next| head.panel_bytes(next));
            self.outputs(Piece::new(head, panel, prefetch), &input, scratch, |row, outputs| {
                let at = row * stride + panel * PANEL;
                // SAFETY: the piece is this panel's columns.
                let logits = unsafe { self.logits.part(at..at + PANEL) };
                let (logits, beyond) = logits.split_at_mut(outputs.len());
                copy(outputs, logits);
                if let Some(cap) = self.shape.logit_softcap {
                    soft_cap(self.level, logits, cap);
                }
                beyond.fill(f32::NEG_INFINITY);
            });
        });
    }
}
