//! Compares a cluster's attention with sums written out row by row.

#![allow(clippy::unwrap_used)] // Tests may.

use candle_core::{Device, Tensor};

use super::{ClusterPlan, LayerStore, Scoring, slots};
use crate::model::attention::{Cluster, SequenceRows};
use crate::model::kv::{PAGE_TOKENS, Segment};

const KV_HEADS: usize = 2;
const HEADS: usize = 6;
const SIZE: usize = 8;
const PAGES: usize = 5;

fn numbers(count: usize, salt: u64) -> Vec<f32> {
    let mut state = salt;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn expected(query: &[f32], keys: &[f32], values: &[f32], seen: &[u32]) -> Vec<f32> {
    let width = KV_HEADS * SIZE;
    let mut out = vec![0.0; HEADS * SIZE];
    for head in 0..HEADS {
        let at = |slot: u32| slot as usize * width + head / (HEADS / KV_HEADS) * SIZE;
        let query = &query[head * SIZE..][..SIZE];
        let weight = |slot: u32| -> f32 {
            let key = &keys[at(slot)..][..SIZE];
            let score: f32 = query.iter().zip(key).map(|(query, key)| query * key).sum();
            (score / (SIZE as f32).sqrt()).exp()
        };
        let all: f32 = seen.iter().map(|&slot| weight(slot)).sum();
        for &slot in seen {
            for (element, out) in out[head * SIZE..][..SIZE].iter_mut().enumerate() {
                *out += weight(slot) / all * values[at(slot) + element];
            }
        }
    }
    out
}

#[test]
fn every_row_sees_the_shared_tokens_and_its_own_up_to_its_position_and_in_its_window() {
    let device = Device::Cpu;
    let shared = vec![Segment { page: 2, tokens: 64 }, Segment { page: 0, tokens: 7 }];
    // Uneven sequences, one with two rows, in a batch whose first row belongs to another cluster.
    let sequence = |rows, page, tokens| SequenceRows { rows, own: vec![Segment { page, tokens }] };
    let sequences = vec![sequence(1..2, 1, 3), sequence(2..4, 3, 11), sequence(4..5, 4, 1)];
    let positions = [0, 71 + 2, 71 + 9, 71 + 10, 71];
    let cluster = Cluster { shared, sequences };

    let elements = PAGES * PAGE_TOKENS * KV_HEADS * SIZE;
    let (keys, values) = (numbers(elements, 1), numbers(elements, 2));
    let queries = numbers(positions.len() * HEADS * SIZE, 3);
    let rows = (PAGES * PAGE_TOKENS, KV_HEADS * SIZE);
    let mut store = LayerStore::new(KV_HEADS * SIZE, Some(KV_HEADS * SIZE), &device).unwrap();
    store.grow(PAGES * PAGE_TOKENS).unwrap();
    let everywhere: Vec<u32> = (0..rows.0 as u32).collect();
    let everywhere = Tensor::new(everywhere, &device).unwrap().unsqueeze(1).unwrap();
    let tensor = |floats: &[f32]| Tensor::from_slice(floats, rows, &device).unwrap();
    store.put(&everywhere, &tensor(&keys), Some(&tensor(&values))).unwrap();

    let all = Tensor::from_slice(&queries, (positions.len(), HEADS, SIZE), &device).unwrap();
    for window in [None, Some(5), Some(1)] {
        let plan =
            ClusterPlan::new(&cluster, &positions, HEADS / KV_HEADS, window, &device).unwrap();
        let scoring = Scoring {
            kv_heads: KV_HEADS,
            key_size: SIZE,
            value_size: SIZE,
            scale: 1.0 / (SIZE as f64).sqrt(),
            softcap: None,
            in_window: window.is_some(),
        };
        let found = plan.attend(&store, &all, &scoring).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found.len(), 4);
        for sequence in &cluster.sequences {
            for row in sequence.rows.clone() {
                let mut seen = slots(&cluster.shared);
                seen.extend(slots(&sequence.own));
                seen.truncate(positions[row] + 1);
                let hidden = window.map_or(0, |window| seen.len().saturating_sub(window));
                let query = &queries[row * HEADS * SIZE..][..HEADS * SIZE];
                let expected = expected(query, &keys, &values, &seen[hidden..]);
                for (found, expected) in found[row - 1].iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-5, "row {row}: {found}, not {expected}");
                }
            }
        }
    }
}
