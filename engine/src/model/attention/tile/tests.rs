//! One query that attends to the greatest possible number of tokens.

use super::*;
use crate::model::attention::{SequenceRows, tiles};
use crate::model::forward::Inputs;
use crate::model::kv::{PAGE_TOKENS, Segment, Slot, store_key, store_value};
use jury_kernels::cpu::thread_pool::Phases;

const SIZE: usize = 32;

/// The result over `tokens` tokens with equal keys and values of one. All of them are the same page.
fn attended(tokens: usize) -> Vec<f32> {
    let (level, layout) =
        (SimdLevel::detect(), PageLayout { kv_heads: 1, key_size: SIZE, value_size: SIZE });
    let shape = AttentionShape { layout, kv_heads: 1, heads_per_kv: 1, scale: 1.0, softcap: None };
    let mut page = vec![0; layout.bytes_per_token(1) * PAGE_TOKENS];
    let (mut out, mut phases) = (Inputs::default(), Phases::default());
    out.resize(1, SIZE, ScaleKind::Exact);
    phases.restart(2, 1);
    let mut thread = phases.thread(0);
    let (pages, results) =
        (SharedPages::new(&phases, std::iter::once(page.as_mut_slice())), out.share(&phases));
    thread.run(PAGE_TOKENS, |claim, slot| {
        let to = Slot { page: pages.write(claim, 0), layout, layer: 0, head: 0, slot };
        store_key(level, to, &mut [0.0; SIZE]);
        store_value(level, to, &mut [1.0; SIZE]);
    });
    let shared = vec![Segment { page: 0, tokens: PAGE_TOKENS }; tokens / PAGE_TOKENS];
    let sequences = vec![SequenceRows { rows: 0..1, own: Vec::new() }];
    let (clusters, positions) = ([Cluster { shared, sequences }], [tokens - 1]);
    let tiles = tiles(&shape, &clusters, &positions, 1);
    thread.run(1, |claim, _| {
        let layer = AttentionLayer {
            claim,
            level,
            shape,
            layer: 0,
            window: None,
            shift: None,
            clusters: &clusters,
            positions: &positions,
            pages: &pages,
            queries: &[0.0; SIZE],
            out: &results,
        };
        layer.run(&tiles[0], &mut Scratch::default());
    });
    drop((pages, results));
    out.floats().to_vec()
}

#[test]
fn the_mean_of_equal_values_is_that_value_however_many_there_are() {
    for tokens in [PAGE_TOKENS, MOST_SUMMED, 2 * MOST_SUMMED, 5 * MOST_SUMMED - PAGE_TOKENS] {
        for value in attended(tokens) {
            assert!((value - 1.0).abs() < 1e-3, "{value} over {tokens} tokens");
        }
    }
}
