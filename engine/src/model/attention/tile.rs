//! The computation of one tile: scores, weights, weighted values.

use std::ops::Range;

use super::parts::Part;
use super::shift::{BLOCK, KeyShift};
use super::{AttentionShape, AttentionTile, Cluster};
use crate::model::forward::SharedInputs;
use crate::model::kv::PageLayout;
use jury_kernels::cpu::activations::soft_cap;
use jury_kernels::cpu::gemm::{Outputs, PanelGemm, QuantRows, Workspace};
use jury_kernels::cpu::hadamard::{block_length, hadamard};
use jury_kernels::cpu::prefetch::prefetch;
use jury_kernels::cpu::quantise::{ScaleKind, quantise};
use jury_kernels::cpu::shared::SharedPages;
use jury_kernels::cpu::softmax::{SoftmaxRows, softmax};
use jury_kernels::cpu::thread_pool::Claim;
use jury_kernels::cpu::values::{
    MOST_SUMMED, PageValues, QUAD, WeightedValues, add_weighted, add_weighted_long, finish,
    finish_long,
};
use jury_kernels::cpu::{LANES, PANEL, SimdLevel};

/// Scratch memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The scaled queries: queries x key size.
    scaled: Vec<f32>,
    /// What blocks add to scores: queries x blocks; empty without a shift.
    shifts: Vec<f32>,
    queries: QuantRows,
    workspace: Workspace,
    /// queries x stride, by position.
    scores: Vec<f32>,
    /// Two planes of weights, queries x stride each.
    planes: [Vec<u8>; 2],
    /// By position.
    value_scales: Vec<f32>,
    factors: Vec<f32>,
    /// queries x planes x value size.
    sums: Vec<i32>,
    /// The same if there are so many tokens that their sums may not fit in 32 bits; otherwise empty.
    long_sums: Vec<i64>,
}

/// The data of one layer's attention.
pub(crate) struct AttentionLayer<'a> {
    /// Of the tile that is computed, in a phase that writes no pages.
    pub(crate) claim: &'a Claim<'a>,
    pub(crate) level: SimdLevel,
    pub(crate) shape: AttentionShape,
    pub(crate) layer: usize,
    /// How many of the newest tokens a row sees, including itself; `None` for all.
    pub(crate) window: Option<usize>,
    /// For models whose keys have a bias.
    pub(crate) shift: Option<KeyShift<'a>>,
    pub(crate) clusters: &'a [Cluster],
    /// Of every row of the batch.
    pub(crate) positions: &'a [usize],
    pub(crate) pages: &'a SharedPages<'a>,
    /// rows x heads x key size.
    pub(crate) queries: &'a [f32],
    /// rows x heads x value size; quantised for the output's product, unless whole rows are quantised together.
    pub(crate) out: &'a SharedInputs<'a>,
}

// === impl AttentionTile ===

impl AttentionTile {
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.spans.iter().flat_map(|(rows, _)| rows.clone())
    }

    /// The same rows, neighbours together.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let runs = self.spans.chunk_by(|(rows, _), (next, _)| rows.end == next.start);
        runs.map(|run| run[0].0.start..run[run.len() - 1].0.end)
    }
}

// === impl AttentionLayer ===

impl AttentionLayer<'_> {
    /// Computes one tile and writes its rows of `out`.
    pub(crate) fn run(&self, tile: &AttentionTile, scratch: &mut Scratch) {
        let tokens = tile.rows().map(|row| self.positions[row]).max().unwrap_or(0) + 1;
        // Scores are computed by panels, which may extend past a segment.
        let stride = tokens.next_multiple_of(LANES) + PANEL;
        let queries = tile.rows().count() * tile.queries.len();
        scratch.make_room(queries, stride, self.shape.layout);
        self.each_part(tile, tokens, |part| part.prefetch_keys());
        self.gather(tile, tokens, scratch);
        self.each_part(tile, tokens, |part| {
            self.score(&part, scratch, stride);
        });
        self.softmax(tile, tokens, scratch, stride);
        scratch.sums.fill(0);
        scratch.long_sums.clear();
        if tokens > MOST_SUMMED {
            scratch.long_sums.resize(scratch.sums.len(), 0);
        }
        self.add_values(tile, tokens, scratch, stride);
        self.write(tile, scratch);
    }

    /// Scales, transforms and quantises the tile's queries.
    fn gather(&self, tile: &AttentionTile, tokens: usize, scratch: &mut Scratch) {
        let (size, per_kv) = (self.shape.layout.key_size, self.shape.heads_per_kv);
        scratch.scaled.clear();
        for row in tile.rows() {
            for query in tile.queries.clone() {
                let at = ((row * self.shape.kv_heads + tile.head) * per_kv + query) * size;
                let query = &self.queries[at..at + size];
                scratch.scaled.extend(query.iter().map(|value| value * self.shape.scale));
            }
        }
        scratch.shifts.clear();
        if let Some(shift) = &self.shift {
            let blocks = tokens.div_ceil(BLOCK);
            shift.products(tile.head, blocks, &scratch.scaled, &mut scratch.shifts);
        }
        // A power of two: nothing is rounded.
        let share = 1.0 / block_length(size) as f32;
        for query in scratch.scaled.chunks_exact_mut(size) {
            hadamard(self.level, query);
            query.iter_mut().for_each(|element| *element *= share);
        }
        quantise(self.level, &scratch.scaled, scratch.queries.all_mut());
    }

    /// Meanwhile prefetches the values.
    fn score(&self, part: &Part<'_>, scratch: &mut Scratch, stride: usize) {
        prefetch(part.counted_values());
        let queries = scratch.queries.view();
        let panels = part.keys.chunks_exact(self.shape.layout.panel_bytes());
        for (index, panel) in panels.take(part.tokens.div_ceil(PANEL)).enumerate() {
            let rows = queries.rows(part.queries.start, part.queries.len());
            let at = part.queries.start * stride + part.position + index * PANEL;
            let out = Outputs { floats: &mut scratch.scores[at..], stride };
            let product = PanelGemm { format: PageLayout::KEYS, panel, rows, prefetch: &[] };
            product.compute(self.level, &mut scratch.workspace, out);
        }
    }

    /// Turns all scores into weights.
    fn softmax(&self, tile: &AttentionTile, tokens: usize, scratch: &mut Scratch, stride: usize) {
        let mut query = 0;
        self.each_shared_part(tile, tokens, |part| part.copy_scales(&mut scratch.value_scales));
        for (span, (rows, _)) in tile.spans.iter().enumerate() {
            self.each_own_part(tile, span, tokens, |part| {
                part.copy_scales(&mut scratch.value_scales);
            });
            for row in rows.clone() {
                let (first, seen) = (self.first_seen(row), self.positions[row] + 1);
                let (begin, padded) = (first / LANES * LANES, seen.next_multiple_of(LANES));
                let blocks = tokens.div_ceil(BLOCK);
                let first_query = query;
                for _ in tile.queries.clone() {
                    let all = query * stride..(query + 1) * stride;
                    let scores = &mut scratch.scores[all.clone()];
                    let shifts = scratch.shifts.iter().skip(query * blocks).take(blocks);
                    for (scores, shift) in scores[..seen].chunks_mut(BLOCK).zip(shifts) {
                        scores.iter_mut().for_each(|score| *score += shift);
                    }
                    if let Some(cap) = self.shape.softcap {
                        soft_cap(self.level, &mut scores[first..seen], cap);
                    }
                    scores[begin..first].fill(f32::NEG_INFINITY);
                    scores[seen..padded].fill(f32::NEG_INFINITY);
                    for plane in &mut scratch.planes {
                        let plane = &mut plane[all.clone()];
                        plane[..begin].fill(0);
                        plane[padded..].fill(0);
                    }
                    query += 1;
                }
                let from = first_query * stride + begin;
                let [high, low] = scratch.planes.each_mut().map(|plane| &mut plane[from..]);
                softmax(
                    self.level,
                    SoftmaxRows {
                        scores: &mut scratch.scores[from..],
                        value_scales: &scratch.value_scales[begin..padded],
                        high,
                        low,
                        stride,
                        factors: &mut scratch.factors[first_query..query],
                    },
                );
            }
        }
    }

    /// Sums the weighted values: the shared ones for all queries, then each sequence's own.
    fn add_values(
        &self,
        tile: &AttentionTile,
        tokens: usize,
        scratch: &mut Scratch,
        stride: usize,
    ) {
        let size = self.shape.layout.value_size;
        let mut add = |queries: Range<usize>, pages: &[PageValues<'_>]| {
            let weights = scratch.planes.each_ref().map(|plane| &plane[queries.start * stride..]);
            let first = queries.start * 2 * size;
            let (sums, rows) = (&mut scratch.sums[first..], queries.len());
            let work = WeightedValues { pages, size, weights, stride, rows, sums };
            match scratch.long_sums.get_mut(first..).filter(|sums| !sums.is_empty()) {
                None => add_weighted(self.level, work),
                Some(long_sums) => add_weighted_long(self.level, work, long_sums),
            }
        };
        let (mut pages, mut queries) = (Vec::new(), 0..0);
        self.each_shared_part(tile, tokens, |part| {
            queries = part.queries.clone();
            pages.push(part.page_values());
        });
        add(queries, &pages);
        for span in 0..tile.spans.len() {
            pages.clear();
            queries = 0..0;
            self.each_own_part(tile, span, tokens, |part| {
                queries = part.queries.clone();
                pages.push(part.page_values());
            });
            add(queries, &pages);
        }
    }

    /// Writes the results, and quantises them unless whole rows are quantised together.
    fn write(&self, tile: &AttentionTile, scratch: &Scratch) {
        let (size, per_kv) = (self.shape.layout.value_size, self.shape.heads_per_kv);
        let mut sums = scratch.sums.chunks_exact(2 * size).zip(&scratch.factors);
        let mut long_sums = scratch.long_sums.chunks_exact(2 * size);
        let first = (tile.head * per_kv + tile.queries.start) * size;
        let columns = first..first + tile.queries.len() * size;
        for rows in tile.runs() {
            let mut block = self.out.block(self.claim, rows.clone(), columns.clone());
            for index in 0..rows.len() {
                block.write(self.level, index, |out| {
                    for (out, (sums, factor)) in out.chunks_exact_mut(size).zip(&mut sums) {
                        let factor = factor / block_length(size) as f32;
                        match long_sums.next() {
                            None => finish(self.level, sums, factor, out),
                            Some(sums) => finish_long(self.level, sums, factor, out),
                        }
                        hadamard(self.level, out);
                    }
                });
            }
        }
    }
}

// === impl Scratch ===

impl Scratch {
    fn make_room(&mut self, queries: usize, stride: usize, layout: PageLayout) {
        self.queries.resize(queries, layout.key_size, ScaleKind::Exact);
        if self.scores.len() < queries * stride {
            self.scores.resize(queries * stride, 0.0);
        }
        for plane in &mut self.planes {
            if plane.len() < queries * stride + QUAD {
                plane.resize(queries * stride + QUAD, 0);
            }
        }
        if self.value_scales.len() < stride {
            self.value_scales.resize(stride, 0.0);
        }
        self.factors.resize(queries, 0.0);
        self.sums.resize(queries * 2 * layout.value_size, 0);
    }
}

#[cfg(test)]
mod tests;
