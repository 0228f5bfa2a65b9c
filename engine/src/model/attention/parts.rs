//! The tokens that a tile's queries see: segments shared by all of them, then those of each sequence.

use std::ops::Range;

use super::AttentionTile;
use super::tile::AttentionLayer;
use crate::model::kv::{PAGE_TOKENS, Segment};
use jury_kernels::cpu::PANEL;
use jury_kernels::cpu::prefetch::prefetch;
use jury_kernels::cpu::values::{PageValues, QUAD};

/// A segment as some queries of a tile see it.
pub(super) struct Part<'a> {
    pub(super) keys: &'a [u8],
    pub(super) values: &'a [u8],
    pub(super) value_scales: &'a [u8],
    pub(super) queries: Range<usize>,
    /// Of the segment's first token in the sequence.
    pub(super) position: usize,
    pub(super) tokens: usize,
}

// === impl Part ===

impl<'a> Part<'a> {
    /// Starts prefetching the visible keys.
    pub(super) fn prefetch_keys(&self) {
        prefetch(&self.keys[..self.keys.len() * self.tokens.div_ceil(PANEL) * PANEL / PAGE_TOKENS]);
    }

    /// Copies the values' scales to their positions.
    pub(super) fn copy_scales(&self, to: &mut [f32]) {
        let scales = self.value_scales.as_chunks().0.iter().take(self.tokens);
        for (to, scale) in to[self.position..].iter_mut().zip(scales) {
            *to = f32::from_le_bytes(*scale);
        }
    }

    /// The values, in the form that the products take.
    pub(super) fn page_values(&self) -> PageValues<'a> {
        PageValues { codes: self.values, tokens: self.tokens, position: self.position }
    }

    /// The visible values.
    pub(super) fn counted_values(&self) -> &[u8] {
        &self.values[..self.values.len() * self.tokens.next_multiple_of(QUAD) / PAGE_TOKENS]
    }
}

// === impl AttentionLayer ===

impl AttentionLayer<'_> {
    /// The first position that a row sees in this layer.
    pub(super) fn first_seen(&self, row: usize) -> usize {
        self.window.map_or(0, |window| (self.positions[row] + 1).saturating_sub(window))
    }

    /// Visits what the tile's queries see, in ascending position: shared segments for all of them, then each sequence's
    /// own. Segments before the windows of all rows are skipped.
    pub(super) fn each_part<'s>(
        &'s self,
        tile: &AttentionTile,
        tokens: usize,
        mut visit: impl FnMut(Part<'s>),
    ) {
        self.each_shared_part(tile, tokens, &mut visit);
        for span in 0..tile.spans.len() {
            self.each_own_part(tile, span, tokens, &mut visit);
        }
    }

    pub(super) fn each_shared_part<'s>(
        &'s self,
        tile: &AttentionTile,
        tokens: usize,
        visit: impl FnMut(Part<'s>),
    ) {
        let all = 0..tile.rows().count() * tile.queries.len();
        let segments = &self.clusters[tile.cluster].shared;
        self.each_segment(tile, segments, all, 0, tokens, visit);
    }

    pub(super) fn each_own_part<'s>(
        &'s self,
        tile: &AttentionTile,
        span: usize,
        tokens: usize,
        visit: impl FnMut(Part<'s>),
    ) {
        let cluster = &self.clusters[tile.cluster];
        let position = cluster.shared.iter().map(|segment| segment.tokens).sum();
        let (rows, sequence) = &tile.spans[span];
        let before: usize = tile.spans[..span].iter().map(|(rows, _)| rows.len()).sum();
        let queries = before * tile.queries.len()..(before + rows.len()) * tile.queries.len();
        let segments = &cluster.sequences[*sequence].own;
        self.each_segment(tile, segments, queries, position, tokens, visit);
    }

    /// Visits segments that start at a position, limited to the first `tokens` tokens.
    fn each_segment<'s>(
        &'s self,
        tile: &AttentionTile,
        segments: &[Segment],
        queries: Range<usize>,
        mut position: usize,
        tokens: usize,
        mut visit: impl FnMut(Part<'s>),
    ) {
        let layout = self.shape.layout;
        let begin = tile.rows().map(|row| self.first_seen(row)).min().unwrap_or(0);
        for segment in segments {
            let count = segment.tokens.min(tokens.saturating_sub(position));
            if count > 0 && position + count > begin {
                let page = self.pages.read(self.claim, segment.page as usize);
                visit(Part {
                    keys: &page[layout.keys(self.layer, tile.head)],
                    values: &page[layout.values(self.layer, tile.head)],
                    value_scales: &page[layout.value_scales(self.layer, tile.head)],
                    queries: queries.clone(),
                    position,
                    tokens: count,
                });
            }
            position += segment.tokens;
        }
    }
}
