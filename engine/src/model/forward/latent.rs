//! Latent attention (MLA): a token's key and value are one vector, which all heads share.
//!
//! ```text
//! x -> query (through two matrices, where there are two) -> for every head: plain part, rotated part
//! x -> latent vector, normed, and the key's rotated part -> page
//! plain part --key_up of the head--> as long as the latent vector; with the rotated part, a query of one key head
//! attended latent vector --value_up of the head--> the head's columns of the output's inputs
//! ```
//!
//! Matrices of single heads take their rows from inputs that are sorted by head: row `head * rows + row`.

use super::buffers::{Inputs, SharedInputs};
use super::linear::{PanelScratch, Piece};
use super::{Pass, Walk, span};
use crate::model::Shape;
use crate::model::kv::{store_key, store_value};
use crate::model::shape::Latent;
use crate::model::weights::{InputScales, LatentAttention, LatentQuery};
use jury_kernels::cpu::disjoint::Disjoint;
use jury_kernels::cpu::packed::PackedMatrix;
use jury_kernels::cpu::rows::rotate;
use jury_kernels::cpu::{GROUP, PANEL};

/// Phases of a layer's latent attention, from its normed inputs to those of its output, at most.
pub(super) const PHASES: usize = 8;

/// Buffers of latent attention; empty for other models.
#[derive(Debug, Default)]
pub(super) struct LatentBuffers {
    low_rank: Inputs,
    queries: Vec<f32>,
    plain: Inputs,
    by_head: Inputs,
    expanded: Inputs,
}

/// The same, while threads write disjoint parts.
pub(super) struct SharedLatent<'a> {
    /// Queries between their two matrices: rows x query rank.
    low_rank: SharedInputs<'a>,
    /// Rows x heads x (plain part, rotated part).
    queries: Disjoint<'a, f32>,
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
        self.queries.resize(rows * shape.heads * latent.query_size(), 0.0);
        self.plain.resize(rows * shape.heads, latent.nope_size, scales.plain);
        self.by_head.resize(rows * shape.heads, latent.rank, scales.by_head);
        self.expanded.resize(rows, shape.heads * latent.value_size, scales.expanded);
    }

    pub(super) fn share(&mut self) -> SharedLatent<'_> {
        SharedLatent {
            low_rank: self.low_rank.share(),
            queries: Disjoint::new(&mut self.queries),
            plain: self.plain.share(),
            by_head: self.by_head.share(),
            expanded: self.expanded.share(),
        }
    }
}

// Safety of all methods: see `ends.rs`. Pieces are rows, or panels' columns, written in one phase and read in the next.
impl Pass<'_> {
    /// Makes queries, and stores keys and values.
    pub(super) unsafe fn compress(
        &self,
        index: usize,
        attention: &LatentAttention,
        walk: &mut Walk<'_>,
    ) {
        let (sizes, rows) = (&attention.sizes, self.rows());
        let (first, first_out) = match &attention.query {
            LatentQuery::Full(query) => (query, &self.latent.queries),
            LatentQuery::LowRank { down, .. } => (down, &self.latent.low_rank.floats),
        };
        // SAFETY (whole body): see above.
        unsafe {
            let panels = first.panels();
            let (parallel_for, scratch) = (walk.parallel_for(), &mut walk.scratch.panel);
            parallel_for.run(panels + attention.down.panels(), |piece| {
                let (matrix, panel, out) = match piece.checked_sub(panels) {
                    None => (first, piece, first_out),
                    Some(panel) => (&attention.down, panel, &self.keys),
                };
                let piece = Piece::new(matrix, panel, &[]);
                self.store(piece, &self.normed.rows(0..rows), scratch, out);
            });
            if let LatentQuery::LowRank { norm, up, .. } = &attention.query {
                walk.parallel_for().run_in_chunks(rows, self.row_chunk, |row| {
                    self.latent.low_rank.write_row(self.level, row, |query| {
                        self.norm_head(Some(norm), query);
                    });
                });
                let (parallel_for, scratch) = (walk.parallel_for(), &mut walk.scratch.panel);
                parallel_for.run(up.panels(), |panel| {
                    let input = self.latent.low_rank.rows(0..rows);
                    self.store(Piece::new(up, panel, &[]), &input, scratch, &self.latent.queries);
                });
            }
            walk.parallel_for().run_in_chunks(rows, self.row_chunk, |row| {
                self.split_queries(index, sizes, row);
                self.store_latent(index, attention, row);
            });
            self.each_head(&attention.key_up, walk, |head, panel, scratch| {
                let piece = Piece::new(&attention.key_up[head], panel, &[]);
                let input = self.latent.plain.rows(span(head, rows));
                self.outputs(piece, &input, scratch, |row, outputs| {
                    let at = self.query_start(head, row) + panel * PANEL;
                    self.queries.part(at..at + outputs.len()).copy_from_slice(outputs);
                });
            });
        }
    }

    /// Takes every head's values out of what it attended to.
    pub(super) unsafe fn expand(&self, attention: &LatentAttention, walk: &mut Walk<'_>) {
        let (Latent { rank, value_size, .. }, rows) = (attention.sizes, walk.rows);
        // SAFETY (whole body): see above.
        unsafe {
            walk.parallel_for().run_in_chunks(rows, self.row_chunk, |row| {
                for (head, attended) in self.attended.row(row).chunks_exact(rank).enumerate() {
                    self.latent.by_head.write_row(self.level, head * rows + row, |to| {
                        to.copy_from_slice(attended);
                    });
                }
            });
            self.each_head(&attention.value_up, walk, |head, panel, scratch| {
                let piece = Piece::new(&attention.value_up[head], panel, &[]);
                let columns = piece.columns();
                let first = head * value_size;
                let input = self.latent.by_head.rows(span(head, rows));
                self.outputs(piece, &input, scratch, |row, outputs| {
                    let columns = first + columns.start..first + columns.end;
                    self.latent.expanded.write(self.level, row, columns, |to| {
                        to.copy_from_slice(outputs);
                    });
                });
            });
        }
    }

    /// A phase over all panels of all heads' matrices, which have equal sizes.
    fn each_head(
        &self,
        matrices: &[PackedMatrix],
        walk: &mut Walk<'_>,
        mut work: impl FnMut(usize, usize, &mut PanelScratch),
    ) {
        let panels = matrices.first().map_or(0, PackedMatrix::panels);
        let (parallel_for, scratch) = (walk.parallel_for(), &mut walk.scratch.panel);
        parallel_for
            .run(matrices.len() * panels, |piece| work(piece / panels, piece % panels, scratch));
    }

    /// Where a head's query begins among those of all rows.
    fn query_start(&self, head: usize, row: usize) -> usize {
        (row * self.shape.heads + head) * self.shape.key_size
    }

    /// A row's plain parts go to the inputs of `key_up`; the others are turned and go where they belong in queries.
    unsafe fn split_queries(&self, index: usize, sizes: &Latent, row: usize) {
        let angles = self.angles(index).at(self.positions[row]);
        let Latent { rank, rope_size, nope_size, .. } = *sizes;
        // SAFETY: the piece is this row.
        unsafe {
            let queries =
                self.latent.queries.read(span(row, self.shape.heads * sizes.query_size()));
            for (head, query) in queries.chunks_exact(sizes.query_size()).enumerate() {
                let (plain, turned) = query.split_at(nope_size);
                let to = head * self.rows() + row;
                self.latent.plain.write_row(self.level, to, |to| to.copy_from_slice(plain));
                let at = self.query_start(head, row) + rank;
                let to = self.queries.part(at..at + rope_size);
                to.copy_from_slice(turned);
                rotate(self.level, self.shape.rope.pairs, to, angles);
            }
        }
    }

    /// A row's key: its latent vector, normed, and the rotated part. Its value: the latent vector.
    unsafe fn store_latent(&self, index: usize, attention: &LatentAttention, row: usize) {
        let angles = self.angles(index).at(self.positions[row]);
        let rank = attention.sizes.rank;
        // SAFETY: the piece is this row, and every row has its own slot of a page.
        unsafe {
            let key = self.keys.part(span(row, self.shape.key_size));
            let (latent, turned) = key.split_at_mut(rank);
            self.norm_head(Some(&attention.norm), latent);
            rotate(self.level, self.shape.rope.pairs, turned, angles);
            let to = self.slot(index, 0, row);
            store_value(self.level, to, &mut latent.to_vec());
            store_key(self.level, to, key);
        }
    }
}

const _: () = assert!(PANEL == GROUP, "a panel's outputs are quantised alone");
