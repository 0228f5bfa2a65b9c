//! The attention of a layer: queries, keys and values, their rotation and storage, attention, and its output.
//!
//! Latent attention makes its queries, keys and values in its own way: `latent.rs`.

use super::branch::Joining;
use super::grid::Grid;
use super::linear::Piece;
use super::{Pass, Walk, span};
use crate::model::attention::{AttentionLayer, KeyShift};
use crate::model::kv::{Slot, store_key, store_value};
use crate::model::weights::{Attention, Layer, Linear};
use jury_kernels::cpu::disjoint::Disjoint;
use jury_kernels::cpu::packed::PackedMatrix;
use jury_kernels::cpu::rows::{rms_norm, rotate};

use super::buffers::SharedInputs;

/// Projections of all heads, from the same inputs.
struct Projections<'b> {
    query: &'b Linear,
    key: &'b Linear,
    value: &'b Linear,
    output: &'b PackedMatrix,
}

// === impl Layer ===

impl Layer {
    /// What its attention leaves to be done.
    pub(super) fn after_attention(&self) -> Joining<'_> {
        self.post_attention_norm.as_deref().map_or(Joining::Done, Joining::Normed)
    }
}

// Safety of all methods: see `ends.rs`.
impl Pass<'_> {
    /// `before` is what the last layer left to be done.
    pub(super) unsafe fn attend(
        &self,
        index: usize,
        layer: &Layer,
        before: Joining<'_>,
        walk: &mut Walk<'_>,
    ) {
        let is_last = index + 1 == self.shape.layers;
        // SAFETY (whole body): pieces are rows, panels' columns, or tiles, written in this phase and read in the next.
        unsafe {
            walk.parallel_for().run_in_chunks(self.rows(), self.row_chunk, |row| {
                self.normalise(row, row, before, &layer.attention_norm);
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
            self.output(layer, output, input, walk);
        }
    }

    unsafe fn heads(
        &self,
        index: usize,
        layer: &Layer,
        projections: &Projections<'_>,
        walk: &mut Walk<'_>,
    ) {
        let Projections { query, key, value, output } = *projections;
        let products = [(query, &self.queries), (key, &self.keys), (value, &self.values)];
        let panels = products.iter().map(|(linear, _)| linear.matrix.panels()).sum();
        let thread = walk.thread;
        // SAFETY (whole body): see `attend`.
        unsafe {
            let (parallel_for, scratch) = (walk.parallel_for(), &mut walk.scratch.panel);
            let grid = Grid::new(self.rows(), panels, thread);
            parallel_for.run_with_next(grid.pieces(), |piece, next| {
                let (rows, panel) = grid.locate(piece);
                let (linear, out, panel) = locate(&products, panel);
                let prefetch = match next.map(|next| locate(&products, grid.locate(next).1)) {
                    Some((linear, _, panel)) => linear.matrix.panel_bytes(panel),
                    None => grid.prefetch(&linear.matrix, None, output, thread),
                };
                let (bias, first_row) = (linear.bias.as_deref(), rows.start);
                let piece =
                    Piece { bias, first_row, ..Piece::new(&linear.matrix, panel, prefetch) };
                self.store(piece, &self.normed.rows(rows), scratch, out);
            });
            walk.parallel_for().run_in_chunks(self.rows(), self.row_chunk, |row| {
                self.rotate_and_store(index, layer, row);
            });
        }
    }

    /// Turns a row's queries and keys to its position, and puts keys and values into its page.
    unsafe fn rotate_and_store(&self, index: usize, layer: &Layer, row: usize) {
        let shape = self.shape;
        let (key_size, value_size) = (shape.key_size, shape.value_size);
        let angles = self.angles(index).at(self.positions[row]);
        // SAFETY: the piece is this row, and every row has its own slot of a page.
        unsafe {
            let queries = self.queries.part(span(row, shape.heads * key_size));
            for query in queries.chunks_exact_mut(key_size) {
                self.norm_head(layer.query_norm.as_deref(), query);
                rotate(self.level, shape.rope.pairs, query, angles);
            }
            let keys = self.keys.part(span(row, shape.kv_heads * key_size));
            let values = self.values.part(span(row, shape.kv_heads * value_size));
            for head in 0..shape.kv_heads {
                let key = &mut keys[span(head, key_size)];
                self.norm_head(layer.key_norm.as_deref(), key);
                rotate(self.level, shape.rope.pairs, key, angles);
                if let Some(shift) = self.key_shift(index) {
                    shift.take_off(head, self.positions[row], key);
                }
                let to = self.slot(index, head, row);
                store_key(self.level, to, key);
                store_value(self.level, to, &mut values[span(head, value_size)]);
            }
        }
    }

    /// What a layer's keys have in common, if they have a bias.
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

    /// Where a row's key and value of a head go.
    pub(super) fn slot(&self, layer: usize, head: usize, row: usize) -> Slot<'_> {
        let place = &self.batch.rows[row];
        let page = &self.pages[place.page as usize];
        Slot { page, layout: self.attention.layout, layer, head, slot: place.slot }
    }

    /// Queries meet keys and values.
    unsafe fn score(&self, index: usize, walk: &mut Walk<'_>) {
        let width = self.shape.heads * self.shape.key_size;
        let (parallel_for, scratch) = (walk.parallel_for(), &mut walk.scratch.attention);
        let is_last = index + 1 == self.shape.layers;
        parallel_for.run(self.tiles.len(), |tile| {
            // After the last layer's keys and values are stored, other rows are of no use.
            if is_last && !self.tiles[tile].rows().any(|row| self.batch.rows[row].wants_logits) {
                return;
            }
            // SAFETY: see `attend`.
            unsafe {
                let run = AttentionLayer {
                    level: self.level,
                    shape: self.attention,
                    layer: index,
                    window: self.shape.window(index),
                    shift: self.key_shift(index),
                    clusters: &self.batch.clusters,
                    positions: self.positions,
                    pages: &self.pages,
                    queries: self.queries.read(0..self.rows() * width),
                    out: &self.attended.floats,
                    out_codes: &self.attended.codes,
                };
                run.run(&self.tiles[tile], scratch);
            }
        });
    }

    /// Moves the rows whose logits are wanted to the front, and leaves the others.
    unsafe fn leave_rows(&self, walk: &mut Walk<'_>) {
        let width = self.shape.width;
        walk.parallel_for().run(1, |_| {
            for (to, &from) in self.wanted.iter().enumerate().filter(|(to, from)| to != *from) {
                // SAFETY: the only piece of its phase; a row moves to the place of one before it.
                unsafe {
                    self.attended.move_row(from, to);
                    let stream = self.stream.read(span(from, width));
                    self.stream.part(span(to, width)).copy_from_slice(stream);
                }
            }
        });
        walk.rows = self.wanted.len();
    }

    unsafe fn output(
        &self,
        layer: &Layer,
        output: &PackedMatrix,
        input: &SharedInputs<'_>,
        walk: &mut Walk<'_>,
    ) {
        // SAFETY: see `attend`.
        unsafe { self.complete(input, walk.rows, walk) };
        let thread = walk.thread;
        let grid = Grid::new(walk.rows, output.panels(), thread);
        let (parallel_for, scratch) = (walk.parallel_for(), &mut walk.scratch.panel);
        parallel_for.run_with_next(grid.pieces(), |piece, next| {
            let (rows, panel) = grid.locate(piece);
            let prefetch = grid.prefetch(output, next, layer.feed.first_matrix(), thread);
            let piece = Piece { first_row: rows.start, ..Piece::new(output, panel, prefetch) };
            // SAFETY: see `attend`.
            unsafe { self.join(piece, &input.rows(rows), scratch, layer.after_attention()) };
        });
    }

    /// Norms a single head, or another part of a row, in place.
    pub(super) fn norm_head(&self, weight: Option<&[f32]>, head: &mut [f32]) {
        if let Some(weight) = weight {
            let before = head.to_vec();
            rms_norm(self.level, &before, weight, self.shape.norm_epsilon, head);
        }
    }
}

/// The matrix that a piece of some products belongs to, its destination, and its panel.
fn locate<'b>(
    products: &[(&'b Linear, &'b Disjoint<'b, f32>)],
    mut piece: usize,
) -> (&'b Linear, &'b Disjoint<'b, f32>, usize) {
    for &(linear, out) in products {
        let panels = linear.matrix.panels();
        if piece < panels {
            return (linear, out, piece);
        }
        piece -= panels;
    }
    unreachable!("a piece past the last panel");
}
