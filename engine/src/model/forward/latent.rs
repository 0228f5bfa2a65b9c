//! Latent attention (MLA): a token's key and value are one vector, shared by all heads.
//!
//! ```text
//! x -> query (through one matrix or two) -> for every head: plain part, rotated part
//! x -> latent vector, normalised, and the key's rotated part -> page
//! plain part --key_up of the head--> as long as the latent vector; with the rotated part, a query of one key head
//! attended latent vector --value_up of the head--> the head's columns of the output's inputs
//! ```
//!
//! Matrices of single heads take their rows from inputs sorted by head: row `head * rows + row`.

use std::ops::Range;

use super::buffers::{Inputs, SharedInputs};
use super::linear::{PanelScratch, Piece};
use super::{Pass, Walk, span};
use crate::model::Shape;
use crate::model::kv::{store_key, store_value};
use crate::model::shape::Latent;
use crate::model::weights::{InputScales, LatentAttention, LatentQuery};
use jury_kernels::cpu::packed::PackedMatrix;
use jury_kernels::cpu::rows::rotate;
use jury_kernels::cpu::shared::{Rows, SharedRows};
use jury_kernels::cpu::thread_pool::{Claim, Phases};
use jury_kernels::cpu::{GROUP, PANEL};

/// Maximum phases of a layer's latent attention, from its normalised inputs to the inputs of its output.
pub(super) const PHASES: usize = 8;

/// Buffers of latent attention; empty for other models.
#[derive(Debug, Default)]
pub(super) struct LatentBuffers {
    low_rank: Inputs,
    queries: Rows<f32>,
    plain: Inputs,
    by_head: Inputs,
    expanded: Inputs,
}

/// The same, while several threads fill them.
pub(super) struct SharedLatent<'a> {
    /// Queries between their two matrices: rows x query rank.
    low_rank: SharedInputs<'a>,
    /// Rows x heads x (plain part, rotated part).
    queries: SharedRows<'a, f32>,
    /// The plain parts, by head.
    plain: SharedInputs<'a>,
    /// Attended latent vectors, by head.
    by_head: SharedInputs<'a>,
    /// Rows x heads x value size: inputs of the output's product.
    pub(super) expanded: SharedInputs<'a>,
}

// === impl LatentBuffers ===

impl LatentBuffers {
    pub(super) fn make_room(&mut self, shape: &Shape, scales: &InputScales, rows: usize) {
        let Some(latent) = shape.latent else { return };
        self.low_rank.resize(rows, latent.query_rank.unwrap_or(0), scales.low_rank);
        self.queries.resize(rows, shape.heads * latent.query_size());
        self.plain.resize(rows * shape.heads, latent.nope_size, scales.plain);
        self.by_head.resize(rows * shape.heads, latent.rank, scales.by_head);
        self.expanded.resize(rows, shape.heads * latent.value_size, scales.expanded);
    }

    pub(super) fn share<'a>(&'a mut self, phases: &'a Phases) -> SharedLatent<'a> {
        SharedLatent {
            low_rank: self.low_rank.share(phases),
            queries: self.queries.share(phases),
            plain: self.plain.share(phases),
            by_head: self.by_head.share(phases),
            expanded: self.expanded.share(phases),
        }
    }
}

impl Pass<'_> {
    /// Makes queries, and stores keys and values.
    pub(super) fn compress(&self, index: usize, attention: &LatentAttention, walk: &mut Walk<'_>) {
        let (sizes, rows) = (&attention.sizes, self.rows());
        let (first, first_out) = match &attention.query {
            LatentQuery::Full(query) => (query, &self.latent.queries),
            LatentQuery::LowRank { down, .. } => (down, &self.latent.low_rank.floats),
        };
        let panels = first.panels();
        let scratch = &mut walk.scratch.panel;
        walk.thread.run(panels + attention.down.panels(), |claim, piece| {
            let (matrix, panel, out) = match piece.checked_sub(panels) {
                None => (first, piece, first_out),
                Some(panel) => (&attention.down, panel, &self.keys),
            };
            let piece = Piece::new(matrix, panel, &[]);
            self.store(claim, piece, &self.normed.rows(claim, 0..rows), scratch, out);
        });
        if let LatentQuery::LowRank { norm, up, .. } = &attention.query {
            let low_rank = &self.latent.low_rank;
            walk.thread.run_in_chunks(rows, self.row_chunk, |claim, row| {
                low_rank.write_row(claim, self.level, row, |query| {
                    self.norm_head(Some(norm), query);
                });
            });
            let scratch = &mut walk.scratch.panel;
            walk.thread.run(up.panels(), |claim, panel| {
                let (piece, input) = (Piece::new(up, panel, &[]), low_rank.rows(claim, 0..rows));
                self.store(claim, piece, &input, scratch, &self.latent.queries);
            });
        }
        walk.thread.run_in_chunks(rows, self.row_chunk, |claim, row| {
            self.split_queries(claim, index, sizes, row);
            self.store_latent(claim, index, attention, row);
        });
        self.each_head(&attention.key_up, walk, |claim, head, panel, scratch| {
            let piece = Piece::new(&attention.key_up[head], panel, &[]);
            let input = self.latent.plain.rows(claim, span(head, rows));
            let columns = within(head, self.shape.key_size, &piece.columns());
            let mut block = self.queries.block(claim, 0..rows, columns);
            self.outputs(piece, &input, scratch, |row, outputs| {
                block.row(row).copy_from_slice(outputs);
            });
        });
    }

    /// Extracts every head's values from its attention output.
    pub(super) fn expand(&self, attention: &LatentAttention, walk: &mut Walk<'_>) {
        let (Latent { rank, value_size, .. }, rows) = (attention.sizes, walk.rows);
        walk.thread.run_in_chunks(rows, self.row_chunk, |claim, row| {
            let attended = self.attended.row(claim, row);
            for (head, attended) in attended.chunks_exact(rank).enumerate() {
                self.latent.by_head.write_row(claim, self.level, head * rows + row, |to| {
                    to.copy_from_slice(attended);
                });
            }
        });
        self.each_head(&attention.value_up, walk, |claim, head, panel, scratch| {
            let piece = Piece::new(&attention.value_up[head], panel, &[]);
            let columns = within(head, value_size, &piece.columns());
            let input = self.latent.by_head.rows(claim, span(head, rows));
            let mut block = self.latent.expanded.block(claim, 0..rows, columns);
            self.outputs(piece, &input, scratch, |row, outputs| {
                block.write(self.level, row, |to| to.copy_from_slice(outputs));
            });
        });
    }

    /// A phase over all panels of all heads' matrices, which have equal sizes.
    fn each_head(
        &self,
        matrices: &[PackedMatrix],
        walk: &mut Walk<'_>,
        mut work: impl FnMut(&Claim<'_>, usize, usize, &mut PanelScratch),
    ) {
        let panels = matrices.first().map_or(0, PackedMatrix::panels);
        let scratch = &mut walk.scratch.panel;
        walk.thread.run(matrices.len() * panels, |claim, piece| {
            work(claim, piece / panels, piece % panels, scratch);
        });
    }

    /// Copies a row's plain parts to the inputs of `key_up`; rotates the other parts and writes them to their places in
    /// the queries.
    fn split_queries(&self, claim: &Claim<'_>, index: usize, sizes: &Latent, row: usize) {
        let angles = self.angles(index).at(self.positions[row]);
        let Latent { rank, rope_size, nope_size, .. } = *sizes;
        let split = self.latent.queries.read(claim, row..row + 1);
        let queries = self.queries.row(claim, row).chunks_exact_mut(self.shape.key_size);
        for (head, (from, to)) in split.chunks_exact(sizes.query_size()).zip(queries).enumerate() {
            let (plain, turned) = from.split_at(nope_size);
            self.latent.plain.write_row(claim, self.level, head * self.rows() + row, |to| {
                to.copy_from_slice(plain);
            });
            let to = &mut to[rank..rank + rope_size];
            to.copy_from_slice(turned);
            rotate(self.level, self.shape.rope.pairs, to, angles);
        }
    }

    /// Stores a row's key (its normalised latent vector, and the rotated part) and its value (the latent vector).
    fn store_latent(
        &self,
        claim: &Claim<'_>,
        index: usize,
        attention: &LatentAttention,
        row: usize,
    ) {
        let angles = self.angles(index).at(self.positions[row]);
        let key = self.keys.row(claim, row);
        let (latent, turned) = key.split_at_mut(attention.sizes.rank);
        self.norm_head(Some(&attention.norm), latent);
        rotate(self.level, self.shape.rope.pairs, turned, angles);
        let to = self.slot(claim, index, 0, row);
        store_value(self.level, to, &mut latent.to_vec());
        store_key(self.level, to, key);
    }
}

/// Columns of a head among those of all heads.
fn within(head: usize, size: usize, columns: &Range<usize>) -> Range<usize> {
    head * size + columns.start..head * size + columns.end
}

const _: () = assert!(PANEL == GROUP, "a panel's outputs are quantised alone");
