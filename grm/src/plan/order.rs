//! Balanced orders: which responses a sample shows, and in which positions.
//!
//! Up to `max_panel` responses are all shown, in the rotations of one permutation: in every block of n samples, each
//! response is in every position once, and there are only n distinct prompts. The permutation depends on the content
//! alone, so another seed finds the same prompts in the KV cache.
//!
//! More responses are dealt into panels of nearly equal size, with a new deal each round, so that after every round
//! each response has been shown equally often.

use super::seed::{ContentDigest, derive};
use crate::random::SplitMix64;

/// Number of samples after which orders of `n_shown` responses are balanced: all rotations, or one round of panels.
pub(super) fn block(n_shown: usize, max_panel: usize) -> u32 {
    let n_panels = n_shown.div_ceil(max_panel);
    let block = if n_panels <= 1 { n_shown } else { n_panels };
    u32::try_from(block.max(1)).expect("responses are below the request's limit")
}

/// The order of sample `index`: a subset of `shown`, in the order to show them.
pub(super) fn of_sample(
    shown: &[usize],
    max_panel: usize,
    content: &ContentDigest,
    request_seed: u64,
    index: u32,
) -> Vec<usize> {
    let index = index as usize;
    let n_panels = shown.len().div_ceil(max_panel);
    if n_panels <= 1 {
        let mut order = shuffled(shown, derive("jury.v1 order", 0, content, 0));
        order.rotate_left(index % shown.len());
        return order;
    }
    let (round, panel) = (index / n_panels, index % n_panels);
    let deal = shuffled(shown, derive("jury.v1 panels", request_seed, content, round as u64));
    let bound = |panel: usize| panel * shown.len() / n_panels;
    deal[bound(panel)..bound(panel + 1)].to_vec()
}

fn shuffled(responses: &[usize], seed: u64) -> Vec<usize> {
    let mut order = responses.to_vec();
    SplitMix64::new(seed).shuffle(&mut order);
    order
}
