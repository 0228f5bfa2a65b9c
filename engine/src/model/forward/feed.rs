//! The feed-forward network of a layer: `stream += down(activation(gate(x)) * up(x))`, x the row's norm.

use super::linear::{ahead, columns};
use super::{Pass, Walk};
use crate::kernels::PANEL;
use crate::kernels::packed::{Input, Packed};
use crate::kernels::rows::{quantise, silu_times};
use crate::model::weights::{Feed, Gated, Layer};

// Safety of all methods: see `ends.rs`.
impl Pass<'_> {
    /// `then` is the matrix that comes after this layer.
    pub(super) unsafe fn feed(&self, layer: &Layer, then: &Packed, walk: &mut Walk<'_>) {
        let Feed::Dense(gated) = &layer.feed else {
            unreachable!("`runnable` refuses experts");
        };
        // SAFETY (whole body): pieces are rows or panels' columns, written in this phase and read in the next.
        unsafe {
            walk.phase().run_in_chunks(self.rows(), self.row_chunk, |row| {
                self.normalise(row, row, &layer.feed_norm)
            });
            let member = walk.member;
            let (phase, gate) = (walk.phase(), &mut walk.scratch.gate);
            phase.run_ahead(member, gated.gate.panels(), |panel, next| {
                let input = self.width_codes.input(self.rows(), &self.normed);
                let ahead = [
                    ahead(&gated.gate, next, &gated.down, member),
                    ahead(&gated.up, next, &gated.down, member),
                ];
                self.gate_panel(gated, panel, ahead, &input, gate);
            });
            walk.phase().run_ahead(member, gated.down.panels(), |panel, next| {
                let input = self.hidden_codes.input(self.rows(), &self.hidden);
                self.add_panel(&gated.down, panel, ahead(&gated.down, next, then, member), &input);
            });
        }
    }

    /// One panel of the inner layer, quantised for the next product (a panel is as wide as a group).
    unsafe fn gate_panel(
        &self,
        gated: &Gated,
        panel: usize,
        ahead: [&[u8]; 2],
        input: &Input<'_>,
        gate: &mut Vec<f32>,
    ) {
        let columns = columns(&gated.gate, panel);
        gate.resize(input.rows * PANEL, 0.0);
        gated.gate.panel(self.level, panel, ahead[0], input, |first, count, tile| {
            gate[first * PANEL..][..count * PANEL].copy_from_slice(tile[..count].as_flattened());
        });
        gated.up.panel(self.level, panel, ahead[1], input, |first, count, tile| {
            let gate = &mut gate[first * PANEL..][..count * PANEL];
            silu_times(self.level, gate, tile[..count].as_flattened());
            for (row, gate) in (first..).zip(gate.chunks_exact(PANEL)) {
                let at = row * self.shape.hidden + columns.start;
                // SAFETY: this panel's columns are this thread's.
                let (hidden, codes) = unsafe {
                    let codes = self.hidden_codes.part(row, columns.start, columns.len());
                    (self.hidden.part(at..at + columns.len()), codes)
                };
                hidden.copy_from_slice(&gate[..columns.len()]);
                quantise(self.level, hidden, codes);
            }
        });
    }
}
