//! The feed-forward network of a layer: `stream += down(activation(gate(x)) * up(x))`, x the row's norm.

use super::adapt::Addition;
use super::branch::Joining;
use super::buffers::SharedInputs;
use super::grid::Grid;
use super::linear::{Piece, rows_to_fetch};
use super::{Pass, ThreadScratch, Walk};
use crate::model::adapted::Projection;
use crate::model::shape::Activation;
use crate::model::weights::{Feed, Gated, Layer};
use jury_kernels::cpu::PANEL;
use jury_kernels::cpu::activations::{gelu_times, silu_times};
use jury_kernels::cpu::packed::{Input, PackedMatrix};
use jury_kernels::cpu::thread_pool::Claim;

/// One panel of a network's inner layer: of its gate, and of the matching up matrix.
#[derive(Clone, Copy)]
pub(super) struct GatedPanel<'b> {
    pub(super) gated: &'b Gated,
    pub(super) panel: usize,
    /// What to prefetch while computing the gate and the other.
    pub(super) prefetch: [&'b [u8]; 2],
    /// First row of the outputs: the row of the first input.
    pub(super) first_row: usize,
    /// What adapters add to the gate's outputs, and to the other's.
    pub(super) additions: [Option<Addition<'b>>; 2],
}

// === impl GatedPanel ===

impl<'b> GatedPanel<'b> {
    /// For a network without adapters.
    pub(super) fn plain(gated: &'b Gated, panel: usize, first_row: usize) -> GatedPanel<'b> {
        GatedPanel { gated, panel, prefetch: [&[], &[]], first_row, additions: [None, None] }
    }
}

// === impl Layer ===

impl Layer {
    /// What its feed-forward part leaves to be added to the stream.
    pub(super) fn after_feed(&self) -> Joining<'_> {
        match (&self.feed, &self.post_feed_norm) {
            (Feed::Experts { .. }, _) => Joining::Routed,
            (Feed::Dense(_), Some(norm)) => Joining::Normed(norm),
            (Feed::Dense(_), None) => Joining::Done,
        }
    }
}

impl Pass<'_> {
    /// `then` is the first matrix after this layer.
    pub(super) fn feed(&self, index: usize, then: &PackedMatrix, walk: &mut Walk<'_>) {
        let layer = &self.weights.layers[index];
        walk.thread.run_in_chunks(walk.rows, self.row_chunk, |claim, row| {
            self.normalise(claim, row, layer.after_attention(), &layer.feed_norm);
        });
        match &layer.feed {
            Feed::Dense(gated) => self.dense(index, gated, then, walk),
            Feed::Experts { router, experts, shared } => {
                self.route_to(router, shared.as_ref(), walk);
                self.experts(experts, shared.as_ref(), walk);
            }
        }
    }

    fn dense(&self, index: usize, gated: &Gated, then: &PackedMatrix, walk: &mut Walk<'_>) {
        let joining = self.weights.layers[index].after_feed();
        let inner = [Projection::Gate, Projection::Up];
        self.lower(index, &inner, &self.normed, walk);
        let (thread, strips) = (walk.thread.index(), self.strips(walk));
        let grid = Grid::new(walk.rows, gated.gate.panels(), thread);
        walk.thread.run_with_next(grid.pieces(), |claim, piece, next| {
            let (rows, panel) = grid.locate(piece);
            let prefetch = [&gated.gate, &gated.up]
                .map(|matrix| grid.prefetch(matrix, next, &gated.down, thread));
            let additions = inner.map(|projection| self.addition(claim, index, projection, strips));
            let work = GatedPanel { gated, panel, prefetch, first_row: rows.start, additions };
            let input = self.normed.rows(claim, rows);
            self.gate(claim, work, &input, &self.hidden, walk.scratch);
        });
        self.join_groups(&self.hidden, walk.rows, walk);
        self.lower(index, &[Projection::Down], &self.hidden, walk);
        let grid = Grid::new(walk.rows, gated.down.panels(), thread);
        let scratch = &mut walk.scratch.panel;
        walk.thread.run_with_next(grid.pieces(), |claim, piece, next| {
            let (rows, panel) = grid.locate(piece);
            let prefetch = grid.prefetch(&gated.down, next, then, thread);
            let addition = self.addition(claim, index, Projection::Down, strips);
            let piece = Piece::new(&gated.down, panel, prefetch);
            let piece = Piece { first_row: rows.start, addition, ..piece };
            self.join(claim, piece, &self.hidden.rows(claim, rows), scratch, joining);
        });
    }

    /// One panel of the inner layer, quantised for the next product (a panel is as wide as a group).
    pub(super) fn gate(
        &self,
        claim: &Claim<'_>,
        work: GatedPanel<'_>,
        input: &Input<'_>,
        hidden: &SharedInputs<'_>,
        scratch: &mut ThreadScratch,
    ) {
        let GatedPanel { gated, panel, prefetch, first_row, additions } = work;
        let piece = Piece::new(&gated.gate, panel, prefetch[0]);
        let piece = Piece { first_row, addition: additions[0], ..piece };
        let column = panel * PANEL;
        let ThreadScratch { gate, panel: scratch, .. } = scratch;
        for row in 0..rows_to_fetch(input.rows) {
            hidden.codes.prefetch_write(first_row + row, column..column + PANEL);
        }
        scratch.compute_to(self.level, piece, input, gate);
        let piece = Piece::new(&gated.up, panel, prefetch[1]);
        let piece = Piece { first_row, addition: additions[1], ..piece };
        let up = scratch.compute(self.level, piece, input);
        match self.shape.activation {
            Activation::Silu => silu_times(self.level, gate, up),
            Activation::GeluTanh => gelu_times(self.level, gate, up),
        }
        // An adapter of the next product needs floats.
        let keep_floats = gated.down.takes_floats() || self.adapts();
        hidden.put(claim, self.level, [first_row, column], gate, keep_floats);
    }
}
