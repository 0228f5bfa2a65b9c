//! The two ends of a pass: tokens become rows of the residual stream, wanted rows become logits.

use super::branch::Joining;
use super::linear::{Piece, copy};
use super::{Pass, Walk};
use jury_kernels::cpu::PANEL;
use jury_kernels::cpu::activations::soft_cap;

impl Pass<'_> {
    pub(super) fn embed(&self, walk: &mut Walk<'_>) {
        let scale = self.shape.embedding_scale;
        walk.thread.run_in_chunks(self.rows(), self.row_chunk, |claim, row| {
            let stream = self.stream.row(claim, row);
            self.weights.embedding.row(self.batch.rows[row].token, stream);
            if scale != 1.0 {
                stream.iter_mut().for_each(|value| *value *= scale);
            }
        });
    }

    /// `joining` is what the last layer left to be added.
    pub(super) fn head(&self, joining: Joining<'_>, walk: &mut Walk<'_>) {
        let head = &self.weights.head;
        let wanted = self.wanted.len();
        walk.thread.run(wanted, |claim, row| {
            self.normalise(claim, row, joining, &self.weights.output_norm);
        });
        let scratch = &mut walk.scratch.panel;
        // The chunk of an unfinished prompt wants none.
        let panels = if self.wanted.is_empty() { 0 } else { head.panels() };
        walk.thread.run_with_next(panels, |claim, panel, next| {
            let input = self.normed.rows(claim, 0..wanted);
            let prefetch = next.map_or(&[][..], |next| head.panel_bytes(next));
            let columns = panel * PANEL..(panel + 1) * PANEL;
            let mut block = self.logits.block(claim, 0..wanted, columns);
            self.outputs(Piece::new(head, panel, prefetch), &input, scratch, |row, outputs| {
                let (logits, beyond) = block.row(row).split_at_mut(outputs.len());
                copy(outputs, logits);
                if let Some(cap) = self.shape.logit_softcap {
                    soft_cap(self.level, logits, cap);
                }
                beyond.fill(f32::NEG_INFINITY);
            });
        });
    }
}
