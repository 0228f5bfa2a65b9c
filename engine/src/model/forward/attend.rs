//! The attention of a layer: queries, keys and values, their rotation and storage, attention, and its output.

use super::linear::ahead;
use super::{Pass, Walk, span};
use crate::kernels::hadamard::hadamard;
use crate::kernels::rows::{rms_norm, rotate};
use crate::model::attention::AttentionLayer;
use crate::model::kv::{Slot, store_key, store_value};
use crate::model::weights::{Attention, Layer, Linear};

// Safety of all methods: see `ends.rs`.
impl Pass<'_> {
    pub(super) unsafe fn attend(&self, index: usize, layer: &Layer, walk: &mut Walk<'_>) {
        let Attention::Heads { query, key, value, output } = &layer.attention else {
            unreachable!("`runnable` refuses latent attention");
        };
        let products = [(query, &self.queries), (key, &self.keys), (value, &self.values)];
        let width = self.shape.heads * self.shape.head_size();
        let member = walk.member;
        let panels = products.iter().map(|(linear, _)| linear.matrix.panels()).sum();
        // SAFETY (whole body): pieces are rows, panels' columns, or tiles, written in this phase and read in the next.
        unsafe {
            walk.phase().run_in_chunks(self.rows(), self.row_chunk, |row| {
                self.normalise(row, row, &layer.attention_norm)
            });
            walk.phase().run_ahead(member, panels, |piece, next| {
                let (linear, out, panel) = locate(&products, piece);
                let ahead = match next.map(|next| locate(&products, next)) {
                    Some((linear, _, panel)) => linear.matrix.panel_bytes(panel),
                    None => ahead(&linear.matrix, None, output, member),
                };
                let input = self.width_codes.input(self.rows(), &self.normed);
                self.store_panel(linear, panel, ahead, &input, out);
            });
            walk.phase().run_in_chunks(self.rows(), self.row_chunk, |row| {
                self.rotate_and_store(index, layer, row)
            });
            let (phase, scratch) = (walk.phase(), &mut walk.scratch.attention);
            phase.run(self.tiles.len(), |tile| {
                let run = AttentionLayer {
                    level: self.level,
                    shape: self.attention,
                    layer: index,
                    clusters: &self.batch.clusters,
                    positions: self.positions,
                    pages: &self.pages,
                    queries: self.queries.read(0..self.rows() * width),
                    out: &self.attended,
                    out_codes: &self.attended_codes,
                };
                run.run(&self.tiles[tile], scratch);
            });
            walk.phase().run_ahead(member, output.panels(), |panel, next| {
                let input = self.attended_codes.input(self.rows(), &self.attended);
                let ahead = ahead(output, next, layer.feed.first_matrix(), member);
                self.add_panel(output, panel, ahead, &input);
            });
        }
    }

    /// Turns a row's queries and keys to its position, and puts keys and values into its page.
    unsafe fn rotate_and_store(&self, index: usize, layer: &Layer, row: usize) {
        let shape = self.shape;
        let (size, layout) = (shape.head_size(), self.attention.layout);
        let place = &self.batch.rows[row];
        let angles = &self.angles[span(place.position, size / 2)];
        let page = &self.pages[place.page as usize];
        // SAFETY: the piece is this row, and every row has its own slot of a page.
        unsafe {
            for query in self.queries.part(span(row, shape.heads * size)).chunks_exact_mut(size) {
                self.norm_head(layer.query_norm.as_deref(), query);
                rotate(self.level, shape.rope.pairs, query, angles);
            }
            let keys = self.keys.part(span(row, shape.kv_heads * size));
            let values = self.values.part(span(row, shape.kv_heads * size));
            for head in 0..shape.kv_heads {
                let key = &mut keys[span(head, size)];
                self.norm_head(layer.key_norm.as_deref(), key);
                rotate(self.level, shape.rope.pairs, key, angles);
                let to = Slot { page, layout, layer: index, head, slot: place.slot };
                hadamard(self.level, key);
                store_key(self.level, to, key);
                let value = &mut values[span(head, size)];
                hadamard(self.level, value);
                store_value(self.level, to, value);
            }
        }
    }

    fn norm_head(&self, weight: Option<&[f32]>, head: &mut [f32]) {
        if let Some(weight) = weight {
            let before = head.to_vec();
            rms_norm(self.level, &before, weight, self.shape.norm_epsilon, head);
        }
    }
}

/// The matrix that a piece of some products belongs to, its destination, and its panel.
fn locate<'b, T>(products: &[(&'b Linear, &'b T)], mut piece: usize) -> (&'b Linear, &'b T, usize) {
    for &(linear, out) in products {
        let panels = linear.matrix.panels();
        if piece < panels {
            return (linear, out, piece);
        }
        piece -= panels;
    }
    unreachable!("a piece past the last panel");
}
