//! The attention of a layer: queries, keys and values, their rotation and storage, attention, and its output.
//!
//! Latent attention computes its queries, keys and values differently: `latent.rs`.

use super::branch::Joining;
use super::buffers::SharedInputs;
use super::grid::Grid;
use super::linear::Piece;
use super::{Pass, Walk, span};
use crate::model::adapted::Projection;
use crate::model::attention::{AttentionLayer, KeyShift};
use crate::model::kv::{Slot, store_key, store_value};
use crate::model::weights::{Attention, Layer, Linear};
use jury_kernels::cpu::packed::PackedMatrix;
use jury_kernels::cpu::rows::{rms_norm, rotate};
use jury_kernels::cpu::shared::SharedRows;
use jury_kernels::cpu::thread_pool::Claim;

/// Projections of all heads, from the same inputs.
struct Projections<'b> {
    query: &'b Linear,
    key: &'b Linear,
    value: &'b Linear,
    output: &'b PackedMatrix,
}

// === impl Layer ===

impl Layer {
    /// What its attention leaves to be added to the stream.
    pub(super) fn after_attention(&self) -> Joining<'_> {
        self.post_attention_norm.as_deref().map_or(Joining::Done, Joining::Normed)
    }
}

impl Pass<'_> {
    /// `before` is what the previous layer left to be added.
    pub(super) fn attend(
        &self,
        index: usize,
        layer: &Layer,
        before: Joining<'_>,
        walk: &mut Walk<'_>,
    ) {
        let is_last = index + 1 == self.shape.layers;
        walk.thread.run_in_chunks(self.rows(), self.row_chunk, |claim, row| {
            self.normalise(claim, row, before, &layer.attention_norm);
        });
        let (output, input) = match &layer.attention {
            Attention::Heads { query, key, value, output } => {
                self.heads(index, layer, &Projections { query, key, value, output }, walk);
                self.score(index, walk);
                if is_last {
                    self.leave_rows(walk);
                }
                (output, &self.attended)
            }
            Attention::Latent(latent) => {
                self.compress(index, latent, walk);
                self.score(index, walk);
                if is_last {
                    self.leave_rows(walk);
                }
                self.expand(latent, walk);
                (&latent.output, &self.latent.expanded)
            }
        };
        self.output(index, output, input, walk);
    }

    fn heads(
        &self,
        index: usize,
        layer: &Layer,
        projections: &Projections<'_>,
        walk: &mut Walk<'_>,
    ) {
        let Projections { query, key, value, output } = *projections;
        let products = [
            (Projection::Query, query, &self.queries),
            (Projection::Key, key, &self.keys),
            (Projection::Value, value, &self.values),
        ];
        self.lower(index, &products.map(|(projection, ..)| projection), &self.normed, walk);
        let panels = products.iter().map(|(_, linear, _)| linear.matrix.panels()).sum();
        let (thread, strips) = (walk.thread.index(), self.strips(walk));
        let scratch = &mut walk.scratch.panel;
        let grid = Grid::new(self.rows(), panels, thread);
        walk.thread.run_with_next(grid.pieces(), |claim, piece, next| {
            let (rows, panel) = grid.locate(piece);
            let (projection, linear, out, panel) = locate(&products, panel);
            let prefetch = match next.map(|next| locate(&products, grid.locate(next).1)) {
                Some((_, linear, _, panel)) => linear.matrix.panel_bytes(panel),
                None => grid.prefetch(&linear.matrix, None, output, thread),
            };
            let (bias, first_row) = (linear.bias.as_deref(), rows.start);
            let addition = self.addition(claim, index, projection, strips);
            let piece = Piece::new(&linear.matrix, panel, prefetch);
            let piece = Piece { bias, first_row, addition, ..piece };
            self.store(claim, piece, &self.normed.rows(claim, rows), scratch, out);
        });
        walk.thread.run_in_chunks(self.rows(), self.row_chunk, |claim, row| {
            self.rotate_and_store(claim, index, layer, row);
        });
    }

    /// Rotates a row's queries and keys by its position, and stores keys and values in its page.
    fn rotate_and_store(&self, claim: &Claim<'_>, index: usize, layer: &Layer, row: usize) {
        let shape = self.shape;
        let (key_size, value_size) = (shape.key_size, shape.value_size);
        let angles = self.angles(index).at(self.positions[row]);
        for query in self.queries.row(claim, row).chunks_exact_mut(key_size) {
            self.norm_head(layer.query_norm.as_deref(), query);
            rotate(self.level, shape.rope.pairs, query, angles);
        }
        let (keys, values) = (self.keys.row(claim, row), self.values.row(claim, row));
        for head in 0..shape.kv_heads {
            let key = &mut keys[span(head, key_size)];
            self.norm_head(layer.key_norm.as_deref(), key);
            rotate(self.level, shape.rope.pairs, key, angles);
            if let Some(shift) = self.key_shift(index) {
                shift.take_off(head, self.positions[row], key);
            }
            let to = self.slot(claim, index, head, row);
            store_key(self.level, to, key);
            store_value(self.level, to, &mut values[span(head, value_size)]);
        }
    }

    /// The common part of a layer's keys, if they have a bias.
    fn key_shift(&self, index: usize) -> Option<KeyShift<'_>> {
        let layer = &self.weights.layers[index];
        let Attention::Heads { key, .. } = &layer.attention else { return None };
        let bias = key.bias.as_deref().filter(|_| layer.key_norm.is_none())?;
        Some(KeyShift {
            level: self.level,
            pairs: self.shape.rope.pairs,
            angles: self.angles(index),
            bias,
            key_size: self.shape.key_size,
        })
    }

    /// Where the key and value of one head of a row are stored.
    pub(super) fn slot<'p>(
        &'p self,
        claim: &'p Claim<'_>,
        layer: usize,
        head: usize,
        row: usize,
    ) -> Slot<'p> {
        let place = &self.batch.rows[row];
        let page = self.pages.write(claim, place.page as usize);
        Slot { page, layout: self.attention.layout, layer, head, slot: place.slot }
    }

    /// Computes attention over stored keys and values.
    fn score(&self, index: usize, walk: &mut Walk<'_>) {
        let scratch = &mut walk.scratch.attention;
        let is_last = index + 1 == self.shape.layers;
        walk.thread.run(self.tiles.len(), |claim, tile| {
            // Once the last layer's keys and values are stored, other rows are not needed.
            if is_last && !self.tiles[tile].rows().any(|row| self.batch.rows[row].wants_logits) {
                return;
            }
            let run = AttentionLayer {
                claim,
                level: self.level,
                shape: self.attention,
                layer: index,
                window: self.shape.window(index),
                shift: self.key_shift(index),
                clusters: &self.batch.clusters,
                positions: self.positions,
                pages: &self.pages,
                queries: self.queries.read(claim, 0..self.rows()),
                out: &self.attended,
            };
            run.run(&self.tiles[tile], scratch);
        });
    }

    /// Moves the rows whose logits are wanted to the front, and drops the others.
    fn leave_rows(&self, walk: &mut Walk<'_>) {
        // Rows only move forward, to the place of an earlier row.
        let moves = self.wanted.iter().enumerate().map(|(to, &from)| (from, to));
        let moves = moves.filter(|(from, to)| from != to);
        walk.thread.run(1, |claim, _| {
            self.attended.move_rows(claim, moves.clone());
            self.stream.move_rows(claim, moves.clone());
        });
        walk.rows = self.wanted.len();
        walk.rows_left = true;
    }

    fn output(
        &self,
        index: usize,
        output: &PackedMatrix,
        input: &SharedInputs<'_>,
        walk: &mut Walk<'_>,
    ) {
        let layer = &self.weights.layers[index];
        self.complete(input, walk.rows, walk);
        self.lower(index, &[Projection::Output], input, walk);
        let (thread, strips) = (walk.thread.index(), self.strips(walk));
        let grid = Grid::new(walk.rows, output.panels(), thread);
        let scratch = &mut walk.scratch.panel;
        walk.thread.run_with_next(grid.pieces(), |claim, piece, next| {
            let (rows, panel) = grid.locate(piece);
            let prefetch = grid.prefetch(output, next, layer.feed.first_matrix(), thread);
            let addition = self.addition(claim, index, Projection::Output, strips);
            let piece = Piece::new(output, panel, prefetch);
            let piece = Piece { first_row: rows.start, addition, ..piece };
            let input = input.rows(claim, rows);
            self.join(claim, piece, &input, scratch, layer.after_attention());
        });
    }

    /// Normalises a single head, or another part of a row, in place.
    pub(super) fn norm_head(&self, weight: Option<&[f32]>, head: &mut [f32]) {
        if let Some(weight) = weight {
            let before = head.to_vec();
            rms_norm(self.level, &before, weight, self.shape.norm_epsilon, head);
        }
    }
}

/// The matrix that a piece of some products belongs to, its destination, and its panel.
fn locate<'b>(
    products: &[(Projection, &'b Linear, &'b SharedRows<'b, f32>)],
    mut piece: usize,
) -> (Projection, &'b Linear, &'b SharedRows<'b, f32>, usize) {
    for &(projection, linear, out) in products {
        let panels = linear.matrix.panels();
        if piece < panels {
            return (projection, linear, out, piece);
        }
        piece -= panels;
    }
    unreachable!("a piece past the last panel");
}
