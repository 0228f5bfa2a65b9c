//! Attention of many rows to stored tokens.
//!
//! Rows come in clusters that share the beginning of their sequences: the samples of a group share its prompt, and the
//! rows of a prompt's chunk share everything. A tile is some rows of one cluster times one key head; its scores against
//! the shared tokens are one product, so shared keys and values are read once for all of them.
//!
//! A score depends on its query and key alone; all scores of a row become weights in one pass, by absolute position;
//! weighted values are added as integers. Therefore clusters, pages and tiles do not affect a row's bits.

mod parts;
mod shift;
mod tile;

use std::ops::Range;

pub(crate) use shift::KeyShift;
pub(crate) use tile::{AttentionLayer, Scratch};

use super::kv::{PAGE_TOKENS, PageLayout, Segment};

/// Maximum query rows of a tile (eight full register tiles).
const TILE_QUERIES: usize = 48;
/// Maximum floats of a tile's scores (half of a core's second-level cache).
const TILE_SCORES: usize = 128 * 1024;

/// Rows whose sequences begin with the same tokens.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// The tokens that all its sequences see.
    pub(crate) shared: Vec<Segment>,
    pub(crate) sequences: Vec<SequenceRows>,
}

/// Neighbouring rows of the batch that belong to one sequence.
#[derive(Debug)]
pub(crate) struct SequenceRows {
    pub(crate) rows: Range<usize>,
    /// The tokens after the shared part that only this sequence sees, including those of its own rows.
    pub(crate) own: Vec<Segment>,
}

/// A unit of work: some rows of a cluster, one key head, and some of the query heads that share it.
#[derive(Debug, PartialEq)]
pub(crate) struct AttentionTile {
    cluster: usize,
    head: usize,
    /// Of the query heads of this key head.
    queries: Range<usize>,
    /// Rows, and the index of the sequence that they belong to.
    spans: Vec<(Range<usize>, usize)>,
}

/// What attention needs to know about the model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionShape {
    pub(crate) layout: PageLayout,
    pub(crate) kv_heads: usize,
    pub(crate) heads_per_kv: usize,
    /// Factor of the scores.
    pub(crate) scale: f32,
    /// Then they become `cap * tanh(score / cap)`.
    pub(crate) softcap: Option<f32>,
}

/// Cuts the clusters into tiles of about equal size, enough of them for all threads. Every row is paired with every
/// query head exactly once.
pub(crate) fn tiles(
    shape: &AttentionShape,
    clusters: &[Cluster],
    positions: &[usize],
    threads: usize,
) -> Vec<AttentionTile> {
    let rows: usize = clusters.iter().flat_map(|c| &c.sequences).map(|s| s.rows.len()).sum();
    let wanted = if threads > 1 { threads * 2 } else { 1 };
    let fair = (rows * shape.kv_heads).div_ceil(wanted).max(2);
    // With too few key heads, query heads that share one get separate tiles: another thread reads the keys again.
    let queries = if rows * shape.kv_heads < threads { 1 } else { shape.heads_per_kv };
    let mut tiles = Vec::new();
    for (index, cluster) in clusters.iter().enumerate() {
        let longest =
            cluster.sequences.iter().flat_map(|s| s.rows.clone()).map(|r| positions[r]).max();
        let by_memory = TILE_SCORES / (longest.unwrap_or(0) + 2 * PAGE_TOKENS);
        let most = (TILE_QUERIES.min(by_memory) / queries).min(fair).max(1);
        for spans in spans(cluster, most) {
            for head in 0..shape.kv_heads {
                for first in (0..shape.heads_per_kv).step_by(queries) {
                    tiles.push(AttentionTile {
                        cluster: index,
                        head,
                        queries: first..first + queries,
                        spans: spans.clone(),
                    });
                }
            }
        }
    }
    tiles
}

/// The rows of a cluster, `most` at a time.
fn spans(cluster: &Cluster, most: usize) -> Vec<Vec<(Range<usize>, usize)>> {
    let mut all = Vec::new();
    let mut spans = Vec::new();
    let mut count = 0;
    for (number, sequence) in cluster.sequences.iter().enumerate() {
        let mut start = sequence.rows.start;
        while start < sequence.rows.end {
            let end = sequence.rows.end.min(start + most - count);
            spans.push((start..end, number));
            count += end - start;
            start = end;
            if count == most {
                all.push(std::mem::take(&mut spans));
                count = 0;
            }
        }
    }
    if !spans.is_empty() {
        all.push(spans);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kv::PageLayout;

    fn sequences(sizes: &[usize]) -> Vec<SequenceRows> {
        let mut start = 0;
        sizes
            .iter()
            .map(|size| {
                start += size;
                SequenceRows { rows: start - size..start, own: Vec::new() }
            })
            .collect()
    }

    #[test]
    fn every_row_meets_every_query_head_once() {
        let layout = PageLayout { kv_heads: 3, key_size: 32, value_size: 32 };
        let shape =
            AttentionShape { layout, kv_heads: 3, heads_per_kv: 4, scale: 1.0, softcap: None };
        for (sizes, threads) in [(&[1][..], 2), (&[1, 1, 1], 8), (&[100], 2), (&[1, 40, 1, 7], 3)] {
            let rows: usize = sizes.iter().sum();
            let clusters = [Cluster { shared: Vec::new(), sequences: sequences(sizes) }];
            let mut met = vec![0; rows * 12];
            for tile in tiles(&shape, &clusters, &vec![5_000; rows], threads) {
                for row in tile.spans.iter().flat_map(|(rows, _)| rows.clone()) {
                    for query in tile.queries.clone() {
                        met[row * 12 + tile.head * 4 + query] += 1;
                    }
                }
            }
            assert!(met.iter().all(|&count| count == 1), "{sizes:?} on {threads} threads");
        }
    }

    #[test]
    fn a_single_row_occupies_all_threads() {
        let layout = PageLayout { kv_heads: 1, key_size: 32, value_size: 32 };
        let shape =
            AttentionShape { layout, kv_heads: 1, heads_per_kv: 4, scale: 1.0, softcap: None };
        let clusters = [Cluster { shared: Vec::new(), sequences: sequences(&[1]) }];
        assert_eq!(tiles(&shape, &clusters, &[9], 2).len(), 4);
    }
}
