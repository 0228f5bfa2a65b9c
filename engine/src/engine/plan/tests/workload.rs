//! Arbitrary workloads: when groups arrive, and what they contain.

use proptest::prelude::*;

use crate::engine::plan::Limits;

/// A group of the workload.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// Steps since the previous group.
    pub(super) pause: usize,
    pub(super) prompt: Vec<u32>,
    /// Tokens that each sample adds in each of its steps.
    pub(super) samples: Vec<Vec<usize>>,
    /// Steps after the arrival until the first sample is cancelled.
    pub(super) cancel_after: Option<usize>,
}

/// Prompts from three families, with common beginnings of different lengths.
pub(super) fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let feeds = prop::collection::vec(prop_oneof![6 => Just(1_usize), 1 => 2_usize..150], 1..12);
    let prompt = (0_u32..3, 0_usize..200, 1_usize..250, 0_u32..4).prop_map(
        |(family, shared, own, text)| -> Vec<u32> {
            let own = (0..own as u32).map(|index| 1_000 + text * 1_000 + index);
            (0..shared as u32).map(|index| family * 300 + index).chain(own).collect()
        },
    );
    let samples = prop::collection::vec(feeds, 1..6);
    let arrival = (0_usize..4, prompt, samples, prop::option::weighted(0.3, 0_usize..12)).prop_map(
        |(pause, prompt, samples, cancel_after)| Arrival { pause, prompt, samples, cancel_after },
    );
    prop::collection::vec(arrival, 1..12)
}

pub(super) fn limits() -> impl Strategy<Value = Limits> {
    (1_usize..9, 1_usize..300)
        .prop_map(|(max_sequences, prefill_chunk)| Limits { max_sequences, prefill_chunk })
}
