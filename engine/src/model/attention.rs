//! Attention of many rows to few stored tokens.
//!
//! Rows come in clusters that share the beginning of their sequences: the samples of a group share its prompt,
//! the rows of a prompt's chunk share everything. A tile is some rows of one cluster times one key head; its
//! scores against the shared tokens are one product, so shared keys and values are read once for all of them.
//!
//! A row's scores are stored by absolute position; its softmax runs once over all of them, and its values are
//! added in ascending position. Therefore neither clusters nor pages nor tiles leave a trace in its bits.

#![allow(unsafe_code)] // Threads read pages and write rows through `Disjoint`.

use std::ops::Range;

use super::kv::{PAGE_TOKENS, PageLayout, Segment};
use crate::kernels::disjoint::Disjoint;
use crate::kernels::floats::{Product, product};
use crate::kernels::rows::softmax;
use crate::kernels::{LANES, Level};

/// Query rows of a tile at most (eight full register tiles).
const TILE_QUERIES: usize = 48;
/// Floats of a tile's scores at most (half of a core's second-level cache).
const TILE_SCORES: usize = 128 * 1024;

/// Rows whose sequences begin with the same tokens.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// What all members see.
    pub(crate) shared: Vec<Segment>,
    pub(crate) members: Vec<Member>,
}

/// Neighbouring rows of the batch that belong to one sequence.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) rows: Range<usize>,
    /// What this sequence alone sees, after the shared part, its own rows included.
    pub(crate) own: Vec<Segment>,
}

/// A unit of work: some rows of a cluster and one key head.
#[derive(Debug)]
pub(crate) struct AttentionTile {
    cluster: usize,
    head: usize,
    /// Rows, and the member that they belong to.
    spans: Vec<(Range<usize>, usize)>,
}

/// What attention needs to know of the model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionShape {
    pub(crate) layout: PageLayout,
    pub(crate) kv_heads: usize,
    pub(crate) heads_per_kv: usize,
    pub(crate) scale: f32,
}

/// Memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    queries: Vec<f32>,
    scores: Vec<f32>,
    sums: Vec<f32>,
}

/// The data of one layer's attention.
pub(crate) struct AttentionLayer<'a> {
    pub(crate) level: Level,
    pub(crate) shape: AttentionShape,
    pub(crate) layer: usize,
    pub(crate) clusters: &'a [Cluster],
    /// Of every row of the batch.
    pub(crate) positions: &'a [usize],
    pub(crate) pages: &'a [Disjoint<'a, f32>],
    /// rows x heads x head size.
    pub(crate) queries: &'a [f32],
    /// rows x heads x head size.
    pub(crate) out: &'a Disjoint<'a, f32>,
}

/// Cuts the clusters into tiles of about equal size, with enough of them for all threads.
pub(crate) fn tiles(
    shape: &AttentionShape,
    clusters: &[Cluster],
    positions: &[usize],
    threads: usize,
) -> Vec<AttentionTile> {
    let rows: usize = clusters.iter().flat_map(|c| &c.members).map(|m| m.rows.len()).sum();
    let fair = (rows * shape.kv_heads).div_ceil(threads.max(1) * 2).max(2);
    let mut tiles = Vec::new();
    for (index, cluster) in clusters.iter().enumerate() {
        let longest =
            cluster.members.iter().flat_map(|m| m.rows.clone()).map(|r| positions[r]).max();
        let by_memory = TILE_SCORES / (longest.unwrap_or(0) + 2 * PAGE_TOKENS);
        let most = (TILE_QUERIES.min(by_memory) / shape.heads_per_kv).min(fair).max(1);
        let mut spans: Vec<(Range<usize>, usize)> = Vec::new();
        let mut count = 0;
        let mut flush = |spans: &mut Vec<(Range<usize>, usize)>| {
            for head in 0..shape.kv_heads {
                tiles.push(AttentionTile { cluster: index, head, spans: spans.clone() });
            }
            spans.clear();
        };
        for (number, member) in cluster.members.iter().enumerate() {
            let mut start = member.rows.start;
            while start < member.rows.end {
                let end = member.rows.end.min(start + most - count);
                spans.push((start..end, number));
                count += end - start;
                start = end;
                if count == most {
                    flush(&mut spans);
                    count = 0;
                }
            }
        }
        if !spans.is_empty() {
            flush(&mut spans);
        }
    }
    tiles
}

// === impl AttentionLayer ===

impl AttentionLayer<'_> {
    /// Computes one tile and writes its rows of `out`.
    ///
    /// # Safety
    /// Nobody writes the pages meanwhile, and nobody else has a tile with the same rows and head.
    pub(crate) unsafe fn run(&self, tile: &AttentionTile, scratch: &mut Scratch) {
        let (size, per_kv) = (self.shape.layout.head_size, self.shape.heads_per_kv);
        let rows: usize = tile.spans.iter().map(|(rows, _)| rows.len()).sum();
        let queries = rows * per_kv;
        let last = tile.spans.iter().flat_map(|(rows, _)| rows.clone()).map(|r| self.positions[r]);
        let tokens = last.max().unwrap_or(0) + 1;
        // Scores come in whole registers, which may run past a segment.
        let stride = tokens.next_multiple_of(LANES) + LANES;
        scratch.queries.resize(queries * size, 0.0);
        scratch.sums.resize(queries * size, 0.0);
        if scratch.scores.len() < queries * stride {
            scratch.scores.resize(queries * stride, 0.0);
        }
        self.gather(tile, &mut scratch.queries);
        // SAFETY: the caller's promise about pages.
        unsafe { self.each_segment(tile, tokens, |part| self.score(&part, scratch, stride)) };
        let mut query = 0;
        for row in tile.spans.iter().flat_map(|(rows, _)| rows.clone()) {
            let seen = self.positions[row] + 1;
            let padded = seen.next_multiple_of(LANES);
            for _ in 0..per_kv {
                let scores = &mut scratch.scores[query * stride..][..stride];
                scores[seen..padded].fill(f32::NEG_INFINITY);
                softmax(self.level, &mut scores[..padded]);
                scores[padded..].fill(0.0);
                query += 1;
            }
        }
        scratch.sums.fill(0.0);
        // SAFETY: as above.
        unsafe { self.each_segment(tile, tokens, |part| self.add_values(&part, scratch, stride)) };
        let mut query = 0;
        for row in tile.spans.iter().flat_map(|(rows, _)| rows.clone()) {
            let width = self.shape.kv_heads * per_kv * size;
            let at = row * width + tile.head * per_kv * size;
            // SAFETY: this row and head belong to this tile alone.
            let out = unsafe { self.out.part(at..at + per_kv * size) };
            out.copy_from_slice(&scratch.sums[query * size..][..per_kv * size]);
            query += per_kv;
        }
    }

    fn gather(&self, tile: &AttentionTile, queries: &mut [f32]) {
        let width = self.shape.heads_per_kv * self.shape.layout.head_size;
        let rows = tile.spans.iter().flat_map(|(rows, _)| rows.clone());
        for (row, queries) in rows.zip(queries.chunks_exact_mut(width)) {
            let at = (row * self.shape.kv_heads + tile.head) * width;
            for (query, &value) in queries.iter_mut().zip(&self.queries[at..at + width]) {
                *query = value * self.shape.scale;
            }
        }
    }

    /// Visits what the tile's rows see, in ascending position: shared segments for all queries, then each member's own.
    unsafe fn each_segment(
        &self,
        tile: &AttentionTile,
        tokens: usize,
        mut visit: impl FnMut(Part<'_>),
    ) {
        let cluster = &self.clusters[tile.cluster];
        let (size, per_kv) = (self.shape.layout.head_size, self.shape.heads_per_kv);
        let mut position = 0;
        let mut each = |segments: &[Segment], queries: Range<usize>, position: &mut usize| {
            for segment in segments {
                let count = segment.tokens.min(tokens.saturating_sub(*position));
                if count > 0 {
                    let page = &self.pages[segment.page as usize];
                    let keys = self.shape.layout.keys(self.layer, tile.head);
                    let values = self.shape.layout.values(self.layer, tile.head);
                    // SAFETY: nobody writes pages now, by the promise of `run`.
                    let (keys, values) = unsafe {
                        let floats = size * PAGE_TOKENS;
                        (page.read(keys..keys + floats), page.read(values..values + floats))
                    };
                    visit(Part {
                        keys,
                        values,
                        queries: queries.clone(),
                        position: *position,
                        tokens: count,
                    });
                }
                *position += segment.tokens;
            }
        };
        let rows: usize = tile.spans.iter().map(|(rows, _)| rows.len()).sum();
        each(&cluster.shared, 0..rows * per_kv, &mut position);
        let mut first = 0;
        for (rows, member) in &tile.spans {
            let queries = first..first + rows.len() * per_kv;
            first = queries.end;
            each(&cluster.members[*member].own, queries, &mut position.clone());
        }
    }

    fn score(&self, part: &Part<'_>, scratch: &mut Scratch, stride: usize) {
        let size = self.shape.layout.head_size;
        product(
            self.level,
            Product {
                a: &scratch.queries[part.queries.start * size..],
                a_stride: size,
                b: part.keys,
                b_stride: PAGE_TOKENS,
                c: &mut scratch.scores[part.queries.start * stride + part.position..],
                c_stride: stride,
                rows: part.queries.len(),
                inner: size,
                columns: part.tokens.next_multiple_of(LANES),
                accumulate: false,
            },
        );
    }

    fn add_values(&self, part: &Part<'_>, scratch: &mut Scratch, stride: usize) {
        let size = self.shape.layout.head_size;
        product(
            self.level,
            Product {
                a: &scratch.scores[part.queries.start * stride + part.position..],
                a_stride: stride,
                b: part.values,
                b_stride: size,
                c: &mut scratch.sums[part.queries.start * size..],
                c_stride: size,
                rows: part.queries.len(),
                inner: part.tokens,
                columns: size,
                accumulate: true,
            },
        );
    }
}

/// A segment as some queries of a tile see it.
struct Part<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    queries: Range<usize>,
    /// Of the segment's first token in the sequence.
    position: usize,
    tokens: usize,
}
